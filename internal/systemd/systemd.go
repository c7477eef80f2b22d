package systemd

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
)

// Inherited are the listening sockets that the process was started with and that nothing has taken
// yet.
type Inherited struct {
	mu        sync.Mutex
	listeners map[string]net.Listener
}

// Inherit returns the sockets by the names that LISTEN_FDNAMES gives them, one of names each;
// without LISTEN_FDNAMES they are names in this order. It takes the variables out of the
// environment, so a second call returns none.
func Inherit(names ...string) (*Inherited, error) {
	named := os.Getenv("LISTEN_FDNAMES") != ""
	in := &Inherited{listeners: map[string]net.Listener{}}
	for i, f := range activation.Files(true) {
		name := f.Name()
		if !named && i < len(names) {
			name = names[i]
		}
		err := in.add(name, f, names)
		_ = f.Close() // the listener has a descriptor of its own
		if err != nil {
			in.Close()
			return nil, err
		}
	}
	return in, nil
}

func (in *Inherited) add(name string, f *os.File, names []string) error {
	if !slices.Contains(names, name) {
		return fmt.Errorf("inherited socket %.80q: FileDescriptorName= is one of %s", name, strings.Join(names, ", "))
	}
	if in.listeners[name] != nil {
		return fmt.Errorf("inherited socket %s: there are two of that name", name)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return fmt.Errorf("inherited socket %s: %w", name, err)
	}
	if _, ok := l.(*net.TCPListener); !ok {
		_ = l.Close()
		return fmt.Errorf("inherited socket %s: it is no TCP socket", name)
	}
	in.listeners[name] = l
	return nil
}

// Take returns the socket of name, which is the caller's from now on; nil when there is none.
func (in *Inherited) Take(name string) net.Listener {
	in.mu.Lock()
	defer in.mu.Unlock()
	l := in.listeners[name]
	delete(in.listeners, name)
	return l
}

// Close closes what was not taken.
func (in *Inherited) Close() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, l := range in.listeners {
		_ = l.Close()
	}
	clear(in.listeners)
}

// Ready says that the process answers.
func Ready() { notify(daemon.SdNotifyReady) }

// Stopping says that the process ends.
func Stopping() { notify(daemon.SdNotifyStopping) }

// notify has no one to report a failure to: a service manager that gets no word kills the process
// after its own deadline and says so.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }
