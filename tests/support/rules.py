"""What must hold for every notebook, as rules. They protect readers; style is for reviewers.

A rule is a function rule(notebook, path) that returns its complaints, each a sentence.
"""

import ast
import math
import os
import re
from pathlib import Path
from urllib.parse import unquote

from tests.support import notebooks as nb

TAGS = {"rung", "exercise", "exercise-check", "predict", "hide-output", "hide-input", "nbval-ignore-output"}
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|var|work|opt|mnt|usr|private)/\S*|\b[A-Z]:\\\w+")
SHOWN = {"text/plain", "text/markdown", "text/latex", "text/html", "image/png"}  # on a code host, too
RULES = []


def rule(function):
    RULES.append(function)
    return function


# --- The frame


@rule
def title_and_question(notebook, path):
    """One H1, which fits the file name; in its cell the question; for the numbered ones recap and exercises."""
    opening, *others = nb.sections(notebook)[1:] or [nb.Section(0, "")]
    if opening.level != 1 or any(section.level == 1 for section in others):
        return ["the first heading, and no other one, must be an H1"]
    if path.parent.name == "experts":
        return []
    complaints = []
    if re.sub(r"\W+", "_", opening.title.lower()).strip("_") != path.stem:
        complaints.append(f"the title {opening.title!r} does not fit the file name {path.stem}")
    if "?" not in nb.words(opening.tokens):
        complaints.append("the question must stand under the title")
    missing = {"Recap", "Exercises"} - {section.title for section in others}
    return complaints + [f"there is no '## {title}'" for title in sorted(missing)]


@rule
def navigation(notebook, path):
    """The end leads to the previous notebook, to the next one and to the README; an expert's may name its chapter."""
    numbered = [other.name for other in nb.series(nb.root_of(path)) if other.parent.name == "notebooks"]
    expected = {f"{'../' * len(path.relative_to(nb.root_of(path)).parts[1:])}README.md"}
    if path.name in numbered:
        place = numbered.index(path.name)
        expected |= {*numbered[max(place - 1, 0) : place], *numbered[place + 1 : place + 2]}
    paragraphs = [token for text in nb.prose(notebook)[-1:] for token in nb.parse(text) if token["type"] == "paragraph"]
    found = {node["attrs"]["url"] for node in nb.nodes(paragraphs[-1:]) if node["type"] == "link"}
    fine = found == expected or (path.name not in numbered and found > expected)
    return [] if fine else [f"the last links must be {sorted(expected)}, they are {sorted(found)}"]


def links(text):
    """(url, text or description, whether it is a picture) of each link of a Markdown text, HTML included."""
    for node in nb.nodes(text):
        if node["type"] in ("link", "image"):
            yield node["attrs"]["url"], nb.words(node["children"]), node["type"] == "image"
        elif node["type"] in ("inline_html", "block_html"):
            for tag in re.findall(r"<(?:a|img|source)\b[^>]*>", node["raw"]):
                parts = dict(re.findall(r"""(\w+)=["']([^"']*)["']""", tag))
                yield parts.get("src") or parts.get("href", ""), parts.get("alt", ""), tag.startswith("<img")


def anchors(cells):
    titles = [re.sub(r"\s+", "-", title) for text in cells for _, title in nb.headings(text)]
    return {*titles, *(re.sub(r"[^\w-]", "", title.lower()) for title in titles)}


def exists(path, root):
    """Whether a file is there below root, upper and lower case included, which count on Linux."""
    folder = root
    for part in Path(os.path.relpath(path, root)).parts:
        if part == ".." or not folder.is_dir() or part not in os.listdir(folder):
            return False
        folder /= part
    return True


def link_complaints(cells, file, root):
    """Dead links and pictures without a description, of Markdown cells that stand in file."""
    complaints = []
    for text in cells:
        for url, label, is_picture in links(text):
            if is_picture and not label.strip():
                complaints.append(f"the picture {url} has no description (alt text)")
            if re.match(r"https?://|mailto:", url):
                continue  # the weekly job asks them
            name, _, anchor = unquote(url).partition("#")
            target = Path(os.path.normpath(file.parent / name)) if name else file
            if not exists(target, root):
                complaints.append(f"the link {url} leads nowhere")
            elif anchor and target.suffix in (".md", ".ipynb"):
                there = cells if target == file else read_markdown(target)
                if anchor not in anchors(there):
                    complaints.append(f"the link {url} has no such heading")
        for paragraph in [node for node in nb.nodes(text) if node["type"] in ("paragraph", "block_text")]:
            plain = "".join(node["raw"] for node in paragraph["children"] if node["type"] == "text")
            complaints += [f"{found} has no address" for found in re.findall(r"\[[^\][]+\]\[[^\][]*\]", plain)]
    return complaints


def read_markdown(file):
    return nb.prose(nb.read(file)) if file.suffix == ".ipynb" else [file.read_text(encoding="utf-8")]


@rule
def links_and_pictures(notebook, path):
    return link_complaints(nb.prose(notebook), path, nb.root_of(path))


