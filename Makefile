# One command for each thing one does here. Every target installs what it needs and says what it installs.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export CARGO_TERM_COLOR ?= auto
INSTALL := tests/tools/install
ENVOY_VERSION := 1.40.0
ENVOY := .cache/envoy-$(ENVOY_VERSION)/envoy
# Of `make chaos`.
SEED ?= 2018
MINUTES ?= 60
# Of `make bench-scale`.
PROXIES ?= 1000
SERVICES ?= 1000
PILOTS ?= 1
ROUNDS ?= 1
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)

.PHONY: help build demo test chaos check advisories bench bench-scale release release-from-source clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 28

build: ## Build the binary, and install what its lab needs
	@$(INSTALL) build lab ruby
	cargo build --locked

demo: ## Deploy the sample to an empty lab with the real BOSH CLI, send requests through the mesh, take it down
	@$(INSTALL) build lab ruby bosh-cli envoy-$(ENVOY_VERSION)
	cargo build --locked
	tests/tools/release target/debug/boshy .cache/envoy-$(ENVOY_VERSION)/envoy .cache/istio-demo.tgz
	tests/tools/demo target/debug/boshy .cache/istio-demo.tgz

release: ## Make the BOSH release in releases/istio/; ENVOY=FILE puts another Envoy in, SOURCE=1 compiles on BOSH (docs/releasing.md)
	@$(INSTALL) build bosh-cli $(if $(SOURCE),,zig) $(if $(filter command line,$(origin ENVOY)),,envoy-$(ENVOY_VERSION))
	boshy=$$(tests/tools/release-$(if $(SOURCE),sources,binary)) && \
	  tests/tools/release "$$boshy" "$(ENVOY)" releases/istio/istio-$(VERSION).tgz $(VERSION)
	@ls -l releases/istio/istio-$(VERSION).tgz

release-from-source: ## Compile the release's source package as BOSH does, without a network
	@$(INSTALL) build
	tests/tools/source-package

test: ## Run every test: units, properties, actors, namespaces, real Envoys 1.40 and 1.36, fuzz targets
	@$(INSTALL) build lab programs fuzz ruby bosh-cli istio-peer envoy-$(ENVOY_VERSION) envoy-1.36.4
	tests/tools/test

chaos: ## Faults drawn from a seed for as long as told (SEED, MINUTES, ONLY, OPERATIONS), and three pilots in trouble
	@$(INSTALL) build lab ruby bosh-cli envoy-$(ENVOY_VERSION)
	cargo build --locked
	BOSHY_BIN=$(CURDIR)/target/debug/boshy BOSHY_ENVOY=$(CURDIR)/$(ENVOY) \
	  BOSHY_BOSH=$$(realpath .cache/bosh-*/bosh) BOSHY_CHAOS_SEED=$(SEED) BOSHY_CHAOS_MINUTES=$(MINUTES) \
	  BOSHY_CHAOS_ONLY="$(ONLY)" BOSHY_CHAOS_OPERATIONS="$(OPERATIONS)" \
	  cargo test --locked --workspace --features boshy-tests/lab --test lab -- \
	  --ignored --nocapture --test-threads 1

check: ## Format, lints, docs, dependency rules, licences, no circles between files; warnings are errors
	@$(INSTALL) build deny
	cargo fmt --all --check
	cd tests/fuzz && cargo fmt --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	cargo clippy --package boshy --no-default-features --bin boshy --locked -- -D warnings
	cd tests/fuzz && cargo check --locked --bins --target-dir ../../target
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	cargo deny --locked --workspace check bans licenses sources
	cargo run --quiet --locked --package boshy-circles

advisories: ## Compare Cargo.lock with RustSec's advisories; fetches their database from github.com
	@$(INSTALL) build deny
	cargo deny --locked --workspace check advisories

bench: ## Measure beside named peers: DNS, time from change to acceptance, memory, mutual TLS, certificates, rules, restarts
	@$(INSTALL) build lab bench bosh-cli envoy-$(ENVOY_VERSION)
	tests/tools/bench .cache/envoy-$(ENVOY_VERSION)/envoy

bench-scale: ## Measure what many agents cost a pilot, or PILOTS=3 one of which is killed (PROXIES, SERVICES, ROUNDS, AGAINST, PLAINTEXT, UNCOMPRESSED)
	@$(INSTALL) build lab
	cargo build --release --locked --package boshy --no-default-features --bin boshy
	cargo build --release --locked --package boshy-fleet
	target/release/boshy-fleet --proxies $(PROXIES) --services $(SERVICES) --pilots $(PILOTS) --rounds $(ROUNDS) \
	  $(if $(AGAINST),--against $(AGAINST)) $(if $(PLAINTEXT),--plaintext) $(if $(UNCOMPRESSED),--uncompressed)

clean: ## Remove what was built and downloaded
	cargo clean
	rm -rf .cache releases
