# Tasks of the project; `make help` lists them. PYTHON chooses the interpreter (3.11 or later).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
DEMO_VENV := .venv
TEST_VENV := .venv-test
PACKAGES := nest_tune search_spaces cost_models compiler_core
# On all cores, and one more while others wait; tests of one file share what they prepare, and files
# come in the order in which tests/conftest.py collects them, those that take longest first.
WORKERS ?= $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))
PYTEST := $(TEST_VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PYTEST_FLAGS ?=
comma := ,
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests start hundreds of processes: each would compile the product again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-all fuzz conformance golden lint docs bench clean lock licences sbom

help: ## List the tasks
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | \
		while IFS=$$'\t' read -r task what; do printf '  make %-10s %s\n' "$$task" "$$what"; done

# $(call install,ENVIRONMENT,LOCK,PROJECT,EXTRAS): every file is held to the lock's hashes, and nothing
# else is downloaded, not even to build the project. The locks are for Python 3.11 to 3.13.
define install
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or later found; set PYTHON=" >&2; exit 5; }
	$(PYTHON) -m venv $(1)
	@pip="$(1)/bin/python -m pip install --quiet --quiet $(PIP_FLAGS)"; \
	if $(1)/bin/python -c 'import sys; sys.exit(sys.version_info >= (3, 14))'; then \
		echo "installing $(2), held to its hashes"; \
		$$pip --require-hashes -r $(2); \
		$$pip --no-deps --no-build-isolation $(3); \
	else \
		echo "note: $(2) is for Python 3.11 to 3.13; installing by constraints.txt, without hashes" >&2; \
		$$pip -c constraints.txt $(3)$(4); \
	fi
endef

# Byte code is written for what is used, when it is used first: less to install, a fifth less on disk.
$(DEMO_VENV)/.installed: PIP_FLAGS := --no-compile
$(DEMO_VENV)/.installed: pyproject.toml constraints.txt requirements.lock
	$(call install,$(DEMO_VENV),requirements.lock,.)
	touch $@

$(TEST_VENV)/.installed: pyproject.toml constraints.txt requirements-all.lock
	$(call install,$(TEST_VENV),requirements-all.lock,--editable .,[dev$(comma)docs$(comma)release])
	touch $@

demo: ## Install into .venv and run a study on the bundled example
	@rm -f $(DEMO_VENV)/.installed
	@$(MAKE) --no-print-directory $(DEMO_VENV)/.installed
	@PATH="$(CURDIR)/$(DEMO_VENV)/bin:$$PATH" bash examples/demo.sh

test: $(TEST_VENV)/.installed ## Run the tests, without the slow ones
	$(PYTEST) $(PYTEST_FLAGS)

test-all: $(TEST_VENV)/.installed ## Run all tests, the slow ones too
	NEST_TUNE_EXAMPLES=100 $(PYTEST) -m 'slow or not slow' $(PYTEST_FLAGS)

FUZZ_CASES ?= 5000
FUZZ_SEED ?= 0
fuzz: $(TEST_VENV)/.installed ## Run FUZZ_CASES changed files of every kind; goes on where it was broken off
	$(TEST_VENV)/bin/python -m tests.fuzz.fuzz --cases $(FUZZ_CASES) --seed $(FUZZ_SEED) \
		--folder out/fuzz

CONFORMANCE_FLAGS ?=
conformance: $(TEST_VENV)/.installed ## Compile and run the backend tests of the onnx package; a table by cause
	@mkdir -p out
	$(TEST_VENV)/bin/python -W ignore -m tests.conformance.onnx_suite --list out/conformance.jsonl $(CONFORMANCE_FLAGS)

GOLDEN_FLAGS ?=
golden: $(TEST_VENV)/.installed ## Show which golden numbers changed; GOLDEN_FLAGS="--all --update" keeps them
	$(TEST_VENV)/bin/python -m tests.golden $(GOLDEN_FLAGS)

lint: $(TEST_VENV)/.installed ## Check style, format and types
	@status=0; for check in 'ruff check .' 'ruff format --check .' mypy; do \
		echo "$$check"; $(TEST_VENV)/bin/$$check || status=1; done; exit $$status

docs: $(TEST_VENV)/.installed ## Build docs/_build/html, warnings are errors; run all that the pages show
	$(TEST_VENV)/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	$(PYTEST) -m 'slow or not slow' $(PYTEST_FLAGS) \
		tests/nest_tune/test_docs.py tests/nest_tune/test_notebooks.py

LOCK := $(TEST_VENV)/bin/uv pip compile --no-config --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-annotate --constraints constraints.txt --group build \
	pyproject.toml

lock: $(TEST_VENV)/.installed ## Write the locks: constraints.txt with the hashes of all files
	$(LOCK) --output-file requirements.lock
	$(LOCK) --all-extras --output-file requirements-all.lock

licences: $(TEST_VENV)/.installed ## Write docs/licences.md: the licence of every dependency
	$(TEST_VENV)/bin/python docs/licences.py

sbom: $(DEMO_VENV)/.installed $(TEST_VENV)/.installed ## Write out/sbom.cdx.json: what an installation is made of
	mkdir -p out
	$(TEST_VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
		--output-reproducible --of JSON -o out/sbom.cdx.json $(DEMO_VENV)/bin/python
	@echo "out/sbom.cdx.json: a bill of materials in CycloneDX's form"

bench: $(TEST_VENV)/.installed ## Measure speed; prints the figures of the README
	@for script in benchmarks/*.py; do \
		[ -e "$$script" ] || { echo "no benchmarks"; exit 1; }; \
		echo "== $$script"; $(TEST_VENV)/bin/python "$$script"; done

clean: ## Remove environments, caches and build output
	rm -rf $(DEMO_VENV) $(TEST_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis out \
		docs/_build docs/generated
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
