"""Exercises and solutions belong together. That the solutions are right is checked in the notebooks' own kernels:
strict_nbval.py adds an item for each exercise, as in `pytest notebooks/01_sample_a_mixture.ipynb -k Exercise`."""

import ast
from pathlib import Path

import pytest

import contract

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_replace_the_stubs(path):
    """A solution and a mistake set the names that the stub sets; they differ from it and from each other."""
    sections = contract.solutions(contract.solutions_path(path))
    stubs = contract.exercises(contract.read(path))
    assert len(sections) == len(stubs)
    for section, (stub, _) in zip(sections, stubs, strict=True):
        assert len({stub.strip(), *(block.strip() for block in section.blocks)}) == 3, section.title
        for block in section.blocks:
            assert names(stub) <= names(block), section.title


def names(source):
    """Names that some code sets at its top level."""
    found = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            found.add(statement.name)
        else:
            nodes = ast.walk(statement)
            found |= {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return found


def test_no_solution_without_a_notebook():
    files = (Path(__file__).resolve().parent.parent / "notebooks/solutions").glob("*")
    assert {file.name for file in files} == {f"{path.stem}.md" for path in NOTEBOOKS}