# --- Cells and outputs


@rule
def outputs(notebook, path):
    """Each cell was run; no error, no stderr, no path of a machine, nothing that a code host hides."""
    complaints = []
    for cell in nb.code_cells(notebook):
        if cell.execution_count is None:
            complaints.append(f"a cell was not run; `make notebooks` does it\n{cell.source}")
        for output in cell.outputs:
            if output.output_type == "error":
                complaints.append(f"an error is stored: {output.ename}")
            elif output.output_type == "stream" and output.name != "stdout":
                complaints.append(f"stored on {output.name}: {output.text}")
            elif unseen := set(output.get("data", {})) - SHOWN:
                complaints.append(f"not every reader sees an output of the kind {sorted(unseen)}")
    everything = [text for cell in notebook.cells for text in (cell.source, *nb.texts(cell))]
    return complaints + [
        f"a path of some machine: {found}" for text in everything for found in MACHINE_PATH.findall(text)
    ]


@rule
def known_tags(notebook, path):
    """A misspelt tag does nothing; and nothing but our tags tells nbval what to compare."""
    found = set().union(*(nb.tags(cell) for cell in notebook.cells))
    complaints = [f"unknown tag {tag}" for tag in sorted(found - TAGS)]
    for cell in nb.code_cells(notebook):
        complaints += re.findall(r"^\s*#\s*(?:NBVAL_|PYTEST_VALIDATE_)\w+", cell.source, re.MULTILINE)
    return complaints


@rule
def described_figures(notebook, path):
    """Each figure has a description as its alt text, and the same as a caption below it."""
    complaints = []
    for cell in nb.code_cells(notebook):
        for index, output in enumerate(cell.outputs):
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "").strip()
                caption = cell.outputs[index + 1].get("data", {}) if index + 1 < len(cell.outputs) else {}
                if not alt or alt not in caption.get("text/markdown", ""):
                    complaints.append(f"a figure has no description, or not as its caption: {alt!r}\n{cell.source}")
    return complaints


@rule
def solved_exercises(notebook, path):
    """Each stub has a check, which is stored unanswered, and a solution and a mistake in the solutions file.

    That the check accepts and rejects them, strict_nbval.py finds out by running them.
    """
    found, solved = nb.exercises(notebook), nb.solutions(path)
    stubs, checks = (sum(tag in nb.tags(cell) for cell in notebook.cells) for tag in ("exercise", "exercise-check"))
    complaints = [] if stubs == checks == len(found) else [f"{stubs} stubs and {checks} checks, {len(found)} pairs"]
    for exercise in found:
        lines = "".join(nb.texts(exercise.check)).splitlines()
        verdicts = {match.group(1) for line in lines if (match := nb.VERDICT.search(line))}
        if verdicts != {"Not answered yet"}:
            complaints.append(f"{exercise.title}: the stored check says {sorted(verdicts)}")
        if not all(solved.get(exercise.title, ([], []))):
            complaints.append(f"{exercise.title}: no solution, or no mistake, in the solutions")
    titles = {section.title for section in nb.sections(notebook)}
    return complaints + [f"only the solutions have {title!r}" for title in solved if title not in titles]


# --- Prose


def without_code(text):
    text = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", "", text, flags=re.DOTALL)


def maths_complaints(text, in_file=False):
    """Maths that a code host does not set as JupyterLab does; in_file: in a Markdown file, which it treats worse."""
    text, complaints = without_code(text), []
    if any("$$" in line and line.strip() != "$$" for line in text.splitlines()) or text.count("$$") % 2:
        complaints.append("$$ must stand on lines of their own, in pairs")
    if found := re.search(r"\\(operatorname|bm|newcommand|def|require|label|ref|tag)\b", text):
        complaints.append(f"{found.group()} is not set everywhere")
    outside = re.sub(r"^\s*\$\$$.*?^\s*\$\$$", "", text, flags=re.DOTALL | re.MULTILINE).replace(r"\$", "")
    if re.search(r"\\(begin|end)\{", outside):
        complaints.append(r"\begin must stand inside $$")
    if outside.count("$") % 2:
        complaints.append("a $ has no partner")
    for inner in re.findall(r"\$([^$]*)\$", outside):
        if inner != inner.strip() or not inner or "\n\n" in inner:
            complaints.append(f"${inner}$ is empty, or begins or ends with a space")
        if in_file and (found := re.search(r"\\[!-/:-@[-`{-~]", inner)):
            complaints.append(f"{found.group()} in ${inner}$ loses its backslash")
    rows = re.findall(r"^\s*\|.*", outside, re.MULTILINE)
    bars = [inner for row in rows for inner in re.findall(r"\$([^$]*)\$", row) if "|" in inner]
    return complaints + [f"a bar in the maths of a table: {inner}" for inner in bars]


@rule
def maths(notebook, path):
    return [f"{complaint}\n{text}" for text in nb.prose(notebook) for complaint in maths_complaints(text)]


