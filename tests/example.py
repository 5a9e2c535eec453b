"""A small series of two notebooks that keeps the contract, for the tests of the checks themselves."""

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

from run_notebooks import METADATA

WORDS = "The line rises by two for each step to the right, and the sum of its values tells how far it came. " * 3
SET_UP = """\
import numpy as np
import torch
import matplotlib.pyplot as plt
from PIL import Image
from gmm_helpers import check_answer, show_figure

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
rng = np.random.default_rng(1)"""
DRAW = """\
fig, ax = plt.subplots(figsize=(4, 2))
ax.plot(y_N, label="line")
ax.set(title="A line", xlabel="x", ylabel="y")
show_figure(fig, "A straight line rises from the lower left to the upper right.")"""
FILM = """\
frames = [Image.new("RGB", (32, 32), (60 * t, 0, 0)) for t in range(3)]
frames[0].save("../figures/film.gif", save_all=True, append_images=frames[1:], duration=100, loop=0)
frames[0].save("../figures/film_strip.png")
assert len(frames) == 3"""
SOLUTIONS = """\
# Solutions of 01 Draw a line

## Exercise 1: The sum

Add them up.

```python
total = y_N.sum()
```

### A common mistake

The mean is not the sum.

```python
total = y_N.mean()
```

## Exercise 2: The slope

Differences of neighbours.

```python
slope = np.diff(y_N)
```

### A common mistake

One number, where each step has its own.

```python
slope = 2.0
```
"""


def example_notebook():
    """The first notebook, not yet run."""
    opening = f"""\
# 01 Draw a line

What does a line look like?

**You will do**

- draw a line.

**You will learn**

- to add up its values.

**You need**

- Python.

**Time**: 5 minutes to read, a few seconds to run.

{WORDS}"""
    closing = """\
## Further reading

- [NumPy](https://numpy.org/doc/stable/)."""
    navigation = "Next: [02 Draw a curve](02_draw_a_curve.ipynb) | [All notebooks](../README.md)"
    cells = [
        new_markdown_cell(opening),
        new_code_cell(SET_UP),
        new_markdown_cell(f"## Its values\n\n{WORDS}\n\n$$\ny = 2 x\n$$\n\nThe sum is 90.0, for $x < 10$."),
        new_code_cell('y_N = 2.0 * np.arange(10)\nprint(f"sum {y_N.sum():.3f}")\nassert y_N.sum() == 90'),
        new_markdown_cell(f"## Its picture\n\n{WORDS}"),
        new_code_cell(DRAW),
        new_markdown_cell(
            f"## A film\n\n{WORDS}\n\n![A square turns from black to red in three frames.](../figures/film.gif)"
        ),
        new_code_cell(FILM),
        new_markdown_cell(
            f"## Recap\n\n- The sum is 90.0.\n\n## Exercises\n\n{WORDS}\n\n### Exercise 1: The sum\n\n{WORDS}"
        ),
        new_code_cell("total = ...", metadata={"tags": ["exercise"]}),
        new_code_cell("check_answer(total, 2.0 * 45)", metadata={"tags": ["exercise-check"]}),
        new_markdown_cell(f"### Exercise 2: The slope\n\n{WORDS}"),
        new_code_cell("slope = None", metadata={"tags": ["exercise"]}),
        new_code_cell("check_answer(slope, np.full(9, 2.0))", metadata={"tags": ["exercise-check"]}),
        new_markdown_cell(closing),
        new_markdown_cell(navigation),
    ]
    for number, cell in enumerate(cells, 1):
        cell.id = f"01-{number:02d}"
    return new_notebook(cells=cells, metadata=METADATA)


def example_run():
    """The first notebook as if it had been run; the picture is a grey one."""
    notebook = example_notebook()
    description = "A straight line rises from the lower left to the upper right."
    stream = {"output_type": "stream", "name": "stdout"}
    outputs = {
        1: [{**stream, "text": "sum 90.000\n"}],
        2: [
            {
                "output_type": "display_data",
                "data": {"image/png": GREY_PNG},
                "metadata": {"image/png": {"alt": description}},
            },
            {
                "output_type": "display_data",
                "data": {"text/markdown": f"*{description}*", "text/plain": description},
                "metadata": {},
            },
        ],
        5: [{**stream, "text": "Not answered yet.\n"}],
        7: [{**stream, "text": "Not answered yet.\n"}],
    }
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        cell.execution_count = number + 1
        cell.outputs = nbformat.from_dict(outputs.get(number, []))
    return notebook


# One grey pixel.
GREY_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def write_film(folder, frames=3, **how):
    pictures = [Image.new("RGB", (32, 32), (60 * t % 256, t, 0)) for t in range(frames)]
    options = {"save_all": True, "append_images": pictures[1:], "duration": 100, "loop": 0, **how}
    pictures[0].save(folder / "film.gif", **options)
    pictures[0].save(folder / "film_strip.png")


def write_series(root, notebook):
    """Lay out the series in `root`, with the given first notebook. Return its path."""
    for folder in ("notebooks/solutions", "figures"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "README.md").write_text("# A series\n", encoding="utf-8")
    (root / "notebooks/solutions/01_draw_a_line.md").write_text(SOLUTIONS, encoding="utf-8")
    write_film(root / "figures")
    second = new_notebook(cells=[new_markdown_cell("# 02 Draw a curve")], metadata=METADATA)
    nbformat.write(second, root / "notebooks/02_draw_a_curve.ipynb")
    path = root / "notebooks/01_draw_a_line.ipynb"
    nbformat.write(notebook, path)
    return path
