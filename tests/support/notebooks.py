"""Read the series: notebooks, their cells and Markdown, exercises and solutions."""

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import mistune
import nbformat

ROOT = Path(__file__).resolve().parents[2]
VERDICT = re.compile(r"\b(Not answered yet|Not correct|Wrong shape|Correct)[.:]")  # a name may stand before it


def belongs(path):
    """Whether a path is that of a notebook of the series, by its name; an Untitled.ipynb and a copy are not."""
    place = r"(.*/)?notebooks/(\d\d_[a-z\d_]+|experts/[a-z\d_]+)\.ipynb"
    return bool(re.fullmatch(place, path.as_posix()))


def series(root=ROOT):
    """The notebooks of the series in reading order, those for experts last."""
    folder = root / "notebooks"
    paths = [*sorted(folder.glob("*.ipynb")), *sorted(folder.glob("experts/*.ipynb"))]
    return [path for path in paths if belongs(path)]


def root_of(path):
    """The project that a notebook lies in."""
    return next(folder.parent for folder in path.parents if folder.name == "notebooks")


@functools.cache
def read(path):
    return nbformat.read(path, as_version=4)


def tags(cell):
    return set(cell.metadata.get("tags", []))


def code_cells(notebook):
    """Without the empty ones: JupyterLab adds one when the last cell is run with shift and enter."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def prose(notebook):
    """The text of each Markdown cell."""
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown" and cell.source.strip()]


def texts(cell):
    """The texts among a cell's outputs; captions of pictures, which are prose, are not."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            yield output.text
        elif "text/markdown" not in output.get("data", {}):
            yield from (data for kind, data in output.get("data", {}).items() if kind.startswith("text/"))


# --- Markdown

parse = mistune.create_markdown(renderer=None, plugins=["math", "table"])


def nodes(tokens):
    """Every node of a Markdown text, or of parsed tokens, depth first."""
    for token in parse(tokens) if isinstance(tokens, str) else tokens:
        yield token
        yield from nodes(token.get("children", []))


def words(tokens, without=()):
    """What a reader reads, without nodes of some types."""
    return " ".join(node["raw"] for node in nodes(tokens) if "raw" in node and node["type"] not in without)


def headings(tokens):
    """(level, title) of each heading."""
    found = [node for node in nodes(tokens) if node["type"] == "heading"]
    return [(node["attrs"]["level"], "".join(part.get("raw", "") for part in nodes([node]))) for node in found]


@dataclass
class Section:
    """What stands between two headings."""

    level: int
    title: str
    tokens: list = field(default_factory=list)
    cells: list = field(default_factory=list)


def sections(notebook):
    found = [Section(0, "")]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            found[-1].cells.append(cell)
            continue
        for token in parse(cell.source):
            if token["type"] == "heading":
                found.append(Section(*headings([token])[0]))
            found[-1].tokens.append(token)
    return found


# --- Exercises


@dataclass
class Exercise:
    title: str
    stub: str
    check: nbformat.NotebookNode


def exercises(notebook):
    """The exercises with a check: a cell tagged exercise, and the next cell, tagged exercise-check."""
    return [
        Exercise(section.title, stub.source, check)
        for section in sections(notebook)
        for stub, check in zip(section.cells, section.cells[1:], strict=False)
        if "exercise" in tags(stub) and "exercise-check" in tags(check)
    ]


def solutions_path(path):
    return root_of(path) / "notebooks/solutions" / f"{path.stem}.md"


def solutions(path):
    """{title: (solutions, mistakes)} of a notebook's solutions file, each a list of Python texts."""
    found, blocks, file = {}, None, solutions_path(path)
    for token in parse(file.read_text(encoding="utf-8")) if file.is_file() else []:
        if token["type"] == "heading":
            ((level, title),) = headings([token])
            if level == 2:
                right, wrong = found[title] = [], []
                blocks = right
            elif title == "A common mistake":
                blocks = wrong
            elif blocks is not None:
                blocks = []  # an aside
        elif token["type"] == "block_code" and token.get("attrs", {}).get("info") == "python" and blocks is not None:
            blocks.append(token["raw"])
    return found
