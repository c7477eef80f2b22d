package redistest

import (
	"os"

	"golang.org/x/sys/windows"
)

var (
	ntdll            = windows.NewLazySystemDLL("ntdll.dll")
	ntSuspendProcess = ntdll.NewProc("NtSuspendProcess")
	ntResumeProcess  = ntdll.NewProc("NtResumeProcess")
)

func suspend(p *os.Process) { call(ntSuspendProcess, p) }
func resume(p *os.Process)  { call(ntResumeProcess, p) }

func call(proc *windows.LazyProc, p *os.Process) {
	h, err := windows.OpenProcess(windows.PROCESS_SUSPEND_RESUME, false, uint32(p.Pid))
	if err != nil {
		panic(err)
	}
	defer func() { _ = windows.CloseHandle(h) }()
	_, _, _ = proc.Call(uintptr(h)) // a process that has ended is as silent
}
