# make demo    installs what is missing, then builds, boots and verifies a real image on this machine
# make test    installs what is missing, then runs the tests, including those on an OpenStack that it starts on this machine;
#              the slowest tests are run by the targets below
# make test-openstack   runs the tests on OpenStack only, including two that make test leaves out: a real Debian that is
#              tried there and on this host at once, and names that go to other images while clients ask for them
# make test-distributions   builds, boots and checks each distribution that can be had here, and prints a table; then runs the
#              builds of a real Debian that make test leaves out: some that fail, and one from a repository with a password
# make test-api   has schemathesis make up requests to /api/v1 for an hour, or API_SECONDS; make test asks the fixed cases
# make test-package   installs the Debian package in a fresh Debian, uses, upgrades and purges it, and runs lintian
# make test-readme   does in a fresh Debian what README.md says, word by word
# make test-reproducible   builds again in another directory: the programs and the package must be identical, byte for byte
# make canaries   tries real images with one fault each, and good ones; counts false passes, false failures and wrong reasons
# make torture kills the manager at every commit of builds and of changes to published images, on this host and, where it
#              runs, on OpenStack
# make life    runs a week of schedules in ten minutes, with kills and faults
# make bench   measures with a history of a million builds: how fast each verb, RPC and page answers, what an idle manager takes,
#              and how long an old history takes to be opened. BENCH_BASELINE=PATH compares with another image-manager
# make bench-road   runs the whole life cycle and the script that teams write in turn, on the testbed's OpenStack, and compares
# make bench-agent   measures the agent in a real Debian: its file, its memory, and its processor time as instructions that QEMU
#              counts, beside their limits
# make fuzz    runs each fuzz target for FUZZ_SECONDS (60)
# make screenshots   takes a picture of every page at three widths, light and dark, in target/tmp, and renews docs/images
# make check   runs what every commit must pass: format, lints, unit tests, documents, protos, alerts, elements
# make lint    does the same without the tests
# make docs    regenerates docs/protocol.md from the comments of the .proto files, docs/checks.md from the descriptions of
#              the checks, and the reasons in docs/exit-codes.md
# make agent ARCH=aarch64   builds the agent for images of another architecture, and says what it needs for that
# make install installs what `make agent build` made below PREFIX (/usr/local), with the unit, man pages and completions
# make deb     makes a Debian package of it, in target/debian
#
# Debian 12 or 13, root, make and a Rust toolchain are needed. What is already installed is left as it is.

HOST   := $(shell rustc -vV | sed -n 's/^host: //p')
AGENT  := target/$(HOST)/agent/image-manager-agent
# Of the agent.
ARCH   ?= $(firstword $(subst -, ,$(HOST)))
STATE  ?= state
PREFIX ?= /usr/local
# With nextest each test has a process and a deadline of its own; cargo's own runner does without them.
TESTER := $(shell cargo nextest --version >/dev/null 2>&1 && echo nextest run || echo test)

.PHONY: help demo test test-openstack test-distributions test-api test-package test-readme test-reproducible canaries torture life bench bench-road bench-agent fuzz check lint clippy docs screenshots install deb agent build install-build install-test

help:
	@sed -n '/^#$$/q; s/^# //p' Makefile

demo: install-build agent build
	./target/release/image-manager --version
	./target/release/image-manager doctor --state $(STATE)
	./target/release/image-manager run debian --state $(STATE)
	./target/release/image-manager show debian --details --state $(STATE)

install-build:
	setup/install build

# Where checkout, crates and toolchain lie stays out of the programs: two checkouts make the same bytes
# (`make test-reproducible`). The last prefix that fits counts. Cargo leaves flags with a remapped prefix out of the names of
# its directories, which are in paths too. GCC gives the assembler only the second kind.
CRATES  := $(or $(CARGO_HOME),$(HOME)/.cargo)
SYSROOT := $(shell rustc --print sysroot)
COMMIT  := $(shell rustc -vV | sed -n 's/^commit-hash: //p')
PATHS   := --remap-path-prefix=$(CURDIR)=. --remap-path-prefix=$(CRATES)=/cargo \
	--remap-path-prefix=$(SYSROOT)/lib/rustlib/src/rust=/rustc/$(COMMIT)
C_PATHS := $(foreach kind,file debug,-f$(kind)-prefix-map=$(CURDIR)=. -f$(kind)-prefix-map=$(CRATES)=/cargo)
RELEASE := RUSTFLAGS="$(PATHS)" CFLAGS="$(C_PATHS)"

install-test:
	setup/install test

