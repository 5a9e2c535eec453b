"""nbval, without its holes.

nbval runs each cell again and compares its text. On top of that, here every cell must have been run before it was
stored, must write nothing to stderr, must give its outputs in the stored order with the stored alt texts, and must draw
the stored figures; every file it writes to figures/ must be the committed one. It runs in a copy of the layout, so that
a test run changes no file of the project. After the last cell every exercise is answered three times: not at all,
with the solution, and with a wrong answer.
"""

import base64
import contextlib
import os
import sys
from pathlib import Path

import pytest
from nbformat.v4 import output_from_msg
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile

import contract
import pictures
from run_notebooks import merge_streams, stage, written

OUTPUTS = {"stream", "display_data", "execute_result", "error"}


def pytest_addoption(parser):
    default = "compare" if sys.platform == "linux" else "skip"
    parser.addoption(
        "--figures",
        choices=["compare", "skip"],
        default=os.environ.get("FIGURES", default),
        help="compare the pixels of figures (default on Linux, where the stored ones were drawn) or only their number, "
        "size and alt text; also by the environment variable FIGURES",
    )


def pytest_configure(config):
    if config.option.figures not in ("compare", "skip"):  # a default from the environment is not checked by itself
        raise pytest.UsageError(f"FIGURES must be compare or skip, not {config.option.figures}")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path, parent):
    collectors = yield
    return [
        StrictFile.from_parent(parent, path=file_path) if type(collector) is IPyNbFile else collector
        for collector in collectors
    ]


class StrictFile(IPyNbFile):
    def collect(self):
        for cell in super().collect():
            yield StrictCell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )
        for number, cells in enumerate(contract.exercises(self.nb), 1):
            yield Exercise.from_parent(self, name=f"Exercise {number}", number=number, cells=cells)

    def setup(self):
        self.to_close = contextlib.ExitStack()
        self.folder = self.to_close.enter_context(stage(self.figures))
        self.kernel = RunningKernel(
            CURRENT_ENV_KERNEL_NAME,
            cwd=str(self.folder / "notebooks"),
            startup_timeout=self.config.option.nbval_kernel_startup_timeout,
        )
        self.setup_sanitize_files()
        self.last_cell = sum(cell.cell_type == "code" for cell in self.nb.cells) - 1
        self.figures_written = set()
        self.messages = []

    def teardown(self):
        super().teardown()
        self.to_close.close()

    @property
    def figures(self):
        return self.path.parent.parent / "figures"

    def get_kernel_message(self, timeout=None, stream="iopub"):
        message = super().get_kernel_message(timeout, stream)
        self.messages.append(message)
        return message

    def run_source(self, source):
        """Run some code in the notebook's kernel, and return what it printed; stderr and errors fail the test."""
        message = self.kernel.execute_cell_input(source, allow_stdin=False)
        self.kernel.await_reply(message, timeout=self.config.option.nbval_cell_timeout)
        text, problem = "", ""
        while True:
            answer = self.get_kernel_message(timeout=5)
            if answer["parent_header"].get("msg_id") != message:
                continue
            kind, content = answer["msg_type"], answer["content"]
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
        self.parent.messages = []
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
        if problems:
            self.raise_cell_error("Cell outputs differ", "\n".join(problems))

    def compare_displays(self, stored, new):
        shape_stored, shape_new = [shape(output) for output in stored], [shape(output) for output in new]
        if shape_stored != shape_new:
            return [f"Outputs stored: {shape_stored}", f"Outputs now: {shape_new}"]
        problems = []
        pairs = zip(stored, new, strict=True)
        for number, (old, now) in enumerate([pair for pair in pairs if "image/png" in pair[0].get("data", {})], 1):
            if old.metadata != now.metadata:
                problems.append(f"Figure {number}: metadata stored {dict(old.metadata)}, now {dict(now.metadata)}")
            old_png, new_png = (base64.b64decode(output.data["image/png"]) for output in (old, now))
            problems += self.compare_picture(old_png, new_png, f"cell-{self.cell_num}-figure-{number}.png")
        return problems

    def compare_picture(self, old, new, name):
        difference = pictures.compare(old, new, Path(name).suffix, self.config.option.figures == "compare")
        if not difference:
            return []
        folder = self.config.rootpath / ".figure-differences" / self.parent.path.stem
        pictures.keep(old, new, folder, name)
        return [f"{name}: {difference}. Both pictures are in {folder}"]

    def compare_files(self):
        problems = []
        figures = self.parent.folder / "figures"
        for name in written(figures):
            self.parent.figures_written.add(name)
            os.utime(figures / name, (0, 0))
            if not (self.parent.figures / name).is_file():
                problems.append(f"It wrote figures/{name}, which is not there yet; run `make notebooks`")
                continue
            if Path(name).suffix in (".png", ".gif", ".mp4"):
                stored, new = (self.parent.figures / name).read_bytes(), (figures / name).read_bytes()
                problems += self.compare_picture(stored, new, name)
            else:
                problems.append(f"It wrote figures/{name}: only PNG, GIF and MP4 can be compared")
        if self.cell_num == self.parent.last_cell:
            missing = contract.figures_to_write(self.parent.path) - self.parent.figures_written
            problems += [f"No cell wrote figures/{name}" for name in sorted(missing)]
            here, stored = self.parent.folder / "notebooks", self.parent.figures.parent / "notebooks"
            for file in sorted(file for file in here.rglob("*") if file.is_file()):
                name = file.relative_to(here).as_posix()
                was_there = name.startswith("reference/") and (stored / name).is_file()
                if not was_there or (stored / name).read_bytes() != file.read_bytes():
                    problems.append(f"It left {name} in notebooks/; figures/ is the place")
        return problems


def shape(output):
    """What kind of output this is: of two cells that print and draw, the order must agree too."""
    return (output.output_type, output.get("name"), *sorted(output.get("data", {})))


class Exercise(pytest.Item):
    """The stub is not answered yet, the solution is correct, the common mistake draws a complaint."""

    def __init__(self, *, number, cells, **how):
        super().__init__(**how)
        self.number, self.cells = number, cells

    def runtest(self):
        stub, check = self.cells
        sections = contract.solutions(contract.solutions_path(self.parent.path))
        if len(sections) < self.number or len(sections[self.number - 1].blocks) != 2:
            pytest.fail(f"solutions/{self.parent.path.stem}.md has no solution and mistake for it", pytrace=False)
        solution, mistake = sections[self.number - 1].blocks
        count = self.expect("the stub", stub, check, all, "Not answered yet")
        if self.expect("the solution", solution, check, all, "Correct") < count:
            pytest.fail("the check says less of the solution than of the stub", pytrace=False)
        self.expect("the mistake", mistake, check, any, ("Not correct", "Wrong shape"))
        self.expect("the stub again", stub, check, all, "Not answered yet")

    def expect(self, what, source, check, quantifier, verdict):
        """Run an answer and the check, compare the lines of the check with the verdict, and return their number."""
        self.parent.run_source(source)
        text = self.parent.run_source(check)
        lines = [line for line in text.splitlines() if line.startswith(contract.VERDICTS)]
        if not lines or not quantifier(line.startswith(verdict) for line in lines):
            pytest.fail(f"{what}:\n\n{source}\n\nthe check says:\n\n{text}", pytrace=False)
        return len(lines)

    def repr_failure(self, excinfo, style=None):
        return str(excinfo.value)

    def reportinfo(self):
        return self.path, 0, f"{self.path.name}::{self.name}"
