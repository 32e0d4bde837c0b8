# Vigil. `make help` lists what there is.
SHELL       := /bin/bash
export GOFIPS140   := v1.0.0
export CGO_ENABLED := 0
GO       := go
TOOL     := $(GO) tool -modfile=tools/go.mod
LDFLAGS  := -s -w -buildid=
FUZZTIME ?= 60s

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

.PHONY: build
build: bin/vigil bin/simcam ## build the recorder and the simulated camera into bin/

GOFILES := $(shell git ls-files -co --exclude-standard '*.go' go.mod go.sum 2>/dev/null)

bin/vigil: $(GOFILES) ui
	$(GO) build -trimpath -ldflags='$(LDFLAGS)' -o $@ ./cmd/vigil

bin/simcam: $(GOFILES)
	$(GO) build -trimpath -ldflags='$(LDFLAGS)' -o $@ ./cmd/simcam

.PHONY: ui
ui: ## build the page from web/ into internal/web/ui/dist, when it changed
	@tools/ui

.PHONY: run
run: install-run build ## start Vigil with a demo camera; again: go on with the same archive
	@tools/demo

.PHONY: clean-demo
clean-demo: ## remove the demo's archive and settings
	@tools/demo clean

.PHONY: install-run install-test
install-run: ; @tools/install run
install-test: ; @tools/install test

.PHONY: test
test: install-test build ## everything: unit, interop, fault and browser tests
	@tools/test

.PHONY: race
race: install-test ui ## all Go tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (60s)
	@tools/fuzz $(FUZZTIME)

.PHONY: bench
bench: install-test build ## the figures of docs/performance.md
	@bench/run

.PHONY: soak
soak: install-test build ## 200 kills, 10 power cuts on each file system, 40 minutes of memory
	VIGIL_SOAK=1 $(GO) test -timeout 120m -v -run 'Soak' ./internal/rig/...

.PHONY: lint
lint: ui ## formatting, vet and linters
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(TOOL) golangci-lint run ./...

.PHONY: clauses
clauses: ## collect the clause directives into docs/clauses.md
	$(GO) run ./internal/conformity/gen

.PHONY: sbom
sbom: bin/vigil ## bill of materials and docs/third-party.md from what is linked
	@tools/sbom
