package config

import "log/slog"

// A Secret is a key that is never printed: it shows as stars in logs, formats and JSON.
type Secret string

const hidden = "***"

// String returns stars.
func (s Secret) String() string { return s.mask() }

// GoString returns stars.
func (s Secret) GoString() string { return s.mask() }

// LogValue returns stars.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.mask()) }

// MarshalText returns stars.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.mask()), nil }

// UnmarshalText takes b as it is.
func (s *Secret) UnmarshalText(b []byte) error {
	*s = Secret(b)
	return nil
}

// Reveal returns the key itself, for comparing and for the one print when it is made.
func (s Secret) Reveal() string { return string(s) }

func (s Secret) mask() string {
	if s == "" {
		return ""
	}
	return hidden
}
