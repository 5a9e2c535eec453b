"""Every rule of the contract on every notebook; and every rule on a fault, to see that it can fail."""

import base64
import copy
import io
from pathlib import Path

import nbformat
import pytest
from PIL import Image

import contract
import example

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_the_contract(path, rule):
    complaints = rule(contract.read(path), path)
    assert not complaints, "\n".join([path.name, *complaints])


def test_notebooks_are_numbered_from_one():
    assert [path.name[:3] for path in NOTEBOOKS] == [f"{n:02d}_" for n in range(1, len(NOTEBOOKS) + 1)]


def test_helper_module_keeps_the_contract():
    source = (ROOT / "gmm_helpers.py").read_text(encoding="utf-8")
    assert contract.helper_module(source, ROOT / "notebooks") == []


# --- Faults: for each rule, changes of a good notebook that it has to notice


@pytest.fixture
def series(tmp_path):
    contract.read.cache_clear()
    contract.clone.cache_clear()
    return example.write_series(tmp_path, example.example_run())


@pytest.mark.parametrize("rule", contract.RULES, ids=lambda rule: rule.__name__)
def test_good_notebook_draws_no_complaint(rule, series):
    assert rule(example.example_run(), series) == []


def replace(index, old, new):
    """A fault: other text in a cell."""

    def plant(notebook, path):
        assert old in notebook.cells[index].source
        notebook.cells[index].source = notebook.cells[index].source.replace(old, new)

    return plant


def add(index, text):
    """A fault: more text at the end of a cell."""

    def plant(notebook, path):
        notebook.cells[index].source += text

    return plant


def put(index, **values):
    """A fault: other fields of a cell."""

    def plant(notebook, path):
        notebook.cells[index].update(nbformat.from_dict(values))

    return plant


def drop(index):
    """A fault: a cell is missing."""

    def plant(notebook, path):
        del notebook.cells[index]

    return plant


def metadata(**values):
    """A fault: other metadata of the notebook."""

    def plant(notebook, path):
        notebook.metadata.update(nbformat.from_dict(values))

    return plant


def output(index, **values):
    """A fault: one more output of a cell."""

    def plant(notebook, path):
        notebook.cells[index].outputs.append(nbformat.from_dict(values))

    return plant


def says(index, text):
    """A fault: a cell prints something more."""
    return output(index, output_type="stream", name="stdout", text=text)


def solution(old, new):
    """A fault: other text in the solutions."""

    def plant(notebook, path):
        file = contract.solutions_path(path)
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    return plant


def film(**how):
    """A fault: another GIF."""
    return lambda notebook, path: example.write_film(path.parent.parent / "figures", **how)


def remove(name):
    """A fault: a file is missing."""
    return lambda notebook, path: (path.parent / name).unlink()


def same_description(notebook, path):
    notebook.cells[3].outputs += copy.deepcopy(notebook.cells[5].outputs)


def same_id(notebook, path):
    notebook.cells[3].id = notebook.cells[5].id


def no_alt(notebook, path):
    notebook.cells[5].outputs[0].metadata = {}


def other_caption(notebook, path):
    notebook.cells[5].outputs[1].data["text/markdown"] = "*A line.*"


def no_caption(notebook, path):
    del notebook.cells[5].outputs[1]


def large(notebook, path):
    path.write_bytes(path.read_bytes() + b" " * 1_000_000)


def huge_picture(notebook, path):
    file = io.BytesIO()
    Image.new("L", (3000, 10)).save(file, format="PNG")
    notebook.cells[5].outputs[0].data["image/png"] = base64.b64encode(file.getvalue()).decode()