# Static, so that it needs nothing in the guest; its own profile, because it travels in every image. SQLite, which reads
# rpm's database, goes without what that does not need: a third of its size.
AGENT_SQLITE := -USQLITE_ENABLE_FTS3 -USQLITE_ENABLE_FTS3_PARENTHESIS -USQLITE_ENABLE_FTS5 -USQLITE_ENABLE_RTREE \
	-USQLITE_ENABLE_DBSTAT_VTAB -USQLITE_ENABLE_STAT4 -USQLITE_ENABLE_LOAD_EXTENSION -USQLITE_SOUNDEX \
	-DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_JSON -DSQLITE_OMIT_DEPRECATED -DSQLITE_OMIT_SHARED_CACHE
# Nothing unwinds in it, for a panic ends it: so it has no index of what could be; and relocations in their short form take a
# tenth of the room.
AGENT_RUSTFLAGS := -C target-feature=+crt-static -C force-unwind-tables=no -C link-arg=-Wl,--no-eh-frame-hdr \
	-C link-arg=-Wl,-z,pack-relative-relocs $(PATHS)
agent:
ifeq ($(subst amd64,x86_64,$(subst arm64,aarch64,$(ARCH))),$(firstword $(subst -, ,$(HOST))))
	RUSTFLAGS="$(AGENT_RUSTFLAGS)" CFLAGS="-fno-asynchronous-unwind-tables $(C_PATHS)" LIBSQLITE3_FLAGS="$(AGENT_SQLITE)" cargo build --profile agent --target $(HOST) -p image-manager-agent
else
	AGENT_RUSTFLAGS="$(AGENT_RUSTFLAGS)" CFLAGS="$(C_PATHS)" LIBSQLITE3_FLAGS="$(AGENT_SQLITE)" setup/agent $(ARCH)
endif

# Stripped: a sixth of the size. What it takes to read a backtrace or a core lies beside it, and is found by gdb.
build:
	$(RELEASE) cargo build --release -p image-manager
	objcopy --only-keep-debug target/release/image-manager target/release/image-manager.debug
	cd target/release && objcopy --strip-all --remove-section=.gnu_debuglink --add-gnu-debuglink=image-manager.debug image-manager image-manager.stripped
	mv target/release/image-manager.stripped target/release/image-manager

docs:
	IMAGE_MANAGER_WRITE_DOCS=1 cargo test -q -p image-manager-proto --test documentation
	IMAGE_MANAGER_WRITE_DOCS=1 cargo test -q -p image-manager --lib the_page_of_checks
	IMAGE_MANAGER_WRITE_DOCS=1 cargo test -q -p image-manager --test pipeline reasons_are_documented

screenshots: install-test agent
	IMAGE_MANAGER_TEST_PICTURES=all cargo test -p image-manager --test browser pages -- --nocapture --test-threads 1
	@ls target/tmp/browser-pages | wc -l

