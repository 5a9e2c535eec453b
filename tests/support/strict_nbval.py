"""nbval, without its holes.

nbval runs each cell again and compares its text. On top of that, here every cell must have been run before it was
stored, must write nothing to stderr, must give its outputs in the stored order with the stored descriptions, and must
draw the stored figures; every file that it writes to figures/ must be the stored one. It runs in a copy of the layout,
in a kernel that knows nothing of a person's own set-up, so a test run changes no file of the project. After the last
cell each exercise is answered: not at all, with the solution, and with the mistake.

Only notebooks of the series are collected, not an Untitled.ipynb beside them.
"""

import base64
import contextlib
import os
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import KernelManager
from nbformat.v4 import output_from_msg
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

from run_notebooks import kernel_environment, merge_streams, stage, written
from tests.support import notebooks as nb
from tests.support import pictures

OUTPUTS = {"stream", "display_data", "execute_result", "error"}
DRAWING = {"matplotlib", "contourpy", "kiwisolver", "pillow", "numpy", "seaborn", "imageio-ffmpeg"}
PATIENCE = 60  # seconds for a message that is on its way, on a busy machine


def pytest_addoption(parser):
    parser.addoption(
        "--figures",
        default=os.environ.get("FIGURES", "auto"),
        help="compare: also the pixels of figures; skip: only their number, size and description; auto, the default: "
        "compare where the stored ones could have been drawn. Also by the environment variable FIGURES",
    )


def pins():
    text = (nb.ROOT / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w-]+)(?:\[.*\])?==(\S+)", text, re.MULTILINE))


def elsewhere():
    """Why this machine would draw other pixels than the stored ones, or ""."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        return "the stored ones were drawn on Linux, x86_64"
    wrong = [f"{name} {pin}" for name, pin in pins().items() if name in DRAWING and version(name) != pin]
    return f"the stored ones were drawn with {', '.join(wrong)}" if wrong else ""


def pytest_configure(config):
    if config.option.figures not in ("auto", "compare", "skip"):
        raise pytest.UsageError(f"FIGURES must be auto, compare or skip, not {config.option.figures}")
    config.pixels = config.option.figures == "compare" or (config.option.figures == "auto" and not elsewhere())


def pytest_report_header(config):
    why = elsewhere() if config.option.figures == "auto" else config.option.figures
    return f"pixels of figures: {'compared' if config.pixels else f'not compared, {why}'}"


def pytest_ignore_collect(collection_path, config):
    """In notebooks/ nothing but the series is looked at."""
    folder = config.rootpath / "notebooks"
    if collection_path.is_relative_to(folder) and collection_path not in (folder, folder / "experts"):
        return None if nb.belongs(collection_path) and collection_path in nb.series(config.rootpath) else True
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    collectors = yield
    return [
        StrictFile.from_parent(parent, path=file_path) if type(collector) is IPyNbFile else collector
        for collector in collectors
    ]


class CleanKernel(RunningKernel):
    """A kernel of the Python that runs this, whatever kernels a person has installed; with its own environment."""

    def __init__(self, folder, environment, patience):
        self.km = KernelManager(kernel_name="python3", connection_file=environment["HOME"] + "/kernel.json")
        self.km.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
        self.km.start_kernel(cwd=str(folder), env=environment, stderr=subprocess.DEVNULL)
        self.kc = self.km.client()
        self.kc.start_channels()
        self.kc.wait_for_ready(timeout=patience)


class StrictFile(IPyNbFile):
    def collect(self):
        try:
            cells = list(super().collect())
        except Exception as error:  # whatever a damaged file leads to
            raise self.CollectError(f"{self.path.name} holds no notebook that can be read: {error}") from error
        cells = [cell for cell in cells if cell.cell.source.strip()]
        self.last_cell = cells[-1].cell_num if cells else None
        for cell in cells:
            how = {"name": cell.name, "cell_num": cell.cell_num, "cell": cell.cell, "options": cell.options}
            yield StrictCell.from_parent(self, **how)
        for exercise in nb.exercises(self.nb):
            yield ExerciseItem.from_parent(self, name=exercise.title.partition(":")[0], exercise=exercise)

    def setup(self):
        self.root, self.to_close = nb.root_of(self.path), contextlib.ExitStack()
        self.folder = self.to_close.enter_context(stage(self.root))
        here = self.folder / self.path.parent.relative_to(self.root)
        environment = kernel_environment(self.root, self.folder)
        self.kernel = CleanKernel(here, environment, self.config.option.nbval_cell_timeout)
        self.setup_sanitize_files()
        self.figures_written, self.messages = set(), []

    def teardown(self):
        super().teardown()
        self.to_close.close()

    def get_kernel_message(self, timeout=None, stream="iopub"):
        message = super().get_kernel_message(timeout, stream)
        self.messages.append(message)
        return message

    def run_source(self, source):
        """Run some code in the notebook's kernel, and return what it printed; stderr and errors fail the test."""
        request = self.kernel.execute_cell_input(source, allow_stdin=False)
        self.kernel.await_reply(request, timeout=self.config.option.nbval_cell_timeout)
        text, problem = "", ""
        while True:
            answer = self.get_kernel_message(PATIENCE)
            kind, content = answer["msg_type"], answer["content"]
            if answer["parent_header"].get("msg_id") != request:
                continue
            if kind == "status" and content["execution_state"] == "idle":
                break
            if kind == "error":
                problem += f"{content['ename']}: {content['evalue']}\n"
            if kind == "stream" and content["name"] == "stderr":
                problem += f"stderr: {content['text']}\n"
            if kind == "stream" and content["name"] == "stdout":
                text += content["text"]
        if problem:
            pytest.fail(f"{source}\n\n{problem}", pytrace=False)
        return text


