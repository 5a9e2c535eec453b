"""Machines of others: the dev container, Binder, Colab, and a notebook that was opened alone."""

import json
import re
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import nbformat
import pytest

import install
from tests.support import notebooks as nb

ROOT = nb.ROOT
TEMPLATE = ROOT / "tools/template.ipynb"


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def python_fits(version):
    """Whether the series allows this Python, written as 3.12."""
    low, end = re.search(r'requires-python = ">=3\.(\d+),<3\.(\d+)"', text("pyproject.toml")).groups()
    return int(low) <= int(version.removeprefix("3.")) < int(end)


def test_the_dev_container_installs_with_make_and_opens_a_notebook():
    container = json.loads(text(".devcontainer/devcontainer.json"))
    published = {"name", "image", "updateContentCommand", "postCreateCommand", "customizations"}  # in its schema
    assert set(container) <= published
    assert python_fits(container["image"].rpartition(":")[2])
    targets = re.search(r"^\.PHONY: (.*)", text("Makefile"), re.MULTILINE).group(1).split()
    assert container["updateContentCommand"] == "make install CPU=1" and "install" in targets
    assert container["postCreateCommand"] == "make check" and "check" in targets
    (first,) = container["customizations"]["codespaces"]["openFiles"]
    assert (ROOT / first).is_file()
    code = container["customizations"]["vscode"]
    interpreter = code["settings"]["python.defaultInterpreterPath"].removeprefix("${containerWorkspaceFolder}/")
    assert f"PY := {interpreter}\n" in text("Makefile")
    assert code["extensions"] == ["ms-python.python", "ms-toolsai.jupyter"]


def test_binder_installs_what_make_install_does():
    assert python_fits(text(".binder/runtime.txt").strip().removeprefix("python-"))
    options = dict(line.split() for line in text(".binder/requirements.txt").splitlines() if not line.startswith("#"))
    assert options.pop("--extra-index-url") == install.PYTORCH_CPU
    assert options == {"--requirement": "../requirements.txt", "--constraint": "../constraints.txt"}
    assert text(".binder/postBuild").startswith("#!/bin/sh\n")


@pytest.mark.parametrize("document", ["README.md", "TEACHING.md"])
def test_addresses_of_hosted_machines_lead_to_notebooks(document):
    addresses = re.findall(r"https://\S+01_\w+\.ipynb", text(document))
    assert addresses
    for address in addresses:
        path = re.search(r"notebooks/\w+\.ipynb", unquote(address)).group()
        assert (ROOT / path).is_file(), address
    for address in [address for address in addresses if "urlpath" in address]:
        assert parse_qs(urlsplit(address).query)["urlpath"][0].startswith("lab/tree/")


# --- Opened alone


def hint(path):
    """The comment that stands above the import of gmm_helpers in the first code cell, or None."""
    source = nb.code_cells(nbformat.read(path, as_version=4))[0].source
    found = re.search(r"^(# Not found\? .*)\nfrom gmm_helpers import", source, re.MULTILINE)
    return found and found.group(1)


def test_a_notebook_without_its_repository_says_what_to_do():
    expected = hint(TEMPLATE)
    assert [path.name for path in nb.series() if hint(path) != expected] == []
    heading = re.search(r'"(.*)" in its README', expected).group(1)
    assert f"## {heading}\n" in text("README.md")


@pytest.mark.parametrize("old", ["# Not found?", "from gmm_helpers"])
def test_a_notebook_that_does_not_say_it_is_found(old, tmp_path):
    copy = tmp_path / "copy.ipynb"
    copy.write_text(TEMPLATE.read_text(encoding="utf-8").replace(old, f"#\\n{old}".replace("?", "")), encoding="utf-8")
    assert hint(TEMPLATE) and not hint(copy)


def test_colab_clones_the_repository_and_works_in_its_notebooks():
    (cell,) = re.findall(r"```python\n(!git clone .*?)```", text("README.md"), re.DOTALL)
    clone, move, path = cell.splitlines()
    assert move == f"%cd {clone.split()[-1]}/notebooks"
    assert Path(ROOT / "notebooks", re.search(r'append\("(.*)"\)', path).group(1), "gmm_helpers.py").is_file()
