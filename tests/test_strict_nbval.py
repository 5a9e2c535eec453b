"""What the strict nbval adds: a good notebook passes, and each planted fault fails the very cell that has it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import example
import run_notebooks

TESTS = Path(__file__).resolve().parent
EVERYTHING = {*(f"Cell {number}" for number in range(8)), "Exercise 1", "Exercise 2"}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A series that was run."""
    path = example.write_series(tmp_path_factory.mktemp("good"), example.example_notebook())
    run_notebooks.run(path, path.parent.parent / "figures")
    return path.parent.parent


@pytest.fixture
def series(good, tmp_path):
    """A copy of it: the root, the first notebook's path, and its code cells' numbers in the list of cells."""
    root = tmp_path / "series"
    shutil.copytree(good, root)
    return root


def check(root, *options):
    """Run the strict nbval on the first notebook. Return the names that passed and {name that failed: message}."""
    (root / "pytest.ini").touch()
    before = contents(root)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent / "tools")])}
    environment.pop("PYTEST_ADDOPTS", None)
    environment["PYTHONUTF8"] = "1"
    command = [sys.executable, "-m", "pytest", "-p", "strict_nbval", "-p", "no:cacheprovider", "--nbval", "-rA"]
    command += ["--color=no", *options, "notebooks/01_draw_a_line.ipynb"]
    answer = subprocess.run(command, cwd=root, env=environment, capture_output=True, encoding="utf-8", timeout=300)
    passed = set(re.findall(r"^PASSED .*::(.+)$", answer.stdout, re.MULTILINE))
    failed = set(re.findall(r"^FAILED .*::((?:Cell|Exercise) \d+)", answer.stdout, re.MULTILINE))
    assert passed | failed, answer.stdout + answer.stderr
    parts = re.split(r"^_+ .*::((?:Cell|Exercise) \d+) _+$|^=+ short test summary", answer.stdout, flags=re.MULTILINE)
    messages = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert contents(root) == before, "a test run changed the project"
    return passed, {name: messages[name] for name in failed}


def contents(root):
    files = [file for folder in ("notebooks", "figures") for file in (root / folder).rglob("*") if file.is_file()]
    return {file: file.read_bytes() for file in files}


def change(root, edit):
    """Rewrite the first notebook: edit(code cells)."""
    path = root / "notebooks/01_draw_a_line.ipynb"
    notebook = nbformat.read(path, as_version=4)
    edit([cell for cell in notebook.cells if cell.cell_type == "code"])
    nbformat.write(notebook, path)


def edit_solutions(root, old, new):
    path = root / "notebooks/solutions/01_draw_a_line.md"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_good_notebook_passes(series):
    passed, failed = check(series)
    assert not failed
    assert passed == EVERYTHING


def test_faults_in_code(series):
    def edit(code):
        code[1].source = code[1].source.replace("2.0 *", "1.0 *").replace("assert", "# assert")
        code[2].source = code[2].source.replace(", label", "[:5], label").replace("y_N[:5]", "y_N[:9]")
        code[3].source = code[3].source.replace("(60 * t, 0, 0)", "(50 * t, 0, 0)")

    change(series, edit)
    edit_solutions(series, "total = y_N.sum()", "total = y_N.max()")
    edit_solutions(series, "slope = np.diff(y_N)", "slope = np.full(9, 2.0)")
    edit_solutions(series, "slope = 2.0", "slope = np.full(9, 2.0) + 0")
    passed, failed = check(series)
    assert set(failed) == EVERYTHING - {"Cell 0", "Cell 4", "Cell 5", "Cell 6", "Cell 7"}
    assert "sum 45.000" in failed["Cell 1"]
    assert "cell-2-figure-1.png: around row" in failed["Cell 2"]
    assert "film.gif: frame 2" in failed["Cell 3"]
    assert "the solution" in failed["Exercise 1"]
    assert "the mistake" in failed["Exercise 2"]
    kept = {file.name for file in (series / ".figure-differences/01_draw_a_line").iterdir()}
    assert {"cell-2-figure-1-stored.png", "cell-2-figure-1-new.png", "film-stored.gif", "film-new.gif"} <= kept
    assert passed


def test_pixels_can_be_skipped(series):
    change(series, lambda code: code[2].update(source=code[2].source.replace("ax.plot(y_N", "ax.plot(-y_N")))
    assert not check(series, "--figures=skip")[1]


def test_faults_in_what_is_stored(series):
    """Holes of plain nbval: every one of these notebooks passes there."""

    def edit(code):
        code[0].source += '\nfrom pathlib import Path\n_ = Path("left.txt").write_text("x")'
        code[0].source += '\n_ = Path("reference/long.txt").write_text(Path("reference/kept.txt").read_text())'
        code[1].source += "\nimport sys\n_ = sys.stderr.write('careful')"
        code[1].metadata = {"tags": ["nbval-ignore-output"]}
        code[2].outputs[0].metadata["image/png"]["alt"] = "Another description of this very line."
        code[3].source = 'names = "film.gif film_strip.png"\nframes[0].save("../figures/new.png")'
        code[3].source = 'frames = [Image.new("RGB", (8, 8))]\n' + code[3].source
        code[4].execution_count = None
        code[6].source += "\nfrom IPython.display import clear_output\nclear_output()"
        code[7].source += '\nnames = ["film.gif", "film_strip.png"]'

    change(series, edit)
    (series / "notebooks/reference").mkdir()
    for name, text in {"kept": "41", "long": "42"}.items():
        (series / f"notebooks/reference/{name}.txt").write_text(text, encoding="utf-8")
    passed, failed = check(series)
    assert set(failed) == {"Cell 1", "Cell 2", "Cell 3", "Cell 4", "Cell 6", "Cell 7"}
    assert "stderr: careful" in failed["Cell 1"]
    assert "metadata stored" in failed["Cell 2"]
    assert "figures/new.png, which is not there" in failed["Cell 3"]
    assert "without having been run" in failed["Cell 4"]
    assert "clear_output is not allowed" in failed["Cell 6"]
    assert "No cell wrote figures/film.gif" in failed["Cell 7"]
    assert "left.txt in notebooks/" in failed["Cell 7"]
    assert "reference/long.txt in notebooks/" in failed["Cell 7"]
    assert "kept.txt" not in failed["Cell 7"]
    assert (series / "notebooks/reference/long.txt").read_text(encoding="utf-8") == "42"
    assert passed >= {"Cell 0", "Exercise 2"}


def test_missing_and_moved_outputs(series):
    def edit(code):
        code[1].outputs, code[2].outputs = code[1].outputs + code[2].outputs[:1], code[2].outputs[1:]
        code[4].source += '\nprint("x")\ndisplay({"text/plain": "y"}, raw=True)'
        code[4].outputs = nbformat.from_dict(
            [
                {"output_type": "display_data", "data": {"text/plain": "y"}, "metadata": {}},
                {"output_type": "stream", "name": "stdout", "text": "x\n"},
            ]
        )

    change(series, edit)
    failed = check(series)[1]
    assert {"Cell 1", "Cell 2", "Cell 4"} == set(failed)
    assert "Outputs stored" in failed["Cell 4"]


def test_lax_mode_still_runs_and_asserts(series):
    def edit(code):
        code[1].outputs = nbformat.from_dict([{"output_type": "stream", "name": "stdout", "text": "old\n"}])
        code[3].source += "\nassert False"

    change(series, edit)
    assert set(check(series, "--nbval-lax")[1]) == {"Cell 3"}
