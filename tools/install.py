"""Install everything into .venv: `make install`, with CPU=1 PyTorch's CPU build.

It first says whether this machine will do, and so must be readable for a Python as old as 3.6.
"""

import os
import platform
import re
import subprocess
import sys
import sysconfig

PYTORCH_CPU = "https://download.pytorch.org/whl/cpu"


def text(name):
    with open(name, encoding="utf-8") as file:
        return file.read()


def unsupported():
    """Why the pinned PyTorch cannot be installed here, and what to do, in a sentence or two; "" where it can."""
    found = re.search(r'requires-python = ">=(\d+)\.(\d+),<(\d+)\.(\d+)"', text("pyproject.toml"))
    low, high, *end = map(int, found.groups())
    kind, version = platform.python_implementation(), sys.version_info[:2]
    if not (low, high) <= version < tuple(end) or kind != "CPython":
        return (
            f"The series needs Python {low}.{high} to {end[0]}.{end[1] - 1}, and {sys.executable} is {kind} "
            f"{version[0]}.{version[1]}. Name another one, for example: make install PYTHON=python3.12"
        )
    mac = sys.platform == "darwin" and (platform.machine() != "arm64" or int(platform.mac_ver()[0].split(".")[0]) < 14)
    musl = "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "")
    if mac or musl or sys.maxsize < 2**32 or sysconfig.get_platform() == "win-arm64":
        return (
            f"The pinned PyTorch has no build for this machine ({platform.platform()}): there are some for Linux with "
            "glibc, Windows on x86-64, and Macs with Apple silicon and macOS 14 or newer. Use such a machine, or read "
            "the notebooks without running them: they are stored with their outputs."
        )
    return ""


def pip(python, *arguments):
    return subprocess.call([python, "-m", "pip", "install", *arguments])


def install(cpu):
    """Return nothing, or what went wrong."""
    problem = unsupported()
    if problem:
        return problem
    if not os.access(".", os.W_OK):
        return f"{os.getcwd()} is not writable, and .venv goes there. Copy the folder to a place of your own."
    if subprocess.call([sys.executable, "-m", "venv", ".venv"]):
        return "No virtual environment was made, see above. On Debian and Ubuntu: sudo apt install python3-venv"
    python = os.path.join(".venv", "Scripts" if os.name == "nt" else "bin", "python")
    if cpu and sys.platform.startswith("linux"):
        torch = re.search(r"^torch\b\S*", text("requirements.txt"), re.MULTILINE).group()
        # Without what it needs: that comes with the rest, from the usual place.
        if pip(python, "--quiet", "--retries=1", "--no-deps", "--index-url=" + PYTORCH_CPU, torch):
            print(f"{PYTORCH_CPU} cannot be reached or has no {torch}: going on with the default build.", flush=True)
    if pip(python, "--requirement=requirements.txt", "--constraint=constraints.txt"):
        return "pip stopped, see above. Mend what it names, and give the same command again."
    # matplotlib looks for fonts when it is first imported: in a notebook it would print a warning.
    subprocess.call([python, "-c", "import matplotlib.font_manager"])
    with open(os.path.join(".venv", ".installed"), "w"):  # last, so that an interrupted installation is done again
        return None


if __name__ == "__main__":
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    sys.exit(install("--cpu" in sys.argv))
