# Works with GNU make 3.81 and later, on Linux, macOS and Windows (with Git's sh on the PATH).

ifeq ($(OS),Windows_NT)
  PYTHON ?= python
  PY := .venv/Scripts/python.exe
else
  PYTHON ?= python3
  PY := .venv/bin/python
endif
INSTALLED := .venv/.installed

.PHONY: help lab notebooks test lint clean

help:
	@echo "make lab         open JupyterLab at the first notebook"
	@echo "make notebooks   run every notebook in place and rewrite figures/   (one of them: make notebooks ONLY=04)"
	@echo "make test        lint, then every check: notebooks, helpers, exercises, figures"
	@echo "make lint        ruff over the code and the notebooks"
	@echo "make clean       remove .venv and what the tools cache"
	@echo "Another Python (3.11 or newer): make lab PYTHON=python3.12"

lab: $(INSTALLED)
	$(PY) -m jupyterlab --ip=127.0.0.1 --allow-root --ServerApp.root_dir=. notebooks/01_sample_a_mixture.ipynb

notebooks: $(INSTALLED)
	$(PY) tools/run_notebooks.py $(ONLY)

test: lint
	$(PY) -m pytest

lint: $(INSTALLED)
	$(PY) -m ruff check .

# The stamp comes last, so that an interrupted installation is done again.
# matplotlib builds its font cache here: in a notebook it would print a warning.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.version_info < (3, 11) and sys.exit('Python 3.11 or newer is needed; $(PYTHON) is ' + sys.version.split()[0] + '. Name another one: make PYTHON=python3.12 ...')"
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --requirement requirements.txt
	$(PY) -c "import matplotlib.font_manager"
	@$(PY) -c "open('$(INSTALLED)', 'w').close()"

clean:
	$(PYTHON) -c "import glob, shutil; [shutil.rmtree(d, True) for d in ['.venv', '.pytest_cache', '.ruff_cache', '.hypothesis', '.figure-differences', 'gmm_helpers.egg-info', *glob.glob('**/__pycache__', recursive=True), *glob.glob('**/.ipynb_checkpoints', recursive=True)]]"