class StrictCell(IPyNbCell):
    def runtest(self):
        stored = merge_streams([output.copy() for output in self.cell.outputs])
        self.parent.messages, self.output_timeout = [], PATIENCE
        super().runtest()
        if self.config.option.nbval_lax:
            return
        if self.cell.execution_count is None:
            self.raise_cell_error("This cell was stored without having been run; run `make notebooks`")
        # Outputs and what else a cell can send: a display that is cleared or updated cannot be compared.
        kinds = [message["msg_type"] for message in self.parent.messages]
        problems = [f"{kind} is not allowed" for kind in kinds if kind in ("clear_output", "update_display_data")]
        new = merge_streams([output_from_msg(m) for m in self.parent.messages if m["msg_type"] in OUTPUTS])
        problems += [f"It wrote to stderr: {output.text}" for output in new if output.get("name") == "stderr"]
        if self.options["check"]:
            problems += self.compare_displays(stored, new)
        problems += self.compare_files()
        if self.cell_num == self.parent.last_cell:
            problems += self.compare_folders()
        if problems:
            self.raise_cell_error("Cell outputs differ", "\n".join(problems))

    def compare_displays(self, stored, new):
        shape_stored, shape_new = [shape(output) for output in stored], [shape(output) for output in new]
        if shape_stored != shape_new:
            return [f"Outputs stored: {shape_stored}", f"Outputs now: {shape_new}"]
        problems = []
        figures = [pair for pair in zip(stored, new, strict=True) if "image/png" in pair[0].get("data", {})]
        for number, pair in enumerate(figures, 1):
            alts = [output.metadata.get("image/png", {}).get("alt") for output in pair]
            if alts[0] != alts[1]:
                problems.append(f"Figure {number}: the description stored is {alts[0]!r}, now {alts[1]!r}")
            pngs = [base64.b64decode(output.data["image/png"]) for output in pair]
            problems += self.compare_picture(*pngs, f"cell-{self.cell_num}-figure-{number}.png")
        return problems

    def compare_picture(self, old, new, name):
        difference = pictures.compare(old, new, Path(name).suffix, self.config.pixels)
        if not difference:
            return []
        folder = self.config.rootpath / ".figure-differences" / self.parent.path.stem
        try:
            pictures.keep(old, new, folder, name)
        except OSError as error:
            return [f"{name}: {difference}. The pictures could not be kept: {error}"]
        return [f"{name}: {difference}. Both pictures are in {folder}"]

    def compare_files(self):
        """The files that this cell wrote to figures/ are the stored ones."""
        problems, figures, stored = [], self.parent.folder / "figures", self.parent.root / "figures"
        for name in written(figures):
            self.parent.figures_written.add(name)
            os.utime(figures / name, (0, 0))
            if not (stored / name).is_file():
                problems.append(f"It wrote figures/{name}, which is not there yet; run `make notebooks`")
            elif Path(name).suffix in (".png", ".gif", ".mp4"):
                problems += self.compare_picture((stored / name).read_bytes(), (figures / name).read_bytes(), name)
            elif (stored / name).read_bytes() != (figures / name).read_bytes():
                problems.append(f"It wrote another figures/{name}")
        return problems

    def compare_folders(self):
        """At the end: each figure that the notebook names was written, and notebooks/ is as it was."""
        missing = figures_to_write(self.parent.path) - self.parent.figures_written
        problems = [f"No cell wrote figures/{name}" for name in sorted(missing)]
        here, there = self.parent.folder / "notebooks", self.parent.root / "notebooks"
        for file in sorted(file for file in here.rglob("*") if file.is_file() and file.suffix != ".pyc"):
            name = file.relative_to(here)
            if not (there / name).is_file() or (there / name).read_bytes() != file.read_bytes():
                problems.append(f"It left {name.as_posix()} in notebooks/; figures/ is the place")
        return problems


