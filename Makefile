# make demo   set up and run the main job on the embedded stack
# make demo-fields   the same for six fields on real data: tables, pictures, text, sound, ratings, sequences
# make demo-loop   a drift, its alarm, retrain and canary, a version that is taken back, bad data: the loop acts by itself
# make test   set up and pass the tests
# make check  linters, unit and contract tests that are not slow, no servers: for the everyday; under 3 minutes on two cores
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# Three chains of tests, which wait for servers half of their time, and unit tests, on two cores; tests/conftest.py says
# which runs where.
TOGETHER := -n 4
# The order of tests and of sets and the examples of properties are drawn by a number below 2^32, so that a red run can
# be run again as it was, and a green commit stays green; SEED=n is another one.
SEED ?= 103618810
PYTEST := PYTHONHASHSEED=$(SEED) $(BIN)/python -m pytest
DRAWN := --randomly-seed=$(SEED) --hypothesis-seed=$(SEED)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# A lock is complete, so nothing is resolved, and its parts go in side by side: none replaces what is there. What is
# imported is compiled beforehand, on all cores, and Ratchet too, since many images let no process keep what it compiled;
# but not what nobody here imports: tests of packages, and packages whose code is a program or a service of its own.
# (Some files are of no use to Python 3.11.)
NEVER_IMPORTED = /tests?/|/(apprise|databricks|fontTools|moto|mypy|mypyc|pip|playwright|schemathesis|setuptools|torch/testing)/
define INSTALL
	test -x $(BIN)/python || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip uninstall --quiet --yes setuptools; }
	sed '/^ *\(#\|$$\)/d' $(1) | xargs -P 2 -n 60 $(BIN)/python -m pip install --quiet --no-deps --no-compile
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(BIN)/python -m compileall -qq -j 0 -x '$(NEVER_IMPORTED)' $(VENV)/lib flows tasks models infra || true
endef

.PHONY: demo demo-fields demo-loop test test-full suite check everyday lint install install-test clean

# A stamp per set of locks: unchanged ones install nothing.
$(VENV)/.core-installed: requirements.lock pyproject.toml
	$(call INSTALL,requirements.lock)
	touch $@

$(VENV)/.test-installed: requirements.lock requirements-test.lock pyproject.toml
	$(call INSTALL,requirements.lock requirements-test.lock)
	touch $(VENV)/.core-installed $@

install: $(VENV)/.core-installed
install-test: $(VENV)/.test-installed

demo: install
	$(BIN)/ratchet demo

# Six pipelines on real data, which is downloaded by the names of packages; under 12 minutes on two cores.
demo-fields: install
	$(BIN)/ratchet demo --fields

# Under 5 minutes on two cores; DRIFT=none sounds no alarm, PIPELINE=shop is a table as an ordinary export writes it.
demo-loop: install
	$(BIN)/ratchet demo --loop $(if $(PIPELINE),--pipeline $(PIPELINE)) $(if $(DRIFT),--drift $(DRIFT)) $(if $(SEED_OF_LOOP),--seed $(SEED_OF_LOOP))

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The linters run beside the tests.
check: install-test
	+$(MAKE) --no-print-directory --jobs=2 lint everyday

everyday: install-test
	$(PYTEST) tests/unit tests/contract -m "not full and not stack and not slow" -n 2 $(DRAWN)

test: install-test
	+$(MAKE) --no-print-directory --jobs=2 lint suite

suite: install-test
	$(PYTEST) -m "not full" $(TOGETHER) $(DRAWN)

test-full: lint
	$(BIN)/python -m pytest $(TOGETHER)

clean:
	test ! -x $(BIN)/ratchet || $(BIN)/ratchet down
	rm -rf .ratchet $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
