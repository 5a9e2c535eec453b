"""Every rule on every notebook; and every rule on planted faults, to see that it can fail."""

import shutil

import nbformat
import pytest

from tests.support import example, rules
from tests.support import notebooks as nb

SERIES = nb.series()


def name(value):
    return getattr(value, "__name__", None) or getattr(value, "stem", None)


@pytest.mark.parametrize("rule", rules.RULES, ids=name)
@pytest.mark.parametrize("path", SERIES, ids=name)
def test_notebook_keeps_the_rule(path, rule):
    complaints = rule(nb.read(path), path)
    assert not complaints, "\n".join([path.name, *complaints])


def test_helpers_are_what_the_notebooks_build():
    assert rules.helper_complaints((nb.ROOT / "gmm_helpers.py").read_text(encoding="utf-8"), SERIES) == []


# --- Planted faults


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    root = tmp_path_factory.mktemp("good") / "series"
    example.write_series(root)
    return root


@pytest.fixture
def planted(good, tmp_path):
    return example.copy_series(good, tmp_path / "series")


def complaints(rule, path):
    nb.read.cache_clear()
    return getattr(rules, rule)(nbformat.read(path, as_version=4), path)


@pytest.mark.parametrize("rule", rules.RULES, ids=name)
def test_a_good_series_draws_no_complaint_also_when_saved_by_jupyterlab_among_litter(rule, planted):
    example.save_as_jupyterlab_does(planted)
    example.litter(planted.parent.parent)
    found = nb.series(planted.parent.parent)
    assert len(found) == 3
    assert [complaints(rule.__name__, path) for path in found] == [[], [], []]


def swap(old, new):
    """A fault: other text in the cell that holds the old one."""

    def plant(notebook, path):
        (cell,) = [cell for cell in notebook.cells if old in cell.source]
        cell.source = cell.source.replace(old, new)

    return plant


def prints(**output):
    """A fault: one more output of the cell that prints the sum."""
    return lambda notebook, path: notebook.cells[3].outputs.append(nbformat.from_dict(output))


def says(text, name="stdout"):
    return prints(output_type="stream", name=name, text=text)


def adds(text):
    """A fault: more prose in the section that prints the sum."""
    return swap("See [the next][n]", f"{text}See [the next][n]")


def cell(number, **values):
    """A fault: other fields of a cell."""
    return lambda notebook, path: notebook.cells[number].update(nbformat.from_dict(values))


def solution(old, new):
    """A fault: other text in the solutions."""

    def plant(notebook, path):
        text = nb.solutions_path(path).read_text(encoding="utf-8")
        assert old in text
        nb.solutions_path(path).write_text(text.replace(old, new), encoding="utf-8")

    return plant


def number_in_a_caption(notebook, path):
    swap("A straight line", "By 3.25 a line")(notebook, path)
    swap("## Its picture", "## Its picture\n\nBy 3.25.")(notebook, path)
    notebook.cells[5].outputs[1].data.update({"text/plain": "By 3.25", "text/markdown": "By 3.25"})


def other_caption(notebook, path):
    notebook.cells[5].outputs[1].data["text/markdown"] = "*A line.*"


