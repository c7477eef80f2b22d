#!/usr/bin/env bash
# Two rollcall nodes and a Redis on this machine, to try them out; Ctrl-C ends all three. What is reported to one node, both
# answer. Ports: REDIS_PORT (6399), APPS (3000 and 3010) and their operators' (3001 and 3011).
set -euo pipefail
cd "$(dirname "$0")/.."

redis_port=${REDIS_PORT:-6399} first=${APPS_PORT_1:-3000} second=${APPS_PORT_2:-3010}
dir=$(mktemp -d)
pids=()
finish() {
	trap - EXIT INT TERM
	for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT INT TERM

random() { head -c 18 /dev/urandom | base64 | tr -d '/+='; }
export LEANCLOUD_APP_ID=trial LEANCLOUD_APP_KEY LEANCLOUD_APP_HOOK_KEY LEANCLOUD_APP_MASTER_KEY
LEANCLOUD_APP_KEY=$(random) LEANCLOUD_APP_HOOK_KEY=$(random) LEANCLOUD_APP_MASTER_KEY=$(random)

answers() { curl -fsS -o /dev/null "http://127.0.0.1:$1/readyz" 2>/dev/null; }
await() { # await PORT LOG PID: until the node with that operators' port is ready; another server's answer does not count
	for _ in $(seq 100); do
		sleep 0.1
		kill -0 "$3" 2>/dev/null || break
		! answers "$1" || return 0
	done
	echo "the node does not come up:" >&2
	cat "$2" >&2
	exit 1
}

go build -o "$dir/rollcall" ./cmd/rollcall
redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$dir" --save '' --appendonly yes --maxmemory-policy volatile-lru >"$dir/redis.log" &
pids+=($!)
for _ in $(seq 100); do
	! redis-cli -p "$redis_port" ping >/dev/null 2>&1 || break
	sleep 0.1
done
for port in "$first" "$second"; do
	"$dir/rollcall" serve --listen "127.0.0.1:$port" --admin "127.0.0.1:$((port + 1))" --data "$dir/node-$port" \
		--store "redis://127.0.0.1:$redis_port" >"$dir/$port.out" 2>"$dir/$port.log" &
	pids+=($!)
done
await "$((first + 1))" "$dir/$first.log" "${pids[1]}"
await "$((second + 1))" "$dir/$second.log" "${pids[2]}"

ask() { # ask PORT FUNCTION BODY [HEADER]
	local hook=
	[ -z "${4:-}" ] || hook=' -H "X-LC-Hook-Key: $LEANCLOUD_APP_HOOK_KEY"'
	echo "\$ curl -X POST http://127.0.0.1:$1/1.1/functions/$2 -H \"X-LC-Id: \$LEANCLOUD_APP_ID\" -H \"X-LC-Key: \$LEANCLOUD_APP_KEY\"$hook -H 'Content-Type: application/json' -d '$3'"
	curl -fsS -X POST "http://127.0.0.1:$1/1.1/functions/$2" -H "X-LC-Id: $LEANCLOUD_APP_ID" -H "X-LC-Key: $LEANCLOUD_APP_KEY" \
		-H "Content-Type: application/json" ${4:+-H "$4"} -d "$3"
	echo
}
echo "Report to the first node that tom came online, then ask both who is:"
echo
ask "$first" _clientOnline '{"peerId":"tom"}' "X-LC-Hook-Key: $LEANCLOUD_APP_HOOK_KEY"
ask "$first" getOnOffStatus '{"peerIds":["tom","jerry"]}'
ask "$second" getOnOffStatus '{"peerIds":["tom","jerry"]}'
echo
echo "And as a function of the recipe would read it:"
echo "\$ redis-cli -p $redis_port MGET onOffStatus:tom onOffStatus:jerry"
redis-cli -p "$redis_port" MGET onOffStatus:tom onOffStatus:jerry
cat <<EOT

Two nodes listen on http://127.0.0.1:$first and http://127.0.0.1:$second, Redis on 127.0.0.1:$redis_port. To ask yourself, paste this and then lines from above:

  export LEANCLOUD_APP_ID=$LEANCLOUD_APP_ID LEANCLOUD_APP_KEY=$LEANCLOUD_APP_KEY
  export LEANCLOUD_APP_HOOK_KEY=$LEANCLOUD_APP_HOOK_KEY LEANCLOUD_APP_MASTER_KEY=$LEANCLOUD_APP_MASTER_KEY

Ctrl-C ends them.
EOT
if [ "${1:-}" = --once ]; then exit 0; fi
wait -n "${pids[@]}"
