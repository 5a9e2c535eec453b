# Works with GNU make 3.81 and later, on Linux, macOS and Windows (with Git's sh on the PATH).

ifeq ($(OS),Windows_NT)
  PYTHON ?= python
  PY := .venv/Scripts/python.exe
  SITE_PY := .venv-site/Scripts/python.exe
else
  PYTHON ?= python3
  PY := .venv/bin/python
  SITE_PY := .venv-site/bin/python
endif
INSTALLED := .venv/.installed
SITE_INSTALLED := .venv-site/.installed

# A person's own modules and settings of Python would stand in for the installed ones.
unexport PYTHONPATH PYTHONSTARTUP PYTHONWARNINGS PYTHONOPTIMIZE PYTHONHOME
# Folders and cells have letters of all kinds, whatever the locale.
export PYTHONUTF8 := 1

.PHONY: help lab install check notebooks test lint constraints site site-check clean

help:
	@echo "make lab         open JupyterLab at the first notebook"
	@echo "make install     install everything into .venv (every other target does it, too, when it has to)"
	@echo "make check       is this machine ready for the series?"
	@echo "make notebooks   run every notebook in place and rewrite figures/   (one of them: make notebooks ONLY=04)"
	@echo "make test        lint, then every check: notebooks, helpers, exercises, figures"
	@echo "make lint        ruff over the code and the notebooks"
	@echo "make site        build the site to read, _site/index.html, from the stored notebooks (PyTorch is not needed)"
	@echo "make site-check  walk through every page of it with a browser"
	@echo "make constraints write constraints.txt, the indirect packages, from what is installed"
	@echo "make clean       remove .venv, .venv-site, _site and what the tools cache"
	@echo "With CPU=1, on Linux: PyTorch's CPU build, some gigabytes less.   make lab CPU=1"
	@echo "Another Python (3.11 to 3.14):   make lab PYTHON=python3.12"

lab: $(INSTALLED)
	$(PY) tools/lab.py

install: $(INSTALLED)

check: $(INSTALLED)
	$(PY) tools/check_machine.py

notebooks: $(INSTALLED)
	$(PY) tools/run_notebooks.py $(ONLY)

test: lint
	$(PY) -m pytest

lint: $(INSTALLED)
	$(PY) -m ruff check --no-cache .

constraints: $(INSTALLED)
	$(PY) tools/write_constraints.py
	@$(PY) -c "import os; os.utime('$(INSTALLED)')"

# tools/install.py writes this stamp last, so that an interrupted installation is done again.
$(INSTALLED): requirements.txt constraints.txt
	'$(PYTHON)' tools/install.py $(if $(filter 1,$(CPU)),--cpu)

site: $(SITE_INSTALLED)
	$(SITE_PY) tools/build_site.py

site-check: $(SITE_INSTALLED)
	$(SITE_PY) tools/check_site.py $(ONLY)

$(SITE_INSTALLED): docs/requirements.txt
	'$(PYTHON)' -m venv .venv-site || { echo 'No virtual environment was made, see above. On Debian and Ubuntu: sudo apt install python3-venv' >&2; exit 1; }
	$(SITE_PY) -m pip install --quiet --requirement docs/requirements.txt || { echo 'The site needs what docs/requirements.txt names, and pip could not get it: see above.' >&2; exit 1; }
	@$(SITE_PY) -c "open('$(SITE_INSTALLED)', 'w').close()"

clean:
	'$(PYTHON)' -c "import glob, shutil; [shutil.rmtree(d, True) for d in ['.venv', '.venv-site', '_site', '.pytest_cache', '.ruff_cache', '.hypothesis', '.figure-differences', 'gmm_helpers.egg-info', *glob.glob('.site-*'), *glob.glob('**/__pycache__', recursive=True), *glob.glob('**/.ipynb_checkpoints', recursive=True)]]"
