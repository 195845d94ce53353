# make demo: install into .venv and run the main job; needs Python >= 3.11, git and make.
# make test: install, check and test everything.

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
PYTEST_ARGS ?=
CORPUS ?=
CORPUS_ARGS ?=
VERSIONS ?=
# The extras of each kind of installation.
DEMO_EXTRAS := prefect
TEST_EXTRAS := prefect,controller,dev

.DEFAULT_GOAL := help
.PHONY: help demo test check pytest bench corpus versions pythons constraints schema clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1|\2/p' Makefile | \
		while IFS='|' read -r target text; do printf '  %-18s %s\n' "$$target" "$$text"; done

demo: $(VENV)/installed-demo ## Install into .venv and run the main job end to end
	@$(BIN)/gitflow demo

test: check pytest ## Install, check and test everything

check: $(VENV)/installed-test ## Lint, format, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

pytest: $(VENV)/installed-test ## Only the tests (JOBS=2, PYTEST_ARGS=...)
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

bench: $(VENV)/installed-test ## Measure against git and Prefect, side by side
	@set -e; for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

corpus: $(VENV)/installed-test ## Compare with prefect deploy, for every manifest of a folder (CORPUS=...)
	@test -n "$(CORPUS)" || { echo "make: name the folder: make corpus CORPUS=path/to/folder" >&2; exit 2; }
	@$(BIN)/python -m tools.corpus $(CORPUS_ARGS) "$(CORPUS)"

versions: $(VENV)/installed-test ## End-to-end tests against older and newer Prefects (VERSIONS="3.2 3.9")
	@$(BIN)/python -m tools.versions --jobs $(JOBS) prefect $(VERSIONS)

pythons: $(VENV)/installed-test ## The tests under other Pythons, where they are installed (VERSIONS=3.13)
	@$(BIN)/python -m tools.versions --jobs $(JOBS) python $(VERSIONS)

# The interpreter is looked for only when .venv has to be made. One without venv
# or ensurepip (Debian splits them off) is passed over while another will do.
$(BIN)/python:
	@set -e; chosen=; bare=; \
	for name in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
		found=$$(command -v "$$name" 2>/dev/null) || continue; \
		"$$found" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		if "$$found" -c 'import venv, ensurepip' 2>/dev/null; then chosen=$$found; break; fi; \
		bare=$$found; \
	done; \
	if [ -z "$$chosen" ] && [ -n "$$bare" ]; then \
		echo "make: $$bare cannot make virtual environments: its venv or ensurepip module is missing" >&2; \
		echo "make: on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	elif [ -z "$$chosen" ]; then \
		echo "make: no Python 3.11 or newer was found on PATH" >&2; \
		echo "make: install one, or name it: make PYTHON=/path/to/python3 ..." >&2; exit 1; \
	fi; \
	command -v git >/dev/null 2>&1 || { echo "make: git was not found on PATH" >&2; exit 1; }; \
	echo "Making $(VENV) with $$chosen"; "$$chosen" -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# Bytecode is compiled here because an environment with PYTHONDONTWRITEBYTECODE
# or PIP_NO_COMPILE would otherwise compile Prefect again at every start.
define install
	@echo "Installing gitops-flow[$(1)] and what it needs into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(1)]'
	@$(BIN)/python -m compileall -q -j 0 gitops_flow $(VENV)/lib >/dev/null 2>&1 || true
endef

# pyproject.toml and constraints.txt decide what is installed; nothing else does.
$(VENV)/installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,$(DEMO_EXTRAS))
	@touch $@

$(VENV)/installed-test: pyproject.toml constraints.txt | $(BIN)/python
	$(call install,$(TEST_EXTRAS))
	@touch $(VENV)/installed-demo $@

constraints: $(BIN)/python ## Refresh constraints.txt to the newest versions allowed
	@set -e; fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(BIN)/python -m venv "$$fresh/venv"; \
	"$$fresh/venv/bin/python" -m pip install --quiet --disable-pip-version-check -e '.[$(TEST_EXTRAS)]'; \
	{ sed -n '/^#/p' constraints.txt; \
	  "$$fresh/venv/bin/python" -m pip list --format=freeze --disable-pip-version-check \
	    | grep -viE '^(pip|setuptools|wheel|gitops[-_]flow)==' | sort -f; } >"$$fresh/new"; \
	cp "$$fresh/new" constraints.txt; git diff --stat -- constraints.txt

schema: $(BIN)/python ## Write the JSON schema of gitflow.yaml
	@$(BIN)/python -c 'import json; from gitops_flow.controller import config; \
	  print(json.dumps(config.json_schema(), indent=1))' >docs/gitflow.schema.json

clean: ## Remove .venv, caches and build results
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find gitops_flow tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +
