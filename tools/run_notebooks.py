"""Run the notebooks and store their outputs: `make notebooks`, or `python tools/run_notebooks.py [WHICH ...]`.

WHICH is a number (04), a path or a glob; without it, every notebook runs. A notebook runs in a copy of the
layout (notebooks/reference/ beside figures/), and only a run without an error reaches the real files, each of them
replaced in one step. A second run finds the same bytes and writes nothing.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.font_manager  # builds the font cache here: in a notebook it would print a warning
import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}


class NotebookError(Exception):
    """A notebook that cannot be run to its end; the message names notebook and cell."""


def write_if_changed(path, data):
    """Replace the file by `data` (bytes) in one step, unless it holds them already. Return whether it was written."""
    path = Path(path)
    if path.exists() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, path.stat().st_mode if path.exists() else 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True


@contextlib.contextmanager
def stage(figures):
    """A temporary folder with notebooks/ (only notebooks/reference/) and figures/ (modification times of zero).

    A file in it whose modification time is not zero was written by the notebook. Meanwhile kernels find first the
    gmm_helpers.py beside `figures`, and no personal settings of IPython and matplotlib: they could change outputs.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        (folder / "notebooks").mkdir()
        if (reference := figures.parent / "notebooks" / "reference").is_dir():  # stored results that notebooks read
            shutil.copytree(reference, folder / "notebooks" / "reference")
        (folder / "figures").mkdir()
        for file in figures.glob("*"):
            if file.is_file():
                shutil.copyfile(file, folder / "figures" / file.name)
                os.utime(folder / "figures" / file.name, (0, 0))
        settings = {
            "IPYTHONDIR": str(folder / "ipython"),
            "MATPLOTLIBRC": str(Path(matplotlib.get_data_path(), "matplotlibrc")),
            "PYTHONPATH": os.pathsep.join([str(figures.parent), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield folder
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def written(folder):
    """Names of the files in `folder` that were written since `stage` filled it, sorted."""
    return sorted(file.name for file in Path(folder).iterdir() if file.stat().st_mtime != 0)


def first_line(source):
    return next((line for line in source.splitlines() if line.strip()), "")


def merge_streams(outputs):
    """Join neighbouring pieces of one stream: how a text was cut depends on the moment."""
    merged = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def normalise(notebook):
    """Keep what the notebook says; drop what depends on the machine, the moment or the editor."""
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat_minor = 5
    for cell in notebook.cells:
        tags = cell.metadata.get("tags")
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
    return notebook


def keep_timings(notebook, stored):
    """Where nbval ignores the output, because it is a timing: put the stored one back, if only numbers have changed.

    So a second run writes nothing. Clear the cell's output to measure anew.
    """

    def form(cell):
        return [(output.output_type, re.sub(r"\d+(\.\d+)?", "#", output.get("text", ""))) for output in cell.outputs]

    before = {cell.id: cell for cell in stored.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        old = before.get(cell.id)
        if old and "nbval-ignore-output" in cell.metadata.get("tags", []) and form(old) == form(cell):
            cell.outputs = old.outputs


def execute(notebook, folder, timeout=300):
    """Run the notebook in `folder`, filling in its outputs. Return (seconds, count, first line) of the slowest cell."""
    manager = AsyncKernelManager(kernel_name="python3", ip="127.0.0.1")
    # No folders to search: "python3" is then the Python that runs this, whatever kernels a person has installed.
    manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    client = NotebookClient(
        notebook, km=manager, timeout=timeout, record_timing=False, resources={"metadata": {"path": str(folder)}}
    )
    slowest, count = (0.0, 0, ""), 0
    try:
        # What the kernel itself logs is not the notebook's; cells' stderr comes by way of their outputs.
        with client.setup_kernel(cleanup_kc=True, stderr=subprocess.DEVNULL):
            for index, cell in enumerate(notebook.cells):
                if cell.cell_type != "code":
                    continue
                count += 1
                cell.outputs = []
                start = time.perf_counter()
                client.execute_cell(cell, index, execution_count=count)
                slowest = max(slowest, (time.perf_counter() - start, count, first_line(cell.source)))
                for output in cell.outputs:
                    if output.get("name") == "stderr":
                        raise NotebookError(f"it wrote to stderr:\n{output.text.strip()}")
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        problem = f"it took longer than {timeout} s"
    except DeadKernelError:
        problem = "the kernel died"
    except NotebookError as error:
        problem = str(error)
    else:
        return slowest
    lines = "\n".join(f"    {line}" for line in cell.source.splitlines()[:5])
    raise NotebookError(f"code cell {count}:\n{lines}\n{problem}")


def run(path, figures):
    """Run one notebook; store it and its figures when no cell failed. Return its slowest cell and what changed."""
    notebook = nbformat.read(path, as_version=4)
    with stage(figures) as folder:
        slowest = execute(notebook, folder / "notebooks")
        changed = []
        for name in written(folder / "figures"):
            if write_if_changed(figures / name, (folder / "figures" / name).read_bytes()):
                changed.append(name)
    normalise(notebook)
    keep_timings(notebook, nbformat.read(path, as_version=4))
    text = nbformat.writes(notebook, version=4)
    if write_if_changed(path, (text.rstrip("\n") + "\n").encode("utf-8")):
        changed.append(path.name)
    return slowest, changed


def find(which, root):
    """The notebooks that the arguments name, each once, in order; without arguments all of them."""
    paths = []
    for item in which or ["notebooks/*.ipynb"]:
        if item.isdigit():
            item = f"notebooks/{item.zfill(2)}_*.ipynb"
        found = [Path(item)] if Path(item).is_absolute() else sorted(root.glob(item))
        if not found or not all(path.is_file() for path in found):
            raise NotebookError(f"no notebook fits {item!r}")
        paths += found
    return list(dict.fromkeys(paths))


def main(which, root=ROOT):
    start = time.perf_counter()
    place = ""
    try:
        paths = find(which, Path(root))
        for number, path in enumerate(paths, 1):
            place = f"{path.name}: "
            print(f"[{number}/{len(paths)}] {path.stem} ... ", end="", flush=True)
            begin = time.perf_counter()
            (seconds, count, line), changed = run(path, path.parent.parent / "figures")
            print(f"{time.perf_counter() - begin:.1f} s, slowest cell {count} ({seconds:.1f} s): {line.strip()[:60]}")
            if changed:
                print(f"      changed: {', '.join(changed)}")
    except NotebookError as error:
        print(f"\n\n{place}{error}\nNothing of this notebook was stored.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n\n{place}interrupted. Nothing of this notebook was stored.", file=sys.stderr)
        return 130
    print(f"{len(paths)} notebooks in {time.perf_counter() - start:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
