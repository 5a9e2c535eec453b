"""tools/run_notebooks.py on small notebooks: what it stores, and what it leaves alone when something fails."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import run_notebooks

PRINT = 'import sys\nfor word in ("a", "b"):\n    print(word)\n    sys.stdout.flush()'
WRITE = 'from pathlib import Path\n_ = Path("../figures/words.txt").write_text("new")'


@pytest.fixture
def series(tmp_path):
    """A folder for a series; call it with the cells of a notebook to add one."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "figures").mkdir()

    def add(name, *sources):
        cells = [new_markdown_cell("# Title"), *(new_code_cell(source) for source in sources)]
        cells[1].metadata = {"tags": ["exercise"], "execution": {"iopub.status.busy": "2026"}, "collapsed": True}
        cells[1].id = "first"
        notebook = new_notebook(cells=cells, metadata={"language_info": {"name": "python", "version": "3.0"}, "x": 1})
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    return add


def test_run_stores_outputs_and_nothing_of_the_machine(series, capsys):
    path = series("01_a", PRINT, '{"ä"}')
    assert run_notebooks.main([], path.parent.parent) == 0
    said = capsys.readouterr().out
    assert "[1/1] 01_a" in said
    assert "slowest cell" in said
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata == run_notebooks.METADATA
    first, second = notebook.cells[1:]
    assert (first.execution_count, second.execution_count) == (1, 2)
    assert [output.text for output in first.outputs] == ["a\nb\n"]
    assert second.outputs[0].data == {"text/plain": "{'ä'}"}
    assert first.metadata == {"tags": ["exercise"]}
    assert first.id == "first"
    raw = path.read_bytes()
    assert "ä".encode() in raw
    assert raw.endswith(b"}\n")
    assert b"\r" not in raw


def test_stored_results_are_there_to_read(series):
    path = series("01_a", 'print(open("reference/long.txt").read())')
    (path.parent / "reference").mkdir()
    (path.parent / "reference" / "long.txt").write_text("42", encoding="utf-8")
    assert run_notebooks.main([], path.parent.parent) == 0
    assert nbformat.read(path, as_version=4).cells[1].outputs[0].text == "42\n"
    assert [file.name for file in (path.parent / "reference").iterdir()] == ["long.txt"]


def test_second_run_writes_nothing(series):
    path = series("01_a", PRINT, WRITE)
    assert run_notebooks.main([], path.parent.parent) == 0
    files = [path, path.parent.parent / "figures/words.txt"]
    before = [(file.read_bytes(), file.stat().st_mtime_ns) for file in files]
    assert run_notebooks.main([], path.parent.parent) == 0
    assert [(file.read_bytes(), file.stat().st_mtime_ns) for file in files] == before


def test_a_timing_stays_as_long_as_its_words_do(series):
    path = series("01_a", "import time\nprint(f'it took {time.time_ns()} ticks')", "import time\nprint(time.time_ns())")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1].metadata = {"tags": ["nbval-ignore-output"]}
    nbformat.write(notebook, path)

    def outputs():
        assert run_notebooks.main([], path.parent.parent) == 0
        return [cell.outputs[0].text for cell in nbformat.read(path, as_version=4).cells[1:]]

    first, second = outputs(), outputs()
    assert first[0] == second[0]
    assert first[1] != second[1]
    path.write_text(path.read_text("utf-8").replace("it took {", "it lasted {"), encoding="utf-8")
    third = outputs()
    assert third[0].startswith("it lasted ")
    assert third[0] == outputs()[0]


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 1\n\n1 / 0", "ZeroDivisionError: division by zero"),
        ("import warnings\nwarnings.warn('careful')", "careful"),
        ("import sys\nsys.stderr.write('careful')", "careful"),
        ("import os\nos._exit(1)", "the kernel died"),
        ("def broken(:", "SyntaxError"),
    ],
    ids=["error", "warning", "stderr", "dead kernel", "syntax"],
)
def test_failing_cell_is_named_and_nothing_is_stored(series, capsys, source, says):
    path = series("01_a", WRITE, source, "print('never')")
    later = series("02_b", "print(1)")
    (path.parent.parent / "figures/words.txt").write_text("old")
    before = [file.read_bytes() for file in (path, later)]
    assert run_notebooks.main([], path.parent.parent) == 1
    said = capsys.readouterr().err
    for words in ("01_a.ipynb", "code cell 2", source.splitlines()[0], says):
        assert words in said
    assert [file.read_bytes() for file in (path, later)] == before
    assert (path.parent.parent / "figures/words.txt").read_text() == "old"
    assert sorted(file.name for file in path.parent.iterdir()) == ["01_a.ipynb", "02_b.ipynb"]


def test_slow_cell_is_stopped(series):
    path = series("01_a", "import time", "time.sleep(60)")
    notebook = nbformat.read(path, as_version=4)
    with pytest.raises(run_notebooks.NotebookError, match="longer than 1 s"):
        run_notebooks.execute(notebook, path.parent, timeout=1)


def test_interrupt_leaves_the_file(series, capsys, monkeypatch):
    path = series("01_a", PRINT)
    before = path.read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_notebooks, "write_if_changed", interrupt)
    assert run_notebooks.main([], path.parent.parent) == 130
    assert path.read_bytes() == before
    assert "interrupted" in capsys.readouterr().err


def test_failed_write_leaves_the_file(tmp_path, monkeypatch):
    path = tmp_path / "a.ipynb"
    path.write_bytes(b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(run_notebooks.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        run_notebooks.write_if_changed(path, b"new")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.ipynb", b"old")]


def test_which_notebooks(series):
    paths = [series(name, "1") for name in ("01_a", "02_b", "03_c")]
    root = paths[0].parent.parent
    assert run_notebooks.find([], root) == paths
    assert run_notebooks.find(["02"], root) == paths[1:2]
    assert run_notebooks.find(["2"], root) == paths[1:2]
    assert run_notebooks.find(["notebooks/0[13]*.ipynb", "3"], root) == [paths[0], paths[2]]
    assert run_notebooks.find([str(paths[2])], root) == paths[2:]
    assert run_notebooks.main(["07"], root) == 1