def tree(source):
    return ast.parse(re.sub(r"^[%!].*", "", source, flags=re.MULTILINE))  # without IPython's magics


def numbers(text):
    """(value, decimals) of each number in a printed or written text; signs do not count."""
    for found in re.findall(r"\d+(?:_\d{3})+|\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d+|(?<!\d)\.\d+", text):
        mantissa, _, exponent = found.replace("_", "").partition("e")
        yield float(found), len(mantissa.partition(".")[2]) - int(exponent or 0)


def literals(source):
    """The numbers in some code, outside texts and comments; they are exact."""
    values = [node.value for node in ast.walk(tree(source)) if isinstance(node, ast.Constant)]
    return [(abs(value), math.inf) for value in values if type(value) in (int, float)]


COMMA = r"(?<=\d)(?:,|\\,|\u00a0|\u202f)(?=\d{3}(?!\d))"
FREE = (
    r"\b(?:PyTorch|Python|NumPy|SciPy|[Mm]atplotlib|scikit-learn|ArviZ|version|[Ss]ection|[Cc]hapter) \d[\d.]*"
    r"|(?:\(|, |\b(?:post of|in|since|and) )(?:1[89]|20)\d\d\)"  # (1990), (Roeder, 1990), (in 1990)
    r"|\b2017\b|\bof 19\d\d\b|\b(?:post of|since) (?:19|20)\d\d\b|\bin (?:19|20)\d\d(?=[ ,.;:])(?! of\b)"
    r"|\^\{?-?[\d.]+"  # exponents
)


def number_complaints(text, known):
    """The numbers of a text that are not among the known (value, decimals)."""
    text = re.sub(COMMA, "", text)
    text = re.sub(r"(\d)\s*(?:\\cdot|\\times|×|·)\s*10\^\{?(-?\d+)\}?", r"\1e\2", text)
    text = re.sub(FREE, " ", text)
    for found in re.finditer(r"(?<![\w.])(\d+\.\d+(?:e[-+]?\d+)?|\d+e[-+]?\d+|\d{3,})(?![\w.]*\d)( *\\?%)?", text):
        ((value, decimals),) = numbers(found.group(1))
        asked = [(value, decimals)] + [(value / 100, decimals + 2)] * bool(found.group(2))
        if not any(
            others >= decimals and abs(other - value) <= 0.5000001 * 10.0**-decimals
            for value, decimals in asked
            for other, others in known
        ):
            yield found.group(1)


@rule
def printed_numbers(notebook, path):
    """A number in the prose is one that a cell of its section prints.

    A section goes from one heading, of any level, to the next; in the opening and the recap every cell of the notebook
    counts. Numbers are those with a decimal point or an exponent, and integers of three digits or more, also in tables
    and in maths; not in `code`, nor in Further reading. What is printed may have more decimals, and must round to what
    is written; 16.4 % may be 0.164. A literal in the section's code will do, too; a caption, which is prose, will not.
    Years and versions are free.

    Parts III and IV and the experts' notebooks are cut from the first edition and not yet written anew: there any cell
    of the notebook counts.
    """
    complaints, chapter = [], ""
    written_anew = re.match(r"0\d|10|2[4-7]", path.name) is not None
    for section in nb.sections(notebook):
        chapter = section.title if section.level < 3 else chapter
        whole = section.level < 2 or chapter == "Recap" or not written_anew
        cells = nb.code_cells(notebook) if whole else section.cells
        text = nb.words(section.tokens, without=("codespan", "block_code", "inline_html", "block_html"))
        if chapter == "Further reading" or not re.search(r"\d", text):
            continue
        printed = "\n".join(text for cell in cells for text in nb.texts(cell))
        known = [*numbers(printed), *numbers(re.sub(COMMA, "", printed))]
        known += [number for cell in cells for number in literals(cell.source)]
        complaints += [f"'{section.title}': {found} is in the prose only" for found in number_complaints(text, known)]
    return complaints


# --- The helper module


def without_docstrings(function):
    for node in ast.walk(function):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(function)


def functions(source):
    """{name: its definitions} at the top level of some code."""
    found = {}
    for node in tree(source).body:
        if isinstance(node, ast.FunctionDef):
            found.setdefault(node.name, []).append(node)
    return found


def helper_complaints(source, paths):
    """Functions of gmm_helpers.py that are not the ones which the notebooks named in their docstrings build."""
    complaints = []
    for name, (function,) in functions(source).items():
        built = re.search(r"Built\s+in\s+notebook\s+(\d\d)", ast.get_docstring(function) or "")
        if not built:
            continue
        code = [
            cell.source for path in paths if path.name[:2] == built.group(1) for cell in nb.code_cells(nb.read(path))
        ]
        there = [node for source in code for node in functions(source).get(name, [])]
        if not there:
            complaints.append(f"notebook {built.group(1)} does not build {name}")
        elif without_docstrings(function) not in map(without_docstrings, there):
            complaints.append(f"notebook {built.group(1)} builds another {name}")
    return complaints
