"""The files around the notebooks: README, solutions, requirements, environment, workflows, figures."""

import re
import sys
from pathlib import Path

import pytest

from tests.support import example, rules
from tests.support import notebooks as nb
from tests.support.strict_nbval import figures_named

ROOT = nb.ROOT
SERIES = nb.series()
SOLUTIONS = sorted((ROOT / "notebooks/solutions").glob("[0-9][0-9]_*.md"))
DOCUMENTS = [*(ROOT / name for name in ("README.md", "TEACHING.md", "CONTRIBUTING.md")), *SOLUTIONS]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [*filter(Path.is_file, DOCUMENTS)], ids=lambda path: path.stem)
def test_links_pictures_and_maths_of_a_document(path):
    source = path.read_text(encoding="utf-8")
    assert rules.link_complaints([source], path, ROOT) + rules.maths_complaints(source, in_file=True) == []
    assert rules.MACHINE_PATH.findall(source) == []


def map_complaints(root):
    """Each notebook of the series is linked in the README with its title, and no other one."""
    found = {}
    for url, label, _ in rules.links((root / "README.md").read_text(encoding="utf-8")):
        if url.endswith(".ipynb"):
            found.setdefault(url, set()).add(label)
    openings = {path.relative_to(root).as_posix(): nb.prose(nb.read(path))[0] for path in nb.series(root)}
    titles = {url: nb.headings(opening)[0][1] for url, opening in openings.items()}
    complaints = [f"the README does not link {url}" for url in titles.keys() - found]
    complaints += [f"the README links {url}" for url in found.keys() - titles]
    for url in titles.keys() & found:
        if not found[url] & {titles[url], re.sub(r"^\d\d ", "", titles[url])}:
            complaints.append(f"{url} has the title {titles[url]!r}, the README calls it {sorted(found[url])}")
    return complaints


def test_readme_map_fits_the_notebooks():
    assert map_complaints(ROOT) == []


def test_a_map_that_does_not_fit_draws_complaints(tmp_path):
    (tmp_path / "notebooks/experts").mkdir(parents=True)
    for name, cells in {"01_draw_a_line": example.CELLS, **example.OTHERS}.items():
        example.write_notebook(tmp_path / f"notebooks/{name}.ipynb", cells)
    for old, new in [("", ""), ("Draw a line", "Draw a dot"), ("01_draw", "03_draw"), ("experts/", "")]:
        (tmp_path / "README.md").write_text(example.README.replace(old, new) if old else example.README, "utf-8")
        assert bool(map_complaints(tmp_path)) is bool(old)


def test_the_numbers_of_the_notebooks_go_up_by_one_and_no_solutions_are_left_over():
    numbered = [path.stem for path in SERIES if path.parent.name == "notebooks"]
    assert [stem[:3] for stem in numbered] == [f"{n:02d}_" for n in range(1, len(numbered) + 1)]
    assert {path.stem for path in SOLUTIONS} <= {path.stem for path in SERIES}


def test_notebooks_and_figures_are_small_enough_for_a_code_host():
    files = SERIES + [ROOT / "figures" / name for path in SERIES for name in figures_named(path)]
    assert [file.name for file in files if file.is_file() and file.stat().st_size >= 1_000_000] == []


# --- Versions


def test_requirements_are_pinned_with_a_reason():
    lines = [line for line in text("requirements.txt").splitlines() if line.strip() and not line.startswith("#")]
    assert lines[0].startswith("-e . ")
    pattern = r"(-e \.|[\w-]+(\[[\w,-]+\])?==[\w.]+) +# \S.{10,}"
    assert [line for line in lines if not re.fullmatch(pattern, line)] == []


def test_nothing_else_names_versions_and_everything_reads_the_requirements():
    workflows = [path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yml")]
    for source in [text("environment.yml"), text("pyproject.toml"), *workflows]:
        assert not re.search(r"^[^#\n]*[a-z]\s*==\s*\d", source, re.MULTILINE)
    for source in [text("environment.yml"), text("tools/install.py"), *workflows]:
        assert "requirements.txt" in source
    assert "tools/install.py" in text("Makefile") and "make test" in text(".ci/run")


def test_what_is_imported_is_required():
    """Everything that code imports is pinned in requirements.txt, so that no import hangs on somebody else's needs."""
    required = set(re.findall(r"^([\w-]+)", text("requirements.txt"), re.MULTILINE))
    sources = [text(name) for name in ("gmm_helpers.py", "tools/run_notebooks.py", "tests/support/notebooks.py")]
    sources += [cell.source for path in SERIES for cell in nb.code_cells(nb.read(path))]
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", "\n".join(sources), re.MULTILINE))
    own = {"tests", "gmm_helpers", *(file.stem for file in (ROOT / "tools").glob("*.py"))}
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "IPython": "ipykernel", "mistune": "jupyterlab"}
    names |= {"jupyter_client": "nbclient", "imageio_ffmpeg": "imageio-ffmpeg", "networkx": "torch"}
    foreign = imported - own - sys.stdlib_module_names
    assert {name for name in foreign if names.get(name, name) not in required} == set()
