# The two commands of the course:   make lab   and   make test
# They need Python 3.11 or newer, pip and make; everything else goes into .venv/.

PYTHON ?= python3
ifeq ($(OS),Windows_NT)
BIN := .venv/Scripts
else
BIN := .venv/bin
endif
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
LESSONS := $(sort $(wildcard lessons/[0-9]*.ipynb))

.PHONY: help lab test unit notebooks lessons bench lint clean

help:            ## list what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## */\t/' | expand -t 14

.venv/made:
	@echo "== making the environment .venv with $(PYTHON)"
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'The course needs Python 3.11 or newer; this is ' + sys.version.split()[0] + '. Name another one: make PYTHON=python3.12 ...')"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/lab: .venv/made pyproject.toml constraints.txt
	@echo "== installing the course and JupyterLab (about two minutes the first time)"
	@$(PIP) install --constraint constraints.txt --editable ".[lab]"
	@touch $@

.venv/test: .venv/lab
	@echo "== installing what the tests need"
	@$(PIP) install --constraint constraints.txt --editable ".[test]"
	@touch $@

lab: .venv/lab   ## open the lessons in JupyterLab
	@echo "== starting JupyterLab on lesson 00 (stop it with Ctrl+C)"
	@$(BIN)/edu-compress lab

test: unit notebooks  ## run every test: unit, property, conformance, browser and notebook tests
	@echo "== all tests passed"

unit: .venv/test ## run the unit, property, conformance and browser tests
	@echo "== unit, property, conformance and browser tests"
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal tests

notebooks: .venv/test ## run every cell of every lesson
	@echo "== every cell of every lesson"
	@$(BIN)/python -m pytest --nbval-lax --nbval-cell-timeout=120 --timeout=0 -p no:randomly lessons

lessons: .venv/test ## run every lesson top to bottom and store its outputs
	@$(BIN)/python lessons/run.py $(LESSONS)

bench: .venv/test ## measure speed, as ratios within one run
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

lint: .venv/test ## check the style of the code
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

clean:           ## remove the environment and caches
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
