#!/bin/sh
# A user who only looks: ./client.sh FRIEND... asks by curl once a second, and prints the answer when it changes.
: "${LEANCLOUD_APP_ID:?}" "${LEANCLOUD_APP_KEY:?}" "${SERVER:=http://127.0.0.1:3000}"
friends=$(printf ',"%s"' "$@")
while :; do
	answer=$(curl -sS "$SERVER/1.1/functions/getOnOffStatus" -H "X-LC-Id: $LEANCLOUD_APP_ID" -H "X-LC-Key: $LEANCLOUD_APP_KEY" \
		-H 'Content-Type: application/json' -d "{\"peerIds\":[${friends#,}]}")
	[ "$answer" = "$shown" ] || echo "$answer"
	shown=$answer
	sleep 1
done
