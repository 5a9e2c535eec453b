"""The data files of notebook 24, and the functions that it builds for a file of one's own."""

import ast
import csv
import hashlib
import math
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from gmm_helpers import free_log_density

ROOT = Path(__file__).parents[1]
DATA = ROOT / "notebooks/data"
NOTEBOOK = ROOT / "notebooks/24_fit_real_data.ipynb"
pytestmark = pytest.mark.usefixtures("as_in_the_notebooks")


def built_in_the_notebook(*functions):
    """The last of these top-level functions of the notebook, with those before it and the modules that they use."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    names = {"csv": csv, "math": math, "torch": torch, "Path": Path, "free_log_density": free_log_density}
    for name in functions:
        [function] = [node for source in cells for node in ast.parse(source).body if getattr(node, "name", "") == name]
        exec(ast.unparse(function), names)
    return names[functions[-1]]


read_column = built_in_the_notebook("read_column")
best_fits = built_in_the_notebook("losses", "fit", "add_component", "best_fits")


def lines(name):
    return (DATA / name).read_text(encoding="utf-8").split()


# --- The data


def test_the_galaxies_are_those_of_roeder():
    header, *numbers = lines("galaxies.csv")
    assert header == "velocity_km_s" and len(numbers) == 82 and numbers == sorted(numbers, key=int)
    assert (numbers[0], numbers[77], numbers[-1]) == ("9172", "26960", "34279")
    assert sum(map(int, numbers)) == 1708180
    assert hashlib.sha256(" ".join(numbers).encode()).hexdigest()[:16] == "45c982b0cbcf7caa"


def test_the_other_copy_differs_in_one_galaxy():
    ours, other = lines("galaxies.csv"), lines("galaxies_other_copy.csv")
    assert [(n, a, b) for n, (a, b) in enumerate(zip(ours, other, strict=True)) if a != b] == [(78, "26960", "26690")]


def test_the_penguins_are_whole_and_belong_to_their_species():
    flippers = lines("penguin_flippers.csv")[1:]
    with open(DATA / "penguin_species.csv", encoding="utf-8", newline="") as file:
        penguins = list(csv.DictReader(file))
    assert [penguin["flipper_length_mm"] for penguin in penguins] == flippers
    species, count = np.unique([penguin["species"] for penguin in penguins], return_counts=True)
    assert dict(zip(species, count, strict=True)) == {"Adelie": 151, "Chinstrap": 68, "Gentoo": 123}
    assert sum(map(int, flippers)) == 68713 and len(set(flippers)) == 55 and flippers.count("190") == 22


# --- Reading a column


@pytest.mark.parametrize("name", ["galaxies.csv", "galaxies_other_copy.csv", "penguin_flippers.csv"])
def test_our_own_files_are_read(name):
    expected = np.loadtxt(DATA / name, skiprows=1)
    assert np.array_equal(read_column(DATA / name, K=6).numpy(), expected)


GOOD = {
    "header": b"speed\n1.5\n-2e3\n",
    "no header": b"1.5\n-2e3\n",
    "Windows": b"\xef\xbb\xbfspeed\r\n 1.5\r\n-2e3\r\n",
    "no newline at the end": b"1.5\n-2e3",
    "empty lines at the end": b"speed\n1.5\n-2e3\n\n \n",
    "quotes": b'"speed"\n"1.5"\n"-2e3"\n',
}


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_a_good_file(content, tmp_path):
    (tmp_path / "good.csv").write_bytes(content)
    assert read_column(tmp_path / "good.csv", K=2).tolist() == [1.5, -2000.0]


BAD = {
    "text": (b"speed\n1.5\nfast\n", "line 3 is not a number: 'fast'"),
    "semicolons": (b"speed\n1.5;2\n3\n", r"line 2 is not a number: '1.5;2' \(several columns\?\)"),
    "tabs": (b"1.5\n2\t7\n3\n", r"line 2 is not a number: .*several columns"),
    "a line break in quotes": (b'1.5\n"2\n3\n4"\n5\n6\n', r"line 4 is not a number: '2\\n3\\n4'"),
    "a line break in quotes at the top": (b'"2\n3\n4"\n5\n6\n7\n', r"line 3 is not a number: '2\\n3\\n4'"),
    "a quote that never closes": (b'1.5\n"2\n3\n4\n', "line 4 is not a number"),
    "underscore": (b"speed\n1_5\n3\n", "line 2 is not a number"),
    "not a CSV at all": (b"PK\x03\x04\xff\xfe\x00", "not a CSV file in UTF-8"),
    "an Excel CSV": ("speed\n1,5\n".encode("utf-16"), "not a CSV file in UTF-8"),
    "two headers": (b"speed\nkm/s\n1.5\n3\n", "line 2 is not a number: 'km/s'"),
    "missing": (b"speed\n1.5\nNA\n3\n", "line 3: the value is missing"),
    "missing in quotes": (b'speed\n1.5\n""\n3\n', "line 3: the value is missing"),
    "an empty line": (b"speed\n1.5\n\n3\n", "line 3: the value is missing"),
    "nan in the first line": (b"nan\n1.5\n3\n", "line 1: the value is missing"),
    "infinite": (b"speed\n1.5\ninf\n3\n", "a value is infinite"),
    "beyond the largest number": (b"speed\n1.5\n1e999\n3\n", "a value is infinite"),
    "squares overflow": (b"1e200\n2e200\n3e200\n", "too large or too small to square"),
    "differences overflow": (b"1e308\n-1e308\n1.5e308\n", "too large or too small to square"),
    "squares vanish": (b"1e-310\n2e-310\n3e-310\n", "too large or too small to square"),
    "a field without end": (b"1.5\n" + b"7" * 140_000 + b"\n3\n", "not a CSV file in UTF-8: field larger"),
    "one column too many": (b"id,speed\n1,1.5\n2,3\n", "line 1 has 2 columns"),
    "decimal comma": (b"speed\n1,5\n3,0\n", "line 2 has 2 columns, one is expected .*decimal comma"),
    "one row": (b"speed\n1.5\n", r"1 value\(s\), 1 of them different; 3 different ones are needed"),
    "header only": (b"speed\n", r"0 value\(s\), 0 of them different"),
    "empty": (b"", r"0 value\(s\), 0 of them different"),
    "constant": (b"speed\n1.5\n1.50\n1.5\n", r"3 value\(s\), 1 of them different"),
    "N below K": (b"speed\n1.5\n3\n1.5\n", r"3 value\(s\), 2 of them different; 3 different ones are needed"),
}


@pytest.mark.parametrize("content, sentence", BAD.values(), ids=BAD)
def test_a_bad_file_gets_one_sentence(content, sentence, tmp_path):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_column(tmp_path / "bad.csv", K=3)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 140


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.csv"):
        read_column(tmp_path / "gone.csv")


@pytest.mark.parametrize("first", ["speed", "1O.5", "speed;id"])
def test_a_header_is_named(first, tmp_path, capsys):
    (tmp_path / "good.csv").write_text(f"{first}\n1.5\n3\n", encoding="utf-8")
    read_column(tmp_path / "good.csv")
    several = " (several columns?)" * (";" in first)
    assert capsys.readouterr().out == f"line 1 taken as a header: {first!r}{several}\n"


# --- The search


def two_clumps():
    spread = torch.linspace(-1.5, 1.5, 30)
    return torch.cat([spread, 1000 + spread])


def one_galaxy_far_off():
    v_N = torch.from_numpy(np.loadtxt(DATA / "galaxies.csv", skiprows=1)) / 1000
    v_N[(v_N - 19.44).abs().argmin()] = 1944
    return v_N


@pytest.mark.parametrize("make, σ_min", [(two_clumps, 0.1), (one_galaxy_far_off, 0.2)])
def test_one_more_component_never_fits_worse(make, σ_min, capsys):
    likelihoods = [likelihood for _, likelihood in best_fits(make(), σ_min, 4).values()]
    assert likelihoods == sorted(likelihoods), likelihoods
    assert "failed" not in capsys.readouterr().out


def test_a_search_that_fails_says_so(capsys, monkeypatch):
    def bad_fit(x_M, w_M, start, σ_min, steps=300, lr=0.1):
        return start, torch.full((len(start[0]),), float(start[0].shape[1]))  # a loss of K

    monkeypatch.setitem(best_fits.__globals__, "fit", bad_fit)
    best_fits(two_clumps(), 0.1, 2)
    assert capsys.readouterr().out == "K = 2 fits no better than K = 1: the search may have failed\n"


@pytest.mark.parametrize("σ_min", [0, -1, math.inf, math.nan])
def test_a_floor_that_is_none(σ_min):
    with pytest.raises(ValueError, match=r"the floor of σ is .*, it must be above 0"):
        best_fits(torch.tensor([1.0, 2.0, 4.0]), σ_min, 2)
