"""What the site shows, and in which order: README's map is the one source."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README", "TEACHING", "CONTRIBUTING", "CHANGELOG"]
NOTEBOOKS = ["notebooks/[0-9][0-9]_*.ipynb", "notebooks/experts/*.ipynb"]
TEXTS = ["notebooks/solutions/[0-9][0-9]_*.md", "notebooks/data/README.md"]


def table_of_contents(readme, root=ROOT):
    """[(caption, [page, ...])] of the sidebar: parts and notebooks as README's map has them, then all other pages.

    Raises ValueError where the map and the notebooks that are there differ.
    """
    parts = []
    for line in readme.splitlines():
        part = re.match(r"\| \| \*\*(.+?)\*\*", line)
        row = re.match(r"\| \d\d \| \[.+?\]\((notebooks/.+?)\.ipynb\)", line)
        if part:
            parts.append((part.group(1), []))
        elif row and parts:
            parts[-1][1].append(row.group(1))
    mapped = [page for _, part in parts for page in part]
    there, experts, solutions, data = (
        sorted(path.relative_to(root).with_suffix("").as_posix() for path in root.glob(pattern))
        for pattern in NOTEBOOKS + TEXTS
    )
    there = [page for page in there if "-Copy" not in page]
    if sorted(mapped) != there:
        raise ValueError(f"README's map and notebooks/ differ in {sorted(set(mapped) ^ set(there))}")
    return [*parts, ("For experts", experts), ("Beside the way", PAGES[1:] + data), ("Solutions", solutions)]


def prepare_notebook(source):
    """A notebook's text, with what MyST-NB asks for: each figure's description, and what a closed drawing cell says."""
    notebook = json.loads(source)
    for cell in notebook["cells"]:
        metadata = (output.get("metadata", {}) for output in cell.get("outputs", []))
        alt = next((of["image/png"]["alt"] for of in metadata if "alt" in of.get("image/png", {})), None)
        if alt:
            cell["metadata"]["mystnb"] = {"image": {"alt": alt}}
            if "predict" not in cell["metadata"].get("tags", []):
                drawing = {"code_prompt_show": "Show the code that draws this", "code_prompt_hide": "Hide the code"}
                cell["metadata"]["mystnb"] |= drawing
    return json.dumps(notebook)
