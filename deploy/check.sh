#!/usr/bin/env bash
# Proves a release on this machine: the same bytes twice, the unit's exposure, and the Debian package under a real systemd in
# namespaces of its own: installed, started, killed, upgraded in place, purged; and the same for rollcall install. Needs root or sudo, and
# a Linux with the files of the Debian packages systemd and iproute2, where overlayfs and namespaces may be made; systemd need not run.
set -euo pipefail
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || exec sudo -E env "PATH=$PATH" "$0" "$@"

fail() {
	echo "deploy/check: $*" >&2
	exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DIST=$work/one deploy/dist.sh 0.2.0 linux/amd64
DIST=$work/two deploy/dist.sh 0.2.0 linux/amd64 >/dev/null
cmp "$work/one/SHA256SUMS" "$work/two/SHA256SUMS" || fail "two builds of one commit differ"
(cd "$work/one" && sha256sum --check --quiet SHA256SUMS)
tar -C "$work" -xzf "$work/one/rollcall-0.2.0-linux-amd64.tar.gz"
said=$("$work/rollcall-0.2.0-linux-amd64/rollcall" version)
case $said in
"rollcall 0.2.0 ($(git rev-parse --short=12 HEAD)"*) ;;
*) fail "the binary calls itself $said" ;;
esac
for unit in deploy/systemd/*.service deploy/systemd/*.socket; do
	cmp "$unit" "$work/rollcall-0.2.0-linux-amd64/$(basename "$unit")" || fail "the archive lacks $unit"
done
grep -q '"bomFormat": "CycloneDX"' "$work/one/rollcall-0.2.0-linux-amd64.cdx.json" || fail "no bill of materials"

exposure=$(systemd-analyze security --offline=true deploy/systemd/rollcall.service | sed -n 's/.*exposure level for rollcall.service: \([0-9.]*\).*/\1/p')
awk -v e="$exposure" 'BEGIN { exit !(e > 0 && e <= 2.0) }' || fail "the unit's exposure is $exposure"

cp "$work/one/rollcall_0.2.0_amd64.deb" "$work/rollcall.deb"
files=$(dpkg-deb --contents "$work/rollcall.deb")
for file in bash-completion/completions/rollcall zsh/vendor-completions/_rollcall fish/vendor_completions.d/rollcall.fish; do
	grep -q " ./usr/share/$file$" <<<"$files" || fail "the package lacks $file"
done
mv "$work/rollcall-0.2.0-linux-amd64" "$work/older"
mkdir "$work/newer"
CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-X rollcall/server.Release=0.3.0" -o "$work/newer/rollcall" ./cmd/rollcall
unshare --net --pid --fork --kill-child --mount --mount-proc --uts --ipc --cgroup deploy/systemd/boot.sh "$work" >"$work/boot" 2>&1 </dev/null &
machine=$!
for _ in $(seq 1800); do
	[ ! -e "$work/passed" ] && [ ! -e "$work/failed" ] && kill -0 $machine 2>/dev/null || break
	sleep 0.1
done
kill -KILL $machine 2>/dev/null || true
wait $machine 2>/dev/null || true
[ -e "$work/passed" ] || { cat "$work/steps" "$work/boot" >&2; fail "the package under systemd"; }
echo "deploy/check: exposure $exposure; under systemd: $(tr '\n' ';' <"$work/steps")"
