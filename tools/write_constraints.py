"""Write constraints.txt, the indirect packages as they are installed here: `make constraints`.

They are what the packages of requirements.txt need, and what those need in turn. `make install` takes these versions;
the lines for packages that another system does not need change nothing there.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Written by `make constraints`: the indirect packages as they were when the stored outputs were made.\n"


def pin(package):
    """The version, without a local part such as +cpu, for those Pythons that the package allows: all, as a rule."""
    allowed = SpecifierSet(package.metadata.get("Requires-Python") or "")
    line = f"=={package.version.split('+')[0]}"
    if all(python in allowed for python in ("3.11.0", "3.12.0", "3.13.0", "3.14.0")):
        return line
    return f"{line}; " + " and ".join(f'python_full_version {one.operator} "{one.version}"' for one in allowed)


def constraints(lines):
    """One line name==version for each package that those of the given requirement lines need, sorted."""
    direct = [Requirement(line) for line in lines]
    todo, seen, pins = list(direct), set(), {}
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras}:
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            try:
                package = distribution(name)
            except PackageNotFoundError:  # of another system
                continue
            pins[name] = pin(package)
            needs = [Requirement(text) for text in package.requires or []]
            todo += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    for name in {canonicalize_name(requirement.name) for requirement in direct}:
        pins.pop(name, None)
    return [f"{name}{pins[name]}" for name in sorted(pins) if not re.match(r"nvidia-|cuda-|triton$", name)]


if __name__ == "__main__":
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    found = constraints(line for line in lines if line and not line.startswith("-"))
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(found) + "\n", encoding="utf-8", newline="\n")
    print(f"constraints.txt: {len(found)} packages")
