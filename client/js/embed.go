// Package js holds the client for browsers as one file, for what serves it from within this module.
package js

import _ "embed"

// File is rollcall.js.
//
//go:embed rollcall.js
var File []byte
