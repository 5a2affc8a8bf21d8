# `make demo` and `make test` set up all they need: a virtual environment in .venv with the versions of constraints.txt.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test check skill bench clean
.DEFAULT_GOAL := help

help:  ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

setup: $(READY)  ## make .venv, with the package (editable), its dependencies and the tools of development

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip -c constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev --editable .
	@touch $@

demo: setup  ## forecast the stormiest hours of a real archive, write forecast and film to out/, print the skill
	$(BIN)/hybridcast demo --output out

test: setup  ## the whole test suite
	$(BIN)/python -m pytest

check: setup  ## format, lint, types, and the direction of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

skill: setup  ## skill of the motion against other methods, on the real events; writes notebooks/motion_skill.json
	$(BIN)/python notebooks/motion_skill.py

bench: setup  ## speed against pysteps and OpenCV, in one run; writes notebooks/speed.json
	$(BIN)/python notebooks/speed.py

clean:  ## remove what was built, numba's caches too
	rm -rf $(VENV) out dist build .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
