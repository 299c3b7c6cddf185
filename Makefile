# `make run` and `make test` are all that a new user needs; each makes its own .venv first.
PYTHON  ?= python3
VENV    ?= .venv
BIN     := $(VENV)/bin
PACKAGES := sip capture index diagnose alerts tui api siptrail
# Captures to play in at the start of `make run DEMO=1`.
DEMO_CAPTURES := fixtures/pcaps
RUN_ARGS ?=
TEST_ARGS ?=
JOBS ?= 2
BENCH_ARGS ?=
REQUIRE_ALL ?=
export REQUIRE_ALL

.DEFAULT_GOAL := help
FUZZ_ARGS ?=
.PHONY: help run test check lint fuzz bench bench-live wheel lock clean

help:
	@echo "make run            install into $(VENV) and start the recorder (DEMO=1 plays the example captures in)"
	@echo "make test           run the tests, two at a time (JOBS=4: four); what this machine lacks is skipped"
	@echo "                    (REQUIRE_ALL=1 makes that a failure)"
	@echo "make check          ruff, mypy --strict, the import rules, then the tests"
	@echo "make fuzz           feed every decoder with hostile bytes (FUZZ_ARGS='--seconds 600 frames hep')"
	@echo "make bench          measure against sngrep and tshark (BENCH_ARGS='--messages 100000')"
	@echo "make bench-live     traffic over a veth pair: what siptrail, tcpdump and sngrep lose of it (as root)"
	@echo "make wheel          build dist/*.whl"
	@echo "make lock           write requirements.lock from what is installed in $(VENV)"

# The interpreter is checked before anything is made with it. Each stamp is newer than what it was made from, so
# pip runs again only when a dependency changed; the code itself is installed as a link to this folder.
$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "siptrail needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1): try 'make PYTHON=python3.12 $(or $(MAKECMDGOALS),run)'" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

$(VENV)/.installed: pyproject.toml requirements.lock | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml requirements.lock | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install -q --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@ $(VENV)/.installed

run: $(VENV)/.installed
	$(BIN)/siptrail run $(if $(filter-out 0,$(DEMO)),--demo $(DEMO_CAPTURES)) $(RUN_ARGS)

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(TEST_ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/mypy $(PACKAGES)
	$(BIN)/lint-imports

check: lint test

fuzz: $(VENV)/.installed-dev
	NUMBA_DISABLE_JIT=1 $(BIN)/python -W ignore -m tests.fuzz $(FUZZ_ARGS)
	NUMBA_BOUNDSCHECK=1 NUMBA_CACHE_DIR=.pytest_cache/fuzz $(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

bench-live: $(VENV)/.installed
	$(BIN)/python benchmarks/live.py $(BENCH_ARGS)

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/bench.py $(BENCH_ARGS)

wheel: $(VENV)/.installed-dev
	$(BIN)/python -m hatchling build -t wheel

lock: $(VENV)/.installed-dev
	$(BIN)/python -m pip freeze --exclude-editable --exclude siptrail > requirements.lock

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
