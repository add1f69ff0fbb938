# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test test-browser check bench proto api docs conformance install format clean

# The stamp keeps pip from running again while pyproject.toml is unchanged.
install: $(VENV)/.installed
$(VENV)/.installed: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

demo: install  ## the main job: a cluster, three graphs, a trained network
	$(BIN)/python examples/demo.py

test: install  ## all tests but the conformance tests
	$(PYTEST) -q -n 2 tests/unit tests/ops tests/wire tests/gpu
	$(PYTEST) -q tests/integration

$(VENV)/.browser: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev,browser]"
	command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	  { apt-get update -qq && apt-get install -qq --yes chromium chromium-driver; }
	touch $@

test-browser: $(VENV)/.browser  ## TensorBoard in Chromium, on a run of dogs and cats; pictures of it
	$(PYTEST) -q tests/browser --screenshots docs

check: install  ## format, lint, types, import rules, stale generated code, words and docstrings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=src $(BIN)/mypy --strict -p flowray.proto -p flowray.master -p flowray.worker \
	  -p flowray.deploy -p flowray.client
	$(BIN)/lint-imports --no-cache
	$(BIN)/python client/api/generate.py --check
	$(BIN)/python docs/list_api.py --check
	$(BIN)/python proto/messages/generate.py --check
	$(BIN)/python docs/list_ops.py --check
	$(BIN)/python docs/check_words.py
	$(BIN)/python docs/check_docstrings.py

$(VENV)/.conformance: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ".[dev,conformance]"
	touch $@

conformance: $(VENV)/.conformance  ## the same graphs on flowray and on TensorFlow
	$(PYTEST) -q -n 2 tests/conformance

bench: install  ## flowray beside TensorFlow (its side only if tensorflow is installed)
	$(BIN)/python benchmarks/bench.py

proto: install  ## generates the protobuf code again
	$(BIN)/python proto/messages/generate.py

api: install  ## generates the modules of the public API and the list of its names again
	$(BIN)/python client/api/generate.py
	$(BIN)/python docs/list_api.py

docs: install  ## writes the list of ops again
	$(BIN)/python docs/list_ops.py

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) out build dist