# The program to install; the tests install the one that they test.
PROGRAM ?= target/release/image-manager
install: SHARE = $(DESTDIR)$(PREFIX)/share
install:
	@test -x $(PROGRAM) && test -x $(AGENT) || { echo 'run `make agent build` first' >&2; exit 1; }
	install -D -m 755 $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/image-manager
	install -D -m 644 $(PROGRAM).debug $(DESTDIR)$(PREFIX)/lib/debug$(PREFIX)/bin/image-manager.debug
	for agent in $(AGENT) $(wildcard $(AGENT)-*); do \
		install -D -m 755 $$agent $(DESTDIR)$(PREFIX)/lib/image-manager/$${agent##*/} || exit; \
	done
	mkdir -p $(SHARE)/image-manager $(DESTDIR)/etc/image-manager
	cp -R elements examples $(SHARE)/image-manager/
	rm -rf $(SHARE)/image-manager/control-image && mkdir -p $(SHARE)/image-manager/control-image
	cp -R testbed/tiny-image/build testbed/tiny-image/guest $(SHARE)/image-manager/control-image/
	for firmware in bios uefi; do \
		TINY_FIRMWARE=$$firmware testbed/tiny-image/build -M -o $(SHARE)/image-manager/control-image/made || exit; \
	done
	if command -v aarch64-linux-gnu-gcc >/dev/null; then \
		testbed/tiny-image/build -M -m arm64 -o $(SHARE)/image-manager/control-image/made; \
	fi
	$(PROGRAM) man $(SHARE)/man/man1
	for completions in bash:bash-completion/completions/image-manager zsh:zsh/site-functions/_image-manager \
		fish:fish/vendor_completions.d/image-manager.fish; do \
		script=$(SHARE)/$${completions#*:}; \
		mkdir -p $${script%/*} && $(PROGRAM) completions $${completions%%:*} > $$script && \
		sed -i 's|$(realpath $(PROGRAM))|$(PREFIX)/bin/image-manager|' $$script && \
		grep -q '$(PREFIX)/bin/image-manager' $$script || exit; \
	done
	mkdir -p $(DESTDIR)/etc/systemd/system
	install -D -m 644 packaging/image-manager.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/image-manager.conf
	test -n "$(DESTDIR)" || getent passwd image-manager-qemu >/dev/null || \
		useradd --system --user-group --no-create-home --shell /usr/sbin/nologin image-manager-qemu
	sed 's|/usr/local|$(PREFIX)|' packaging/image-manager.service > $(DESTDIR)/etc/systemd/system/image-manager.service

deb: agent build
	packaging/deb

# Takes 8 GiB in target/ (12 with BENCH_BASELINE), and some minutes for the old history, which later runs of the day use
# again. BENCH_BUILDS makes another one.
bench:
	$(RELEASE) cargo bench -p image-manager --bench million

bench-road: agent build
	testbed/bench/road $(BENCH_ARGUMENTS)

# Some minutes where the canaries' image has to be built, and a quarter of an hour.
bench-agent: agent build
	testbed/agent/measure $(BENCH_ARGUMENTS)

check: lint
	cargo $(TESTER) --workspace --lib --test documentation

clippy:
	cargo clippy --workspace --all-targets -- -D warnings

lint: clippy
	cargo fmt --all --check
	if cargo deny --version >/dev/null 2>&1; then cargo deny --offline check licenses bans sources; fi
	proto/check
	monitoring/check
	elements/check
	testbed/canaries/run --test
	testbed/agent/measure --test
	testbed/readme/walk --list >/dev/null
	grep -rlIE '^#!/bin/bash' setup testbed fuzz manager/src elements proto monitoring | xargs -n 1 bash -n

# The OpenStack takes some minutes to be installed once, and 6 GiB of memory; IMAGE_MANAGER_TEST_OPENSTACK=0 leaves it out.
test: install-test
	testbed/run

fuzz: install-test
	fuzz/run

test-openstack: install-test
	testbed/run -E 'binary(openstack) | test(on_openstack)'

# Each distribution takes minutes, and a quarter of an hour where QEMU has to emulate on a busy machine.
test-distributions: install-test agent build
	cargo $(TESTER) -p image-manager --test builder --test pipeline -- a_real_debian private_repository debian_passes_thoroughly
	testbed/distributions/run

API_SECONDS ?= 3600
test-api: install-test agent
	IMAGE_MANAGER_TEST_API_SECONDS=$(API_SECONDS) cargo test -p image-manager --test pipeline told_over_http_too -- --nocapture

# Some minutes, and those of a release build.
test-package: install-test agent build
	testbed/debian-package/run

# An hour where QEMU emulates, and 15 GiB. README_ARGUMENTS are those of the program: --target-directory keeps what is compiled.
test-readme: install-test
	testbed/readme/run $(README_ARGUMENTS)

# A whole release build more, and 3 GiB. REPRODUCIBLE_DIRECTORY is kept, and the next run goes on in it.
test-reproducible: agent build
	packaging/reproducible $(REPRODUCIBLE_DIRECTORY)

# About two minutes for each image where QEMU has to emulate: hours for all. CANARIES_ARGUMENTS are those of the program.
canaries: install-test agent build
	testbed/canaries/run $(CANARIES_ARGUMENTS)

# Both say what they did, so their output is shown. Cargo's own runner is enough: one test after the other.
torture: CLOUDS = $(shell testbed/openstack/status >/dev/null 2>&1 && echo $${LAB_STATE:-/var/lib/openstack-lab}/clouds.yaml)
torture: install-test agent
	$(if $(CLOUDS),IMAGE_MANAGER_TEST_CLOUDS=$(CLOUDS)) IMAGE_MANAGER_TEST_TORTURE=all cargo test -p image-manager --test torture killed -- --nocapture --test-threads 1
	$(if $(CLOUDS),IMAGE_MANAGER_TEST_CLOUDS=$(CLOUDS) cargo test -p image-manager --test openstack -- --ignored --nocapture --test-threads 1)

life: install-test agent
	IMAGE_MANAGER_TEST_LIFE=700 cargo test -p image-manager --test torture life -- --nocapture
