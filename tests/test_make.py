"""What make runs: the Makefile, installation, the check of a machine, pins, CI. Nothing is downloaded."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

import check_machine
import install
import lab
import write_constraints

ROOT = Path(__file__).resolve().parent.parent
TARGETS = ["lab", "install", "check", "notebooks", "test", "lint", "constraints"]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder with what the Makefile and tools/install.py look at, as the current one."""
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("MAKEFLAGS", "MAKELEVEL", "PYTHON", "CPU"):  # of the `make test` that runs us
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(*arguments):
    return subprocess.run(["make", *arguments], capture_output=True, encoding="utf-8", timeout=120).stdout


@needs_make
@pytest.mark.parametrize("target", TARGETS)
def test_each_target_is_explained_and_installs_only_when_it_has_to(fresh, target):
    assert f"make {target} " in make()
    assert "tools/install.py" in make("--dry-run", target)
    (fresh / ".venv").mkdir()
    (fresh / ".venv/.installed").touch()
    os.utime("pyproject.toml", (2e9, 2e9))
    assert "tools/install.py" not in make("--dry-run", target)
    os.utime("constraints.txt", (2e9, 2e9))
    assert "tools/install.py" in make("--dry-run", target)


@needs_make
@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for Python")
@pytest.mark.parametrize("name", ["py thon", "back\\slash"])
def test_python_may_have_spaces_and_backslashes_in_its_name(fresh, name):
    (fresh / name).write_text('#!/bin/sh\necho "called: $*"\nexit 1\n')
    (fresh / name).chmod(0o755)
    assert "called: tools/install.py\n" in make("lint", f"PYTHON=./{name}")
    assert "called: tools/install.py --cpu\n" in make("lint", f"PYTHON=./{name}", "CPU=1")


MAC = {"sys.platform": "darwin", "platform.machine": lambda: "arm64", "platform.mac_ver": lambda: ("14.1", 0, 0)}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sys.version_info": (3, 10, 1)}, "needs Python 3.11 to 3.14, and .* 3.10. Name another one"),
        ({"sys.version_info": (3, 15, 0)}, "needs Python 3.11 to 3.14, and .* 3.15. Name another one"),
        (MAC | {"platform.machine": lambda: "x86_64"}, "no build for this machine"),
        (MAC | {"platform.mac_ver": lambda: ("13.7", 0, 0)}, "no build for this machine"),
        ({"sysconfig.get_platform": lambda: "win-arm64"}, "no build for this machine"),
        ({"sysconfig.get_config_var": lambda name: "x86_64-alpine-linux-musl"}, "no build for this machine"),
        (MAC, "^$"),
        ({}, "^$"),
    ],
)
def test_an_unsupported_python_or_machine_is_told_before_pip_starts(fresh, monkeypatch, changes, says):
    with monkeypatch.context() as patch:
        for name, value in changes.items():
            patch.setattr(f"install.{name}", value)
        said = install.unsupported()
    assert re.search(says, said)


@pytest.mark.parametrize("fails", ["--index-url", "--requirement", "nothing"])
def test_cpu_build_comes_first_and_the_default_where_it_cannot_be_had(fresh, monkeypatch, capsys, fails):
    calls = []
    (fresh / ".venv").mkdir()
    monkeypatch.setattr(install.sys, "platform", "linux")
    monkeypatch.setattr(install.subprocess, "call", lambda words: calls.append(" ".join(words)) or fails in calls[-1])
    assert bool(install.install(cpu=True)) is (fails == "--requirement")
    pin = re.search(r"^torch==[\d.]+", text("requirements.txt"), re.MULTILINE).group()
    assert calls[1].endswith(f"--no-deps --index-url=https://download.pytorch.org/whl/cpu {pin}")
    assert calls[2].endswith("--requirement=requirements.txt --constraint=constraints.txt")
    assert ("going on with the default build" in capsys.readouterr().out) is (fails == "--index-url")
    assert (fresh / ".venv/.installed").exists() is (fails != "--requirement")  # else it is done again
    calls.clear()
    install.install(cpu=False)
    assert "--index-url" not in "".join(calls)


@pytest.mark.parametrize("user", [0, 1000])
def test_lab_opens_notebook_01_on_this_machine_only(monkeypatch, user):
    monkeypatch.setattr(lab.os, "geteuid", lambda: user, raising=False)
    local, _, address, *rest = lab.arguments()
    assert local == "--ip=127.0.0.1"
    assert re.fullmatch(r"--LabApp.default_url=/lab/tree/notebooks/01_\w+\.ipynb", address)
    assert rest == ([] if user else ["--allow-root"])


def test_check_names_a_package_of_another_version(monkeypatch):
    monkeypatch.setattr(check_machine, "version", lambda name: "2.12.0+cpu" if name == "torch" else "0")
    assert re.search(r"torch is 2\.12\.0, and should be 2\.\d+", "; ".join(check_machine.packages()))


def test_indirect_packages_are_pinned_with_neither_addresses_nor_local_versions():
    pins = text("constraints.txt").splitlines()[1:]
    shape = r"[a-z\d-]+==[\d.]+(post\d+)?(; python_full_version .*)?"
    assert [pin for pin in pins if not re.fullmatch(shape, pin)] == []
    names = {pin.split("==")[0] for pin in pins}
    assert "ipython" in names
    assert names & set(re.findall(r"^([\w-]+)", text("requirements.txt"), re.MULTILINE)) == set()
    assert [name for name in names if name.startswith(("nvidia", "cuda", "triton"))] == []
    found = {line.split("==")[0] for line in write_constraints.constraints(["pytest", "not-there-at-all"])}
    assert found - {"colorama"} == {"iniconfig", "packaging", "pluggy", "pygments"}
    package = SimpleNamespace(version="4.1+cpu", metadata={"Requires-Python": ">=3.11.5"})  # Debian's is 3.11.2
    assert write_constraints.pin(package) == '==4.1; python_full_version >= "3.11.5"'
    assert re.findall(r"--(\w+) (\w+\.txt)", text("environment.yml")) == [
        ("requirement", "requirements.txt"),
        ("constraint", "constraints.txt"),
    ]


def test_actions_are_pinned_by_commit():
    used = re.findall(r"uses: (.*)", text(".github/workflows/ci.yml") + text(".github/workflows/weekly.yml"))
    assert used
    assert [line for line in used if not re.fullmatch(r"[\w-]+/[\w-]+@[\da-f]{40} # v\d+\.\d+\.\d+", line)] == []
