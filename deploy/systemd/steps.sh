#!/bin/bash
# The life of the Debian package on a machine that systemd runs.
set -euo pipefail
trap '[ -e /mnt/work/passed ] || touch /mnt/work/failed' EXIT
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
ask() { # ask FUNCTION KEYS BODY
	# shellcheck disable=SC1091
	. /var/lib/rollcall/keys.env
	curl -fsS "http://127.0.0.1:3000/1.1/functions/$1" -H "X-LC-Id: $LEANCLOUD_APP_ID" -H "X-LC-Key: $LEANCLOUD_APP_KEY" \
		-H "X-LC-Hook-Key: $LEANCLOUD_APP_HOOK_KEY" -H "Content-Type: application/json" -d "$2"
}
online() { [ "$(ask getOnOffStatus '{"peerIds":["tom"]}')" = '{"result":["1"]}' ]; }
ip link set lo up 2>/dev/null || true

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
systemctl stop rollcall.socket rollcall.service
[ "$(systemctl show -p Result --value rollcall)" = success ]
step stopped in order
dpkg -P rollcall >/dev/null
[ ! -e /usr/bin/rollcall ] && [ ! -e /etc/rollcall ] && [ ! -e /var/lib/rollcall ] && [ ! -e /var/lib/private/rollcall ]
! systemctl cat rollcall >/dev/null 2>&1
step purged without a trace
touch /mnt/work/passed
