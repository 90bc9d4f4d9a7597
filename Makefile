# Every target makes what it needs, says in one line what it does, and starts in seconds when run again.
# PYTHON   the interpreter of the virtual environment (3.11 to 3.13)
# ARGS     handed to what the target runs: make demo ARGS="--records 1000 --exit", make test ARGS="-k envelope -x"

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Tests hand over what is wrong on purpose, and reach for names where the code under test has them.
TESTS_MAY := --implicit-reexport --no-warn-unused-ignores --allow-untyped-decorators \
  $(foreach code,arg-type assignment comparison-overlap index misc no-any-return str-unpack var-annotated,--disable-error-code $(code))
NOT_KAFKA := -m "not kafka" --ignore=tests/integration -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test check coverage simulation hostile mutants test-kafka test-kafka-full chaos lying bench-quick bench-limits lock clean java

help: ## say what there is to make
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-15s %s\n", $$1, $$2 }'

demo: $(VENV)/.runtime ## two sites and a cloud on this machine: seal, carry, open, compare (ARGS="--records N --input FILE --exit")
	@echo "demo: three embedded brokers, two workers, every record compared"
	@$(BIN)/sealwire demo $(ARGS)

test: $(VENV)/.dev ## all tests that need no Java (ARGS goes to pytest)
	@echo "test: everything but Apache Kafka, on two processes"
	@$(BIN)/python -m pytest $(NOT_KAFKA) $(ARGS)

check: $(VENV)/.dev build/types ## lint, format, types, and who may import whom
	@echo "check: ruff, mypy --strict, import-linter"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { $(BIN)/ruff format --check .; exit 1; }
	@MYPYPATH=build/types $(BIN)/mypy -p sealwire
	@MYPYPATH=build/types $(BIN)/mypy tests/conftest.py
	@for tests in keys agents app house mutants simulation integration chaos bench second_opener; do \
	  ls tests/$$tests/*.py >/dev/null 2>&1 || continue; \
	  MYPYPATH=build/types:tests/$$tests:tests/keys:tests/agents:tests/simulation:tests/integration:tests/chaos:tests/mutants $(BIN)/mypy $(TESTS_MAY) tests/$$tests || exit 1; done
	@$(BIN)/lint-imports --no-logo

coverage: $(VENV)/.dev ## the tests again, with branch coverage; build/coverage/html shows what is bare (slower)
	@echo "coverage: the tests of make test, every branch counted"
	@mkdir -p build/coverage
	@$(BIN)/python -m pytest $(NOT_KAFKA) --cov --cov-report=html:build/coverage/html --cov-report=term $(ARGS)

simulation: $(VENV)/.dev ## a hostile cloud, killed workers and wrong clocks in virtual time (EXAMPLES=20000, SEED=N, DAYS=90 of a time lapse; ARGS goes to pytest)
	@echo "simulation: real sealers and mirrors around a cloud that does its worst"
	@$(if $(SEED),SEED=$(SEED)) $(if $(DAYS),DAYS=$(DAYS)) EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -q -n 2 --dist load -o faulthandler_timeout=3600 tests/simulation $(ARGS)

hostile: $(VENV)/.dev ## a control log that lies in every way, put to the rules of trust (EXAMPLES=20000; 10 CPU minutes)
	@echo "hostile: old, forked, withheld, reordered, duplicated and forged statements of every type"
	@EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -q -n 2 --dist load -o faulthandler_timeout=3600 tests/keys/test_hostile_control.py $(ARGS)

mutants: $(VENV)/.dev ## change each decision on trust, opening and continuity in keys/: does a test fail? (22 CPU minutes; ARGS="keys/cursor.py")
	@echo "mutants: what decides in keys/ is changed, one thing at a time, and put to its tests"
	@$(BIN)/python tests/mutants/mutating.py $(ARGS)

test-kafka: $(VENV)/.dev java ## the same path on Apache Kafka, three clusters (Java 17 and Maven; ARGS goes to pytest)
	@echo "test-kafka: three Kafka clusters, Java's own clients, killed workers"
	@$(BIN)/python -m pytest -m kafka tests/integration $(ARGS)

test-kafka-full: $(VENV)/.dev java ## the matrix of topics whole: every kind by every client (15 minutes; build/matrix.json)
	@echo "test-kafka-full: every kind of topic by Java's client, librdkafka and aiokafka, 10,000 records or 64 MB each"
	@MATRIX=full $(BIN)/python -m pytest -s -m kafka tests/integration/test_kafka_matrix.py $(ARGS)

chaos: $(VENV)/.dev java ## faults by a plan under load, then two logs compared (ARGS="--seed N --minutes M --kills K"; build/chaos)
	@echo "chaos: a load, faults by a plan, quiet; then an independent reader compares source and sink"
	@$(BIN)/python tests/chaos/run.py $(ARGS)

lying: $(VENV)/.dev java ## a mirror whose cloud lies in every frame it likes (ARGS="--seed N --minutes M"; build/lying)
	@echo "lying: a load, a broker that lies half of the time; then an independent reader compares source and sink"
	@$(BIN)/python tests/chaos/lying.py $(ARGS)

bench-quick: $(VENV)/.dev java ## records per CPU second against librdkafka in the same run (3 minutes; build/bench.json)
	@echo "bench-quick: sealing and opening against librdkafka reading the same topic"
	@$(BIN)/python tests/bench/quick.py $(ARGS)

bench-limits: $(VENV)/.dev java ## memory, start, and many source partitions (build/limits.json)
	@echo "bench-limits: memory, time to the first envelope, a thousand source partitions"
	@$(BIN)/python tests/bench/limits.py $(ARGS)

lock: ## choose all dependencies anew, for Python 3.11 to 3.13, with their hashes
	@echo "lock: requirements.lock (to run) and requirements-dev.lock (to work on it)"
	@test -x build/uv/bin/uv || { $(PYTHON) -m venv build/uv && build/uv/bin/python -m pip install --quiet uv; }
	@for each in "requirements.lock --group build" "requirements-dev.lock --group build --group dev"; do \
	  build/uv/bin/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --extra embedded \
	    --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links $(ARGS) -o $$each; done

clean: ## take away all that was made here, the virtual environment too
	@echo "clean: $(VENV), build and caches"
	@rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

java:
	@command -v java >/dev/null || { echo "needs Java 17 or later (java is not on the PATH)" >&2; exit 1; }
	@command -v mvn >/dev/null || { echo "needs Maven (mvn is not on the PATH)" >&2; exit 1; }

$(BIN)/python:
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14) and "needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what requirements.lock names into $(VENV)"
	@$(INSTALL) --require-hashes --no-deps -r requirements.lock
	@$(INSTALL) --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	@echo "installing what requirements-dev.lock names into $(VENV)"
	@$(INSTALL) --require-hashes --no-deps -r requirements-dev.lock
	@touch $@

build/types: Makefile  # mypy does not follow the hook of an editable install: the packages under their names
	@mkdir -p $@/sealwire
	@for package in keys agents app; do ln -sfn ../../../$$package $@/sealwire/$$package; done
	@touch $@