TAGS = {"tags": ["nbval-ignore-output"]}
TIMING = "import time\nstart = time.perf_counter()\nassert time.perf_counter() - start < 5"
FAULTS = {
    "opening": [
        replace(0, "# 01 Draw a line", "# 01 Paint a line"),
        replace(0, "# 01", "# 02"),
        replace(0, "look like?", "look like."),
        replace(0, "What does", "Here it is. What does"),
        replace(0, "**You need**", "**Needed**"),
        replace(0, "- to add up its values.", "To add up its values."),
        replace(0, "**Time**: 5 minutes to read, a few seconds to run.", "**Time**: short."),
        add(2, "\n\n# Another H1"),
        drop(0),
    ],
    "closing": [
        replace(8, "## Recap", "## Summary"),
        replace(8, "The sum is 90.0.", "The sum is large."),
        replace(8, "Exercise 1:", "Exercise 3:"),
        replace(11, "### Exercise 2: The slope", ""),
        replace(14, "[NumPy](https://numpy.org/doc/stable/)", "NumPy"),
        replace(14, "## Further reading", "## Reading"),
        add(14, "\n\n## One more thing"),
    ],
    "navigation": [
        replace(15, "[02 Draw a curve](02_draw_a_curve.ipynb) | ", ""),
        replace(15, " | [All notebooks](../README.md)", ""),
        replace(15, "02_draw_a_curve", "03_draw_a_circle"),
        drop(15),
    ],
    "working_links": [
        add(2, "\n\n[there](03_missing.ipynb)"),
        add(2, "\n\n![A picture that nobody has put there yet, sadly.](../figures/missing.png)"),
        add(2, "\n\n[upper case](../readme.md)"),
        add(2, "\n\n[not safe](http://numpy.org)"),
        add(2, "\n\n[a machine](/etc/hosts)"),
        add(2, "\n\n[below](#No-such-heading)"),
    ],
    "short_cells": [
        add(3, "\nx = 1" * 16),
        lambda notebook, path: [add(index, "\nx = 1" * 9)(notebook, path) for index in (3, 5)],
        lambda notebook, path: [add(index, "\nx = 1" * 5)(notebook, path) for index in (3, 5, 7, 9, 10, 12)],
    ],
    "enough_prose": [
        lambda notebook, path: [replace(index, example.WORDS, "")(notebook, path) for index in (0, 2, 4, 6)],
        add(2, example.WORDS * 20),
    ],
    "prose_first": [lambda notebook, path: [drop(index)(notebook, path) for index in (6, 4)]],
    "set_up_first": [
        replace(1, "import torch\n", ""),
        replace(1, "torch.set_default_dtype(torch.float64)\n", ""),
        replace(1, "torch.set_num_threads(1)\n", ""),
        replace(1, "torch.set_num_threads(1)\n", "# torch.set_num_threads(1)\n"),
        replace(1, "default_rng(1)", "default_rng()"),
        add(3, "\nrng = np.random.default_rng()"),
        add(3, "\ntorch.set_num_threads(4)"),
        add(3, "\n%matplotlib inline"),
    ],
    "checked_claims": [
        lambda notebook, path: [put(index, source="y_N = 2.0 * np.arange(10)")(notebook, path) for index in (3, 7)]
    ],
    "greek_names": [
        add(2, " The mean is \u00b5."),
        add(3, "\n\u00b5_K = 1"),
        add(3, "\nmu_K = 1"),
        add(3, "\nlog_sigma_K = 1"),
        add(3, "\ntrue_pi_K = 1"),
    ],
    "helpers_used": [replace(1, "import check_answer,", "import check_answer, gmm_plot,")],
    "known_tags": [
        put(3, metadata={"tags": ["raises-exception"]}),
        put(3, metadata={"tags": ["NBVAL_IGNORE_OUTPUT"]}),
        put(3, metadata={"tags": ["Exercise"]}),
        put(2, metadata={"tags": ["exercise"]}),
        put(3, metadata=TAGS),
        put(3, metadata=TAGS, source=TIMING.replace("assert", "print")),
        put(5, metadata=TAGS, source=TIMING),
        add(3, "\n# NBVAL_SKIP"),
    ],
    "exercise_cells": [
        put(9, metadata={}),
        put(10, metadata={}),
        drop(10),
        put(10, outputs=[{"output_type": "stream", "name": "stdout", "text": "Correct.\n"}]),
        put(10, outputs=[]),
        replace(11, "### Exercise 2: The slope", ""),
        replace(8, "### Exercise 1: The sum", "### Exercise 1: The sum\n\n### Exercise 2: The slope\n\n"),
    ],
    "solved": [
        remove("solutions/01_draw_a_line.md"),
        solution("Exercise 2: The slope", "Exercise 2: The slopes"),
        solution("```python\nslope = np.diff(y_N)\n```", ""),
        solution("### A common mistake", "### A mistake"),
        solution("total = y_N.sum()", "check_answer(y_N.sum(), 90)"),
        solution("# Solutions of 01 Draw a line", ""),
        solution("Add them up.", "Add [them](../02_missing.ipynb) up."),
    ],
    "run_in_order": [put(3, execution_count=None), put(3, execution_count=7)],
    "plain_outputs": [
        output(3, output_type="error", ename="ValueError", evalue="no", traceback=[]),
        output(3, output_type="stream", name="stderr", text="careful\n"),
        output(3, output_type="display_data", metadata={}, data={"text/html": "<b>x</b>", "text/plain": "x"}),
        output(3, output_type="display_data", metadata={}, data={"image/svg+xml": "<svg/>"}),
        output(3, output_type="display_data", metadata={}, data={"image/gif": ""}),
        output(3, output_type="display_data", metadata={}, data={"application/javascript": ""}),
        add(3, "\nclear_output()"),
    ],
    "repeatable_text": [
        says(3, "0.12345678\n"),
        add(3, "\nimport time\nprint(time.perf_counter())"),
        says(3, "<function at 0x7f0012345678>\n"),
        says(3, "\x1b[31mred\n"),
        says(3, "50%\r100%\n"),
        says(3, "UserWarning: careful\n"),
    ],
    "no_machine_paths": [
        says(3, "/home/ada/series\n"),
        add(3, '\nfolder = "/tmp/figures"'),
        add(3, '\nfolder = r"C:\\series"'),
        add(2, " It stands in /Users/ada/series."),
    ],
    "clean_metadata": [
        metadata(kernelspec={"display_name": "Mine", "language": "python", "name": "mine"}),
        metadata(language_info={"name": "python", "version": "3.12.1"}),
        metadata(widgets={}),
        put(3, metadata={"execution": {"iopub.execute_input": "2026-01-01"}}),
        put(2, attachments={"a.png": {}}),
        put(3, source=""),
        same_id,
        lambda notebook, path: notebook.update(nbformat_minor=4),
    ],
    "described_figures": [
        no_alt,
        other_caption,
        no_caption,
        same_description,
        replace(5, "show_figure(", "plt.gcf() and print("),
        replace(5, 'title="A line", ', ""),
        replace(5, ', ylabel="y"', ""),
        add(5, '\nfig.savefig("a.png", bbox_inches="tight")'),
        replace(6, "A square turns from black to red in three frames.", "A film."),
        replace(6, "three frames.", "three frames"),
        add(2, '\n\n<img src="../figures/film.gif">'),
    ],
    "small_files": [
        large,
        huge_picture,
        film(frames=101),
        film(frames=1),
        film(loop=3),
        remove("../figures/film_strip.png"),
    ],
    "written_figures": [replace(7, "film.gif", "movie.gif")],
    "maths_shows": [
        add(2, "\n\n$$ y = x $$"),
        add(2, "\n\nSo $$y = x$$ holds."),
        add(2, "\n\n$\\operatorname{softmax}$"),
        add(2, "\n\n$\\bm{x}$"),
        add(2, "\n\n$\\newcommand{\\a}{b}$"),
        add(2, "\n\n\\begin{aligned}\ny = x\n\\end{aligned}"),
        add(2, "\n\n$\\begin{aligned} y \\end{aligned}$"),
        add(2, "\n\nIt costs $5."),
        add(2, "\n\n$ x$ is bad."),
        add(2, "\n\n| a | b |\n|---|---|\n| $p(x | y)$ | c |"),
    ],
    "proved_numbers": [
        replace(2, "The sum is 90.0", "The sum is 90.1"),
        replace(2, "The sum is 90.0", "The sum is 90.0000"),
        add(2, " The slope is $2.5$."),
        add(2, " There are 985 points."),
        lambda notebook, path: notebook.cells[3].update(outputs=[], source="y_N = 2.0 * np.arange(10)"),
    ],
    "no_filler": [
        add(2, " You just add them."),
        add(2, " Simply add them."),
        add(2, " Let's dive in."),
        add(2, " A powerful tool."),
        add(2, " Well done \U0001f389"),
    ],
}  # fmt: skip


