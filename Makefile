# Every command works on a machine with Go, git and make; tests that need Docker,
# kubectl or gcloud say so and are skipped where it is missing.
export PATH := $(CURDIR)/bin:$(PATH)

.PHONY: build controlplane test cases case campaign realnode demo cloud bench lint tools fuzz

# Go knows whether there is a C compiler, which the race detector needs.
race := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

build: ## the shipped binary, as the Dockerfile builds it
	CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o bin/deploy-model-action .

controlplane: ## the real control plane that the tests use; minutes the first time, and it says so
	go -C e2e run ./cmd/localcloud --build

# -count=1: what is tested is the binary, which Go's test cache does not see.
test: controlplane ## every test of both modules; at its end, what was skipped and why
	$(if $(race),,@echo "no C compiler: nothing looks for data races")
	go -C e2e run ./cmd/test .. . -- $(race) -count=1 -timeout 40m ./...

cases: controlplane ## the cases of e2e/cases, or DIR=…, each in a namespace of a local cloud; RUN=… takes those that are called so
	go -C e2e run ./cmd/cases $(if $(RUN),-run '$(RUN)') $(if $(BINARY),-binary $(abspath $(BINARY))) $(abspath $(or $(DIR),e2e/cases))

case: ## a new case to edit: NAME=…
	test -n "$(NAME)" && test ! -e e2e/cases/$(NAME)
	cp -R e2e/cases/template e2e/cases/$(NAME)

# The packages of which `make test` plays a sample. SEED=… repeats an earlier campaign.
campaign: controlplane ## the races, kills, outages and verdicts in full: an hour and a half
	CAMPAIGN=1 go -C e2e run ./cmd/test .. -- -count=1 -timeout 1h -run '^(TestCrowd|TestWorst)$$' ./pkg/rollout ./pkg/manifest
	CAMPAIGN=1 go -C e2e run ./cmd/test . -- -count=1 -timeout 3h -p 1 $(addprefix ./,$(or $(PKG),races kill prune outage owners candidate rollout stored casetest))

realnode: controlplane ## the catalogue of failures on a real kubelet, in a privileged container; needs Docker and root
	REALNODE=1 go -C e2e test -count=1 -timeout 15m ./realnode

demo: ## three deploys of the seed's model into a local cloud, as a user sees them
	go -C e2e run ./cmd/demo

cloud: ## a local cloud that stays until it is interrupted
	go -C e2e run ./cmd/localcloud --dir $(or $(DIR),.cache/cloud)

bench: ## comparisons with kubectl and gcloud, as ratios of one run; MEASURES="requests seed" takes only some
	go -C e2e run ./cmd/bench $(MEASURES)

fuzz: ## every fuzzer of the action, half a minute each
	@for package in $$(go list ./...); do \
	  for fuzzer in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
	    echo "$$package $$fuzzer"; \
	    go test -run '^$$' -fuzz "^$$fuzzer\$$" -fuzztime 30s $$package || exit 1; \
	  done; \
	done

tools: ## the linters, and act for the tests, at the versions that CI uses
	GOBIN=$(CURDIR)/bin go install mvdan.cc/gofumpt@v0.12.0
	GOBIN=$(CURDIR)/bin go install honnef.co/go/tools/cmd/staticcheck@v0.8.2
	GOBIN=$(CURDIR)/bin go install github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
	GOBIN=$(CURDIR)/bin go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	GOBIN=$(CURDIR)/bin go install github.com/nektos/act@v0.2.89

lint: ## formatting, vet and the linters, in both modules
	test -z "$$(gofumpt -l main.go pkg e2e *_test.go)" || { gofumpt -d main.go pkg e2e *_test.go; exit 1; }
	go vet ./...
	go -C e2e vet ./...
	staticcheck ./...
	golangci-lint run ./...
	cd e2e && golangci-lint run --config ../.golangci.yml ./...
	actionlint
