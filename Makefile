# Everything from Python 3.11, pip and make; nothing outside this folder is changed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check

.PHONY: demo test slow browser fuzz check docs notebooks clean

# Train the OTOv3 DemoSupNet on scikit-learn's digits, remove half of its operators, write demo/: about a minute.
# One thread is enough for images of 8x8, and does not stall on a busy machine as two would.
demo: $(VENV)/all.stamp
	OMP_NUM_THREADS=1 $(BIN)/autosubnet search demo --data digits --out demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n 2

# The large models of the zoo, some minutes more.
slow: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m slow -n 2

# The widget in a real browser; needs the command chromium, in Debian from the package of that name.
browser: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -m browser tests/viz/test_browser.py

# The promises on 20,000 random networks: some hours. The count goes to benchmarks/results/fuzz.json.
fuzz: $(VENV)/dev.stamp
	$(BIN)/python tests/fuzz.py

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The pages in docs/ with a reference from the docstrings: open site/index.html.
docs: $(VENV)/docs.stamp
	$(BIN)/sphinx-build -W docs site

# Run the notebooks again and save them with what they show: some minutes.
notebooks: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python tests/run_notebooks.py

clean:
	rm -rf $(VENV) demo site

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras: pip runs again only when pyproject.toml changed.
$(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing autosubnet[$*] into $(VENV) (some minutes the first time)"
	$(PIP) --editable '.[$*]'
	@touch $@
