"""The site's contents; the pages themselves are walked through by `make site-check`."""

import re
import sys

import pytest

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


def test_the_site_is_published_from_the_main_branch_alone_and_knows_no_address():
    workflow = (nb.ROOT / ".github/workflows/site.yml").read_text(encoding="utf-8")
    build, publish = workflow.split("  publish:")
    assert "github.ref == 'refs/heads/main'" in publish and "needs: build" in publish
    assert "pages: write" in publish and "write" not in build
    assert "make site-check" in build
    assert all(len(sha) == 40 for sha in re.findall(r"uses: \S+@(\S+)", workflow))
    for name in ("conf.py", "contents.py"):
        assert "github.com/" not in (nb.ROOT / "docs" / name).read_text(encoding="utf-8")
