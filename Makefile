# make test is all it takes: it installs what the suites need, builds, and runs
# every one of them. make help lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
export GOFLAGS ?= -buildvcs=false
# As it is released; and what is compiled once serves all but the race detector.
export CGO_ENABLED := 0
TOOLS := $(CURDIR)/.tools
export PATH := $(TOOLS):$(PATH)
VERSITYGW := github.com/versity/versitygw/cmd/versitygw@v1.8.0

.PHONY: help build console console-check test others race plain benches clients consul vet tools fuzz crash bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

build: ## build ./chirograph
	go build -o chirograph ./cmd/chirograph

# Node.js builds the console, and its files are committed: go build needs none.
UI := internal/console/ui
console: ## build the console's files, which the program embeds, from their source
	./hack/tools.sh "$(TOOLS)"
	cd $(UI) && node node_modules/typescript/bin/tsc --noEmit && node build.mjs

console-check: tools ## check that the console's files are what its source makes
	cd $(UI) && node node_modules/typescript/bin/tsc --noEmit && node build.mjs --check

# What is installed comes over the network, and the browser waits more than it
# works: the rest goes on beside them.
test: ## install what is needed, build, and run every suite
	$(MAKE) --no-print-directory -j2 -Otarget console-check vet
	$(MAKE) --no-print-directory race
	$(MAKE) --no-print-directory -j3 -Otarget plain others fuzz

others:
	$(MAKE) --no-print-directory clients
	$(MAKE) --no-print-directory benches

# vet has looked at the same files; go test would do so again for the detector's
# build. All packages, SQLite's too: one without the detector would lend the others
# its copies of generic functions, and their locks would not be seen. The stores go
# first: they take long, and little has to be compiled for them. No debugger looks at
# these binaries, and a third suite uses what two leave of the processors.
# Some tests of reports move hundreds of megabytes through paths that others take
# under the detector with less; those of the API's rules and of damaged files make
# thousands of calls one after the other; the console's is a browser's work.
PLAIN := ^Test(BadInput|Conformance|TamperedReports|SegmentsLost|SegmentsAborted|SegmentsRestart|SegmentsMerged|SegmentsSettings|ForeignSegments|RandomSearches|ConsoleInBrowser)$$
race: build ## run every suite with the race detector, but for the benchmarks' and what plain runs
	CGO_ENABLED=1 go test -race -vet=off -p 3 -gcflags=all=-dwarf=false -ldflags=-w -timeout 12m -skip '$(PLAIN)' ./internal/store/... $$(go list ./... | grep -v /bench/)

plain: build ## run the console's browser and some large tests, without the race detector
	go test -vet=off -run '$(PLAIN)' ./internal/auditreport ./internal/inventory ./cmd/chirograph

benches: ## run every benchmark small
	go test -vet=off ./bench/...

clients: ## run cert-manager's issuer against the server, a foreign witness of its logs, Tessera's fsck over an exported one, and the pictures of benchmarks
	cd clients/issuer && go test -count=1 -vet=off ./...
	cd clients/witness && go test -count=1 -vet=off ./...
	cd clients/tiles && go test -count=1 -vet=off ./...
	cd bench/chart && go test -count=1 -vet=off ./...

consul: build ## run Consul's own acceptance tests against the server; downloads a gigabyte of modules, so not part of test
	cd clients/consul && go test -count=1 -vet=off ./...

vet: ## check formatting, and go vet
	@test -z "$$(gofmt -l bench clients cmd crash internal *.go)" || { echo "not gofmt-clean:"; gofmt -l bench clients cmd crash internal *.go; exit 1; }
	go vet ./...

tools: ## install the programs that the tests talk to
	./hack/tools.sh "$(TOOLS)" "$(VERSITYGW)"

FUZZ_SECONDS ?= 30
fuzz: ## run every fuzz target, FUZZ_SECONDS for all of them
	./hack/fuzz.sh $(FUZZ_SECONDS)

crash: build ## the long crash test: 200 rounds of kill -9 under load
	CHIROGRAPH_CRASH_ROUNDS=200 go test -count=1 -timeout 60m -run TestCrash -v ./crash

bench: ## measure everything (over an hour, 30 GB of disk) into docs/performance, and draw the pictures; hack/bench.sh says more
	./hack/bench.sh

clean: ## remove what the other targets made
	rm -rf chirograph $(TOOLS)
