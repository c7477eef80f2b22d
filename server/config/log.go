package config

import (
	"io"
	"log/slog"

	"rollcall/internal/logs"
)

// NewLog returns a logger that writes to w as l says, and what has it take another level.
func NewLog(w io.Writer, l Log) (log *slog.Logger, level *slog.LevelVar) {
	level = new(slog.LevelVar)
	l.SetLevel(level)
	return logs.New(w, logs.Options{JSON: l.Format == "json", Level: level, Peers: l.Peers}), level
}

// SetLevel sets level to that of l.
func (l Log) SetLevel(level *slog.LevelVar) {
	var to slog.Level
	_ = to.UnmarshalText([]byte(l.Level)) // checked by Validate; info when it is not a level
	level.Set(to)
}
