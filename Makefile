# make setup   what demo and tests need: Debian packages that are missing, and .venv with the command in .venv/bin
#              (the demo alone needs fewer packages, and installs no more)
# make demo    an emulated board runs the example; one line of it is edited and pushed while it runs
# make test    lint, and all tests
# make test-link-all  every object of the toolchain's libraries, linked here and by GNU ld: the long run
# make test-roundtrip-all   hundreds of generated programs, edited while they run (ROUNDTRIPS=600 SEED=1)
# make soak    pushes into an application that is in the way of all of them: the long run (PUSHES=100000 SEED=1)
# make soak-mutants  the same on bootloaders that lack one check each: all must be caught
# make cut-all  a push to an emulated board, cut at each byte of its stream in three ways
# make lossy   a thousand pushes over bad lines
# make fuzz-monitor  the monitor's requests under clang's libFuzzer: 10 million inputs or an hour (SECONDS=3600)
# make test-types-all   the table of changes to types, for both compilers at all levels (SEED=1)
# make lint    ruff and mypy
# make fuzz    100,000 hostile objects, ELF, index, journal and settings files, guided by coverage (Atheris);
#              COUNT=... SEED=... say otherwise; what reaches more is kept in tests/hostile/corpus
# make bench   the numbers of docs/DESIGN.md, measured here and now

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

# command that has to be there: Debian package that brings it; the demo needs less than the tests do
TOOLS := arm-none-eabi-gcc:gcc-arm-none-eabi qemu-system-arm:qemu-system-arm
TEST_TOOLS := gcc:gcc cmake:cmake git:git clang-19:clang-19
# file that has to be there: Debian package that brings it; the linker is compared on these libraries' objects
TEST_FILES := /usr/lib/picolibc/arm-none-eabi/lib/libc.a:picolibc-arm-none-eabi \
	/usr/lib/arm-none-eabi/lib/libstdc++.a:libstdc++-arm-none-eabi-newlib
missing = $(foreach tool,$(1),$(if $(shell command -v $(firstword $(subst :, ,$(tool)))),,$(lastword $(subst :, ,$(tool)))))
MISSING := $(call missing,$(TOOLS))
ifneq ($(shell command -v arm-none-eabi-gcc),)
ifeq ($(wildcard $(shell arm-none-eabi-gcc -print-file-name=libc_nano.a)),)
MISSING += libnewlib-arm-none-eabi
endif
else
MISSING += libnewlib-arm-none-eabi
endif
ifneq ($(shell $(PYTHON) -c 'import ensurepip, venv' 2>&1),)
MISSING += python3-venv
endif
MISSING := $(strip $(MISSING))
absent = $(foreach file,$(1),$(if $(wildcard $(firstword $(subst :, ,$(file)))),,$(lastword $(subst :, ,$(file)))))
TEST_MISSING := $(strip $(MISSING) $(call missing,$(TEST_TOOLS)) $(call absent,$(TEST_FILES)) $(if $(wildcard /usr/include/stdio.h),,libc6-dev))

ROUNDTRIPS ?= 600
SEED ?= 1
PUSHES ?= 100000
RUNS ?= 10000000
SECONDS ?= 3600

.PHONY: soak soak-mutants cut-all lossy fuzz-monitor
.PHONY: fuzz all setup demo demo-setup test test-fast test-link-all test-roundtrip-all test-types-all lint bench clean packages test-packages
all: setup

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
define install
@echo "installing: $(1)"
$(SUDO) apt-get update -qq
$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1)
endef
packages:
	$(if $(MISSING),$(call install,$(MISSING)))
test-packages:
	$(if $(TEST_MISSING),$(call install,$(TEST_MISSING)))

demo-setup: packages $(VENV)/.stamp
setup: test-packages $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml | $(if $(filter demo demo-setup,$(MAKECMDGOALS)),packages,test-packages)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hotflash needs Python 3.11 or newer; say which: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --use-pep517 -e '.[dev]'
	touch $@

demo: demo-setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py

test: setup lint
	$(BIN)/python -m pytest -q -n $(JOBS)

test-fast: setup
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit tests/link

test-link-all: setup
	$(BIN)/python -m tests.link.all_objects --jobs $(JOBS)

test-roundtrip-all: setup
	@echo "seed $(SEED), $(ROUNDTRIPS) programs"
	HOTFLASH_SEED=$(SEED) HOTFLASH_ROUNDTRIPS=$(ROUNDTRIPS) $(BIN)/python -m pytest -q -n $(JOBS) \
		tests/link/test_roundtrip.py

test-types-all: setup
	HOTFLASH_TYPES=all $(BIN)/python -m pytest -q -n $(JOBS) tests/types/test_table.py

soak: setup
	$(BIN)/python -m tests.soak.run --pushes $(PUSHES) --seed $(SEED)

soak-mutants: setup
	$(BIN)/python -m tests.soak.run --mutants --seed $(SEED)

cut-all: setup
	$(BIN)/python -m tests.soak.cut

lossy: setup
	HOTFLASH_LOSSY=1000 $(BIN)/python -m pytest -q -n $(JOBS) tests/monitor/test_lossy.py

fuzz-monitor: setup
	$(if $(wildcard /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-*),,$(call install,libclang-rt-19-dev))
	$(BIN)/python -m tests.monitor.guided --runs $(RUNS) --seconds $(SECONDS) --seed $(SEED) --jobs $(JOBS) --keep

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

fuzz: setup
	$(BIN)/python -c 'import atheris' 2>/dev/null || \
		$(BIN)/python -m pip install -q --disable-pip-version-check --use-pep517 -e '.[fuzz]'
	$(BIN)/python -m tests.hostile.guided --count $(or $(COUNT),100000) --seed $(SEED) --keep

bench: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench

clean:
	rm -rf build .hotflash examples/*/build examples/*/*/build
