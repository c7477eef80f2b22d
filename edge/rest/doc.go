// Package rest is the door of the native JSON API: questions, lists, reports in batches, and the
// calls of gateways.
//
// Ids are answered in the order in which they were asked, duplicates in place. Every refusal is
// {"code","error"}; the codes and limits are in docs/api.md, the shapes in openapi.yaml, which the
// door serves with a page to read it.
//
// # Who may
//
// The app key is inside every copy of an app, so it asks for status only: no times, no causes, no
// devices, no lists. The master key may everything; the hook key reports and reads nothing.
//
// # Units
//
// Times are Unix milliseconds, leases and lives are seconds.
package rest
