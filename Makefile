# Everything runs from .venv, made here with pip. `make run` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8000

# Modules are compiled when they are first imported, for all processes that come after. Where the environment forbids it,
# each of the dozen processes of a cluster compiles its own, and a start takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test .clusters .laws fuzz pictures reference mutants simulate lint typecheck format bench bench-accounting bench-synthesis bench-training clean

run: $(VENV)/.service
	@$(BIN)/python -m serve_app.quickstart.run --port $(PORT)

# Laws are tried on fewer examples than by pytest alone. The tests with clusters of their own wait much, and are to be
# disturbed little: beside them, arithmetic that is in no hurry.
test: export HYPOTHESIS_PROFILE = brief
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.dev $(VENV)/.system
	$(BIN)/python -m pytest -q -n 3 --dist worksteal --cov -m "not untraced" tests/unit tests/integration
	@echo "Now those with clusters, and laws beside them: some eight minutes, told at their end"
	@$(MAKE) --no-print-directory --output-sync -j2 .clusters .laws

.clusters:
	$(BIN)/python -m pytest -q tests/acceptance

.laws:
	nice -n 19 $(BIN)/python -m pytest -q -n 2 --dist worksteal -m untraced tests/reference tests/unit

# Schemathesis over the whole interface, for as long as FUZZ_ARGS says.
fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)

# What the documents show of the page, and what they list of the code.
pictures: $(VENV)/.dev $(VENV)/.system
	$(BIN)/python -m tests.web_pictures --docs docs/pictures budget plan proofs

reference: $(VENV)/.dev
	$(BIN)/python -m serve_app.reference docs/reference
	$(BIN)/python -m serve_app.auth.policy > docs/roles.md

# Changes what decides an admission, bit by bit, and prints the changes that no test notices: docs/mutants.md.
mutants: $(VENV)/.dev
	rm -rf mutants
	$(BIN)/mutmut run
	$(BIN)/mutmut results

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

typecheck: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A million client operations with faults on, in virtual time; SIM_ARGS='--first-seed 7 --seeds 1' replays a seed.
simulate: $(VENV)/.dev
	$(BIN)/python -m tests.simulation $(or $(SIM_ARGS),--seeds 1000 --operations 1000)

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

bench-accounting: $(VENV)/.dev
	$(BIN)/python -m benchmarks.accounting $(BENCH_ARGS)

# The census data of 1994 (adult_train.csv, adult_test.csv, as UCI has them) lie in DATA.
bench-synthesis: $(VENV)/.dev
	$(BIN)/python -m benchmarks.synthesis --data $(or $(DATA),data) $(BENCH_ARGS)

bench-training: $(VENV)/.dev
	$(BIN)/python -m benchmarks.training $(BENCH_ARGS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache mutants

$(VENV)/bin/pip:
	@echo "Making $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV)

# Nothing is compiled here: most modules are never imported.
INSTALL := $(BIN)/pip install --disable-pip-version-check --no-compile

$(VENV)/.service: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the service (a few minutes the first time)"
	@$(INSTALL) --progress-bar on -e '.[service,quickstart]' | \
	  awk '/^(Collecting|Downloading|Installing)/ { printf "  %s %s\n", $$1, $$2; fflush() }'
	@$(BIN)/python -c 'import ray, fastapi, opendp' && touch $@

# A browser for the tests of the page, and network namespaces for those of the cluster.
$(VENV)/.system: | $(VENV)/bin/pip
	@command -v chromium > /dev/null && command -v ip > /dev/null || { echo "Installing chromium and iproute2"; \
	  $$([ $$(id -u) = 0 ] || echo sudo) sh -c 'apt-get -q update && apt-get -q install -y --no-install-recommends chromium iproute2' \
	  > /dev/null; }
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/pip
	@echo "Installing the service and its development tools (a few minutes the first time)"
	@$(INSTALL) -q -e '.[service,quickstart,training,dev]'
	@touch $@ $(VENV)/.service
