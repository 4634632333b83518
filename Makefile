# Every target sets up what it needs; the two that matter: `make demo` and `make test`.
SHELL := bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test further slow lint docs bench wheel clean

# torch comes first and pinned: asked for by another package, pip may take a build with gigabytes of CUDA
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/slmforge adapt healthcare --config demo

# two processes, of which each computes with one thread: the tests' models are too small to gain from a second one
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m 'not slow and not long and not published' -n 2 --dist loadfile

further: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m '(long or published) and not slow' -n 2 --dist loadfile

slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(READY)
	$(BIN)/python -m infra.docs

bench: $(READY)
	$(BIN)/python -m infra.bench

wheel: $(READY)
	$(BIN)/python -m build --no-isolation --wheel

clean:
	rm -rf runs dist build
