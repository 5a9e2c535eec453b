"""The script that measures the ladder of notebook 26: every rung is right or nothing is written."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STORED = json.loads((ROOT / "notebooks/stored_results/speed_26.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A folder with the script, the notebook that it reads, and the helper."""
    root = tmp_path_factory.mktemp("speed")
    (root / "notebooks/stored_results").mkdir(parents=True)
    for name in ("gmm_helpers.py", "notebooks/26_make_it_fast.ipynb", "notebooks/stored_results/speed_26.py"):
        shutil.copy(ROOT / name, root / name)
    return root


def measure(root, *options, **environment):
    command = [sys.executable, "notebooks/stored_results/speed_26.py", "--points", "2000", "--rounds", "1", *options]
    return subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", timeout=300,
                          env={**os.environ, "PYTHONUTF8": "1", **environment})


def test_everything_that_the_notebook_reads_is_measured_and_written(copy):
    run = measure(copy, "--no-compile")
    assert run.returncode == 0, run.stderr
    written = copy / "notebooks/stored_results/speed_26.json"
    new = json.loads(written.read_text(encoding="utf-8"))
    written.unlink()
    compiled = {name for name in STORED["seconds"] if "one loop" in name or "compiled" in name}
    assert set(new) == set(STORED)
    assert set(new["seconds"]) == set(STORED["seconds"]) - compiled
    assert [entry.name for entry in written.parent.iterdir()] == ["speed_26.py"]


def test_a_wrong_rung_stops_it_before_anything_is_written(copy, tmp_path):
    root = tmp_path / "copy"
    shutil.copytree(copy, root)
    notebook = root / "notebooks/26_make_it_fast.ipynb"
    text = notebook.read_text(encoding="utf-8")
    assert text.count("- 2 * μ_K * S1_K") == 1
    notebook.write_text(text.replace("- 2 * μ_K * S1_K", "- μ_K * S1_K"), encoding="utf-8")
    run = measure(root, "--no-compile")
    assert run.returncode != 0 and "AssertionError" in run.stderr
    assert not (root / "notebooks/stored_results/speed_26.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="PyTorch finds Microsoft's compiler without the PATH")
def test_without_a_compiler_it_says_so_in_one_line_and_prints_every_other_rung(copy):
    run = measure(copy, "--no-write", PATH=str(copy), CXX="")
    assert run.returncode == 0, run.stderr
    assert len([line for line in run.stderr.splitlines() if "torch.compile does not work here" in line]) == 1
    for rung in ("library", "our own density", "turn it", "a parabola", "no graph", "chunks", "float32", "limit"):
        assert any(line.startswith(rung) and "times the library" in line for line in run.stdout.splitlines()), rung
    assert not (copy / "notebooks/stored_results/speed_26.json").exists()


def test_the_stored_ladder_is_whole():
    seconds = STORED["seconds"]
    assert STORED["points"] == 1_000_000 and STORED["rounds"] >= 15
    assert {"one loop", "one loop, by backward", "one loop, by torch.func", "one loop, float32"} <= set(seconds)
    assert seconds["limit"] < seconds["one loop"] < seconds["chunks"] < seconds["library"]