def test_every_rule_has_a_fault():
    assert set(FAULTS) == {rule.__name__ for rule in contract.RULES}


@pytest.mark.parametrize(
    ("rule", "number"),
    [(rule, number) for rule in contract.RULES for number in range(len(FAULTS[rule.__name__]))],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_fault_draws_a_complaint(rule, number, series):
    notebook = example.example_run()
    FAULTS[rule.__name__][number](notebook, series)
    assert rule(notebook, series) != []


def test_numbers_in_prose_may_be_rounded():
    known = {text: decimals for text, _, decimals in contract.numbers("1_000 2.50 3e-05 -0.125 1.")}
    assert known == {"1000": 0, "2.50": 2, "3e-05": 5, "0.125": 3, "1.": 0}
    notebook = example.example_run()
    notebook.cells[3].outputs[0].text = "sum 90.049\n"
    assert contract.proved_numbers(notebook, None) == []  # 90.0, and 90.0 again in the recap
    notebook.cells[3].outputs[0].text = "sum 90.051\n"
    assert len(contract.proved_numbers(notebook, None)) == 2


GOOD_HELPER = '''
def line(x_N, slope=2):
    """A line.

    x_N: (N,) points. slope: a number. Returns y_N, (N,). Raises ValueError for an empty x_N.
    Built in notebook 01.
    """
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(N,)", ""),
        ("slope: a number. ", ""),
        ("Raises", "Gives"),
        ("Built in notebook 01.", ""),
        ("def line", "def curve"),
        ("\ndef line", "\n" * (contract.HELPER_LINES + 1) + "def line"),
        ("\ndef line", "\nclass Line:\n    pass\ndef line"),
    ],
)
def test_fault_in_a_helper_draws_a_complaint(old, new, series):
    notebook = example.example_run()
    notebook.cells[3].source = "def line(x_N, slope=2):\n    return slope * x_N"
    nbformat.write(notebook, series)
    assert contract.helper_module(GOOD_HELPER, series.parent) == []
    assert contract.helper_module(GOOD_HELPER.replace(old, new), series.parent) != []
