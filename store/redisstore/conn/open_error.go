package conn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/redis/rueidis"
)

// An OpenError is why a store did not open, for the operator who starts it.
type OpenError struct {
	Err  error
	Hint string // what to do about it; "" where Err is enough
	// Settings that do not fit this Redis, so that starting again as it is cannot help. Else it is
	// out of reach or ill.
	Settings bool
}

func (r *OpenError) Error() string { return r.Err.Error() }
func (r *OpenError) Unwrap() error { return r.Err }

func replica(at string, err error) *OpenError {
	return &OpenError{Err: fmt.Errorf("redis at %s is a replica: %w", at, err), Hint: "name the primary, or the Sentinels that know it: redis+sentinel://host:26379,…/master"}
}

// Explain returns what err means at the start.
func (p Place) Explain(err error) *OpenError {
	var r *OpenError
	if errors.As(err, &r) {
		return r
	}
	r = p.certificateError(err)
	if errors.Is(err, errOld) {
		return &OpenError{Err: err, Hint: "upgrade Redis, or name another; Valkey does as well", Settings: true}
	}
	if errors.Is(err, errReplica) {
		r = replica(p.At(), errReplica)
	}
	if r == nil {
		r = p.replyError(err)
	}
	if r == nil && !errors.Is(err, errPolicy) {
		r = p.connectionError(err)
	}
	if r == nil {
		r = &OpenError{Err: err}
	}
	return r
}

// certificateError explains a certificate that is not trusted.
func (p Place) certificateError(err error) *OpenError {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
	)
	at := p.At()
	switch {
	case errors.As(err, &unknown) && (p.tls == nil || p.tls.CA == ""):
		return Misfit("the certificate of redis at %s is not from an authority that this machine knows: %w", at, unknown)(
			"name the file of its authority: set redis.ca, or SSL_CERT_FILE in the environment")
	case errors.As(err, &unknown):
		return Misfit("the certificate of redis at %s is not from the authority in redis.ca: %w", at, unknown)(
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

// replyError explains an error reply of Redis.
func (p Place) replyError(err error) *OpenError {
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

// connectionError explains why there was no conversation.
func (p Place) connectionError(err error) *OpenError {
	var (
		plain tls.RecordHeaderError
		op    *net.OpError
	)
	at := p.At()
	known := errors.As(err, &op)
	alert := known && op.Op == "remote error"
	switch {
	case known && op.Op == "dial":
		return p.unreachable(err, "")
	case errors.As(err, &plain):
		return Misfit("what answers at %s does not speak TLS, and the URL begins with %s://: %w", at, p.scheme, plain)(
			"write " + strings.Replace(p.scheme, "rediss", "redis", 1) + "://, or give Redis a tls-port and name that")
	case alert && p.tls != nil && p.tls.Cert == "":
		return Misfit("redis at %s wants a certificate from its clients: %w", at, op)(wantsCertificate)
	case alert && p.tls != nil:
		return Misfit("redis at %s does not accept the certificate in redis.cert: %w", at, op)(
			refusesCertificate)
	case strings.Contains(err.Error(), "unknown message type"): // of the client library
		return Misfit("what answers at %s is not a Redis", at)("see that host and port of the URL are those of Redis")
	case p.tls == nil:
		return p.unreachable(err, "; if it speaks TLS, write "+strings.Replace(p.scheme, "redis", "rediss", 1)+"://")
	case p.tls.Cert == "":
		return p.unreachable(err, "; if it wants a certificate, "+wantsCertificate)
	}
	return p.unreachable(err, "; if it refuses the certificate in redis.cert, "+refusesCertificate)
}

const refusesCertificate = "have it signed by an authority that Redis knows (its tls-ca-cert-file), and see that it is not out of date"

const wantsCertificate = "set redis.cert and redis.key; or set tls-auth-clients of Redis to no or optional"

func (p Place) unreachable(err error, also string) *OpenError {
	return &OpenError{Err: err, Hint: fmt.Sprintf("see that Redis runs at %s, and that this machine can reach it%s", p.At(), also)}
}
