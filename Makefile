# CephStorage: every task of the house. `make` alone lists them.
#
# All of them work inside ./.venv, which is made here and renewed when a lock file changes. The stamps
# .venv/.made, .venv/.runtime and .venv/.dev remember what is already done.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALL := $(PIP) install --require-hashes -r
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header pyproject.toml

# Memory, crashes, crowds and foreign clients want the machine for themselves: they run after the others, one by one.
SERIAL := $(wildcard $(addprefix tests/e2e/test_,memory.py crash.py cluster.py real_clients.py rolling_restart.py chaos.py))
PYTEST := $(BIN)/pytest -q
# What the tests call besides Python: the real engines, real clients, and what checks the deployment examples.
ENGINES := nginx nginx-cache-purge postgres ceph-mon ceph-osd radosgw
PEERS := nginx nginx-cache-purge varnishd squid traffic_server
PROGRAMS := $(ENGINES) curl openssl chromium wrk ip systemd-analyze rclone s3cmd

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run run-ceph test lint format bench bench-engines bench-index bench-peers lock docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/.runtime ## Start the service on 127.0.0.1:8080 with its data in ./data; Ctrl-C or SIGTERM stops it
	@exec $(BIN)/cephstorage serve

run-ceph: $(VENV)/.dev ## Start Ceph, PostgreSQL, two proxies, a worker and the edge, all below ./data-ceph; Ctrl-C stops them
	@sh scripts/programs.sh $(ENGINES)
	@exec $(BIN)/python -m scripts.run_ceph

test: $(VENV)/.dev lint ## Lint, types, import direction and every test
	@sh scripts/programs.sh $(PROGRAMS)
	$(PYTEST) -n 3 --dist worksteal $(addprefix --ignore=,$(SERIAL))
	$(if $(SERIAL),$(PYTEST) $(SERIAL))

lint: $(VENV)/.dev ## Style, types and import direction
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Rewrite the code in the house style
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/.dev ## Measure this machine; BENCH="..." passes arguments on
	@sh scripts/programs.sh wrk
	@exec $(BIN)/python -m bench $(BENCH)

bench-engines: $(VENV)/.dev ## Measure the edge, Ceph and PostgreSQL beside nginx, RGW and SQLite alone
	@sh scripts/programs.sh wrk $(ENGINES)
	$(BIN)/python -m bench.edge
	$(BIN)/python -m bench.ceph
	$(BIN)/python -m bench.database
	$(BIN)/python -m bench.reindex

bench-index: $(VENV)/.dev ## Measure listings, search and writes with 1 M keys on SQLite, 10 M on PostgreSQL, and beside Ceph; BENCH="..." passes arguments on
	@sh scripts/programs.sh $(ENGINES)
	@exec $(BIN)/python -m bench.index $(BENCH)

bench-peers: $(VENV)/.dev ## Measure the mirror beside nginx, Varnish, Squid and Traffic Server; BENCH="..." passes arguments on
	@sh scripts/programs.sh wrk $(PEERS)
	@exec $(BIN)/python -m bench.peers $(BENCH)

lock: $(VENV)/.dev ## Renew the lock files from pyproject.toml; UPGRADE=1 takes the newest releases
	$(COMPILE) $(if $(UPGRADE),--upgrade) --group build --output-file requirements.lock
	$(COMPILE) $(if $(UPGRADE),--upgrade) --group build --group dev --constraint requirements.lock \
		--output-file requirements-dev.lock

docs: $(VENV)/.runtime ## Write the table of settings into the README
	@$(BIN)/python scripts/settings_table.py

clean: ## Remove the virtual environment and every cache; the data stays
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made: scripts/make-venv.sh
	@PYTHON="$(PYTHON)" sh scripts/make-venv.sh $(VENV)
	@touch $@

$(VENV)/.runtime: $(VENV)/.made requirements.lock pyproject.toml
	@echo "Installing what the service needs into $(VENV)" >&2
	@$(INSTALL) requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "Installing what the tests need into $(VENV)" >&2
	@$(INSTALL) requirements-dev.lock
	@touch $@
