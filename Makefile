PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread a process where several processes share the cores.
SINGLE := OMP_NUM_THREADS=1

.PHONY: demo test test-slow test-random lint format docs bench clean

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("meddistill needs Python 3.11 or newer; set PYTHON=/path/to/it" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(VENV)/.ready ## the main job end to end on built-in images
	$(BIN)/meddistill demo --out runs/demo --jobs 2

test: lint ## everything that must hold on every commit
	$(SINGLE) $(BIN)/python -m pytest -n 2 -q -m "not slow"

test-slow: $(VENV)/.ready ## the long tests too
	$(SINGLE) $(BIN)/python -m pytest -n 2 -q

test-random: $(VENV)/.ready ## the property tests on examples not drawn before
	$(SINGLE) $(BIN)/python -m pytest -n 2 -q -m "hypothesis and not slow" --hypothesis-profile=random

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.ready ## rebuild the generated pages of docs/
	$(BIN)/python docs/generate.py

bench: $(VENV)/.ready ## step times against other loops, see benchmarks/README.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/train_step.py

clean:
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
