"""The contract that every notebook keeps, as rules.

A rule is a function rule(notebook, path) that returns its complaints, each a sentence; test_contract.py runs every
rule on every notebook, and on planted faults.
"""

import ast
import base64
import functools
import io
import itertools
import re
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import nbformat
from PIL import Image

from run_notebooks import METADATA

MEDIAN_LINES, USUAL_LINES, MOST_LINES = 4, 10, 18
FEWEST_WORDS, MOST_WORDS = 60, 130  # of prose a code cell
HELPER_LINES = 470  # Part I took 300, the descents from many starts 120, and what Part III shares 50
ASSERTING = 0.4  # of the cells that neither set up, draw nor belong to an exercise
TAGS = {"exercise", "exercise-check", "nbval-ignore-output"}
VERDICTS = ("Correct", "Not correct", "Wrong shape", "Not answered yet")
FILLER = (
    r"simply|obviously|just|basically|essentially|of course|needless to say|as you can see|it is worth noting|"
    r"let[’']s dive|dive into|deep dive|powerful|seamless(?:ly)?|leverage|delve|trivial(?:ly)?|"
    r"state[- ]of[- ]the[- ]art|game[- ]changer|in a nutshell"
)
TIMING = r"perf_counter|process_time|\btime\.time\(|timeit|datetime\.now"
RULES = []


def rule(function):
    RULES.append(function)
    return function


# --- Reading a notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def markdown(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def without_code(text):
    """Markdown without fenced blocks and code spans."""
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


def without_addresses(text):
    return re.sub(r"\]\([^)]*\)|https?://\S+", "]", text)


def headings(text):
    """(level, text) of each heading."""
    found = re.findall(r"^(#{1,6}) +(.+?) *$", without_fences(text), re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def without_fences(text):
    return re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)


