"""Make the site of the series in _site/ with Sphinx: `make site`.

It is built beside the old one, which it replaces when it is whole. A warning of Sphinx is an error.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_site"


def build(folder):
    """Run Sphinx into folder/html, and return that path. Raises RuntimeError, with what is wrong, if it fails."""
    html = folder / "html"
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-c", "docs", "-d", str(folder / "trees"), ".", str(html)]
    environment = os.environ | {"TMPDIR": str(folder)}  # where Sphinx leaves its tracebacks
    process = subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environment, stderr=subprocess.PIPE, encoding="utf-8"
    )
    try:
        _, said = process.communicate()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if process.returncode:
        ours = re.search(r"sphinx\.errors\.ExtensionError: (.*)", said)  # without the traceback around it
        raise RuntimeError(ours.group(1) if ours else said.strip() or f"Sphinx ended with {process.returncode}")
    shutil.copyfile(html / "README.html", html / "index.html")  # the front page
    (html / ".nojekyll").touch()  # GitHub Pages leaves out folders with an underscore otherwise
    (html / ".buildinfo").unlink(missing_ok=True)
    for unread in [*html.rglob("*.map"), *html.glob("_static/mathjax/*.js")]:  # half of the size
        if unread.name != "tex-chtml.js":
            unread.unlink()
    return html


def replace(old, new, folder):
    """Put new in the place of old; should that fail, old is put back."""
    aside = folder / "old"
    try:
        if old.exists():
            old.rename(aside)
        new.rename(old)
    except BaseException:  # SIGTERM, too
        if aside.exists() and not old.exists():
            aside.rename(old)
        raise


def main():
    if sys.prefix == sys.base_prefix:
        return "make site runs this in an environment of its own: use it, or install docs/requirements.txt in one."
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped; the old site is as it was."))
    try:
        with tempfile.TemporaryDirectory(dir=ROOT, prefix=".site-", ignore_cleanup_errors=True) as name:
            folder = Path(name)
            replace(SITE, build(folder), folder)
    except RuntimeError as error:
        return f"{error}\nThe site was not made; the old one, if there is one, is as it was."
    except OSError as error:
        return f"The site was not made: {error}"
    except KeyboardInterrupt:
        return "stopped; the old site is as it was."
    pages, size = len([*SITE.rglob("*.html")]), sum(path.stat().st_size for path in SITE.rglob("*") if path.is_file())
    print(f"{pages} pages, {size / 1e6:.0f} MB: {os.path.relpath(SITE / 'index.html')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
