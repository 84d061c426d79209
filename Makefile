# make demo   images -> tokens -> classifier -> report, from nothing but Python, pip and make
# make test   the tests
# TORCH_INDEX=https://download.pytorch.org/whl/cpu make demo   takes torch from another index (CPU-only, smaller)

PYTHON ?= python3
VENV ?= .venv
TORCH_INDEX ?=
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: install demo demo-small test lint wheel-demo sdist-test clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/pip install -q torch torchvision --index-url $(TORCH_INDEX))
	$(BIN)/pip install -q -e ".[dev]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/seit demo --out demo

demo-small: $(INSTALLED)
	$(BIN)/seit demo --out demo --small

# Two processes of one thread each; whole files, since tests of one share what they train.
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# The wheel alone, in a new environment outside the clone: bare, it reads and verifies a token data set; with its extra
# it runs the demo (sample, weights and recipes are inside it).
wheel-demo: $(INSTALLED)
	rm -rf dist && $(BIN)/python -m build -q --wheel
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	wheel=$$(ls $$PWD/dist/seit-*.whl); store=$$PWD/tests/store/golden/v1-context-8x8; $(PYTHON) -m venv $$folder/venv; \
	cd $$folder; venv/bin/pip install -q "$$wheel"; venv/bin/seit info $$store; venv/bin/seit verify $$store --decode; \
	$(if $(TORCH_INDEX),venv/bin/pip install -q torch torchvision --index-url $(TORCH_INDEX);) \
	venv/bin/pip install -q "$$wheel[train]"; venv/bin/seit demo --out demo --small; test -s demo/report.html

# The source archive holds what its own tests read.
sdist-test: $(INSTALLED)
	rm -rf dist && $(BIN)/python -m build -q --sdist
	set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; python=$$PWD/$(BIN)/python; \
	tar xzf dist/seit-*.tar.gz -C $$folder --strip-components 1; cd $$folder; export PYTHONPATH=$$folder/src; \
	$$python -m pytest --collect-only >collected || { tail -50 collected; exit 1; }; \
	$$python -m pytest tests/test_import.py tests/docs tests/architecture tests/store/test_format.py tests/images/test_data_scripts.py

clean:
	rm -rf $(VENV) dist build demo