def shape(output):
    """What kind of output this is: of two cells that print and draw, the order must agree too."""
    return (output.output_type, output.get("name"), *sorted(output.get("data", {})))


def figures_named(path):
    """Names of the picture files that stand in a notebook's code."""
    source = "\n".join(cell.source for cell in nb.code_cells(nb.read(path)))
    return {Path(name).name for name in re.findall(r"""["']([^"'\n]*\.(?:png|gif|mp4))["']""", source)}


def figures_to_write(path):
    """Stored figures that this notebook has to write: it is the first one whose code names them."""
    root, names = nb.root_of(path), figures_named(path)
    for other in nb.series(root)[: nb.series(root).index(path)]:
        names -= figures_named(other)
    return {name for name in names if (root / "figures" / name).is_file()}


class ExerciseItem(pytest.Item):
    """The stub is not answered yet, each solution is correct, each mistake draws a complaint."""

    def __init__(self, *, exercise, **how):
        super().__init__(**how)
        self.exercise = exercise

    def runtest(self):
        solved, mistaken = nb.solutions(self.parent.path).get(self.exercise.title, ([], []))
        if not solved or not mistaken:
            pytest.fail("the solutions file has no solution or no mistake for it", pytrace=False)
        self.expect("the stub", self.exercise.stub, all, "Not answered yet")
        count = len(self.verdicts)
        for source in solved:
            self.expect("the solution", source, all, "Correct")
            if len(self.verdicts) < count:
                pytest.fail("the check says less of the solution than of the stub", pytrace=False)
        for source in mistaken:
            self.expect("the mistake", source, any, "Not correct", "Wrong shape")
        self.expect("the stub again", self.exercise.stub, all, "Not answered yet")

    def expect(self, what, source, quantifier, *wanted):
        """Run an answer and the check; compare the verdicts."""
        self.parent.run_source(source)
        text = self.parent.run_source(self.exercise.check.source)
        self.verdicts = [match.group(1) for line in text.splitlines() if (match := nb.VERDICT.search(line))]
        if not self.verdicts or not quantifier(verdict in wanted for verdict in self.verdicts):
            pytest.fail(f"{what}:\n\n{source}\n\nthe check says:\n\n{text}", pytrace=False)

    def repr_failure(self, excinfo, style=None):
        return str(excinfo.value)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}::{self.name}"
