# `make run` and `make test` do all the set-up they need; `make help` lists the rest.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# The newest of the interpreters we support that this machine really has.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTEST := $(BIN)/python -m pytest

.PHONY: help setup run test check lint types fuzz-netflow bench bench-allocate bench-collectors bench-netflow bench-peering bench-transition judge-transitions fail-links clean services
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: $(STAMP) ## a .venv in the checkout with neto in it (pip only; quick when nothing changed)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed and none was found" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup: installing into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

run: setup ## an emulated WAN on loopback, with the daemon running it (Ctrl-C ends both)
	@exec $(BIN)/neto lab --with-daemon

services: ## install the real services that some tests run against (Debian, root)
	@tests/services/install.sh

test: setup ## every test but the long ones; installs real services when it can (root on Debian)
	@tests/services/install.sh
	@$(PYTEST) -m 'not bench and not long'

check: lint types ## what every commit leaves green: ruff, mypy --strict, tests
	@$(PYTEST) -q -m 'not bench and not long'

lint: setup ## ruff, rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: setup ## mypy --strict on neto/
	@$(BIN)/mypy

bench: setup ## each benchmark beside its peers; prints ratios measured in one run
	@$(PYTEST) -s -q -m bench tests/bench

bench-allocate: setup ## the allocation beside SWAN, the geometric binner, exact levels and fillers (hours; docs/benchmarks.md)
	@nice $(PYTEST) -s -q -m bench tests/bench/allocation

bench-transition: setup ## transitions beside one-shot, equal parts and K-step programs in HiGHS (an hour; docs/benchmarks.md)
	@nice $(PYTEST) -s -q -m bench tests/bench/transition

judge-transitions: setup ## ten thousand plans replayed in more than a hundred orders each (minutes)
	@$(PYTEST) -s -q -m long tests/controller/test_replayed_plans.py

fail-links: setup ## two hundred links cut in the middle of transitions, in the emulated WAN (an hour)
	@$(PYTEST) -s -q -m long tests/scenarios/test_failures.py

bench-peering: setup ## full tables by BMP and iBGP; the joint decision beside two separate ones and HiGHS (half an hour)
	@nice $(PYTEST) -s -q -m bench tests/bench/peering

bench-netflow: setup ## flows a second of one core beside nfcapd, nfacctd and netflow; loop lag (half an hour)
	@tests/bench/netflow/install.sh
	@$(PYTEST) -s -q -m bench tests/bench/netflow

fuzz-netflow: setup ## ten million damaged flow exports, twice, and what floods cost (an hour)
	@nice $(PYTEST) -s -q -m long tests/agents/monitoring/test_mutations.py

bench-collectors: setup ## what the root of 100 collectors takes of a core, through a real mosquitto
	@$(PYTEST) -s -q -m bench tests/bench/bench_collectors.py

clean: ## forget everything that was made here
	rm -rf $(VENV) state build bench-results *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
