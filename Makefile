# `make run` and `make test` do everything on a machine with a Rust toolchain, Node with npm, and apt.

.DEFAULT_GOAL := help
.PHONY: help run dev check test test-rust test-compat test-wires test-browser test-drops test-soak drops soak fuzz venv cargo-fuzz

SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CHROMIUM ?= /usr/bin/chromium
TURNSERVER ?= /usr/bin/turnserver
NPM_CI := npm ci --no-audit --no-fund --loglevel=error
FUZZ_TARGETS ?= socketio envelope topic session rooms
FUZZ_SECONDS ?= 60
FUZZ_FLAGS ?= --sanitizer none

help:
	@echo 'make run    install what the demo needs, build, serve everything on port 4000'
	@echo 'make dev    the same, built again and restarted on each change'
	@echo 'make check  format, lints, docs'
	@echo 'make test   install what the tests need, run all of them'
	@echo 'make drops  a thousand calls over lines that drop, and restarts in the midst of two hundred'
	@echo 'make soak   twenty minutes of mixed traffic, and what is left of it'
	@echo 'make fuzz   feed the decoders and the rooms anything, for a minute each'

run: client-demo/node_modules
	cargo run --release --locked

dev: client-demo/node_modules
	@command -v inotifywait >/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -yqq inotify-tools; }
	scripts/dev

# The docs are for those who change the code: private items are in them, and may be linked.
check:
	cargo fmt --check
	cargo clippy --locked --all-targets -- --deny warnings
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' cargo doc --locked --no-deps --document-private-items

test: test-rust test-compat test-wires test-browser test-drops test-soak

# The attacks one after the other: under each of them others must be served as if nothing were.
test-rust: client-demo/node_modules
	cargo test --locked -- --skip attacks::
	cargo test --locked --test it attacks:: -- --test-threads=1

test-compat: client-demo/node_modules tests/compat/node_modules target/debug/parlor venv
	npm test --prefix tests/compat

test-wires: target/debug/parlor venv
	python3 tests/wires/run.py

# Some of what `make drops` does, within a minute.
test-drops: tests/drops/node_modules target/debug/parlor venv
	npm test --prefix tests/drops

drops: tests/drops/node_modules venv
	cargo build --release --locked --bin parlor
	PARLOR_BIN=target/release/parlor npm run drops --prefix tests/drops

# A minute of what `make soak` does for longer. The example runs the program beside it.
test-soak: target/debug/parlor
	cargo build --locked --example soak
	target/debug/examples/soak --minutes 1

soak:
	cargo build --release --locked --bin parlor --example soak
	target/release/examples/soak --minutes 20

venv:
	@python3 -c 'import venv, ensurepip' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -yqq python3-venv; }

test-browser: client-demo/node_modules tests/browser/node_modules target/debug/parlor $(CHROMIUM) $(TURNSERVER) /usr/bin/certutil
	CHROMIUM_BIN=$(CHROMIUM) TURNSERVER_BIN=$(TURNSERVER) npm test --prefix tests/browser

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

/usr/bin/certutil:
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends libnss3-tools openssl

$(CHROMIUM):
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends chromium

$(TURNSERVER):
	$(SUDO) apt-get update -qq
	$(SUDO) apt-get install -yqq --no-install-recommends coturn
