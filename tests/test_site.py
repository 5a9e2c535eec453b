"""The site's contents; the pages themselves are walked through by `make site-check`."""

import json
import re
import sys

import pytest
import yaml

from tests.support import notebooks as nb

sys.path.insert(0, str(nb.ROOT / "docs"))
import contents

README = (nb.ROOT / "README.md").read_text(encoding="utf-8")


def test_every_notebook_and_every_solution_has_its_place_in_the_sidebar():
    pages = [page for _, part in contents.table_of_contents(README) for page in part]
    there = [*nb.series(), *(nb.ROOT / "notebooks/solutions").glob("*.md")]
    assert {path.relative_to(nb.ROOT).with_suffix("").as_posix() for path in there} <= set(pages)
    assert len(pages) == len(set(pages))
    assert next(caption for caption, _ in contents.table_of_contents(README)) == "Part I: The walk"


@pytest.mark.parametrize("change", ["a row is missing", "a row too many"])
def test_a_map_that_does_not_fit_is_refused(change):
    row = re.search(r"^\| 07 .*\n", README, re.MULTILINE).group()
    other = "" if change == "a row is missing" else row + row.replace("07", "77")
    with pytest.raises(ValueError, match=r"77_|07_"):
        contents.table_of_contents(README.replace(row, other))


def test_the_site_is_published_from_the_main_branch_alone_and_only_after_its_check():
    workflow = yaml.safe_load((nb.ROOT / ".github/workflows/site.yml").read_text(encoding="utf-8"))
    build, publish = workflow["jobs"]["build"], workflow["jobs"]["publish"]
    assert workflow["permissions"] == {"contents": "read"} and "permissions" not in build
    assert publish["permissions"] == {"pages": "write", "id-token": "write"}
    assert "github.ref == 'refs/heads/main'" in publish["if"] and publish["needs"] == "build"
    assert [step["run"] for step in build["steps"] if "make" in step.get("run", "")] == ["make site", "make site-check"]
    for step in build["steps"] + publish["steps"]:
        assert re.fullmatch(r"\S+@[0-9a-f]{40}", step.get("uses", "an/action@" + 40 * "0")), step


def test_the_repository_s_address_comes_from_the_environment():
    for path in [*(nb.ROOT / "docs").glob("*.py"), *(nb.ROOT / "tools").glob("*_site.py")]:
        assert "github.com/" not in path.read_text(encoding="utf-8"), path


def test_figures_tell_the_site_what_they_show():
    output = {"output_type": "display_data", "data": {}, "metadata": {"image/png": {"alt": "Two humps."}}}
    cell = {"cell_type": "code", "source": "", "metadata": {"tags": ["predict", "hide-output"]}, "outputs": [output]}
    notebook = {"cells": [{"cell_type": "markdown", "source": "", "metadata": {}}, cell]}
    prepared = json.loads(contents.prepare_notebook(json.dumps(notebook)))
    assert prepared["cells"][0] == notebook["cells"][0]
    assert prepared["cells"][1]["metadata"]["mystnb"] == {"image": {"alt": "Two humps."}}
