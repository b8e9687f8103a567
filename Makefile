# make setup   what demo and tests need: Debian packages that are missing, and .venv with the command in .venv/bin
# make demo    an emulated board runs the example; one line of it is edited and pushed while it runs
# make test    lint, and all tests
# make lint    ruff and mypy
# make bench   the numbers of docs/DESIGN.md, measured here and now

SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

# command that has to be there: Debian package that brings it
TOOLS := arm-none-eabi-gcc:gcc-arm-none-eabi qemu-system-arm:qemu-system-arm gcc:gcc cmake:cmake git:git
MISSING := $(foreach tool,$(TOOLS),$(if $(shell command -v $(firstword $(subst :, ,$(tool)))),,$(lastword $(subst :, ,$(tool)))))
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

.PHONY: all setup demo test test-fast lint bench clean packages
all: setup

ifeq ($(MISSING),)
packages:
else
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
packages:
	@echo "installing: $(MISSING)"
	$(SUDO) apt-get update -qq
	$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(MISSING)
endif

setup: packages $(VENV)/.stamp

$(VENV)/.stamp: pyproject.toml | packages
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hotflash needs Python 3.11 or newer; say which: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -e '.[dev]'
	touch $@

demo: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python examples/demo.py

test: setup lint
	$(BIN)/python -m pytest -q -n $(JOBS)

test-fast: setup
	$(BIN)/python -m pytest -q -n $(JOBS) tests/unit tests/link

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench

clean:
	rm -rf build .hotflash examples/*/build examples/*/*/build
