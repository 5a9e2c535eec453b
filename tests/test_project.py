"""The files around the notebooks: README, requirements, environment, Makefile, figures."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import contract

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TESTS = sorted((ROOT / "tests").glob("*.py"))


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


def test_requirements_are_pinned_with_a_reason():
    lines = [line for line in text("requirements.txt").splitlines() if line and not line.startswith("#")]
    assert lines[0].startswith("-e . ")
    for line in lines:
        assert re.fullmatch(r"(-e \.|[\w-]+(\[[\w,-]+\])?==[\w.]+) +# \S.{10,}", line), line


def test_only_requirements_name_versions():
    environment = [line for line in text("environment.yml").splitlines() if not line.lstrip().startswith("#")]
    assert re.findall(r"- (\w+)[=<>].*", "\n".join(environment)) == ["python"]
    assert "--requirement requirements.txt" in "\n".join(environment)
    assert "dependencies" not in [line.split(" = ")[0] for line in text("pyproject.toml").splitlines()]


def test_what_is_imported_is_required():
    """Everything that code imports is pinned in requirements.txt, so that no import hangs on somebody else's needs."""
    required = set(re.findall(r"^([\w-]+)", text("requirements.txt"), re.MULTILINE))
    sources = [text("gmm_helpers.py"), text("tools/run_notebooks.py"), *(f.read_text("utf-8") for f in TESTS)]
    sources += ["\n".join(cell.source for cell in contract.code_cells(contract.read(path))) for path in NOTEBOOKS]
    imported = set(re.findall(r"^ *(?:import|from) (\w+)", "\n".join(sources), re.MULTILINE))
    own = {file.stem for folder in (".", "tools", "tests") for file in (ROOT / folder).glob("*.py")}
    brought_along = {"IPython": "ipykernel", "jupyter_client": "nbclient", "networkx": "torch"}
    names = {"sklearn": "scikit-learn", "PIL": "pillow", "imageio_ffmpeg": "imageio-ffmpeg", **brought_along}
    missing = {name for name in imported - own - sys.stdlib_module_names if names.get(name, name) not in required}
    assert not missing


def test_every_figure_is_written_by_a_notebook():
    figures = {file.name for file in (ROOT / "figures").glob("*")}
    named = set().union(*(contract.figures_named(contract.read(path)) for path in NOTEBOOKS))
    assert figures <= named


def test_no_file_names_the_machine():
    names = [name for name in contract.clone(ROOT) if Path(name).suffix in (".py", ".md", ".toml", ".txt", ".yml")]
    for name in [*names, "Makefile", ".ci/run"]:
        if name != "tests/test_contract.py" and name != "tests/contract.py":
            found = re.search(r"(?<![\w.:/*])/(?:home|Users|root|work|tmp)/", text(name))
            assert not found, f"{name}: {found}"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_somewhere(name):
    if not (ROOT / name).is_file():
        pytest.skip(f"{name} is not written yet")
    assert contract.broken_links(text(name), ROOT / name, ROOT) == []


def test_readme_map_fits_the_notebooks():
    """A row for each notebook: number, linked title, its question, its minutes."""
    if not (ROOT / "README.md").is_file():
        pytest.skip("README.md is not written yet")
    row = r"^\| *(\d\d) *\| *\[([^\]]+)\]\(notebooks/(\S+)\.ipynb\) *\| *(.+?) *\| *(\d+)[^|\n]*\|"
    rows = re.findall(row, text("README.md"), re.MULTILINE)
    expected = []
    for path in NOTEBOOKS:
        opening = contract.read(path).cells[0].source
        number, title = re.match(r"# (\d\d) (.+)", opening).groups()
        minutes = re.search(r"\*\*Time\*\*: (\d+) minutes? to read", opening).group(1)
        expected.append((number, title, path.stem, opening.split("\n\n")[1], minutes))
    plain = [tuple(" ".join(part.split()) for part in one) for one in expected]
    assert rows == plain


# --- Makefile


def make(*arguments, folder=ROOT):
    command = ["make", "--no-print-directory", *arguments]
    outer = ("MAKEFLAGS", "MAKELEVEL", "PYTHON")  # of the `make test` that runs us
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=120)


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def fresh(tmp_path):
    """A folder with what the Makefile looks at, and a .venv that is never installed into."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@needs_make
def test_make_alone_explains_itself():
    said = make().stdout
    for target in ("lab", "notebooks", "test", "lint"):
        assert f"make {target} " in said


@needs_make
@pytest.mark.parametrize("target", ["lab", "notebooks", "test", "lint"])
def test_each_target_installs_first_when_it_has_to(fresh, target):
    said = make("--dry-run", target, folder=fresh).stdout
    assert "pip install --requirement requirements.txt" in said
    (fresh / ".venv").mkdir()
    (fresh / ".venv/.installed").touch()
    assert "pip install" not in make("--dry-run", target, folder=fresh).stdout
    os.utime(fresh / ".venv/.installed", (0, 0))
    assert "pip install" in make("--dry-run", target, folder=fresh).stdout


@needs_make
def test_lab_stays_on_this_machine():
    said = make("--dry-run", "lab").stdout
    assert "--ip=127.0.0.1" in said
    assert "notebooks/01_sample_a_mixture.ipynb" in said


@needs_make
@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the old Python")
def test_old_python_is_refused_with_a_hint(fresh):
    old = fresh / "old-python"
    old.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "import sys; sys.version_info = (3, 10); $(echo "$2")"\n')
    old.chmod(0o755)
    answer = make("lint", f"PYTHON={old}", folder=fresh)
    assert answer.returncode != 0
    assert "Python 3.11 or newer is needed" in answer.stderr
    assert not (fresh / ".venv").exists()


@needs_make
@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for Python")
def test_interrupted_installation_is_done_again(fresh):
    fake = fresh / "python"
    script = 'case "$*" in *venv*) mkdir -p .venv/bin; cp python .venv/bin;; *pip*) exit 1;; esac'
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    for _ in range(2):
        answer = make("lint", f"PYTHON={fake}", folder=fresh)
        assert answer.returncode != 0
        assert "pip install" in answer.stdout
    assert not (fresh / ".venv/.installed").exists()
