"""Open JupyterLab at the first notebook: `make lab`. More arguments go to JupyterLab."""

import os
import sys
import tempfile
from pathlib import Path

from jupyterlab.labapp import main

ROOT = Path(__file__).resolve().parent.parent


def arguments():
    """This folder is the root, and the address leads to notebook 01, also where it is only printed."""
    first = min((ROOT / "notebooks").glob("01_*.ipynb")).relative_to(ROOT).as_posix()
    root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [
        "--ip=127.0.0.1",
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{first}",
        *(["--allow-root"] if root else []),
    ]


if __name__ == "__main__":
    if not os.access(Path.home(), os.W_OK):
        home = tempfile.mkdtemp()
        print(f"The home folder is not writable: settings go to {home}, and are lost in the end.")
        os.environ |= dict.fromkeys(
            ["JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "MPLCONFIGDIR"], home
        )
    os.chdir(ROOT)
    sys.exit(main([*arguments(), *sys.argv[1:]]))
