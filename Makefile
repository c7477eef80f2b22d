# Two commands matter: `go run ./cmd/rollcall serve`, and `make test`.

GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0
STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

.PHONY: all dist dist-check image soak setup test test-faults test-history test-sources test-valkey truth lint fuzz bench bench-once cluster build

# Nothing but a binary for others needs to know its revision, and git does not tell it in a clone of somebody else's.
test test-faults test-history test-sources test-valkey truth lint fuzz bench bench-once: export GOFLAGS += -buildvcs=false

# What test and test-faults look at.
PKGS ?= ./...

all: test lint

dist: ## a release: archives, Debian packages, bills of materials and checksums, in dist/
	deploy/dist.sh

image: ## the container image for this machine's platform, in dist/, as docker load reads it
	deploy/dist.sh "" linux/$$(go env GOARCH)

dist-check: ## proves a release: same bytes twice, the Debian package and rollcall install under a real systemd; as root
	deploy/check.sh

build: ## the binary, in ./rollcall
	CGO_ENABLED=0 go build -trimpath -o rollcall ./cmd/rollcall

setup: ## what the tests need, by apt, when it is missing
	@.ci/setup

test: setup ## every test, under the race detector; nothing skips itself
	go test -race -shuffle=on -timeout 15m $(PKGS)
	go run ./presence/truth

test-faults: setup ## the long ones: killed and frozen stores, failovers, full disks
	go test -p 3 -tags faults -run Fault -timeout 20m $(PKGS) # they wait more than they work
	cd deploy/tools && go test ./...
	cd internal/acmecert/pebbletest && go test ./...

test-sources: setup ## IM products that can be had call rollcall themselves: ejabberd, which make test runs too, and Centrifugo, which takes minutes to build
	go test -count=1 -run TestEjabberd ./examples
	cd edge/webhook/centrifugo/centrifugotest && go test -timeout 20m ./...

test-history: setup ## an upgrade from the release before and back; it is built from the history, which a shallow clone lacks
	go test -tags faults,history -run TestFaultTheReleaseBefore -timeout 20m ./cmd/rollcall

test-valkey: setup ## the tests of the Redis store, its contract first, on Valkey in place of Redis
	@server=$$(.ci/valkey) && export ROLLCALL_TEST_REDIS=$$server && \
		go test -timeout 15m ./internal/redistest ./store/redisstore

truth: ## how often presence is wrong, told by a simulation
	go run ./presence/truth

lint: ## format, vet, staticcheck, and known vulnerabilities where the database can be reached
	@bad=$$(find . -name node_modules -prune -o -name '*.go' ! -name '*.pb.go' -print0 | xargs -0 $(GOFUMPT) -l) || exit 1; \
		[ -z "$$bad" ] || { echo "not gofumpt-ed:"; echo "$$bad"; exit 1; }
	go vet ./...
	go vet -tags faults,big,history ./...
	GOOS=windows go vet ./...
	GOOS=darwin go vet ./...
	$(STATICCHECK) ./...
	$(STATICCHECK) -tags faults,big,history ./...
	cd bench && go vet ./... && $(STATICCHECK) ./...
	cd deploy/tools && go vet ./... && $(STATICCHECK) ./...
	cd internal/acmecert/pebbletest && go vet ./... && $(STATICCHECK) ./...
	cd edge/webhook/centrifugo/centrifugotest && go vet ./... && $(STATICCHECK) ./...
	@.ci/vuln $(GOVULNCHECK)

FUZZTIME ?= 60s
fuzz: ## every fuzz target for FUZZTIME
	@.ci/fuzz $(FUZZTIME)

bench: setup ## rollcall beside its rivals, in one run
	bench/setup.sh
	cd bench && go run .
	cd bench && go run ./sockets
	cd bench && go run ./tlssockets
	cd bench && go run ./fanout

bench-once: setup ## every benchmark once, so that none rots
	go test -run '^$$' -bench . -benchtime 1x -timeout 15m ./...
	bench/setup.sh
	cd bench && go vet ./... && go test ./... && go run . -quick && go run ./sockets -quick && go run ./tlssockets -quick && go run ./fanout -quick

soak: ## honest load beside everything that a stranger may try, for three minutes
	cd bench && go run ./soak

cluster: setup ## two nodes and a Redis on this machine, to try them out
	deploy/cluster.sh
