#!/bin/bash
# The life of the Debian package, and of what `rollcall install` makes, on a machine that systemd runs.
set -Eeuo pipefail
trap '[ -e /mnt/work/passed ] || touch /mnt/work/failed' EXIT
trap 'step "line $LINENO failed"' ERR
step() { echo "$*" >>/mnt/work/steps; }
ready() {
	for _ in $(seq 300); do
		curl -fsS -o /dev/null http://127.0.0.1:3001/readyz 2>/dev/null && return
		sleep 0.1
	done
	journalctl -u rollcall -n 20 --no-pager >>/mnt/work/steps || true
	systemctl status rollcall --no-pager >>/mnt/work/steps || true
	return 1
}
port=3000
ask() { # ask FUNCTION KEYS BODY
	# shellcheck disable=SC1091
	. /var/lib/rollcall/keys.env
	curl -fsS "http://127.0.0.1:$port/1.1/functions/$1" -H "X-LC-Id: $LEANCLOUD_APP_ID" -H "X-LC-Key: $LEANCLOUD_APP_KEY" \
		-H "X-LC-Hook-Key: $LEANCLOUD_APP_HOOK_KEY" -H "Content-Type: application/json" -d "$2"
}
online() { [ "$(ask getOnOffStatus '{"peerIds":["tom"]}')" = '{"result":["1"]}' ]; }
ip link set lo up

dpkg -i /mnt/work/rollcall.deb >/dev/null
ready
step installed and started
ask _clientOnline '{"peerId":"tom"}' >/dev/null
online
user=$(stat -c %U /proc/"$(systemctl show -p MainPID --value rollcall)")
[ "$user" != root ]
step "runs as $user"
systemctl kill -s KILL rollcall
sleep 0.5
ready
online
step "killed: started again, tom still online"
dpkg -i /mnt/work/rollcall.deb >/dev/null
ready
online
step "installed over itself: tom still online"
for _ in 1 2 3 4 5; do
	systemctl restart rollcall &
	for _ in $(seq 20); do online || { step "a question was refused while the unit restarted"; exit 1; }; done
	wait $!
done
step "restarted five times: no question refused"
# As docs/runbook.md has it; systemctl edit is an editor and daemon-reload.
mkdir /etc/systemd/system/rollcall.socket.d
printf '[Socket]\nListenStream=\nListenStream=8080\n' >/etc/systemd/system/rollcall.socket.d/override.conf
systemctl daemon-reload
systemctl stop rollcall.service
systemctl restart rollcall.socket
systemctl start rollcall.service
! online 2>/dev/null
port=8080
online
step "another port: tom still online"
rm -r /etc/systemd/system/rollcall.socket.d
port=3000
systemctl daemon-reload
printf '%s\n' ROLLCALL_LISTEN_TLS=:443 ROLLCALL_TLS_DOMAINS=im.example.com ROLLCALL_TLS_ACME_DIRECTORY=https://127.0.0.1:9/ >>/etc/rollcall/rollcall.env
systemctl stop rollcall.socket rollcall
systemctl enable --now rollcall-tls.socket
systemctl start rollcall.socket rollcall
ready
online
{ curl -sSk https://127.0.0.1/ 2>&1 || true; } | grep -q 'unrecognized name' # the CA is down
step "opened port 443 by its socket: without a certificate handshakes end, and port 3000 goes on"
systemctl stop rollcall.socket rollcall-tls.socket rollcall.service
[ "$(systemctl show -p Result --value rollcall)" = success ]
step stopped in order
dpkg -P rollcall >/dev/null
[ ! -e /usr/bin/rollcall ] && [ ! -e /etc/rollcall ] && [ ! -e /var/lib/rollcall ] && [ ! -e /var/lib/private/rollcall ]
! systemctl cat rollcall >/dev/null 2>&1
step purged without a trace

# What install prints goes to the steps when it fails.
install() { # install PROGRAM [ARGUMENT...]
	"$@" >/mnt/work/said 2>&1 || { cat /mnt/work/said >>/mnt/work/steps; return 1; }
}
runs() { # runs RELEASE
	local exe
	exe=$(readlink "/proc/$(systemctl show -p MainPID --value rollcall)/exe")
	[[ $exe = */opt/rollcall/$1-*/rollcall ]] || { step "$exe runs, not $1"; return 1; }
}
asking() { # asking COMMAND...: all the while questions are answered
	"$@" &
	local job=$!
	while kill -0 $job 2>/dev/null; do online || { step "a question was refused during $*"; exit 1; }; done
	wait $job
}
older=/mnt/work/older/rollcall newer=/mnt/work/newer/rollcall
install $older install
runs 0.2.0
ask _clientOnline '{"peerId":"tom"}' >/dev/null
online
step installed by rollcall install
asking install $newer install
runs 0.3.0
online
step "upgraded: no question refused, tom still online"
env=$(md5sum /etc/rollcall/rollcall.env)
broken() { ! echo ROLLCALL_PRESENCE_LEASE=never | $older install --env-stdin >/mnt/work/said 2>&1; }
asking broken
grep -q '0.3.0-[0-9a-f]* runs as before' /mnt/work/said
runs 0.3.0
[ "$env" = "$(md5sum /etc/rollcall/rollcall.env)" ]
online
step "an upgrade that failed was taken back: no question refused, tom still online"
echo ROLLCALL_PRESENCE_LEASE=never >/mnt/work/never
$older install --env-stdin </mnt/work/never >/dev/null 2>&1 &
cut=$!
until [[ $(readlink /opt/rollcall/current) = 0.2.0-* ]]; do sleep 0.001; done
kill -KILL $cut
wait $cut || true
grep -q never /etc/rollcall/rollcall.env
install $newer install
grep -q 'was cut off' /mnt/work/said
! grep -q never /etc/rollcall/rollcall.env
runs 0.3.0
online
step "an upgrade that was killed is taken back by the next, tom still online"
asking install /opt/rollcall/0.2.0-*/rollcall install
runs 0.2.0
step "back to the older version: no question refused, tom still online"
systemctl stop rollcall.socket rollcall
! online 2>/dev/null
! systemctl is-active -q rollcall
systemctl start rollcall.socket rollcall
ready
online
step stopped and started again
install rollcall uninstall
[ ! -e /opt/rollcall ] && [ ! -e /usr/local/bin/rollcall ] && [ -e /etc/rollcall/rollcall.env ] && [ -e /var/lib/rollcall/keys.env ]
! systemctl cat rollcall rollcall.socket >/dev/null 2>&1
install $newer install
online
step "removed, and installed again: tom still online"
install rollcall uninstall --purge
[ ! -e /opt/rollcall ] && [ ! -e /etc/rollcall ] && [ ! -e /var/lib/rollcall ] && [ ! -e /var/lib/private/rollcall ]
step removed without a trace
touch /mnt/work/passed
