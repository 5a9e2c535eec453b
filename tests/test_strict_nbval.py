"""What the strict nbval adds: a good series passes, and each planted fault fails the very cell that has it."""

import os
import subprocess
import sys
from xml.etree import ElementTree

import nbformat
import pytest

from tests.support import example, strict_nbval
from tests.support.notebooks import ROOT, code_cells

GOOD = {*(f"Cell {number}" for number in range(8)), "Exercise 1", "Exercise 2"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good") / "series"
    example.write_series(root)
    return root


@pytest.fixture
def series(good, tmp_path):
    return example.copy_series(good, tmp_path / "two words 日本")


def check(path, *options, which="notebooks/01_draw_a_line.ipynb"):
    """Run the strict nbval in the series. Return the names that passed and {name that failed: message}."""
    root = path.parent.parent
    (root / "pytest.ini").touch()
    before = contents(root)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tools'}", "PYTHONUTF8": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.strict_nbval", "-p", "no:cacheprovider", "--nbval"]
    command += ["--color=no", f"--junitxml={root.parent / 'report.xml'}", *options, which]
    answer = subprocess.run(command, cwd=root, env=environment, capture_output=True, encoding="utf-8", timeout=600)
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr
    assert contents(root) == before, "a test run changed the project"
    cases = ElementTree.parse(root.parent / "report.xml").getroot().iter("testcase")
    found = [(case.get("name"), "".join(part.text for part in case if part.tag != "system-out")) for case in cases]
    return [name for name, problem in found if not problem], {name: problem for name, problem in found if problem}


def contents(root):
    files = [file for folder in ("notebooks", "figures") for file in (root / folder).rglob("*") if file.is_file()]
    return {file: file.read_bytes() for file in files}


def change(path, edit):
    """Rewrite the notebook: edit(code cells)."""
    notebook = nbformat.read(path, as_version=4)
    edit(code_cells(notebook))
    nbformat.write(notebook, path)


def test_a_good_series_passes_also_when_saved_by_jupyterlab_among_litter_on_somebody_elses_machine(
    series, tmp_path, monkeypatch
):
    example.save_as_jupyterlab_does(series)
    example.litter(series.parent.parent)
    own = tmp_path / "own"
    for name in ("profile_default/startup", "kernels/python3"):
        (own / name).mkdir(parents=True)
    (own / "kernels/python3/kernel.json").write_text('{"argv": ["false"], "display_name": "x", "language": "python"}')
    (own / "matplotlibrc").write_text("lines.linewidth: 9")
    for name in ("startup.py", "profile_default/startup/own.py"):
        (own / name).write_text("import numpy\nnumpy.set_printoptions(precision=2)\nprint('foreign')")
    for name in "IPYTHONDIR JUPYTER_PATH JUPYTER_DATA_DIR MPLCONFIGDIR MATPLOTLIBRC".split():
        monkeypatch.setenv(name, str(own))
    monkeypatch.setenv("HOME", str(own / "nowhere"))
    monkeypatch.setenv("PYTHONSTARTUP", str(own / "startup.py"))
    passed, failed = check(series, which="notebooks")
    assert not failed
    assert sorted(passed) == sorted([*GOOD, "Cell 0"])  # the last of the experts' notebook


def test_faults_in_code_and_solutions(series):
    def edit(code):
        code[1].source = code[1].source.replace("y_N.sum()", "y_N.sum() + 1")
        code[2].source = code[2].source.replace("ax.plot(9 - y_N)\n", "")
        code[3].source = code[3].source.replace("60 * t", "50 * t")

    change(series, edit)
    file = series.parent / "solutions/01_draw_a_line.md"
    text = (
        file.read_text(encoding="utf-8").replace("y_N.sum()", "y_N.max()").replace("y_N[0], 2.0", "..., np.full(9, 2)")
    )
    file.write_text(text, encoding="utf-8")
    passed, failed = check(series)
    assert set(failed) == {"Cell 1", "Cell 2", "Cell 3", "Exercise 1", "Exercise 2"}
    assert set(passed) == GOOD - set(failed)
    assert "sum 91.000" in failed["Cell 1"]
    assert "cell-2-figure-1.png: around row" in failed["Cell 2"]
    assert "film.gif: frame 3" in failed["Cell 3"]
    assert "film_strip.png: around row" in failed["Cell 3"]
    assert "the solution" in failed["Exercise 1"]
    assert "the mistake" in failed["Exercise 2"]
    kept = {file.name for file in (series.parent.parent / ".figure-differences/01_draw_a_line").iterdir()}
    assert {"cell-2-figure-1-difference.png", "film-stored.gif", "film-new.gif"} <= kept


def test_faults_in_what_is_stored(series):
    """Holes of plain nbval: each of these cells passes there."""

    def edit(code):
        code[0].source += '\nfrom pathlib import Path\n_ = Path("left.txt").write_text("x")'
        code[0].source += '\n_ = Path("stored_results/new.txt").write_text("42")'
        code[1].source += "\nimport sys\n_ = sys.stderr.write('careful')"
        code[1].metadata = {"tags": ["nbval-ignore-output"]}
        code[2].outputs[0].metadata["image/png"]["alt"] = "Another description of this very line."
        code[2].source = code[2].source.replace("ax.plot(9 - y_N)\n", "")
        code[3].source = code[3].source.replace("film.gif", "new.gif")
        code[4].execution_count = None
        code[5].source = 'from IPython.display import clear_output\nprint("x")\ndisplay(1)\n' + code[5].source
        code[5].outputs = nbformat.from_dict(
            [
                {"output_type": "display_data", "data": {"text/plain": "1"}, "metadata": {}},
                {"output_type": "stream", "name": "stdout", "text": "x\nNot answered yet.\n"},
            ]
        )
        code[6].source += "\nfrom IPython.display import clear_output\nclear_output()"
        code[7].source += '\nnames = "film.gif", "film_strip.png"'

    change(series, edit)
    (series.parent / "stored_results").mkdir()
    for name in ("kept", "new"):
        (series.parent / f"stored_results/{name}.txt").write_text("41", encoding="utf-8")
    passed, failed = check(series, "--figures=skip")
    assert set(failed) == GOOD - {"Cell 0", "Exercise 1", "Exercise 2"}
    assert "stderr: careful" in failed["Cell 1"]
    assert "the description stored is" in failed["Cell 2"]
    assert "around row" not in failed["Cell 2"], "--figures=skip compares no pixels"
    assert "figures/new.gif, which is not there" in failed["Cell 3"]
    assert "without having been run" in failed["Cell 4"]
    assert "Outputs stored" in failed["Cell 5"]
    assert "clear_output is not allowed" in failed["Cell 6"]
    for problem in ("No cell wrote figures/film.gif", "left.txt in notebooks/", "stored_results/new.txt in notebooks/"):
        assert problem in failed["Cell 7"]
    assert "kept.txt" not in failed["Cell 7"]
    assert "Cell 0" in passed


def test_pixels_are_compared_where_the_stored_ones_could_have_been_drawn(monkeypatch):
    pins = strict_nbval.pins()
    for system, machine, own, says in [
        ("linux", "x86_64", {}, ""),
        ("linux", "x86_64", {"ruff": "0", "torch": "0"}, ""),
        ("linux", "x86_64", {"matplotlib": "0"}, "the stored ones were drawn with matplotlib " + pins["matplotlib"]),
        ("linux", "aarch64", {}, "the stored ones were drawn on Linux, x86_64"),
        ("darwin", "x86_64", {}, "the stored ones were drawn on Linux, x86_64"),
    ]:
        monkeypatch.setattr(strict_nbval.sys, "platform", system)
        monkeypatch.setattr(strict_nbval.platform, "machine", lambda name=machine: name)
        monkeypatch.setattr(strict_nbval, "version", (pins | own).get)
        assert strict_nbval.elsewhere() == says


def test_lax_compares_nothing(series):
    def edit(code):
        code[1].outputs[0].text = "old\n"
        code[2].source = code[2].source.replace("ax.plot(9 - y_N)\n", "")
        code[3].source += "\nassert False"

    change(series, edit)
    assert set(check(series, "--nbval-lax")[1]) == {"Cell 3"}