FAULTS = {
    "title_and_question": [
        swap("# 01 Draw", "# 01 Paint"),
        swap("# 01 Draw", "# 02 Draw"),
        swap("look like?", "look like."),
        swap("## Its picture", "# Its picture"),
        swap("## Recap", "## Summary"),
    ],
    "navigation": [
        swap("[02 Draw a curve](02_draw_a_curve.ipynb) | ", ""),
        swap(" | [All notebooks](../README.md)", ""),
        lambda notebook, path: shutil.copy(path, path.with_name("02_a_new_one.ipynb")),
    ],
    "links_and_pictures": [
        adds("[there](03_missing.ipynb)"),
        adds("[upper case](../readme.md)"),
        adds("[below](#No-such-heading)"),
        adds("[there](02_draw_a_curve.ipynb#No-such-heading)"),
        adds("[there](../../README.md)"),
        swap("[n]: 02_draw", "[n]: 03_draw"),
        swap("[n]: 02", "[m]: 02"),
        adds('<img src="../figures/missing.png" alt="x">'),
        swap("![A square turns from black to red.]", "![]"),
        adds('<img src="../figures/film.gif">'),
    ],
    "outputs": [
        cell(3, execution_count=None),
        prints(output_type="error", ename="ValueError", evalue="no", traceback=[]),
        says("careful\n", "stderr"),
        says("/home/ada/series\n"),
        swap("# Draw the line", 'folder = r"C:\\series"'),
        prints(output_type="display_data", metadata={}, data={"application/vnd.jupyter.widget-view+json": "x"}),
    ],
    "known_tags": [
        cell(3, metadata={"tags": ["raises-exception"]}),
        cell(3, metadata={"tags": ["NBVAL_IGNORE_OUTPUT"]}),
        cell(3, metadata={"tags": ["Exercise"]}),
        swap("# Draw the line", "# NBVAL_SKIP"),
    ],
    "described_figures": [
        lambda notebook, path: notebook.cells[5].outputs[0].metadata.clear(),
        lambda notebook, path: notebook.cells[5].outputs.pop(),
        other_caption,
    ],
    "solved_exercises": [
        cell(9, metadata={}),
        cell(10, metadata={}),
        cell(10, outputs=[{"output_type": "stream", "name": "stdout", "text": "Correct.\n"}]),
        cell(10, outputs=[]),
        lambda notebook, path: nb.solutions_path(path).unlink(),
        solution("## Exercise 2: The slope", "## Exercise 2: The slopes"),
        solution("```python\nfirst, slope = y_N[0], np.diff(y_N)\n```", ""),
        solution("### A common mistake", "### A mistake"),
    ],
    "maths": [
        adds("So $$y = x$$ holds."),
        adds("$\\operatorname{softmax}$"),
        adds("$\\bm{x}$"),
        adds("\n\n\\begin{aligned}\ny = x\n\\end{aligned}\n\n"),
        adds("It costs $5."),
        adds("$ x$ is bad."),
        adds("\n\n| a | b |\n|---|---|\n| $p(x | y)$ | c |\n\n"),
    ],
    "printed_numbers": [
        swap("sum is 90.0 in 1,000", "sum is 90.1 in 1,000"),
        swap("1,000 parts", "1,001 parts"),
        swap("45.5 %", "45.6 %"),
        swap("sum is 90.0.\n\n## Ex", "sum is 90.1.\n\n## Ex"),
        swap("Its sum is 90.0.", "Its sum is -91.0."),
        adds("The slope is $-2.5$."),
        adds("\n\n| a |\n|---|\n| 2.25 |\n\n"),
        adds("There are 985 points in 1987 runs."),
        swap("## Its picture", "## Its picture\n\nThe sum is 90.0."),
        number_in_a_caption,
    ],
}


@pytest.mark.parametrize(
    ("rule", "number"), [(rule, number) for rule in FAULTS for number in range(len(FAULTS[rule]))], ids=str
)
def test_a_planted_fault_draws_a_complaint(rule, number, planted):
    notebook = nbformat.read(planted, as_version=4)
    FAULTS[rule][number](notebook, planted)
    nbformat.write(notebook, planted)
    assert complaints(rule, planted) != []


def test_every_rule_has_a_fault():
    assert set(FAULTS) == {rule.__name__ for rule in rules.RULES}


def test_numbers_may_be_rounded_and_written_in_several_ways():
    assert [*rules.numbers("1_000 2.50 3e-05 -0.125 1.")] == [(1000, 0), (2.5, 2), (3e-5, 5), (0.125, 3), (1, 0)]
    known = [(90.049, 3), (0.164, 3), (12345, 0), (0.0015, 4), *rules.literals("%magic\nlr = 0.05")]
    fits = "90.0, 16.4 %, 12,345, $1.5 \\cdot 10^{-3}$, 1.5e-3, 0.050, $x_{12}$, PyTorch 2.13, Roeder (1990), 2017"
    assert [*rules.number_complaints(fits, known)] == []
    misses = "90.1, 16.5 %, 12,346, $1.6 \\cdot 10^{-3}$, 90.0490, 1990 points, -0.06"
    found = ["90.1", "16.5", "12346", "1.6e-3", "90.0490", "1990", "0.06"]
    assert [*rules.number_complaints(misses, known)] == found


def test_markdown_files_lose_backslashes_in_maths():
    assert rules.maths_complaints(r"$a\,b$") == []
    assert rules.maths_complaints(r"$a\,b$", in_file=True) != []
    assert rules.maths_complaints("`$` and $a$:\n\n$$\na\\,b\n$$\n", in_file=True) == []


HELPER = '''
def line(x_N, slope=2):
    """A line. Built in
    notebook 01."""
    return slope * x_N
'''


@pytest.mark.parametrize(
    ("old", "new", "number"),
    [
        ("", "", 0),
        ("* x_N", "+ x_N", 1),
        ("def line", "def curve", 1),
        ("01", "02", 1),
        ("=2", "=3", 1),
        ("01", "0", 0),
    ],
)
def test_a_helper_that_differs_from_its_notebook_draws_a_complaint(old, new, number, planted):
    notebook = nbformat.read(planted, as_version=4)
    notebook.cells[
        3
    ].source = '%matplotlib inline\ndef line(x_N, slope=2):\n    "Another text."\n    return slope * x_N'
    nbformat.write(notebook, planted)
    nb.read.cache_clear()
    assert len(rules.helper_complaints(HELPER.replace(old, new), nb.series(planted.parent.parent))) == number
