package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"rollcall/internal/acmecert"
	"rollcall/internal/install"
	"rollcall/server"
	"rollcall/server/config"
)

type installCmd struct {
	Port     int      `placeholder:"PORT" help:"Port of the app listener; default as before, at first 3000."`
	Domain   []string `placeholder:"NAME" sep:"none" help:"Serve https and wss for NAME on port 443, with certificates by ACME; repeatable. With it, apps have port 80 at first."`
	EnvStdin bool     `help:"Read variables for the server from standard input, a NAME=VALUE on each line: keys, ROLLCALL_... settings."`
}

// Help is shown below the flags.
func (installCmd) Help() string {
	return `Copies this program to /opt/rollcall, writes the unit and the socket, and starts them; as root. Run again, with a newer program, it is the upgrade. ` +
		`A version that is not ready within 30 seconds is taken back: the one before runs again, with the settings of before. ` +
		`Variables are kept in /etc/rollcall/rollcall.env, which only root reads; those that are not given stay as they are.`
}

type uninstallCmd struct {
	Purge bool `help:"Remove the settings and all state too."`
}

// Help is shown below the flags.
func (uninstallCmd) Help() string {
	return `Stops the service and removes what "rollcall install" wrote; as root. The settings in /etc/rollcall and the state in /var/lib/rollcall stay, unless --purge is given.`
}

// readyWithin is how long a new version may take until it is ready.
const readyWithin = 30 * time.Second

// host returns this machine, when it is one to install on.
func host(e *env) (*install.Host, error) {
	if runtime.GOOS != "linux" {
		return nil, &config.Hinted{Err: errors.New("this system has no systemd"), Hint: "\"rollcall serve\" runs a server in the foreground"}
	}
	if os.Geteuid() != 0 {
		return nil, &config.Hinted{Err: errors.New("only root may do this"), Hint: "put sudo in front"}
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return nil, &config.Hinted{Err: errors.New("systemd does not run this machine"), Hint: "\"rollcall serve\" runs a server in the foreground"}
	}
	return &install.Host{Root: "/", Systemctl: "systemctl", Journalctl: "journalctl", Out: e.stdout, Within: readyWithin}, nil
}

// checkDomains reports whether certificates can be obtained for names.
func checkDomains(e *env, names []string) bool {
	for _, name := range names {
		if err := acmecert.CheckDomain(name); err != nil {
			fmt.Fprintf(e.stderr, "rollcall: --domain: %q: %v\n", name, err)
			return false
		}
	}
	return true
}

// Run installs this program or upgrades to it.
func (c *installCmd) Run(e *env) error {
	if c.Port < 0 || c.Port > 65535 {
		fmt.Fprintf(e.stderr, "rollcall: --port: %d is no port\n", c.Port)
		return errMisused
	}
	if !checkDomains(e, c.Domain) {
		return errMisused
	}
	h, err := host(e)
	if err != nil {
		return err
	}
	plan := install.Plan{Version: server.BuildVersion().Release, Port: c.Port, Domains: c.Domain}
	if plan.Program, err = os.Executable(); err != nil {
		return err
	}
	if c.EnvStdin {
		if plan.Env, err = install.ReadEnv(os.Stdin); err != nil {
			fmt.Fprintf(e.stderr, "rollcall: standard input: %v\n", err)
			return errMisused
		}
	}
	err = h.Install(e.ctx, plan)
	var failed *install.Failure
	if errors.As(err, &failed) && failed.Journal != "" {
		fmt.Fprintf(e.stderr, "%s\n", failed.Journal)
	}
	return err
}

// Run removes what was installed.
func (c *uninstallCmd) Run(e *env) error {
	h, err := host(e)
	if err != nil {
		return err
	}
	return h.Uninstall(e.ctx, c.Purge)
}
