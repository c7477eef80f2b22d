#!/usr/bin/env bash
# Builds a release in dist/: a static binary for each platform in an archive, Debian packages, container images, a bill of materials
# and checksums.
# The same commit gives the same bytes, on any machine with the Go of go.mod: deploy/dist.sh [VERSION] [PLATFORM...]
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-$(cat deploy/VERSION)}
shift || true
platforms=("${@:-}")
[ -n "${platforms[0]}" ] || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64)
out=${DIST:-dist}
revision=$(git rev-parse HEAD)
[ -z "$(git status --porcelain)" ] || revision+=-modified
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH CGO_ENABLED=0 GOFLAGS=-buildvcs=false
bom="go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"
images=()
nfpm="go run github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.0"

image() { # image FILE PLATFORM=PROGRAM...
	(cd deploy/tools && GOOS= GOARCH= go run ./image -version "$version" -revision "$revision" -time "$SOURCE_DATE_EPOCH" -out "$@")
}

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
completion=$(mktemp -d)
trap 'rm -rf "$completion"' EXIT
for shell in bash zsh fish; do # as this machine's own program prints it
	GOOS= GOARCH= go run ./cmd/rollcall completion $shell >"$completion/$shell"
done
for platform in "${platforms[@]}"; do
	os=${platform%/*} arch=${platform#*/} name=rollcall-$version-${platform/\//-}
	stage=$out/$name
	mkdir "$stage"
	program=$stage/rollcall
	[ "$os" != windows ] || program+=.exe
	GOOS=$os GOARCH=$arch go build -trimpath -o "$program" \
		-ldflags "-s -w -buildid= -X rollcall/server.Release=$version -X rollcall/server.Revision=$revision" ./cmd/rollcall
	cp LICENSE README.md README.zh-CN.md "$stage/"
	[ "$os" != linux ] || cp deploy/systemd/rollcall*.{service,socket} "$stage/"
	GOOS= GOARCH= $bom bin -json -noserial -notimestamp -version "v$version" -output "$out/$name.cdx.json" "$program" 2>/dev/null
	tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" \
		-cf - "$name" | gzip -n9 >"$out/$name.tar.gz"
	if [ "$os" = linux ]; then
		ARCH=$arch VERSION=$version PROGRAM=$program COMPLETION=$completion GOOS= GOARCH= $nfpm package -f deploy/deb/nfpm.yaml -p deb -t "$out/" >/dev/null
		image "$out/$name.image.tar" "$platform=$program"
		images+=("$platform=$out/.$name")
		mv "$program" "$out/.$name"
	fi
	rm -r "$stage"
done
if [ ${#images[@]} -gt 1 ]; then
	image "$out/rollcall-$version.image.tar" "${images[@]}"
fi
rm -f "$out"/.rollcall-*
(cd "$out" && sha256sum -- * >SHA256SUMS)
echo "release $version of $revision in $out:"
ls -l "$out" | awk 'NR > 1 { print "  " $5, $9 }'
