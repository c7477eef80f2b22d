// Package operator is the door on the operator listener: health, metrics, status, profiles, and /v1
// with the rights of every app.
//
// Nothing here asks for a key. The listener is on loopback unless configured otherwise, and
// [OnlyNamed] refuses a host name that a web page may have let point to it. /v1 stands behind
// [api.Gate.Operator], which refuses such pages too.
//
// Every room offers its counts once, by its own names, as a [Room]; here they become metrics and a
// part of the status. The names of all metrics stand in metrics.go.
package operator
