# `make run` and `make test` do everything on a machine with a Rust toolchain, Node with npm, and apt.

.DEFAULT_GOAL := help
.PHONY: help run dev check test test-rust test-compat test-wires test-browser test-media test-soak soak fuzz venv cargo-fuzz
.PHONY: test-drops drops test-bench bench bench-quick bench-media bench-instructions bench-record bench-build

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CHROMIUM ?= /usr/bin/chromium
TURNSERVER ?= /usr/bin/turnserver
NPM_CI := npm ci --include=dev --no-audit --no-fund --loglevel=error
FUZZ_TARGETS ?= socketio envelope topic session rooms history
FUZZ_SECONDS ?= 60
FUZZ_FLAGS ?= --sanitizer none
BENCH_CARGO := --locked -p parlor-bench
BENCH := target/release/parlor-bench
MATCHBOX := target/matchbox/bin/matchbox_server

help:
	@echo 'make run    install what the demo needs, build, serve everything on port 4000'
	@echo 'make dev    the same, built again and restarted on each change'
	@echo 'make check  format, lints, docs'
	@echo 'make test   install what the tests need, run all of them'
	@echo 'make soak   twenty minutes of mixed traffic, and what is left of it'
	@echo 'make drops  a thousand calls over lines that drop, and restarts under two hundred'
	@echo 'make bench  twenty minutes beside other servers, into docs/performance.md'
	@echo 'make fuzz   feed the decoders, the rooms and histories anything, for a minute each'

run: client-demo/node_modules
	cargo run --profile quick --no-default-features --locked

dev: client-demo/node_modules
	@command -v inotifywait >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -yqq inotify-tools; }
	scripts/dev

# The docs are for those who change the code: private items are in them, and may be linked.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	cargo clippy $(BENCH_CARGO) --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items

# What mostly waits runs beside something else of that kind. Its output stays together.
test: test-rust
	$(MAKE) --jobs=2 --output-sync=target test-compat test-wires
	$(MAKE) test-browser
	$(MAKE) test-media
	$(MAKE) --jobs=2 --output-sync=target test-soak test-drops

# The attacks one after the other: under each of them others must be served as if nothing were.
test-rust: client-demo/node_modules
	cargo test --locked -- --skip attacks::
	cargo test --locked --test it attacks:: -- --test-threads=1

test-compat: client-demo/node_modules tests/compat/node_modules target/debug/parlor venv
	npm test --prefix tests/compat

test-wires: target/debug/parlor venv
	python3 tests/wires/run.py

# A minute of what `make soak` does for longer. The example runs the program beside it.
test-soak: target/debug/parlor
	cargo build --locked --example soak
	target/debug/examples/soak --minutes 1

soak:
	cargo build --release --locked --bin parlor --example soak
	target/release/examples/soak --minutes 20

# Some of what `make drops` does, within a minute.
test-drops: target/debug/parlor tests/drops/node_modules venv
	npm test --prefix tests/drops

drops: tests/drops/node_modules venv
	cargo build --release --locked --bin parlor
	PARLOR_BIN=target/release/parlor npm run drops --prefix tests/drops

# What measures is tested, and instructions are counted: the one figure that is the same on a busy machine.
test-bench: bench-instructions
	cargo test $(BENCH_CARGO) --release

bench: bench-build benches/peers/node_modules $(MATCHBOX)
	$(BENCH) run
	$(BENCH) report

bench-quick: bench-build benches/peers/node_modules $(MATCHBOX)
	$(BENCH) run --quick --results target/bench-quick.json
	$(BENCH) targets --results target/bench-quick.json

# Of all that `make bench` measures, the media server alone: its part of the page is written anew, the rest stays.
bench-media: bench-build
	$(BENCH) run --works media --results target/bench-media.json
	$(BENCH) report --results target/bench-media.json
	$(BENCH) targets --results target/bench-media.json

bench-instructions: bench-build /usr/bin/valgrind
	$(BENCH) instructions

bench-record: bench-build /usr/bin/valgrind
	$(BENCH) instructions --record

bench-build:
	cargo build --release --locked --bin parlor
	cargo build --release $(BENCH_CARGO)

$(MATCHBOX):
	cargo install matchbox_server --version 0.15.0 --locked --root target/matchbox --target-dir target/matchbox/build

venv:
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -yqq python3-venv; }

test-browser: client-demo/node_modules tests/browser/node_modules target/debug/parlor $(CHROMIUM) $(TURNSERVER) /usr/bin/certutil
	CHROMIUM_BIN=$(CHROMIUM) TURNSERVER_BIN=$(TURNSERVER) npm test --prefix tests/browser

test-media: target/debug/parlor tests/media/node_modules
	npm test --prefix tests/media

.PHONY: target/debug/parlor
target/debug/parlor:
	cargo build --locked

# A stable toolchain does, if it is told to take the compiler's instrumentation for what it is.
fuzz: cargo-fuzz
	fuzz/seeds
	@set -e; for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target; \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $(FUZZ_FLAGS) $$target fuzz/corpus/$$target tests/fixtures/corpus/$$target -- \
			-dict=fuzz/wires.dict -max_len=2048 -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1; \
	done

cargo-fuzz:
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz

%/node_modules: %/package-lock.json
	cd $* && $(NPM_CI)
	@touch $@

/usr/bin/valgrind:
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends valgrind

/usr/bin/certutil:
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends libnss3-tools openssl

$(CHROMIUM):
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends chromium

$(TURNSERVER):
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends coturn
