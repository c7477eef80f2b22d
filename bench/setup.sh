#!/bin/sh
# Installs what the benchmark needs and is not there yet: Redis, Node and npm from Debian, the recipes' libraries from
# npm and the Go module proxy. Running it again changes nothing.
set -eu
cd "$(dirname "$0")"

missing=
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v node >/dev/null || missing="$missing nodejs"
command -v npm >/dev/null || missing="$missing npm"
if [ -n "$missing" ]; then
	if ! command -v apt-get >/dev/null; then
		echo "setup: install$missing by hand: this script knows only Debian's apt-get" >&2
		exit 1
	fi
	as_root=
	if [ "$(id -u)" -ne 0 ]; then
		if ! command -v sudo >/dev/null; then
			echo "setup: apt-get install$missing wants root, and there is no sudo" >&2
			exit 1
		fi
		as_root=sudo
	fi
	$as_root apt-get update
	# shellcheck disable=SC2086 # several packages
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi

# npm writes its own copy of the lock file last, so it tells a finished install of this lock file.
if [ ! node-recipe/node_modules/.package-lock.json -nt node-recipe/package-lock.json ]; then
	(cd node-recipe && npm ci --no-progress)
fi

go mod download
