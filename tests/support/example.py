"""A small series that keeps every rule, for the tests of the checks themselves."""

import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

import run_notebooks
from tests.support.notebooks import ROOT

CELLS = [  # text, or (code, tag ...)
    "# 01 Draw a line\n\n**The question**: what does a line look like? Its sum is 90.0.",
    (
        "import numpy as np\nimport matplotlib.pyplot as plt\n"
        "from gmm_helpers import TREE, check_answer, show_figure, write_film_strip, write_gif\n"
        "y_N = 2.0 * np.arange(10)",
    ),
    "## Its values\n\n$$\ny = 2 x\n$$\n\nThe sum is 90.0 in 1,000 parts, and 45.5 % of it is there. "
    "See [the next][n]; there is `x + 123`.\n\n[n]: 02_draw_a_curve.ipynb",
    ('print(f"sum {y_N.sum():.3f} in {10**3} parts")\nprint(0.455)',),
    "## Its picture",
    (
        "# Draw the line\nfig, ax = plt.subplots(figsize=(4, 2))\nax.plot(y_N)\nax.plot(9 - y_N)\n"
        'ax.set(title="A line", xlabel="x")\nshow_figure(fig, "A straight line rises, a second one falls.")',
        "hide-input",
    ),
    "## A film\n\n![A square turns from black to red.](../figures/film.gif)",
    (
        "frames = [np.full((32, 32, 3), [60 * t, 0, 0], np.uint8) for t in range(4)]\n"
        'write_gif("../figures/film.gif", frames)\n_ = write_film_strip("../figures/film_strip.png", frames)',
    ),
    "## Recap\n\nThe sum is 90.0.\n\n## Exercises\n\n[Solutions](solutions/01_draw_a_line.md).\n\n"
    "### Exercise 1: The sum",
    ("total = ...", "exercise"),
    ("# Check\ncheck_answer(total, 2.0 * 45)", "exercise-check"),
    "### Exercise 2: The slope",
    ("first = ...\nslope = ...", "exercise"),
    ('print("the first: ", end="")\ncheck_answer(first, 0.0)\ncheck_answer(slope, np.full(9, 2.0))', "exercise-check"),
    "### Exercise 3: Draw\n\nNothing to check here.\n\n## Further reading\n\n"
    "- [NumPy](https://numpy.org/doc/stable/), 3.14159.\n\n"
    "Next: [02 Draw a curve](02_draw_a_curve.ipynb) | [All notebooks](../README.md)",
]
OTHERS = {
    "02_draw_a_curve": [
        "# 02 Draw a curve\n\nHow does it bend?\n\n## Recap\n\n## Exercises\n\n"
        "Previous: [01 Draw a line](01_draw_a_line.ipynb) | [All notebooks](../README.md)"
    ],
    "experts/bend_a_curve": [
        "# How far a curve bends\n\nIt belongs to [02](../02_draw_a_curve.ipynb#Recap).",
        ("from pathlib import Path\nfrom gmm_helpers import TREE\nprint(Path('../../figures').is_dir())",),
        "[All notebooks](../../README.md)",
    ],
}
SECTION = "## {}\n\n```python\n{}\n```\n\n### A common mistake\n\n```python\n{}\n```\n\n"
SOLUTIONS = (
    "# Solutions: 01 Draw a line\n\n"
    + SECTION.format("Exercise 1: The sum", "total = y_N.sum()", "total = y_N.mean()")
    + SECTION.format("Exercise 2: The slope", "first, slope = y_N[0], np.diff(y_N)", "first, slope = y_N[0], 2.0")
    + "### Aside\n\n```python\nnothing that is run\n```\n"
)
README = (
    "# A series\n\n[Draw a line](notebooks/01_draw_a_line.ipynb), [02 Draw a curve](notebooks/02_draw_a_curve.ipynb), "
    "[How far a curve bends](notebooks/experts/bend_a_curve.ipynb)\n"
)


def write_notebook(path, cells):
    notebook = new_notebook(metadata=run_notebooks.METADATA)
    for number, cell in enumerate(cells):
        if isinstance(cell, str):
            notebook.cells.append(new_markdown_cell(cell, id=f"cell-{number}"))
        else:
            source, *tags = cell
            notebook.cells.append(new_code_cell(source, id=f"cell-{number}", metadata={"tags": tags} if tags else {}))
    nbformat.write(notebook, path)


def write_series(root):
    """Lay out the series in `root` and run it. Its helpers are the tree's, with a mark to know them by."""
    for folder in ("notebooks/solutions", "notebooks/experts", "figures"):
        (root / folder).mkdir(parents=True)
    (root / "README.md").write_text(README, encoding="utf-8")
    (root / "notebooks/solutions/01_draw_a_line.md").write_text(SOLUTIONS, encoding="utf-8")
    helpers = (ROOT / "gmm_helpers.py").read_text(encoding="utf-8")
    (root / "gmm_helpers.py").write_text(helpers + "\nTREE = True\n", encoding="utf-8")
    for name, cells in {"01_draw_a_line": CELLS, **OTHERS}.items():
        write_notebook(root / f"notebooks/{name}.ipynb", cells)
    assert run_notebooks.main([], root) == 0


def save_as_jupyterlab_does(path):
    """Metadata, widgets' state and an empty last cell, as after opening, running and saving."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata.kernelspec.update(display_name="My kernel (ipykernel)", name="mine")
    notebook.metadata.language_info.update(version="3.13.1", codemirror_mode={"name": "ipython", "version": 3})
    state = {"state": {}, "version_major": 2, "version_minor": 0}
    notebook.metadata.widgets = {"application/vnd.jupyter.widget-state+json": state}
    for cell in notebook.cells:
        cell.metadata.update(editable=True, slideshow={"slide_type": ""})
        if cell.cell_type == "code":
            cell.metadata.update(collapsed=True, scrolled=True, jupyter={"outputs_hidden": True})
            cell.metadata.execution = {"iopub.status.busy": "2026-11-28T19:36:43.209344Z"}
    notebook.cells.append(new_code_cell(""))
    nbformat.write(notebook, path)


def litter(root):
    """What a reader leaves lying about."""
    notebooks = root / "notebooks"
    for name in (".ipynb_checkpoints", "env/lib"):
        (notebooks / name).mkdir(parents=True)
    (root / "notes.md").write_text("See /home/ada/notes and [nothing](nothing.md).", encoding="utf-8")
    (notebooks / "env/lib/test_it.py").write_text("assert False")
    write_notebook(notebooks / "Untitled.ipynb", [("1 / 0",)])
    for name in (
        "01_draw_a_line-Copy1",
        "experts/Untitled1",
        ".ipynb_checkpoints/01_draw_a_line-checkpoint",
        "env/03_a",
    ):
        shutil.copy(notebooks / "Untitled.ipynb", notebooks / f"{name}.ipynb")


def copy_series(good, root):
    """A copy of a series, and the path of its first notebook."""
    shutil.copytree(good, root)
    return Path(root) / "notebooks/01_draw_a_line.ipynb"
