package configload

import (
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// parse reads text into v, and says what was meant when it cannot.
func parse(text string, v reflect.Value, bytes bool) error {
	if p, ok := v.Addr().Interface().(*netip.Prefix); ok {
		return parsePrefix(text, p)
	}
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	if v.Type() == durationType {
		d, err := ParseDuration(text)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch text {
		case "true", "false":
			v.SetBool(text == "true")
		default:
			return fmt.Errorf("%s is neither true nor false", shown(text))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := parseInt(text, bytes)
		if err == nil && v.OverflowInt(n) {
			err = fmt.Errorf("%s is too large", shown(text))
		}
		if err != nil {
			return err
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := parseInt(text, bytes)
		if err == nil && (n < 0 || v.OverflowUint(uint64(n))) {
			err = fmt.Errorf("%s is out of range", shown(text))
		}
		if err != nil {
			return err
		}
		v.SetUint(uint64(n))
	case reflect.Float64:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil || f != f {
			return fmt.Errorf("%s is not a number", shown(text))
		}
		v.SetFloat(f)
	case reflect.Slice:
		return parseList(text, v)
	default:
		return fmt.Errorf("a %s cannot be written as text", v.Type())
	}
	return nil
}

// parsePrefix reads a network, or one address, which is a network of its own.
func parsePrefix(text string, p *netip.Prefix) error {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		*p = netip.PrefixFrom(a, a.BitLen())
		return nil
	}
	n, err := netip.ParsePrefix(text)
	if err != nil {
		return fmt.Errorf("%s is neither an address nor a network; write 192.0.2.7 or 10.0.0.0/8", shown(text))
	}
	*p = n
	return nil
}

// parseList reads a list of scalars written with commas, as in a variable or a flag.
func parseList(text string, v reflect.Value) error {
	if !isLeaf(v.Type().Elem()) {
		return errors.New("this list can be written in the file only")
	}
	list := reflect.MakeSlice(v.Type(), 0, 4)
	for _, part := range strings.Split(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := parse(part, e, false); err != nil {
			return err
		}
		list = reflect.Append(list, e)
	}
	v.Set(list)
	return nil
}

var sizes = []struct {
	unit  string
	shift int
}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}}

func parseInt(text string, bytes bool) (int64, error) {
	digits, shift := text, 0
	if bytes {
		for _, s := range sizes {
			if rest, ok := strings.CutSuffix(text, s.unit); ok {
				digits, shift = strings.TrimSpace(rest), s.shift
			}
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || (err == nil && n<<shift>>shift != n):
		return 0, fmt.Errorf("%s is too large", shown(text))
	case err != nil && bytes:
		return 0, fmt.Errorf("%s is not a size; write bytes, or 64KiB, 1MiB, 1GiB", shown(text))
	case err != nil:
		return 0, fmt.Errorf("%s is not a whole number", shown(text))
	}
	return n << shift, nil
}

// ParseDuration reads 250ms, 10s, 5m, 24h, 7d and sums of them such as 1d12h. A number alone says
// nothing.
func ParseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		return 0, fmt.Errorf("%s has no unit; did you mean %ss?", shown(text), strings.TrimSpace(text))
	}
	rest := text
	var days time.Duration
	if n, after, ok := strings.Cut(text, "d"); ok {
		d, err := strconv.ParseUint(n, 10, 16)
		if err != nil {
			return 0, notDuration(text)
		}
		days, rest = time.Duration(d)*24*time.Hour, after
		if rest == "" {
			return days, nil
		}
	}
	d, err := time.ParseDuration(rest)
	if err != nil || (days > 0 && d < 0) {
		return 0, notDuration(text)
	}
	return days + d, nil
}

func notDuration(text string) error {
	return fmt.Errorf("%s is not a duration; write 250ms, 10s, 5m, 24h or 7d", shown(text))
}

// format writes v the way parse reads it.
func format(v reflect.Value, bytes bool) string {
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		b, err := m.MarshalText()
		if err != nil {
			return ""
		}
		return string(b)
	}
	if v.Type() == durationType {
		return FormatDuration(time.Duration(v.Int()))
	}
	switch v.Kind() {
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = format(v.Index(i), false)
		}
		return strings.Join(parts, ",")
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if bytes {
			return formatSize(v.Int())
		}
	}
	return fmt.Sprint(v.Interface())
}

func formatSize(n int64) string {
	for i := len(sizes) - 1; i >= 0; i-- {
		if s := sizes[i]; n != 0 && n%(1<<s.shift) == 0 {
			return fmt.Sprintf("%d%s", n>>s.shift, s.unit)
		}
	}
	return strconv.FormatInt(n, 10)
}

// FormatDuration writes d shortly: 7d, 1h30m, 250ms.
func FormatDuration(d time.Duration) string {
	if d > 0 && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
