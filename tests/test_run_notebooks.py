"""tools/run_notebooks.py on small notebooks: what it stores, and what it leaves alone when something fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

import run_notebooks

ROOT = Path(__file__).resolve().parent.parent
PRINT = 'import sys\nfor word in ("ä", "b"):\n    print(word)\n    sys.stdout.flush()'
WRITE = 'from pathlib import Path\n_ = Path("../figures/words.txt").write_text("new")'


@pytest.fixture
def series(tmp_path):
    """A folder for a series, with spaces and Japanese letters; call it with a name and cells to add a notebook."""
    root = tmp_path / "two words 日本"
    for name in ("notebooks/experts", "figures"):
        (root / name).mkdir(parents=True)

    def add(name, *sources, tags=()):
        cells = [new_code_cell(source, id=f"cell-{number}") for number, source in enumerate(sources)]
        cells[0].metadata = {"tags": list(tags), "collapsed": True, "jupyter": {"source_hidden": False}}
        path = root / "notebooks" / f"{name}.ipynb"
        nbformat.write(new_notebook(cells=cells, metadata={"language_info": {"name": "python", "version": "3"}}), path)
        return path

    add.root = root
    return add


def output(path, cell=0):
    return nbformat.read(path, as_version=4).cells[cell].outputs[0]["text"]


def files(root):
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in root.rglob("*") if file.is_file()}


def test_run_stores_outputs_and_nothing_of_the_machine_and_a_second_run_nothing(series, capsys):
    path = series("01_a", PRINT, WRITE, tags=["exercise-check", "hide-input", "hide-output"])
    series("experts/topic", "from pathlib import Path\nprint(Path('../../figures').is_dir())")
    series("02_b", "from pathlib import Path\n_ = Path('tool.py').write_text('x = 1')")
    assert run_notebooks.main([], series.root) == 0
    assert (series.root / "notebooks/tool.py").read_text() == "x = 1"
    said = capsys.readouterr().out
    assert re.search(r"\[\d/3\] 01_a: [\d.]+ s, slowest cell \d .*\n +changed: words.txt, 01_a.ipynb\n", said)
    assert "3 notebooks in" in said
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata == run_notebooks.METADATA
    assert [cell.execution_count for cell in notebook.cells] == [1, 2]
    assert [output.text for output in notebook.cells[0].outputs] == ["ä\nb\n"]
    closed = {"source_hidden": True, "outputs_hidden": True}
    assert notebook.cells[0].metadata == {"tags": ["exercise-check", "hide-input", "hide-output"], "jupyter": closed}
    assert notebook.cells[0].id == "cell-0"
    before = files(series.root)
    assert run_notebooks.main([], series.root) == 0
    assert files(series.root) == before


def test_only_the_notebook_that_builds_a_script_stores_it(series):
    """Another one, whose copy of the script is older by the time it ends, does not put it back."""
    script = series.root / "notebooks/tool.py"
    script.write_text("x = 0")
    series("01_a", f"from pathlib import Path\n_ = Path({str(script)!r}).write_text('x = 1')  # meanwhile")
    assert run_notebooks.main([], series.root) == 0
    assert script.read_text() == "x = 1"


def test_a_timing_stays_as_long_as_its_words_do(series):
    path = series("01_a", "import time\nprint(f'it took {time.time_ns()} ticks')", tags=["nbval-ignore-output"])
    assert run_notebooks.main([], series.root) == 0
    first = output(path)
    assert run_notebooks.main([], series.root) == 0
    assert output(path) == first
    path.write_text(path.read_text("utf-8").replace("it took {", "it lasted {"), encoding="utf-8")
    assert run_notebooks.main([], series.root) == 0
    assert output(path).startswith("it lasted ")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x = 'μ'\n\n1 / 0", "ZeroDivisionError: division by zero"),
        ("import warnings\nwarnings.warn('careful')", "careful"),
        ("import os\nos._exit(1)", "the kernel died"),
    ],
)
def test_failing_cell_is_named_and_nothing_of_its_notebook_is_stored(series, capsys, source, says):
    series("01_a", WRITE, source, "print('never')")
    series("02_b", "import time\ntime.sleep(100)")  # stopped with it
    (series.root / "figures/words.txt").write_text("old")
    before = files(series.root)
    assert run_notebooks.main([], series.root) == 1
    said = capsys.readouterr().err
    for words in ("01_a.ipynb: code cell 2", source.splitlines()[0], says):
        assert words in said
    assert "02_b" not in said
    assert files(series.root) == before


@pytest.mark.parametrize("text", ["", "{}", "[]", "<<<<<<< HEAD\n{", '{"nbformat": 3, "worksheets": []}', "\udcff"])
def test_damaged_file_gets_one_line(series, capsys, text):
    series("01_a", "1").write_text(text, errors="surrogateescape")
    assert run_notebooks.main([], series.root) == 1
    said = capsys.readouterr().err.split("\n")
    assert said[1].startswith("01_a.ipynb: the file holds no notebook that can be read: ")
    assert len(said) == 4


def test_two_notebooks_that_write_one_figure_are_noticed(series, capsys):
    series("01_a", WRITE)
    series("02_b", WRITE)
    assert run_notebooks.main([], series.root) == 1
    assert "it writes figures/words.txt, which 0" in capsys.readouterr().err


def test_files_are_replaced_together_or_not_at_all(tmp_path, monkeypatch):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"old")
    replace = os.replace

    def fail_at_second(source, target):
        if target == new:
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail_at_second)
    with pytest.raises(OSError, match="disk full"):
        run_notebooks.store({old: b"changed", new: b"new"})
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"old": b"old"}


def test_nothing_of_a_persons_own_set_up_reaches_a_kernel(series, tmp_path, monkeypatch):
    own = tmp_path / "own"
    (own / "profile_default/startup").mkdir(parents=True)
    (own / "kernels/python3").mkdir(parents=True)
    (own / "kernels/python3/kernel.json").write_text('{"argv": ["false"], "display_name": "x", "language": "python"}')
    for name in ("startup.py", "seaborn.py", "gmm_helpers.py", "profile_default/startup/own.py"):
        (own / name).write_text("import builtins\nbuiltins.__mine__ = True\nTAG = 'foreign'")
    (own / "matplotlibrc").write_text("lines.linewidth: 9")
    (series.root / "gmm_helpers.py").write_text("TAG = 'ours'")
    for name in "PYTHONPATH IPYTHONDIR JUPYTER_PATH JUPYTER_DATA_DIR MATPLOTLIBRC HOME MPLCONFIGDIR".split():
        monkeypatch.setenv(name, str(own))
    monkeypatch.setenv("PYTHONSTARTUP", str(own / "startup.py"))
    monkeypatch.setenv("PYTHONOPTIMIZE", "1")
    path = series(
        "01_a",
        "import builtins, os, sys, tempfile, gmm_helpers, matplotlib, seaborn\n_ = tempfile.mkdtemp()\n"
        "print(gmm_helpers.TAG, matplotlib.rcParams['lines.linewidth'], hasattr(builtins, '__mine__'), __debug__)\n"
        "print(os.environ['MKL_CBWR'], hasattr(seaborn, 'TAG'))",
    )
    assert run_notebooks.main([], series.root) == 0
    assert output(path) == "ours 1.5 False True\nCOMPATIBLE False\n"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to send")
def test_a_terminated_run_leaves_nothing_behind_and_prints_in_any_encoding(series, tmp_path):
    series("01_a", "μ = 1", "import time\nopen('begun', 'w').close()\ntime.sleep(100)")
    series("02_b", "# μ\nprint(1)")
    before = files(series.root / "notebooks/01_a.ipynb")
    (tmp_path / "t m p").mkdir()
    shutil.copytree(ROOT / "tools", series.root / "tools")
    environment = os.environ | {"TMPDIR": str(tmp_path / "t m p"), "LC_ALL": "C", "PYTHONUTF8": "0"}
    environment |= {"PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, str(series.root / "tools/run_notebooks.py")]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not list((tmp_path / "t m p").rglob("begun")):
        assert run.poll() is None, run.communicate()
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    said = run.communicate(timeout=60)
    assert run.returncode == 130
    assert b"interrupted" in said[1]
    assert list((tmp_path / "t m p").iterdir()) == []
    assert files(series.root / "notebooks/01_a.ipynb") == before


def test_which_notebooks(series):
    names = ("01_a", "02_b", "03_c", "experts/d", "Untitled", "02_b-Copy1")
    a, b, c, d, *_ = [series(name, "1") for name in names]
    assert run_notebooks.find([], series.root) == [a, b, c, d]
    assert run_notebooks.find(["2"], series.root) == [b]
    assert run_notebooks.find(["notebooks/0[13]*.ipynb", "3", str(d)], series.root) == [a, c, d]
    assert run_notebooks.main(["07"], series.root) == 1


def test_the_template_runs_as_it_is(series):
    shutil.copy(ROOT / "gmm_helpers.py", series.root)
    shutil.copy(ROOT / "tools/template.ipynb", series.root / "notebooks/28_name_it.ipynb")
    assert run_notebooks.main([], series.root) == 0
    stored = nbformat.read(series.root / "notebooks/28_name_it.ipynb", as_version=4)
    template = nbformat.read(ROOT / "tools/template.ipynb", as_version=4)
    assert [cell.metadata for cell in stored.cells] == [cell.metadata for cell in template.cells]
