# `make run` needs a Rust toolchain and a C compiler; `make test` also Node with npm, Python, and apt.

.DEFAULT_GOAL := help
.PHONY: help run run-cluster dev vendor check test test-long test-night
.PHONY: test-rust test-compat test-record test-protocols test-browser test-media test-restart
.PHONY: test-attacks test-cluster test-soak test-soak-cluster test-drops test-browser-long test-media-long test-schemathesis test-bench test-release
.PHONY: test-call test-beside-call test-browser-beside-call
.PHONY: soak soak-cluster drops drops-cluster call fuzz sim test-sim bench bench-quick bench-media bench-cluster bench-instructions bench-record bench-build
.PHONY: dist test-dist test-packages
.PHONY: program program-release python headless-shell cargo-deny cargo-fuzz

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
APT := $(SUDO) apt-get update -qq && $(SUDO) apt-get install -yqq --no-install-recommends
CHROMIUM ?= /usr/bin/chromium
FIREFOX ?= /usr/bin/firefox-esr
TURNSERVER ?= /usr/bin/turnserver
REDIS := /usr/bin/redis-server
NGINX := /usr/sbin/nginx
HAPROXY := /usr/sbin/haproxy
NPM_CI := npm ci --include=dev --no-audit --no-fund --loglevel=error
FUZZ_TARGETS ?= $(basename $(notdir $(wildcard fuzz/fuzz_targets/*.rs)))
FUZZ_SECONDS ?= 60
# More units than one: compiling takes longer than fuzzing in most runs.
FUZZ_FLAGS ?= --sanitizer none --codegen-units 16
# The allocator of releases takes minutes to build, and is not needed for trying and testing.
QUICK := --locked --no-default-features
BENCH := target/release/parlor-bench
MATCHBOX := target/matchbox/bin/matchbox_server
# Without cargo-nextest, `cargo test` is used. Most tests wait more than they compute.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)
ifeq ($(NEXTEST),yes)
RUST_TESTS := cargo nextest run $(QUICK) --workspace
ALONE := --test-threads 1 -E 'test(attacks::)'
SIMULATION := --no-capture -E 'test(cluster_sim::)'
FAULTS := -E 'test(cluster_faults::)'
else
RUST_TESTS := cargo test $(QUICK) --workspace --no-fail-fast --
ALONE := --test-threads 1 attacks::
SIMULATION := --nocapture cluster_sim::
FAULTS := cluster_faults::
endif

help:
	@echo 'make run         build, serve everything on port 4000'
	@echo 'make run-cluster the same as three nodes, with Redis and nginx (BALANCER=haproxy: HAProxy)'
	@echo 'make dev         the same, rebuilt and restarted on each change'
	@echo 'make check       format, lints, docs, licences'
	@echo 'make test        install the requirements of the tests, run them: some minutes'
	@echo 'make test-long   soak, drops, attacks under latency bounds, instruction counts: 20 minutes'
	@echo 'make test-night  the same for hours'
	@echo 'make dist        build the release files: archive, Debian package, SBOM, checksums'
	@echo 'make bench       compare with other servers, write docs/performance.md (bench-media, bench-cluster: a part)'
	@echo 'make fuzz        each fuzz target for a minute'
	@echo 'make sim         random seeds of the simulated cluster for an hour'

run:
	cargo run --profile quick $(QUICK)

run-cluster: $(REDIS) $(if $(filter haproxy,$(BALANCER)),$(HAPROXY),$(NGINX))
	cargo build --profile quick $(QUICK)
	scripts/run-cluster target/quick/parlor

dev:
	@command -v inotifywait >/dev/null || { $(APT) inotify-tools; }
	scripts/dev

# The bundles of the demo and of other packages that pages load: committed, so that a build needs no Node.
vendor: client-demo/node_modules
	node scripts/vendor.mjs

# The docs are for contributors: private items are documented, and may be linked.
check: cargo-deny
	cargo fmt --all --check
	cargo clippy $(QUICK) --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' \
		cargo doc $(QUICK) --workspace --no-deps --document-private-items
	scripts/check-dependencies

# Programs and packages first, so that suites that run side by side do not install or build at the same time.
test: program python headless-shell $(FIREFOX) $(TURNSERVER) $(REDIS) /usr/bin/certutil \
		client-demo/node_modules tests/browser/node_modules tests/compat/node_modules tests/media/node_modules \
		tests/record/node_modules tests/drops/node_modules
	scripts/suites test-rust test-compat,test-record,test-protocols,test-media,test-restart test-browser

test-long: program program-release python headless-shell $(FIREFOX) $(TURNSERVER) $(REDIS) $(NGINX) $(HAPROXY) /usr/bin/certutil /usr/bin/valgrind \
		client-demo/node_modules tests/browser/node_modules tests/drops/node_modules tests/media/node_modules
	scripts/suites test-attacks test-media-long,test-sim,test-cluster test-soak,test-soak-cluster,test-drops test-browser-long,test-schemathesis test-call,test-beside-call

test-night: program program-release client-demo/node_modules tests/browser/node_modules headless-shell $(REDIS)
	scripts/suites soak soak-cluster drops drops-cluster sim call fuzz

# A call of four pages for an hour; `make test-long` has one of five minutes.
call: program client-demo/node_modules tests/browser/node_modules headless-shell
	cd tests/browser && CALL_MINUTES=60 CHROMIUM_BIN=$(CHROMIUM) node ../run.mjs --long --limit 4500 long-call.long.test.js

test-call: program client-demo/node_modules tests/browser/node_modules headless-shell
	CALL_MINUTES=$${CALL_MINUTES:-5} CHROMIUM_BIN=$(CHROMIUM) npm run test:call --prefix tests/browser

# Suites without time bounds, during the call. With a lower priority, since each video of the call needs a frame in each second.
test-beside-call:
	nice -n 15 scripts/suites test-packages test-bench test-release test-browser-beside-call

test-browser-beside-call: program client-demo/node_modules tests/browser/node_modules headless-shell $(FIREFOX) $(TURNSERVER)
	CHROMIUM_BIN=$(CHROMIUM) FIREFOX_BIN=$(FIREFOX) TURNSERVER_BIN=$(TURNSERVER) npm run test:beside-call --prefix tests/browser

test-rust: $(REDIS)
	$(RUST_TESTS)

# Latency bounds for the calls of other clients during each attack, which need an idle machine.
test-attacks:
	PARLOR_TEST_LATENCY=1 $(RUST_TESTS) $(ALONE)

test-compat: program client-demo/node_modules tests/compat/node_modules python $(REDIS)
	npm test --prefix tests/compat

# Profiles inferred from servers of six families.
test-record: program tests/record/node_modules /usr/bin/certutil
	npm test --prefix tests/record

test-protocols: program python
	python3 tests/protocols/run.py

test-browser: program client-demo/node_modules tests/browser/node_modules headless-shell $(FIREFOX) $(TURNSERVER) /usr/bin/certutil
	CHROMIUM_BIN=$(CHROMIUM) FIREFOX_BIN=$(FIREFOX) TURNSERVER_BIN=$(TURNSERVER) npm test --prefix tests/browser

test-media: program tests/media/node_modules python
	npm test --prefix tests/media

# All versions of mediasoup-client.
test-media-long: program tests/media/node_modules
	npm run test:long --prefix tests/media

# A dozen calls with drops, and a restart of two nodes.
test-restart: program tests/drops/node_modules python
	npm test --prefix tests/drops

# All faults of the engine, of nodes and of connections.
test-cluster: $(REDIS)
	PARLOR_FAULTS=long $(RUST_TESTS) $(FAULTS)

test-browser-long: program client-demo/node_modules tests/browser/node_modules headless-shell $(FIREFOX) $(TURNSERVER) /usr/bin/certutil $(REDIS) $(NGINX) $(HAPROXY)
	CHROMIUM_BIN=$(CHROMIUM) FIREFOX_BIN=$(FIREFOX) TURNSERVER_BIN=$(TURNSERVER) npm run test:long --prefix tests/browser

test-schemathesis: program python
	python3 tests/protocols/run.py --long

# Some seeds of the simulated cluster, always the same, so that a failure is that of a change, and those that have failed once; `make sim`
# has random ones. See tests/it/cluster_sim.rs.
test-sim:
	PARLOR_SIM_FIRST=1 PARLOR_SIM_SEEDS=200 $(RUST_TESTS) $(SIMULATION)

sim:
	PARLOR_SIM_SECONDS=3600 $(RUST_TESTS) $(SIMULATION)

test-soak: program-release
	target/release/parlor-soak --minutes 2

# Three nodes, with a rolling restart each minute.
test-soak-cluster: program-release $(REDIS)
	target/release/parlor-soak --minutes 2 --cluster

soak: program-release
	target/release/parlor-soak --minutes 20

soak-cluster: program-release $(REDIS)
	target/release/parlor-soak --minutes 10 --cluster

test-drops: program-release tests/drops/node_modules python $(REDIS)
	PARLOR_BIN=target/release/parlor npm run test:long --prefix tests/drops

drops: program-release tests/drops/node_modules python
	PARLOR_BIN=target/release/parlor npm run drops --prefix tests/drops

# A thousand calls over three nodes, which fail as well.
drops-cluster: program-release tests/drops/node_modules $(REDIS)
	PARLOR_BIN=target/release/parlor npm run drops:cluster --prefix tests/drops

# Instructions are counted: the one figure that is the same on a busy machine.
test-bench: bench-instructions

bench: bench-build benches/peers/node_modules $(MATCHBOX)
	$(BENCH) run
	$(BENCH) report

bench-quick: bench-build benches/peers/node_modules $(MATCHBOX)
	$(BENCH) run --quick --results target/bench-quick.json
	$(BENCH) targets --results target/bench-quick.json

# Only the SFU: rewrites its section of the page.
bench-media: bench-build
	$(BENCH) run --works media --results target/bench-media.json
	$(BENCH) report --results target/bench-media.json
	$(BENCH) targets --results target/bench-media.json

# Two and three nodes and a Redis beside one server alone: only their part of the page is rewritten.
bench-cluster: bench-build $(REDIS)
	$(BENCH) cluster

bench-instructions: bench-build /usr/bin/valgrind
	$(BENCH) instructions

bench-record: bench-build /usr/bin/valgrind
	$(BENCH) instructions --record

bench-build: program-release

# Archive, Debian package, SBOM and checksums, in target/dist.
dist:
	scripts/dist

# Needs root, since it installs the package.
test-dist:
	node tests/run.mjs tests/release/dist.test.js

# The client packages, installed from their files into empty projects.
test-packages: program python client-demo/node_modules tests/browser/node_modules headless-shell
	CHROMIUM_BIN=$(CHROMIUM) npm test --prefix tests/packages

# Together with the tests, which need the same dependencies with more features: otherwise they would be built twice.
program:
	cargo build $(QUICK) --workspace --bins --tests

program-release:
	cargo build --release --locked --workspace --bins

$(MATCHBOX):
	cargo install matchbox_server --version 0.15.0 --locked --root target/matchbox --target-dir target/matchbox/build

# Properties of the release binary, such as its allocator.
test-release: program-release
	PARLOR_BIN=target/release/parlor node tests/run.mjs tests/release/release.test.js

# New inputs; `make test` replays those that were found. A stable toolchain is enough if it may use the compiler's
# instrumentation.
fuzz: cargo-fuzz
	fuzz/seeds
	@set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $(FUZZ_FLAGS) $$target fuzz/corpus/$$target $$(ls -d tests/fixtures/corpus/$$target 2>/dev/null) -- \
			-dict=fuzz/protocols.dict -max_len=2048 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1; \
	done

cargo-fuzz:
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz

cargo-deny:
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny

python:
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { $(APT) python3-venv; }

%/node_modules: %/package-lock.json
	cd $* && $(NPM_CI)
	@touch $@

$(CHROMIUM):
	$(APT) chromium

# Saves half of the CPU time of browser tests. Where there is no such package, they use Chromium throughout.
headless-shell: $(CHROMIUM)
	@[ -e /usr/bin/chromium-headless-shell ] || { $(APT) chromium-headless-shell; } || true

$(FIREFOX):
	$(APT) firefox-esr

$(REDIS):
	$(APT) redis-server

$(NGINX):
	$(APT) nginx-light

$(HAPROXY):
	$(APT) haproxy

$(TURNSERVER):
	$(APT) coturn

/usr/bin/valgrind:
	$(APT) valgrind

/usr/bin/certutil:
	$(APT) libnss3-tools openssl