def section(text, title):
    """What stands under a level 2 heading."""
    found = re.search(rf"^## {title} *$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    return found.group(1) if found else ""


def links(text):
    """(is it an image, its text, its target) of each Markdown link."""
    found = re.findall(r"(!?)\[([^\]]*)\]\(\s*([^)\s]+)[^)]*\)", without_code(text))
    return [(mark == "!", label, target) for mark, label, target in found]


def texts(cell):
    """The texts among a cell's outputs."""
    for output in cell.get("outputs", []):
        if output.output_type == "stream":
            yield output.text
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield data


def pngs(cell):
    return [output for output in cell.get("outputs", []) if "image/png" in output.get("data", {})]


@functools.cache
def read(path):
    return nbformat.read(path, as_version=4)


def siblings(path):
    return sorted(path.parent.glob("[0-9][0-9]_*.ipynb"))


def figures_named(notebook):
    """Names of the picture files that stand in the code."""
    source = "\n".join(cell.source for cell in code_cells(notebook))
    return {Path(name).name for name in re.findall(r"""["']([^"'\n]*\.(?:png|gif|mp4))["']""", source)}


def figures_to_write(path):
    """Committed figures that this notebook has to write: it is the first whose code names them."""
    earlier = [figures_named(read(other)) for other in siblings(path) if other.name < path.name]
    committed = {file.name for file in (path.parent.parent / "figures").glob("*")}
    return figures_named(read(path)).difference(*earlier) & committed


def exercises(notebook):
    """The sources (stub, check) of each exercise."""
    pairs = itertools.pairwise(notebook.cells)
    return [(a.source, b.source) for a, b in pairs if "exercise" in tags(a) and "exercise-check" in tags(b)]


@dataclass
class Solution:
    title: str  # as in "Exercise 1: An unequal mixture"
    solution: list = field(default_factory=list)  # Python blocks before "A common mistake"
    mistake: list = field(default_factory=list)  # and after it

    @property
    def blocks(self):
        return [*self.solution, *self.mistake]


def solutions_path(path):
    return path.parent / "solutions" / f"{path.stem}.md"


def solutions(path):
    """The sections of a solutions file; none where it is missing."""
    if not path.is_file():
        return []
    parts = re.split(r"^## (.+?) *$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    found = []
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        right, _, wrong = text.partition("\n### A common mistake")
        blocks = [re.findall(r"^```python\n(.*?)^```", part, re.DOTALL | re.MULTILINE) for part in (right, wrong)]
        found.append(Solution(title, *blocks))
    return found


@functools.cache
def clone(root):
    """The files that a fresh clone would hold once everything here is committed."""
    command = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        answer = subprocess.run(command, capture_output=True, check=True, text=True, encoding="utf-8").stdout
        names = [name for name in answer.split("\0") if name and (root / name).exists()]
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository: an archive
        names = [file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file()]
        names = [name for name in names if not name.startswith((".venv/", ".pytest_cache/"))]
    folders = {parent.as_posix() for name in names for parent in Path(name).parents}
    return {*names, *folders}


def broken_links(text, file, root):
    """Complaints about links of a Markdown text that stands in `file`. Case counts, as it does on Linux."""
    complaints = []
    anchors = {re.sub(r"\s+", "-", title) for _, title in headings(text)}
    anchors |= {re.sub(r"[^\w-]", "", anchor.lower()) for anchor in anchors}
    for _, _, target in links(text):
        if target.startswith(("https://", "mailto:")):
            continue
        if target.startswith("#"):
            if unquote(target[1:]) not in anchors:
                complaints.append(f"the link {target} has no such heading")
            continue
        if "://" in target or target.startswith("/"):
            complaints.append(f"the link {target} is neither https nor relative")
            continue
        parts = []
        for part in (file.parent.relative_to(root) / unquote(target.split("#")[0])).parts:
            parts = parts[:-1] if part == ".." and parts else [*parts, part]
        if "/".join(parts) not in clone(root):
            complaints.append(f"the link {target} leads nowhere in a fresh clone")
    return complaints


# --- The frame: opening, closing, links


@rule
def opening(notebook, path):
    """H1 with number and title, the question, three lists, the time."""
    first = notebook.cells[0]
    if first.cell_type != "markdown":
        return ["the first cell is not Markdown"]
    complaints = []
    title = re.match(r"# (\d\d) (.+)", first.source)
    slug = re.sub(r"\W+", "_", title.group(2).lower()).strip("_") if title else ""
    if not title or f"{title.group(1)}_{slug}" != path.stem:
        complaints.append(f"the first line must be '# NN Title' and fit the file name {path.stem}")
    if [level for level, _ in headings(markdown(notebook))].count(1) != 1:
        complaints.append("there must be one H1")
    blocks = [block.strip() for block in first.source.split("\n\n")]
    question = blocks[1] if len(blocks) > 1 else ""
    if not question.endswith("?") or question.count("?") != 1 or re.search(r"[.!] [A-Z]", question):
        complaints.append("the second paragraph must be one sentence with the question")
    expected = ["**You will do**", "**You will learn**", "**You need**", "**Time**"]
    if re.findall(r"^\*\*[^*]+\*\*", first.source, re.MULTILINE) != expected:
        complaints.append(f"the opening must have the parts {', '.join(expected)}, in this order")
    for label in expected[:3]:
        items = re.search(rf"{re.escape(label)}\n+((?:[-*] .+\n?|  .+\n?)+)", first.source)
        if not items:
            complaints.append(f"{label} must be followed by a list")
    time = r"^\*\*Time\*\*: .*\bminutes?\b.* to read, .*\b(?:seconds?|minutes?)\b.* to run"
    if not re.search(time, first.source, re.MULTILINE):
        complaints.append("**Time**: must say minutes to read and seconds or minutes to run")
    return complaints


@rule
def closing(notebook, path):
    """Recap with a number, exercises, further reading, navigation."""
    text = markdown(notebook)
    complaints = []
    second = [title for level, title in headings(text) if level == 2]
    if second[-3:] != ["Recap", "Exercises", "Further reading"]:
        complaints.append(f"the last headings must be Recap, Exercises, Further reading; they are {second[-3:]}")
    if not re.search(r"\d", section(text, "Recap")):
        complaints.append("the recap must give a number that the notebook found")
    titles = re.findall(r"^### (.+)", section(text, "Exercises"), re.MULTILINE)
    if not 2 <= len(titles) <= 4:
        complaints.append(f"there must be two to four exercises, not {len(titles)}")
    for number, title in enumerate(titles, 1):
        if not re.match(rf"Exercise {number}: \S", title):
            complaints.append(f"'### {title}' must read '### Exercise {number}: title'")
    navigation_links = len(links(notebook.cells[-1].source))
    if len(links(section(text, "Further reading"))) <= navigation_links:
        complaints.append("further reading must have a link")
    return complaints


@rule
def navigation(notebook, path):
    """The last cell leads to the previous notebook, the next one and the README, and to nothing else."""
    last = notebook.cells[-1]
    if last.cell_type != "markdown":
        return ["the last cell must be the navigation"]
    number = int(path.name[:2])
    by_number = {int(other.name[:2]): other.name for other in siblings(path)}
    expected = [by_number[n] for n in (number - 1, number + 1) if n in by_number] + ["../README.md"]
    found = [target for _, _, target in links(last.source)]
    # A series in the making may point at a next notebook that is not there yet: the rule on links says so.
    if number + 1 not in by_number:
        found = [target for target in found if not target.startswith(f"{number + 1:02d}_")]
    return [] if found == expected else [f"the navigation must link {expected}, it links {found}"]


@rule
def working_links(notebook, path):
    """Links and pictures are there in a fresh clone, upper and lower case included."""
    return broken_links(markdown(notebook), path, path.parent.parent)


# --- Cells


@rule
def short_cells(notebook, path):
    """Median, nine in ten, longest, in lines that are not blank."""
    lengths = sorted(sum(bool(line.strip()) for line in cell.source.splitlines()) for cell in code_cells(notebook))
    complaints = []
    if (median := statistics.median(lengths)) > MEDIAN_LINES:
        complaints.append(f"the median cell has {median} lines, allowed {MEDIAN_LINES}")
    if (share := sum(length <= USUAL_LINES for length in lengths) / len(lengths)) < 0.9:
        complaints.append(f"{share:.0%} of the cells have at most {USUAL_LINES} lines, needed 90%")
    if lengths[-1] > MOST_LINES:
        complaints.append(f"a cell has {lengths[-1]} lines, allowed {MOST_LINES}")
    return complaints


@rule
def enough_prose(notebook, path):
    """Words of prose a code cell."""
    text = without_addresses(without_fences(markdown(notebook)))
    words = len(re.findall(r"\w+", re.sub(r"\$\$.*?\$\$|\$[^$]+\$", " formula ", text, flags=re.DOTALL)))
    share = words / len(code_cells(notebook))
    if FEWEST_WORDS <= share <= MOST_WORDS:
        return []
    return [f"{share:.0f} words of prose a code cell, wanted {FEWEST_WORDS} to {MOST_WORDS}"]


@rule
def prose_first(notebook, path):
    """One idea, one piece of prose: at most two code cells in a row, Markdown before them."""
    complaints, row = [], 0
    for cell in notebook.cells:
        row = row + 1 if cell.cell_type == "code" else 0
        if row == 3:
            complaints.append(f"the third code cell in a row\n{cell.source}")
    return complaints


@rule
def set_up_first(notebook, path):
    """The first code cell shows what makes the run repeatable, and nothing later undoes it."""
    first, *others = [cell.source for cell in code_cells(notebook)]
    complaints = [
        f"the first code cell must hold {what}"
        for what, pattern in {
            "the imports": r"^import torch$",
            "torch.set_default_dtype(torch.float64)": r"^torch\.set_default_dtype\(torch\.float64\)",
            "torch.set_num_threads(1)": r"^torch\.set_num_threads\(1\)",
            "a seed": r"torch\.manual_seed\(\d+\)|default_rng\(\d+\)",
        }.items()
        if not re.search(pattern, first, re.MULTILINE)
    ]
    undone = r"default_rng\(\)|set_num_threads|set_default_dtype|torch\.seed\(\)|^%.*|^!.*"
    for source in others:
        if found := re.search(undone, source, re.MULTILINE):
            complaints.append(f"{found.group()} in a later cell")
    return complaints


@rule
def checked_claims(notebook, path):
    """Enough cells assert something."""
    plain = [
        cell for cell in code_cells(notebook)[1:] if not pngs(cell) and not tags(cell) & {"exercise", "exercise-check"}
    ]
    share = sum("assert" in cell.source for cell in plain) / max(len(plain), 1)
    return [] if share >= ASSERTING else [f"{share:.0%} of the cells that could assert do, wanted {ASSERTING:.0%}"]


@rule
def greek_names(notebook, path):
    """μ is the Greek letter, not the micro sign, and names are not spelled out."""
    complaints = []
    for cell in notebook.cells:
        if "\u00b5" in cell.source:
            complaints.append("the micro sign U+00B5 stands for the letter μ, U+03BC")
        if cell.cell_type == "code" and (found := re.search(r"(?<![A-Za-z])(?:mu|sigma|pi)_\w+", cell.source)):
            complaints.append(f"{found.group()} is not written with the Greek letter")
    return complaints


@rule
def helpers_used(notebook, path):
    """What is imported from gmm_helpers is used."""
    source = "\n".join(cell.source for cell in code_cells(notebook))
    complaints = []
    for names in re.findall(r"from gmm_helpers import (\([^)]*\)|.+)", source):
        for name in re.findall(r"\w+", names):
            if len(re.findall(rf"\b{name}\b", source)) < 2:
                complaints.append(f"{name} is imported and not used")
    return complaints


@rule
def known_tags(notebook, path):
    """Only our three tags; nbval's comments are not used; an ignored output is a timing, and is still checked."""
    complaints = []
    for cell in notebook.cells:
        if cell.cell_type != "code" and tags(cell):
            complaints.append("a Markdown cell has tags")
        if unknown := tags(cell) - TAGS:
            complaints.append(f"unknown tags {sorted(unknown)}")
        if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source):
            complaints.append("tags, not comments, tell nbval what to do")
        if "nbval-ignore-output" in tags(cell) and not re.search(TIMING, cell.source):
            complaints.append("an ignored output must be a timing")
        if "nbval-ignore-output" in tags(cell) and (not re.search(r"\bassert", cell.source) or pngs(cell)):
            complaints.append("a cell with an ignored output must assert something, and draw nothing")
    return complaints


@rule
def exercise_cells(notebook, path):
    """A stub, then its check; as many as there are exercises; each check not answered yet."""
    complaints = []
    cells = notebook.cells
    for index, cell in enumerate(cells):
        following = tags(cells[index + 1]) if index + 1 < len(cells) else set()
        before = tags(cells[index - 1]) if index else set()
        if "exercise" in tags(cell) and "exercise-check" not in following:
            complaints.append(f"no check follows the exercise\n{cell.source}")
        if "exercise-check" in tags(cell):
            verdicts = [line for text in texts(cell) for line in text.splitlines() if line.startswith(VERDICTS)]
            if "exercise" not in before:
                complaints.append(f"no exercise stands before the check\n{cell.source}")
            if not verdicts or not all(line.startswith("Not answered yet") for line in verdicts):
                complaints.append(f"the stored check must say 'Not answered yet' only\n{cell.source}")
    titles = re.findall(r"^### (Exercise .+?) *$", section(markdown(notebook), "Exercises"), re.MULTILINE)
    # The stubs stand under the headings one to one.
    under = []
    for cell in cells:
        if cell.cell_type == "markdown":
            under += [0 for _ in re.findall(r"^### Exercise \d", cell.source, re.MULTILINE)]
        elif "exercise" in tags(cell) and under:
            under[-1] += 1
    if len(titles) != len(exercises(notebook)) or any(count != 1 for count in under):
        complaints.append(f"{len(titles)} exercises have {len(exercises(notebook))} stubs with checks")
    return complaints


@rule
def solved(notebook, path):
    """The solutions file has a section an exercise, with the same title, one solution and one common mistake."""
    file = solutions_path(path)
    if not file.is_file():
        return [f"{file.name} is missing in solutions/"]
    titles = re.findall(r"^### (Exercise .+?) *$", section(markdown(notebook), "Exercises"), re.MULTILINE)
    found = solutions(file)
    complaints = []
    if [part.title for part in found] != titles:
        complaints.append(f"the exercises are {titles}, the solutions {[part.title for part in found]}")
    for part in found:
        if len(part.solution) != 1 or len(part.mistake) != 1:
            complaints.append(f"{part.title}: needs one Python block, and one under '### A common mistake'")
        if "check_answer" in "".join(part.blocks):
            complaints.append(f"{part.title}: a solution must not check itself")
    text = file.read_text(encoding="utf-8")
    if [level for level, _ in headings(text)].count(1) != 1:
        complaints.append("the solutions must have one H1")
    return complaints + broken_links(text, file, path.parent.parent)


# --- Outputs


@rule
def run_in_order(notebook, path):
    """Execution counts 1 to n; nbval would skip a cell without one."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    return [] if counts == [*range(1, len(counts) + 1)] else [f"the counts are {counts}; run `make notebooks`"]


@rule
def plain_outputs(notebook, path):
    """Text, PNG and captions; no errors, no stderr, nothing that a code host hides or nbval does not compare."""
    kinds = [{"text/plain"}, {"image/png"}, {"image/png", "text/plain"}, {"text/markdown", "text/plain"}]
    changing = r"clear_output|display_id|update_display|ipywidgets|tqdm|HTML\(|Video\(|Javascript\("
    complaints = []
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if output.output_type == "error":
                complaints.append(f"an error is stored: {output.ename}")
            elif output.output_type == "stream" and output.name != "stdout":
                complaints.append(f"stored on {output.name}: {output.text}")
            elif output.output_type != "stream" and set(output.data) not in kinds:
                complaints.append(f"an output of the kind {sorted(output.data)}")
        if re.search(changing, cell.source):
            complaints.append(f"a display that changes, or is not shown everywhere\n{cell.source}")
    return complaints


@rule
def repeatable_text(notebook, path):
    """No long decimals, addresses or control characters in the printed text; times only where outputs are ignored."""
    patterns = {
        "a number with more than six decimals": r"\d\.\d{7,}",
        "an address": r"\b0x[0-9a-fA-F]{6,}",
        "a control character": r"[\x00-\x08\x0b-\x1f\x7f]",
        "a warning": r"\w+Warning\b",
    }
    complaints = []
    for cell in code_cells(notebook):
        if "nbval-ignore-output" in tags(cell):
            continue
        if re.search(TIMING, cell.source):
            complaints.append(f"a timing needs the tag nbval-ignore-output\n{cell.source}")
        for text in texts(cell):
            found = [(what, re.search(pattern, text)) for what, pattern in patterns.items()]
            complaints += [f"the output holds {what}: {match.group()!r}" for what, match in found if match]
    return complaints


@rule
def no_machine_paths(notebook, path):
    """No absolute path of the machine on which it was written or run."""
    pattern = r"(?<![\w.:/])/(?:home|Users|root|tmp|var|work|opt|mnt|usr|private)/\S*|\b[A-Z]:\\\w+"
    everything = [cell.source for cell in notebook.cells] + [t for cell in code_cells(notebook) for t in texts(cell)]
    return [f"an absolute path: {found.group()}" for text in everything for found in re.finditer(pattern, text)]


@rule
def clean_metadata(notebook, path):
    """Metadata as tools/run_notebooks.py leaves it; cell ids there and unique."""
    complaints = []
    if notebook.metadata != METADATA:
        complaints.append("the notebook's metadata are not METADATA of tools/run_notebooks.py; run `make notebooks`")
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        complaints.append("the format must be 4.5")
    for cell in notebook.cells:
        if set(cell.metadata) - {"tags"}:
            complaints.append(f"cell {cell.get('id')} has the metadata {sorted(cell.metadata)}")
        if "attachments" in cell:
            complaints.append(f"cell {cell.get('id')} has an attachment; pictures stand in figures/")
        if not cell.source.strip():
            complaints.append(f"cell {cell.get('id')} is empty")
    ids = [cell.get("id") for cell in notebook.cells]
    if None in ids or len(set(ids)) < len(ids):
        complaints.append("each cell must have an id of its own")
    return complaints


# --- Figures


def drawing_code(notebook, cell):
    """A cell's source, and that of the cells with the notebook's own functions that it calls."""
    sources = [cell.source]
    for other in code_cells(notebook):
        names = re.findall(r"^def (\w+)\(", other.source, re.MULTILINE)
        if other is not cell and any(re.search(rf"\b{name}\b", cell.source) for name in names):
            sources.append(other.source)
    return "\n".join(sources)


@rule
def described_figures(notebook, path):
    """Each figure comes from show_figure, with title, labels, a description as alt text, and the same as a caption."""
    complaints, alts = [], []
    for cell in code_cells(notebook):
        for index, output in enumerate(cell.outputs):
            if "image/png" not in output.get("data", {}):
                continue
            alt = output.metadata.get("image/png", {}).get("alt", "")
            alts.append(alt)
            caption = cell.outputs[index + 1].get("data", {}) if index + 1 < len(cell.outputs) else {}
            if len(alt.split()) < 8 or not alt.endswith("."):
                complaints.append(f"the description must be a sentence of eight words or more: {alt!r}")
            elif alt not in caption.get("text/markdown", "") or alt not in caption.get("text/plain", ""):
                complaints.append(f"the caption does not hold the description {alt!r}")
        if pngs(cell):
            # A figure that matplotlib's inline backend shows by itself has no description.
            if not re.search(r"^ *show_figure\(", cell.source, re.MULTILINE):
                complaints.append(f"a figure does not come from show_figure\n{cell.source}")
            drawn = drawing_code(notebook, cell)
            if "title" not in drawn:
                complaints.append(f"a figure has no title\n{cell.source}")
            if not ("xlabel" in drawn and "ylabel" in drawn) and "draw_graph(" not in drawn:
                complaints.append(f"a figure has no axis labels\n{cell.source}")
        if found := re.search(r"bbox_inches|plt\.show\(|%matplotlib|\.savefig\(", cell.source):
            complaints.append(f"{found.group()} changes the canvas or goes past show_figure")
    if len(set(alts)) < len(alts):
        complaints.append("two figures have the same description")
    for is_image, alt, target in links(markdown(notebook)):
        if is_image and (len(alt.split()) < 8 or not alt.endswith(".")):
            complaints.append(f"the alt text of {target} must be a sentence of eight words or more: {alt!r}")
    if re.search(r"<(img|video|script|iframe|svg)\b", without_code(markdown(notebook))):
        complaints.append("HTML in Markdown: write ![description.](../figures/...)")
    return complaints


@rule
def small_files(notebook, path):
    """The notebook under 1 MB; a GIF up to 100 frames and 1 MB, looping, with a film strip beside it."""
    complaints = []
    if path.stat().st_size >= 1_000_000:
        complaints.append(f"the notebook has {path.stat().st_size} bytes, allowed 1 MB")
    for cell in code_cells(notebook):
        for output in pngs(cell):
            with Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))) as picture:
                if max(picture.size) > 1600:
                    complaints.append(f"a figure has {picture.size} pixels, allowed 1600 a side")
    for is_image, _, target in links(markdown(notebook)):
        file = path.parent / target
        if not (is_image and target.endswith(".gif") and file.is_file()):
            continue
        with Image.open(file) as film:
            frames, loop = film.n_frames, film.info.get("loop")
        if file.stat().st_size > 1_000_000 or frames > 100:
            complaints.append(f"{target} has {frames} frames and {file.stat().st_size} bytes, allowed 100 and 1 MB")
        if frames < 2 or loop != 0:
            complaints.append(f"{target} must move, and for ever")
        if not list(file.parent.glob(f"{file.stem}*.png")):
            complaints.append(f"{target} has no film strip {file.stem}*.png beside it")
    return complaints


@rule
def written_figures(notebook, path):
    """A picture from figures/ that is shown is one that this notebook's code, or an earlier one's, writes."""
    named = [figures_named(read(other)) for other in siblings(path) if other.name < path.name]
    named = figures_named(notebook).union(*named)
    return [
        f"no code so far writes {target}"
        for is_image, _, target in links(markdown(notebook))
        if is_image and Path(target).name not in named
    ]


# --- Prose


@rule
def maths_shows(notebook, path):
    """Maths that both JupyterLab and a code host can set."""
    complaints = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        text = without_code(cell.source)
        if any("$$" in line and line != "$$" for line in text.splitlines()):
            complaints.append(f"$$ must stand on a line of its own\n{cell.source}")
        if found := re.search(r"\\(operatorname|bm|newcommand|def|require|label|ref|tag)\b", text):
            complaints.append(f"{found.group()} is not set everywhere")
        outside = re.sub(r"^\$\$$.*?^\$\$$", "", text, flags=re.DOTALL | re.MULTILINE)
        if re.search(r"\\(begin|end)\{", outside):
            complaints.append(f"\\begin must stand inside $$\n{cell.source}")
        if outside.replace(r"\$", "").count("$") % 2 or text.count("$$") % 2:
            complaints.append(f"a $ has no partner\n{cell.source}")
        for inner in re.findall(r"\$([^$]*)\$", outside):
            if inner != inner.strip() or not inner or "\n\n" in inner:
                complaints.append(f"${inner}$ must not be empty, nor begin or end with a space")
        for line in outside.splitlines():
            if line.lstrip().startswith("|") and any("|" in inner for inner in re.findall(r"\$([^$]*)\$", line)):
                complaints.append(f"a bar in the maths of a table: {line}")
    return complaints


NUMBER = r"(?<![\w.^{-])(?:\d+\.\d+(?:e[-+]?\d+)?|\d{3,}(?![.\d]*\.\d))(?![\w.]*\d)"


def numbers(text):
    """Each number of a printed or written text, as (text of it, value, decimals)."""
    for found in re.findall(r"\d+(?:_\d{3})+|\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d+|(?<!\d)\.\d+", text):
        found = found.replace("_", "")
        mantissa, _, exponent = found.partition("e")
        yield found, float(found), len(mantissa.partition(".")[2]) - int(exponent or 0)


@rule
def proved_numbers(notebook, path):
    """A decimal number, or one of three digits or more, in the prose stands in the code or is printed.

    A printed number may have more decimals: it must round to the one in the prose. Years, versions and further
    reading are free.
    """
    text = markdown(notebook)
    text = text.replace(section(text, "Further reading"), "")
    text = without_addresses(without_code(text)).replace(r"\,", "")
    text = re.sub(r"\b(?:PyTorch|Python|NumPy|SciPy|matplotlib|section|chapter) \d+(\.\d+)+", "", text)
    text = re.sub(r"\b(?:19|20)\d\d\b", "", text)
    source = "\n".join(cell.source for cell in code_cells(notebook))
    printed = "\n".join(text for cell in code_cells(notebook) for text in texts(cell))
    known = [*numbers(source), *numbers(printed)]
    complaints = []
    for written, value, decimals in numbers("\n".join(re.findall(NUMBER, text))):
        near = 0.5 * 10.0**-decimals * (1 + 1e-9)
        if not any(abs(other - value) <= near and others >= decimals for _, other, others in known):
            complaints.append(f"{written} is in the prose, but neither printed nor in the code")
    return complaints


@rule
def no_filler(notebook, path):
    """No filler words, no emoji."""
    text = without_code(markdown(notebook))
    complaints = [f"filler: {found}" for found in re.findall(rf"\b(?:{FILLER})\b", text, re.IGNORECASE)]
    return complaints + [f"emoji: {found}" for found in re.findall("[\U0001f300-\U0001faff\u2600-\u27bf]", text)]


# --- The helper module


def helper_module(source, folder):
    """Complaints about gmm_helpers.py: its length, docstrings, and the notebooks that its docstrings name."""
    complaints = []
    if (lines := len(source.splitlines())) > HELPER_LINES:
        complaints.append(f"{lines} lines, allowed {HELPER_LINES}")
    for function in ast.parse(source).body:
        if isinstance(function, ast.ClassDef):
            complaints.append(f"the class {function.name}, where a function would do")
        if not isinstance(function, ast.FunctionDef) or function.name.startswith("_"):
            continue
        text = ast.get_docstring(function) or ""
        inputs = function.args
        for argument in [*inputs.posonlyargs, *inputs.args, *inputs.kwonlyargs, inputs.kwarg, inputs.vararg]:
            if argument and not re.search(rf"(?<!\w){re.escape(argument.arg)}(?!\w)", text):
                complaints.append(f"the docstring of {function.name} says nothing of {argument.arg}")
        if not re.search(r"\bRaises\b", text):
            complaints.append(f"the docstring of {function.name} does not say what it raises")
        if not re.search(r"\bReturns?\b|\breturns nothing\b|no return|Raises", text):
            complaints.append(f"the docstring of {function.name} does not say what it returns")
        suffixed = [a.arg for a in inputs.args if re.search(r"_[A-Z]+$", a.arg)]
        if suffixed and not re.search(r"\([A-Z][A-Z, ]*,?\)|pictures|as in \w+", text):
            complaints.append(f"the docstring of {function.name} does not give the shapes")
        built = re.search(r"Built in notebook (\d\d)", text)
        if not built and "Plumbing" not in text:
            complaints.append(f"the docstring of {function.name} does not name the notebook where it is built")
        if built and (files := sorted(folder.glob(f"{built.group(1)}_*.ipynb"))):
            code = "\n".join(cell.source for cell in code_cells(read(files[0])))
            as_loop = f"Built in notebook {built.group(1)} (as a loop)" in text and f"{function.name}(" in code
            if not as_loop and not re.search(rf"^ *def {function.name}\(", code, re.MULTILINE):
                complaints.append(f"notebook {built.group(1)} does not build {function.name}")
    return complaints
