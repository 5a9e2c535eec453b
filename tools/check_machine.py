"""Say whether this machine is ready for the series, before a workshop for example: `make check`."""

import asyncio
import os
import platform
import re
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What is tried in a kernel: what it shows, the cell, and what to do when it fails.
CELLS = [
    (
        "a kernel starts, and finds the helpers and PyTorch",
        "import gmm_helpers, torch",
        "A firewall or a virus scanner may stop connections of this machine to itself (127.0.0.1): allow them for "
        "Python. If a package is missing: make clean, then make install.",
    ),
    (
        "autograd gives the right number",
        "μ_K = torch.tensor([-3.0, 3.0], requires_grad=True)\n"
        "gmm_helpers.gmm_log_density(torch.zeros(1), μ_K, torch.ones(2), torch.tensor([0.5, 0.5])).sum().backward()\n"
        "assert torch.allclose(μ_K.grad, torch.tensor([1.5, -1.5])), μ_K.grad",
        "Is gmm_helpers.py as it was? If so, please report this, with what stands above.",
    ),
    (
        "a picture can be drawn",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('check.png')\nplt.close()",
        "make clean, then make install, brings matplotlib as it should be.",
    ),
    (
        "a GIF can be written",
        "import imageio.v3 as imageio, numpy as np\nframes = np.zeros((3, 64, 64, 3), dtype=np.uint8)\n"
        "imageio.imwrite('check.gif', frames)",
        "make clean, then make install, brings imageio and pillow as they should be.",
    ),
    (
        "an MP4 can be written",
        "imageio.imwrite('check.mp4', frames, plugin='FFMPEG', fps=10)",
        "The encoder that comes with imageio-ffmpeg does not start here. Only one film needs it: go on without.",
    ),
]


def packages():
    """Complaints about packages that are missing, or are others than requirements.txt names."""
    pins = re.findall(r"^([\w-]+)(?:\[.*?\])?==(\S+)", (ROOT / "requirements.txt").read_text("utf-8"), re.MULTILINE)
    for name, pinned in pins:
        try:
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            found = "not there"
        if found != pinned:
            yield f"{name} is {found}, and should be {pinned}"


def main():
    start = time.perf_counter()
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores")
    failed = 0

    def say(what, problem, advice):
        nonlocal failed
        print(f"[{'--' if problem else 'ok'}] {what}", *problem and [f"     {problem}", f"     {advice}"], sep="\n")
        failed += bool(problem)

    say("the packages are those of requirements.txt", "; ".join(packages()), "make clean, then make install.")
    unwritable = [name for name in ("notebooks", "figures") if not os.access(ROOT / name, os.W_OK)]
    say(
        "notebooks/ and figures/ can be written",
        " ".join(unwritable) and f"not writable: {', '.join(unwritable)}",
        "The notebooks write films there. Copy the whole folder to a place of your own.",
    )
    try:
        import nbformat

        import run_notebooks
    except ImportError as error:
        say("the tools are there", str(error), "make clean, then make install.")
        return failed
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for _, source, _ in CELLS])
    problem, reached = "", len(CELLS)
    with run_notebooks.stage(ROOT) as folder:
        environment = run_notebooks.kernel_environment(ROOT, folder)
        try:
            asyncio.run(run_notebooks.execute(notebook, folder, environment, timeout=60))
        except run_notebooks.NotebookError as error:
            problem = str(error).splitlines()[-1]
            cell = re.match(r"code cell (\d+)", str(error))
            reached = int(cell.group(1)) - 1 if cell else 0
    for what, _, _ in CELLS[:reached]:
        say(what, "", "")
    if problem:
        what, _, advice = CELLS[reached]
        say(what, problem, advice)
    seconds = time.perf_counter() - start
    print(f"{'Ready' if not failed else 'Not ready yet: see the lines with --'} ({seconds:.0f} s).")
    return failed


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main())
