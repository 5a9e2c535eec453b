"""Run the notebooks and store their outputs: `make notebooks`, or `python tools/run_notebooks.py [WHICH ...]`.

WHICH is a number (04), a path or a glob; without it the whole series runs, as many notebooks at a time as there are
cores. Each runs in a copy of the layout. It, the figures and the scripts that it wrote replace the stored ones
together, once its last cell has ended without an error. A second run finds the same bytes and writes nothing.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.font_manager  # finds the fonts once, for all kernels: in a notebook it would print a warning
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
CLOSED = {"hide-input": "source_hidden", "hide-output": "outputs_hidden"}  # tag: what JupyterLab calls it


class NotebookError(Exception):
    """A notebook that cannot be run to its end, or not be stored."""


# --- Where a notebook runs


@contextlib.contextmanager
def stage(root):
    """A temporary folder laid out like the project, for one notebook.

    notebooks/ holds what a notebook may read there, and no notebook; figures/ holds copies with modification times of
    zero, so that `written` knows the others.
    """
    root = Path(root)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        folder = Path(folder)
        unread = shutil.ignore_patterns("*.ipynb", ".*", "__pycache__", "solutions")
        shutil.copytree(
            root / "notebooks",
            folder / "notebooks",
            ignore=unread,
            copy_function=shutil.copyfile,
            ignore_dangling_symlinks=True,
        )
        for copied in [folder / "notebooks", *filter(Path.is_dir, folder.rglob("notebooks/**/*"))]:
            copied.chmod(0o755)  # it may be read-only, in a checkout that is
        for name in ("notebooks/experts", "figures", "home/matplotlib"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        for file in (root / "figures").glob("*"):
            if file.is_file():
                shutil.copyfile(file, folder / "figures" / file.name)
                os.utime(folder / "figures" / file.name, (0, 0))
        for file in Path(matplotlib.get_cachedir()).glob("fontlist*.json"):
            shutil.copyfile(file, folder / "home/matplotlib" / file.name)
        yield folder


def written(folder):
    """Names of the files in `folder` that were written since `stage` filled it, sorted."""
    return sorted(file.name for file in Path(folder).iterdir() if file.is_file() and file.stat().st_mtime != 0)


def kernel_environment(root, folder):
    """All environment variables of a kernel in `folder`, as `stage` gave it.

    Nothing of a person's own set-up, which could change outputs, and nothing that a notebook leaves behind outside
    `folder`. One thread, unless the variables say otherwise, and MKL's arithmetic alike on every kind of processor.
    """
    home = str(Path(folder, "home"))
    personal = ("PYTHON", "IPYTHON", "JUPYTER", "MPL", "MATPLOTLIB", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(personal) or name == "PYTHONHOME"}
    threads = dict.fromkeys(["OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"], "1")
    return {
        **threads,
        **kept,
        "MKL_CBWR": "COMPATIBLE",
        "PYTHONPATH": str(root),
        "PYTHONNOUSERSITE": "1",
        "PYTHONUTF8": "1",
        **dict.fromkeys(["HOME", "IPYTHONDIR", "TMPDIR", "TEMP", "TMP"], home),
        "MPLCONFIGDIR": str(Path(home, "matplotlib")),
        "MATPLOTLIBRC": str(Path(matplotlib.get_data_path(), "matplotlibrc")),
    }


# --- What is stored


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
        tags = cell.metadata.get("tags", [])
        closed = {key: True for tag, key in CLOSED.items() if tag in tags}
        kept = {"tags": tags, "jupyter": closed}
        cell.metadata = nbformat.from_dict({key: value for key, value in kept.items() if value})
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


def read(path):
    """The notebook; a NotebookError where the file does not hold one."""
    try:
        notebook = nbformat.v4.reads(path.read_text(encoding="utf-8"))
        if notebook.nbformat != 4:
            raise ValueError(f"its format is {notebook.nbformat}, not 4")
        nbformat.validate(notebook)
    except Exception as error:  # whatever a damaged file leads to
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NotebookError(f"the file holds no notebook that can be read: {reason}") from error
    return notebook


def store(files):
    """Replace files (path: bytes), all of them or none. Return the names of those that changed."""
    before = {path: path.read_bytes() if path.is_file() else None for path in files}
    new = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in files if files[path] != before[path]}
    try:
        for path, file in new.items():
            file.write_bytes(files[path])
            if before[path] is not None:
                shutil.copymode(path, file)
        for path, file in new.items():
            os.replace(file, path)
    except BaseException:
        for path in new:
            if before[path] is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != before[path]:
                path.write_bytes(before[path])
        raise
    finally:
        for file in new.values():
            file.unlink(missing_ok=True)
    return [path.name for path in new]


# --- Running


async def execute(notebook, folder, environment, timeout=300):
    """Run the notebook in `folder`, filling in its outputs. Return (seconds, count, first line) of the slowest cell."""
    manager = AsyncKernelManager(kernel_name="python3", connection_file=environment["HOME"] + "/kernel.json")
    # No folders to search: "python3" is then the Python that runs this, whatever kernels a person has installed.
    manager.kernel_spec_manager = KernelSpecManager(kernel_dirs=[])
    client = NotebookClient(notebook, km=manager, timeout=timeout, startup_timeout=timeout, record_timing=False)
    slowest, count, cell = (0.0, 0, ""), 0, None
    try:
        # What the kernel itself logs is not the notebook's; cells' stderr comes by way of their outputs.
        await client.async_start_new_kernel(cwd=str(folder), env=environment, stderr=subprocess.DEVNULL)
        await client.async_start_new_kernel_client()
        for index, cell in enumerate(notebook.cells):
            if cell.cell_type != "code":
                continue
            count += 1
            cell.outputs = []
            start = time.perf_counter()
            await client.async_execute_cell(cell, index, execution_count=count)
            line = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
            slowest = max(slowest, (time.perf_counter() - start, count, line))
            for output in cell.outputs:
                if output.get("name") == "stderr":
                    raise NotebookError(f"it wrote to stderr:\n{output.text.strip()}")
        return slowest
    except CellExecutionError as error:
        problem = f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        problem = f"it took longer than {timeout} s"
    except DeadKernelError:
        if asyncio.current_task().cancelling():  # nbclient takes that for a dead kernel, too
            raise asyncio.CancelledError from None
        problem = "the kernel died"
    except NotebookError as error:
        problem = str(error)
    except RuntimeError as error:
        raise NotebookError(f"no kernel started: {error}") from error
    finally:
        if client.kc:
            client.kc.stop_channels()
        if manager.has_kernel:
            await manager.shutdown_kernel(now=True)
    lines = "\n".join(f"    {line}" for line in cell.source.splitlines()[:5])
    raise NotebookError(f"code cell {count}:\n{lines}\n{problem}")


async def run(path, root, writers, timeout=300):
    """Run one notebook and store it. Return its slowest cell, and the names of the files that changed.

    `writers` notes which notebook wrote which figure: no two may write the same.
    """
    raw, stored, notebook = path.read_bytes(), read(path), read(path)
    with stage(root) as folder:
        environment = kernel_environment(root, folder)
        before = {file: file.read_bytes() for file in (folder / "notebooks").glob("*.py")}
        slowest = await execute(notebook, folder / path.parent.relative_to(root), environment, timeout)
        figures = {name: (folder / "figures" / name).read_bytes() for name in written(folder / "figures")}
        after = {file: file.read_bytes() for file in (folder / "notebooks").glob("*.py")}
        scripts = {root / "notebooks" / file.name: after[file] for file in after if after[file] != before.get(file)}
    for name in figures:
        if writers.setdefault(name, path.name) != path.name:
            raise NotebookError(f"it writes figures/{name}, which {writers[name]} writes, too")
    if path.read_bytes() != raw:
        raise NotebookError("the file was changed while it ran")
    keep_timings(normalise(notebook), stored)
    text = nbformat.writes(notebook, version=4).rstrip("\n") + "\n"
    figures = {root / "figures" / name: data for name, data in figures.items()}
    return slowest, store(figures | scripts | {path: text.encode()})


def find(which, root):
    """The notebooks that the arguments name, each once, in order; without arguments the series."""
    series = [path for path in sorted(root.glob("notebooks/*.ipynb")) if re.fullmatch(r"\d\d_[a-z\d_]+", path.stem)]
    series += [path for path in sorted(root.glob("notebooks/experts/*.ipynb")) if re.fullmatch(r"[a-z\d_]+", path.stem)]
    paths = [] if which else series
    for item in which:
        if item.isdigit():
            found = [path for path in series if path.stem.startswith(f"{item.zfill(2)}_")]
        else:
            found = [Path(item)] if Path(item).is_absolute() else sorted(root.glob(item))
        if not found or not all(path.is_file() for path in found):
            raise NotebookError(f"no notebook fits {item!r}")
        paths += found
    if not paths:
        raise NotebookError("there are no notebooks")
    for path in paths:
        if path.parent not in (root / "notebooks", root / "notebooks/experts"):
            raise NotebookError(f"{path} is not in notebooks/ or notebooks/experts/")
    return list(dict.fromkeys(paths))


async def run_all(paths, root, done):
    """Run the notebooks, each core one; move them to `done` as they end. The first error stops the others."""
    writers, loop = {}, asyncio.get_running_loop()
    for name in {"SIGTERM", "SIGHUP"} & set(dir(signal)):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not the main thread
            loop.add_signal_handler(getattr(signal, name), asyncio.current_task().cancel)
    cores = asyncio.Semaphore(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count())

    async def one(path):
        async with cores:
            begin = time.perf_counter()
            try:
                (seconds, count, line), changed = await run(path, root, writers)
            except (NotebookError, OSError) as error:
                raise NotebookError(f"{path.name}: {error}") from error
            done.append(path)
            name = f"[{len(done)}/{len(paths)}] {path.stem}"
            print(f"{name}: {time.perf_counter() - begin:.1f} s, slowest cell {count} ({seconds:.1f} s): {line[:60]}")
            print(f"      changed: {', '.join(changed)}\n" if changed else "", end="", flush=True)

    async with asyncio.TaskGroup() as group:
        for path in paths:
            group.create_task(one(path))


def main(which, root=ROOT):
    start, root, done, status = time.perf_counter(), Path(root), [], 1
    try:
        paths = find(which, root)
        for folder in {path.parent for path in paths} | {root / "figures"}:
            if not os.access(folder, os.W_OK):
                raise NotebookError(f"{folder} is not writable, so nothing could be stored")
        asyncio.run(run_all(paths, root, done))
    except NotebookError as error:
        problems = [error]
    except ExceptionGroup as group:
        ours, bugs = group.split(NotebookError)
        if bugs:
            raise
        problems = ours.exceptions
    except (KeyboardInterrupt, asyncio.CancelledError):
        problems, status = ["interrupted"], 130
    else:
        print(f"{len(paths)} notebooks in {time.perf_counter() - start:.1f} s")
        return 0
    print("", *problems, f"{len(done)} notebooks were stored, nothing of the others.", sep="\n", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal knows μ
    sys.exit(main(sys.argv[1:]))
