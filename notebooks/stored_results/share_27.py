"""Measure notebook 27's script on many points: speed, memory, and a run that is killed three times.

    python notebooks/stored_results/share_27.py [--points N] [--rounds R] [--folder DIR] [--no-write]

It makes the file of points itself (10^8 are 800 MB; half of the free disk is the limit), runs share_the_work.py, which
lies one folder up, with one and with two processes in turn, and writes share_27.json beside this file. Of each timed
run the fastest step is kept. The file of points is removed at the end. On two quiet cores the default takes about six
minutes. Anonymous memory is read from /proc, so only on Linux: the resident memory would count the pages of the mapped
file, which the system can take back at any time.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent / "share_the_work.py"
STEPS, BLOCK = 30, 1_000_000
KILLS = [(6, 1), (13, 0), (21, 1)]  # after which step, which process


def write_points(path, N):
    """The series' mixture, a block after the other, each with a seed of its own; nothing is held in memory."""
    x_N = np.lib.format.open_memmap(path, mode="w+", dtype=np.float64, shape=(N,))
    for block, start in enumerate(range(0, N, BLOCK)):
        rng, size = np.random.default_rng([27, block]), min(BLOCK, N - start)
        x_N[start : start + size] = rng.choice([-3.0, 3.0], size) + rng.standard_normal(size)
    x_N.flush()


def anonymous_megabytes(pid):
    try:
        return int(re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1000
    except (OSError, TypeError):
        return 0.0


def exists(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def run(points, checkpoint, processes, steps, kills=()):
    """Run the script. Returns the log [[seconds, step]], the seconds of each step, the processes' lives and memory."""
    kills, since, log, spent, lives = list(kills), time.perf_counter(), [], [], []
    command = [sys.executable, SCRIPT, points, checkpoint, "--processes", processes, "--steps", steps]
    command += ["--restarts", len(kills)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "encoding": "utf-8"}
    with subprocess.Popen([*map(str, command)], **pipes) as script:
        for line in script.stdout:
            now = round(time.perf_counter() - since, 2)
            running = {life["process"]: life for life in lives if life["end"] is None}
            if start := re.match(r"process (\d+) starts: kill -9 (\d+)", line):
                life = {"process": int(start[1]), "pid": int(start[2]), "start": now, "end": None, "killed": False}
                lives.append({**life, "anonymous MB": 0})
            elif step := re.match(r"step (\d+) of .*, ([\d.]+) s", line):
                log.append([now, int(step[1])])
                spent.append(float(step[2]))
                for life in running.values():
                    life["anonymous MB"] = max(life["anonymous MB"], anonymous_megabytes(life["pid"]))
                if kills and int(step[1]) >= kills[0][0]:
                    time.sleep(spent[-1] / 2)  # in the middle of the next step
                    victim = running[kills.pop(0)[1]]
                    victim["killed"] = True
                    os.kill(victim["pid"], 9)
                    for life in running.values():  # torchrun ends the others
                        while exists(life["pid"]):
                            time.sleep(0.02)
                        life["end"] = round(time.perf_counter() - since, 2)
            elif not line.startswith("process"):
                print(line, end="")
    if script.returncode:
        sys.exit(f"{SCRIPT.name} ended with {script.returncode}")
    for life in lives:
        life["end"] = life["end"] or log[-1][0]
        life["anonymous MB"] = round(life["anonymous MB"])
        del life["pid"]
    groups = [lives[first : first + processes] for first in range(0, len(lives), processes)]
    return log, spent, [life for group in groups for life in sorted(group, key=lambda life: life["process"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is room")
    parser.add_argument("--no-write", action="store_true")
    asked = parser.parse_args()
    N = min(asked.points, shutil.disk_usage(asked.folder).free // 2 // 8)
    print(f"{N:,} points, {8 * N / 1e6:.0f} MB" + ("" if asked.points == N else " (the disk has no room for more)"))
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        try:
            results = measure(Path(folder), N, asked.rounds)
        except OSError as error:
            sys.exit(f"{error}; nothing was written")
    lines = (f" {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in results.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    print(text)
    if not asked.no_write:
        (HERE / "share_27.part").write_text(text, encoding="utf-8")
        os.replace(HERE / "share_27.part", HERE / "share_27.json")


def measure(folder, N, rounds):
    number = iter(range(1000))

    def fastest(points, P, steps):
        """Of all steps but the first, which reads the file into the cache: other programs can only make it slower."""
        return min(run(points, folder / f"{next(number)}.pt", P, steps)[1][1:])

    points, tenth, two_points = folder / "points.npy", folder / "tenth.npy", folder / "two.npy"
    write_points(points, N)
    write_points(tenth, N // 10)
    np.save(two_points, [-3.0, 3.0])
    seconds = {name: [] for name in ("latency", "tenth, one process", "one process", "two processes")}
    for _ in range(rounds):
        seconds["latency"].append(fastest(two_points, 2, 41))
        seconds["tenth, one process"].append(fastest(tenth, 1, 6))
        seconds["one process"].append(fastest(points, 1, 4))
        seconds["two processes"].append(fastest(points, 2, 4))
        print({name: round(values[-1], 4) for name, values in seconds.items()}, flush=True)
    quiet, killed = folder / "quiet.pt", folder / "killed.pt"
    quiet_log, _, quiet_lives = run(points, quiet, 2, STEPS)
    killed_log, _, killed_lives = run(points, killed, 2, STEPS, KILLS)
    memory = {
        "one process, a tenth": run(tenth, folder / "tenth.pt", 1, 3)[2],
        "one process": run(points, folder / "one.pt", 1, 3)[2],
        "two processes": quiet_lives,
    }
    memory = {name: [life["anonymous MB"] for life in lives] for name, lives in memory.items()}
    quiet_end, killed_end = (torch.load(path, weights_only=True) for path in (quiet, killed))
    same = all(torch.equal(quiet_end[name], killed_end[name]) for name in ("θ_3K", "velocity_3K"))
    assert len(killed_lives) == 2 + 2 * len(KILLS) and killed_end["step"] == STEPS
    return {
        "command": "python notebooks/stored_results/share_27.py",
        "points": N,
        "steps": STEPS,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}; "
        f"Python {platform.python_version()}, PyTorch {torch.__version__.split('+')[0]}",
        "seconds of a step": seconds,
        "anonymous MB of each process": memory,
        "quiet": {"log": quiet_log, "θ_3K": quiet_end["θ_3K"].tolist()},
        "killed": {"log": killed_log, "lives": killed_lives, "same_bits": same},
    }


if __name__ == "__main__":
    main()
