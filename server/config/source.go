package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"rollcall/edge/webhook"
	"rollcall/edge/webhook/all"
	"rollcall/internal/configload"
	"rollcall/presence"
)

// A Source is an IM product that reports who comes and goes by calling POST /ingest/APP/ID.
// docs/sources.md says what to click in its console.
type Source struct {
	// ID names the source in the path of its calls, and in metrics and explanations: 1 to 64 ASCII
	// letters, digits, "-", "_" and ".".
	ID string
	// App is the id of the app. It may be left out when there is one.
	App string
	// Kind is the product, such as emqx or easemob.
	Kind string
	// Secret is what the product signs its calls with, or shows in them. Without one, allow names
	// the networks that calls come from.
	Secret Secret `config:",secret"`
	// SecretOld is right beside secret while that is being replaced.
	SecretOld Secret `config:",secret"`
	// AppID is the id of the app at the product, where its calls name it: calls of another are
	// refused.
	AppID string `config:"appid"`
	// User is the field that holds the peer, where a product leaves the choice.
	User string
	// Map is a program in jq that makes events of a call, for kind jq.
	Map string
	// Sign is how the sender signs its calls, for kind jq.
	Sign Sign
	// Lease is how long a report stays true without another; 0 takes that of the kind.
	Lease time.Duration `range:"0s..30d"`
	// Hold is how long a session that was lost, not logged out, lingers before watchers are
	// notified; 0 takes that of the kind.
	Hold time.Duration `range:"0s..10m"`
	// Allow are the addresses or networks that calls may come from; none is all.
	Allow []netip.Prefix
	// Insecure takes calls whose body is not signed over plain HTTP from any network.
	Insecure bool
	// Reconcile is how the product is asked who is online.
	Reconcile Reconcile
}

// Sign is how the sender of a source of kind jq signs.
type Sign struct {
	// Header holds the signature: the HMAC of the body with secret, in hexadecimal or base64.
	// Unset, the sender shows the secret, as a bearer token or as the password of basic
	// authentication.
	Header string
	// Hash is that of the HMAC: sha1, sha256 or sha512; unset, sha256.
	Hash string
	// Prefix stands in the header before the signature, such as "sha256=".
	Prefix string
}

const maxSourceID = 64

// reservedSources report by roads of their own.
var reservedSources = []presence.Source{presence.SourceLeanCloud, presence.SourceGateway, presence.SourceAPI, presence.SourceRecipe}

// Validate returns every mistake in s, joined; each begins with the key of its setting.
func (s *Source) Validate() error {
	var f configload.Faults
	f.When(s.ID == "", "id is missing; it is the last part of the path that the product calls")
	if err := presence.CheckApp(presence.AppID(s.ID)); s.ID != "" && err != nil {
		f.Add(fmt.Errorf("id is %.80q; it may hold letters, digits, - _ and . only", s.ID))
	}
	f.When(s.ID == "." || s.ID == "..", "id is %q, which no path can name", s.ID)
	f.When(len(s.ID) > maxSourceID, "id has %d bytes, more than %d", len(s.ID), maxSourceID)
	// A kind of the same name is that source, for being asked.
	f.When(slices.Contains(reservedSources, presence.Source(s.ID)) && s.Kind != s.ID, "id is %q, which is the name of a source that is part of rollcall", s.ID)
	f.When(s.SecretOld != "" && s.Secret == "", "secret_old is set and secret is not; the only secret goes into secret")
	f.When(s.SecretOld != "" && s.SecretOld == s.Secret, "secret_old is the same as secret")
	f.When(s.Secret != "" && len(s.Secret) < minSourceSecret, "secret has %d bytes; it has at least %d", len(s.Secret), minSourceSecret)
	kind := webhook.Find(all.Kinds, s.Kind)
	asked := kind != nil && kind.Defaults().Elsewhere != "" // no call comes in
	f.When(s.Secret == "" && len(s.Allow) == 0 && !asked, "secret is missing; without one, allow names the networks that calls come from")
	f.When(asked && (s.Secret != "" || len(s.Allow) > 0), "secret and allow have no use; a source of kind %s takes no webhooks", s.Kind)
	if kind == nil {
		f.Add(unknownKind(s.Kind))
		return f.Err()
	}
	checked := s.Webhook(presence.AppID(s.App), kind)
	f.Add(s.Reconcile.validate(&checked))
	f.Add(kind.Check(&checked))
	if _, made := kind.(webhook.Maker); !made {
		f.When(s.Map != "", "map is set, and kind %s has a format of its own", s.Kind)
		f.When(s.Sign != Sign{}, "sign is set, and kind %s signs in its own way", s.Kind)
	}
	return f.Err()
}

