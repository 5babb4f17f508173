# make demo    compare four schedules on real text and write demo/report.html
# make test    style, then all tests with coverage of schedules and training
# make lint    style, types, import rule, spelling, generated docs, docs build
# make bench   our speed beside the peers', in one run
# make docs    the documentation site in site/
# make mutate  break every line of the schedules and see that a test notices
# make clean   remove what the above made; the virtual environment too: make distclean
# Needs Python >= 3.11 and make; everything else goes into .venv, from PyPI, in the versions of constraints.txt.
# A smaller PyTorch without GPU: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
JOBS ?= 2
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$name"; break; }; done)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
READY_MUTATE := $(VENV)/.ready-mutate

.PHONY: help demo test lint bench docs mutate constraints clean distclean
help:
	@sed -n '/^$$/q; s/^# //p' Makefile

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
	  echo "tutelage needs Python 3.11 or newer and found none; install one, or say make PYTHON=/path/to/python." >&2; \
	  exit 1; fi
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  echo "tutelage needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; exit 1; fi
	@$(PYTHON) -m venv $(VENV)

$(READY): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing tutelage into $(VENV) ..."
	@$(INSTALL) --editable .
	@touch $@

$(READY_DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing tutelage and what its tests need into $(VENV) ..."
	@$(INSTALL) --editable '.[dev]'
	@touch $(READY) $@

$(READY_MUTATE): $(READY_DEV)
	@$(INSTALL) --editable '.[dev,mutate]'
	@touch $@

# A demo that was interrupted goes on where it stopped; one that is complete is shown again.
demo: $(READY)
	@$(BIN)/tutelage compare --workload text-lm:context=64 --budget 300steps --seeds 3 --tune 3 \
	  --arm constant --arm cosine --arm wsd:decay=0.2 --arm uba:phi=5 \
	  --out demo $$(test ! -d demo || echo --resume)

test: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) \
	  --cov=tutelage.schedules --cov=tutelage.training --cov-report= $(PYTEST_ARGS)
	$(BIN)/coverage report --include='*/tutelage/schedules/*' --fail-under=95
	$(BIN)/coverage report --include='*/tutelage/training/*' --fail-under=95

lint: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/python docs/generate.py --check
	$(BIN)/mkdocs build --strict --site-dir build/site

bench: $(READY_DEV)
	@$(BIN)/python -m benchmarks

docs: $(READY_DEV)
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict --site-dir site
	@echo "The site is in site/index.html"

mutate: $(READY_MUTATE)
	@rm -rf mutants
	OMP_NUM_THREADS=1 $(BIN)/mutmut run --max-children $(JOBS)
	$(BIN)/mutmut results

# The exact versions of this environment. PyTorch without its local tag, so that any build of it fits.
constraints: $(READY_MUTATE)
	@frozen=$$($(BIN)/python -m pip freeze --exclude-editable) && { \
	  echo "# The exact versions the tests ran with, written by \`make constraints\`; pyproject.toml has the ranges."; \
	  echo "$$frozen" | grep -Ev '^(#|-e|torchvision==|torchaudio==)' | sed 's/+cpu$$//'; } > constraints.txt

clean:
	@rm -rf demo site build dist mutants .coverage .coverage.* coverage.xml .pytest_cache .mypy_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find src tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf $(VENV)
