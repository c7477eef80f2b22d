package conn

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// An OpenError is why a store did not open, in words for whoever starts it.
type OpenError struct {
	Err  error
	Hint string // what to do about it; "" where Err says it
	// Settings that do not fit this Redis, so that starting again as it is cannot help. Else it is out of reach or ill.
	Settings bool
}

func (r *OpenError) Error() string { return r.Err.Error() }
func (r *OpenError) Unwrap() error { return r.Err }

func replica(at string, err error) *OpenError {
	return &OpenError{Err: fmt.Errorf("redis at %s is a replica: %w", at, err), Hint: "name the primary, or the Sentinels that know it: redis+sentinel://host:26379,…/master"}
}

// Explain says what err means at the start. Where err alone does not tell, it looks at what answers there.
func (p Place) Explain(ctx context.Context, err error) *OpenError {
	var r *OpenError
	if errors.As(err, &r) {
		return r
	}
	r = p.certificateRefusal(err)
	if errors.Is(err, errOld) {
		return &OpenError{Err: err, Hint: "upgrade Redis, or name another; Valkey does as well", Settings: true}
	}
	if errors.Is(err, errReplica) {
		r = replica(p.At(), errReplica)
	}
	if r == nil {
		r = replyRefusal(p, err)
	}
	if r == nil && !errors.Is(err, errPolicy) {
		r = connectionRefusal(ctx, p, err)
	}
	if r == nil {
		r = &OpenError{Err: err}
	}
	return r
}

// certificateRefusal tells of a certificate that is not believed.
func (p Place) certificateRefusal(err error) *OpenError {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	at := p.At()
	switch {
	case errors.As(err, &unknown) && (p.tls == nil || p.tls.CA == ""):
		return Misfit("the certificate of redis at %s is not from an authority that this machine knows: %w", at, unknown)(
			"name the file of its authority: add ssl_ca_certs=FILE to the URL, behind a ?, or set SSL_CERT_FILE")
	case errors.As(err, &unknown):
		return Misfit("the certificate of redis at %s is not from the authority in ssl_ca_certs: %w", at, unknown)(
			fmt.Sprintf("see that %.200s is the authority that has signed it", p.tls.CA))
	case errors.As(err, &name):
		hosts := name.Certificate.DNSNames
		for _, ip := range name.Certificate.IPAddresses {
			hosts = append(hosts, ip.String())
		}
		return Misfit("the certificate of redis at %s is for another host: %w", at, name)(
			fmt.Sprintf("write a host of the certificate (%.200s) in the URL, or have one made for this host", strings.Join(hosts, ", ")))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return &OpenError{
			Err:  fmt.Errorf("the certificate of redis at %s is out of date: %w", at, invalid),
			Hint: "renew the certificate on the side of Redis, or its authority's; and see that the clock of this machine is right",
		}
	case errors.As(err, &invalid):
		return &OpenError{
			Err:  fmt.Errorf("the certificate of redis at %s cannot be used: %w", at, invalid),
			Hint: "have a certificate for servers made for Redis",
		}
	}
	return nil
}

// Misfit makes an OpenError whose cause are the settings.
func Misfit(format string, args ...any) func(hint string) *OpenError {
	return func(hint string) *OpenError {
		return &OpenError{Err: fmt.Errorf(format, args...), Hint: hint, Settings: true}
	}
}

// replyRefusal tells what an error that Redis has answered means.
func replyRefusal(p Place, err error) *OpenError {
	var re *rueidis.RedisError
	if !errors.As(err, &re) {
		return nil
	}
	at, text := p.At(), re.Error()
	says := func(part string) bool { return strings.Contains(text, part) }
	switch {
	case says("NOAUTH"):
		return Misfit("redis at %s wants a password: %w", at, re)("write it in the URL, percent-encoded: redis://:PASSWORD@host, or redis://USER:PASSWORD@host")
	case says("WRONGPASS"):
		return Misfit("redis at %s does not take the user and password of the URL: %w", at, re)("correct them; they are percent-encoded (/ is %2F, ? is %3F, @ is %40)")
	case says("NOPERM"):
		return &OpenError{Err: fmt.Errorf("redis at %s gives this user too few rights: %w", at, re), Hint: "docs/redis.md has a line that gives what is needed"}
	case says("cluster support disabled"):
		return Misfit("the URL has several addresses, which stands for a Cluster, and redis at %s is none: %w", at, re)(
			"write one address (redis://host:port); for a primary with replicas, those of its Sentinels: redis+sentinel://host:26379,…/master")
	case says("SELECT is not allowed in cluster mode"):
		return Misfit("redis at %s is a Cluster, which has only database 0, and the URL names %d: %w", at, p.db, re)("leave the database out of the URL")
	case says("DB index is out of range"):
		return Misfit("redis at %s has no database %d: %w", at, p.db, re)("choose another in the URL, or none; the setting of Redis is databases")
	case p.master != "" && says("unknown command"):
		return Misfit("what answers at %s is no Sentinel: %w", strings.Join(p.addrs, ","), re)(
			"redis+sentinel:// takes the addresses of the Sentinels, mostly on port 26379; for Redis itself write redis://host:6379")
	case p.master != "" && says("No such master"):
		return Misfit("the Sentinels at %s know no master %.80q: %w", strings.Join(p.addrs, ","), p.master, re)("write the name that \"sentinel monitor\" gives it behind the addresses: redis+sentinel://…/NAME")
	case says("wrong number of arguments for 'auth'"):
		return Misfit("redis at %s takes no user name, as Redis older than %d: %w", at, leastVersion, re)(
			fmt.Sprintf("Redis is to be %d or newer; an older one does not do", leastVersion))
	case says("unknown command"):
		return Misfit("what answers at %s does not know the commands of Redis %d: %w", at, leastVersion, re)(
			fmt.Sprintf("if these are Sentinels, write redis+sentinel://host:26379,…/master; Redis older than %d does not do", leastVersion))
	case says("READONLY"):
		return replica(at, re)
	case says("BUSY "):
		return &OpenError{Err: fmt.Errorf("redis at %s runs a script that does not end: %w", at, re), Hint: "\"redis-cli SCRIPT KILL\" ends it"}
	}
	return &OpenError{Err: err}
}

// connectionRefusal tells why there was no conversation: nobody there, or one that speaks another language.
func connectionRefusal(ctx context.Context, p Place, err error) *OpenError {
	at := p.At()
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return unreachable(p, err)
	}
	// Somebody took the connection.
	switch heard := p.listen(ctx); {
	case p.tls == nil && (heard == speaksTLS || heard == wantsCertificate):
		return Misfit("redis at %s speaks TLS, and the URL says %s://", at, p.scheme)("write " + strings.Replace(p.scheme, "redis", "rediss", 1) + "://")
	case p.tls != nil && heard == speaksPlainly:
		return Misfit("redis at %s does not speak TLS, and the URL says %s://", at, p.scheme)(
			"write " + strings.Replace(p.scheme, "rediss", "redis", 1) + "://, or give Redis a tls-port and name that")
	case p.tls != nil && heard == wantsCertificate && p.tls.Cert == "":
		return Misfit("redis at %s wants a certificate from its clients", at)(
			"add ssl_certfile=FILE&ssl_keyfile=FILE to the URL, behind a ?; or set tls-auth-clients of Redis to no or optional")
	case p.tls != nil && heard == wantsCertificate:
		return Misfit("redis at %s does not take the certificate in ssl_certfile", at)(
			"have it signed by an authority that Redis knows (its tls-ca-cert-file), and see that it is not out of date")
	case heard == speaksOtherwise:
		return Misfit("what answers at %s is no Redis", at)("see that host and port of the URL are those of Redis")
	}
	return unreachable(p, err)
}

func unreachable(p Place, err error) *OpenError {
	return &OpenError{Err: err, Hint: fmt.Sprintf("see that Redis runs at %s, and that this machine can reach it", p.At())}
}

// What answers at an address.
type speech int

const (
	speaksNothing speech = iota
	speaksPlainly
	speaksTLS
	wantsCertificate // over TLS
	speaksOtherwise
)

// listen asks each address how it speaks, until one does.
func (p Place) listen(ctx context.Context) speech {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for _, addr := range p.addrs {
		for _, ask := range []func(context.Context, string) speech{p.askTLS, p.askPlainly} {
			if s := ask(ctx, addr); s != speaksNothing {
				return s
			}
		}
	}
	return speaksNothing
}

const askFor = time.Second

func (p Place) askTLS(ctx context.Context, addr string) speech {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	t := Files{}
	if p.tls != nil {
		t = *p.tls
	}
	host, _, _ := net.SplitHostPort(addr)
	cfg := t.client(append([]string{host}, p.hosts()...))
	cfg.VerifyConnection = nil // nothing that matters is said here
	c, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", addr)
	if err == nil {
		defer c.Close()
		// A server that wants a certificate says so after the handshake, to whoever listens and does not talk.
		_ = c.SetReadDeadline(time.Now().Add(askFor / 4))
		_, err = c.Read(make([]byte, 1))
	}
	var op *net.OpError
	switch {
	case errors.As(err, &op) && op.Op == "remote error" && !strings.Contains(err.Error(), "protocol version"):
		return wantsCertificate // or does not take ours
	case c != nil:
		return speaksTLS
	}
	return speaksNothing
}

func (p Place) askPlainly(ctx context.Context, addr string) speech {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return speaksNothing
	}
	defer c.Close()
	line, err := ask(ctx, c)
	switch {
	case err != nil:
		return speaksNothing
	case strings.HasPrefix(line, "+PONG"), strings.HasPrefix(line, "-"):
		return speaksPlainly
	}
	return speaksOtherwise
}

// ask sends what every Redis answers, whoever asks, and returns the answer.
func ask(ctx context.Context, c net.Conn) (string, error) {
	until, _ := ctx.Deadline()
	_ = c.SetDeadline(until)
	if _, err := io.WriteString(c, "*1\r\n$4\r\nPING\r\n"); err != nil {
		return "", err
	}
	return bufio.NewReaderSize(io.LimitReader(c, 512), 512).ReadString('\n')
}