// minSourceSecret is the fewest bytes of a secret: some consoles choose it, and choose short ones.
const minSourceSecret = 6

func unknownKind(kind string) error {
	var names []string
	for _, k := range all.Kinds {
		names = append(names, k.Name())
	}
	list := strings.Join(names, ", ")
	if kind == "" {
		return errors.New("kind is missing; there are " + list)
	}
	if near := configload.Nearest(kind, names); near != "" {
		return fmt.Errorf("kind is %.40q; did you mean %s?", kind, near)
	}
	return fmt.Errorf("kind is %.40q; there are %s", kind, list)
}

// Webhook returns s as a source of app, with the defaults of kind.
func (s *Source) Webhook(app presence.AppID, kind webhook.Kind) webhook.Source {
	out := webhook.Source{
		App: app, ID: presence.Source(s.ID), Kind: kind, Secret: s.Secret.Reveal(), SecretOld: s.SecretOld.Reveal(), AppID: s.AppID, User: s.User,
		Lease: s.Lease, Hold: s.Hold, Allow: s.Allow, Insecure: s.Insecure,
		Reconcile: s.Reconcile.webhook(kind), Map: s.Map, Sign: webhook.Sign(s.Sign),
	}
	if maker, ok := kind.(webhook.Maker); ok {
		if made, err := maker.Make(&out); err == nil { // else Validate says what is wrong
			out.Kind = made
		}
	}
	defaults := out.Kind.Defaults()
	if out.Lease == 0 {
		out.Lease = defaults.Lease
	}
	if out.Hold == 0 {
		out.Hold = defaults.Hold
	}
	return out
}

// Webhooks returns the sources of c, which has been checked, for the apps that there are.
func (c *Config) Webhooks(apps []presence.AppID) ([]webhook.Source, error) {
	var list []webhook.Source
	for i := range c.Sources {
		s := &c.Sources[i]
		app, err := appOf(fmt.Sprintf("sources[%d]", i), s.App, apps)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(list, func(o webhook.Source) bool { return o.App == app && string(o.ID) == s.ID }) {
			return nil, fmt.Errorf("sources[%d].id is %.80q, which another source of its app has", i, s.ID)
		}
		one := s.Webhook(app, webhook.Find(all.Kinds, s.Kind))
		if one.ID == presence.SourceLeanCloud { // as its hooks are read
			one.Policy, one.Lease = c.LeanCloud.Policy, cmp.Or(s.Lease, c.LeanCloud.HookLease)
		}
		list = append(list, one)
	}
	return list, nil
}

// checkSources adds what is wrong with the sources one by one and together.
func checkSources(l *configload.Loader, cfg *Config) {
	first := map[[2]string]int{}
	for i := range cfg.Sources {
		s := &cfg.Sources[i]
		section := fmt.Sprintf("sources[%d]", i)
		l.Check(section, s.Validate())
		name := [2]string{s.App, s.ID}
		if s.App == "" && len(cfg.Apps) == 1 {
			name[0] = cfg.Apps[0].ID
		}
		if j, ok := first[name]; ok && s.ID != "" {
			l.Problem(section+".id", fmt.Sprintf("the id is taken by sources[%d] already", j))
		}
		first[name] = i
		if len(cfg.Apps) > 0 { // else an app will be made, or is kept
			checkApp(l, section, s.App, cfg.Apps)
		}
	}
}
