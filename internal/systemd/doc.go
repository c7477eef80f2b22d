// Package systemd speaks with the service manager that started the process: it takes over the
// sockets that were opened for it, and says when the process is ready and when it stops.
//
// A socket that the service manager holds stays open while no process accepts from it: connections
// wait in the kernel between the stop of one process and the start of the next, and none is
// refused.
package systemd
