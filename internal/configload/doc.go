// Package configload fills a plain struct from a YAML file, the environment and the command line,
// and names every mistake with its place: file, line and column, or the variable, or the flag.
//
// # Rules
//
// The struct holds the defaults when loading starts. What is applied later wins: file, then
// environment, then flags. A key is the field's name in snake case, nested keys are joined by dots:
// presence.offline_memory. An unknown key is a mistake, and the nearest known one is named. Nothing
// stops at the first mistake.
//
// # Tags
//
// A field may carry `config:"name,option,..."`: a name instead of the derived one, or "-" for a
// field that is not a setting; the options are inline (a struct whose keys belong to the level
// above), secret (the value is never shown), bytes (an integer that may be written 64KiB), live (a
// reload takes it up) and lines (a list that takes no environment variable). Fields that are
// functions, interfaces, channels or pointers are no settings.
//
// A list may carry `was:"old.key,older.key"`: its keys in the releases before. They are still
// taken, with a warning, and what they hold is added to the list.
//
// A scalar may carry `range:"0s,1s..1h"`: the values that are allowed, one by one and from..to,
// where either end may be left open. A text has a list of words.
//
// # Not in this room
//
// What a setting means, and which values go together: that is the Validate of the room that owns
// it, which collects [Faults].
package configload
