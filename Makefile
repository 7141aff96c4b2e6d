# One command for each thing one does here. Every target installs what it needs and says what it installs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CARGO_TERM_COLOR ?= auto
INSTALL := tests/tools/install
ENVOY := 1.40.0

.PHONY: help build demo test check bench clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

build: ## Build the binary
	@$(INSTALL) build
	cargo build --locked

demo: ## Bring up the sample deployment with real Envoys, send requests through the mesh, take it down
	@$(INSTALL) build lab envoy-$(ENVOY)
	cargo build --locked
	tests/tools/demo target/debug/boshy .cache/envoy-$(ENVOY)/envoy

test: ## Run every test: units, properties, actors, namespaces, real Envoys 1.40 and 1.36, fuzz targets
	@$(INSTALL) build lab fuzz envoy-$(ENVOY) envoy-1.36.4
	tests/tools/test

check: ## Format, lints, docs, dependency rules and licences; warnings are errors
	@$(INSTALL) build deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	cargo deny --locked --workspace check bans licenses sources

bench: ## Measure beside named peers: DNS, time from change to acceptance, memory, rules, restarts
	@$(INSTALL) build lab bench envoy-$(ENVOY)
	tests/tools/bench .cache/envoy-$(ENVOY)/envoy

clean: ## Remove what was built and downloaded
	cargo clean
	rm -rf .cache
