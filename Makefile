.DEFAULT_GOAL := help

.PHONY: help
help: ## Print this help
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the binaries into .bin/
	go build -o .bin/ ./cmd/...

.PHONY: test
test: ## Run everything: format, vet, race tests
	@test -z "$$(gofmt -l admin cmd envoy extproc proto)" || { echo "gofmt these:"; gofmt -l admin cmd envoy extproc proto; exit 1; }
	go vet ./...
	go test -race -count=1 -timeout 14m ./...
