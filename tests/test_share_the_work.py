"""The script of notebook 27, with real processes: equal sums, kills and restarts, bad files, a full disk.

Started as a program, this file is the parent of many small groups of processes that are forked after one import of
torch; the tests look at what they have left. Two runs by torchrun are added: one left alone, one that is killed.
"""

import ast
import functools
import io
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
SCRIPT, NOTEBOOK = ROOT / "notebooks" / "share_the_work.py", ROOT / "notebooks" / "27_share_the_work.ipynb"
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(SCRIPT.parent))
import share_the_work as script  # noqa: E402  (beside the notebook)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fork and kill -9 are wanted")
N, SHORT = 10_007, 8
MANY, LONG = 600_000, 60  # so long that there is time to kill
BORDERS = {1: [0, N], 2: [0, 9000, N], 3: [0, 1, 4000, N]}  # very unequal, no multiple of the chunk
STAGES = ["open", "write", "fsync", "before replace", "after replace"]


def draw(N):
    rng = np.random.default_rng(27)
    return rng.choice([-3.0, 3.0], N, p=[0.3, 0.7]) + rng.standard_normal(N)


# --- As a program: groups of forked processes


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def in_a_process(work):
    """Fork, do the work, and end. Returns the process's number."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        work()
        code = 0
    except script.Refused as reason:
        Path("refused").write_text(str(reason))
        code = 3
    finally:
        os._exit(code)


def group(folder, P, checkpoint, points, steps=SHORT, trap=lambda: None):
    """P processes fit points together; each keeps its end. Returns the waiting statuses."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def work(rank):
        os.environ.update(RANK=str(rank), WORLD_SIZE=str(P), MASTER_PORT=str(port))
        script.join(script.LOOPBACK, 60)
        trap()
        end = script.fit(points, folder / checkpoint, steps)
        torch.save(end, folder / f"{checkpoint}.{rank}")

    pids = [in_a_process(functools.partial(work, rank)) for rank in range(P)]
    return [os.waitpid(pid, 0)[1] for pid in pids]


class Half(io.FileIO):
    """A file of which only one half is written before the process is killed."""

    def write(self, data):
        super().write(data[: len(data) // 2])
        die()


def trap_at(stage):
    """Let this process be killed at one stage of writing the checkpoint of step 4."""

    def trap():
        replace, fsync, save, state = os.replace, os.fsync, script.save, {}

        def saving(to, what):
            state.update(what)
            if what["step"] == 4 and stage == "open":
                script.open = lambda *how: die() if io.FileIO(*how) else None
            if what["step"] == 4 and stage == "write":
                script.open = Half
            save(to, what)

        def syncing(number):
            fsync(number)
            if state["step"] == 4 and stage == "fsync":
                die()

        def replacing(a, b):
            if state["step"] == 4 and stage == "before replace":
                die()
            replace(a, b)
            if state["step"] == 4 and stage == "after replace":
                die()

        script.save, os.fsync, os.replace = saving, syncing, replacing

    return trap


def full_disk():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def program(folder):
    os.chdir(folder)
    torch.set_num_threads(1)
    x_N = draw(N)
    for P, borders in BORDERS.items():
        even, script.share_of = script.share_of, lambda rank, P, N, borders=borders: borders[rank : rank + 2]
        assert group(folder, P, f"unequal{P}", x_N) == [0] * P
        script.share_of = even
        assert group(folder, P, f"even{P}", x_N) == [0] * P
    np.save("points.npy", draw(MANY))
    assert group(folder, 2, "quiet.pt", script.open_points("points.npy"), LONG) == [0, 0]
    for stage in STAGES:
        statuses = group(folder, 1, f"{stage}.pt", x_N, trap=trap_at(stage))
        assert statuses == [signal.SIGKILL], (stage, statuses)
        torch.save(torch.load(folder / f"{stage}.pt", weights_only=True)["step"], folder / f"{stage}.step")
        assert group(folder, 1, f"{stage}.pt", x_N) == [0]
    assert group(folder, 1, "full.pt", x_N, steps=3) == [0]
    before = (folder / "full.pt").read_bytes()
    assert group(folder, 1, "full.pt", x_N, trap=full_disk) == [3 << 8]
    assert (folder / "full.pt").read_bytes() == before
    os.rename("refused", "refused_full")
    assert group(folder, 1, "nan.pt", np.append(x_N, np.nan)) == [3 << 8]
    os.rename("refused", "refused_nan")


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups")
    subprocess.run([sys.executable, __file__, str(folder)], check=True, timeout=300, stdout=subprocess.DEVNULL)
    return folder


# --- The same sums


@functools.cache
def reference(steps):
    """The fit by one loop over all points at once, with PyTorch's own mixture."""
    x_N = draw(N)
    θ_3K, velocity_3K = torch.tensor([[-1.0, 1.0], [0, 0], [0, 0]], dtype=torch.float64), 0
    for _ in range(steps):
        θ_3K = θ_3K.detach().requires_grad_()
        normals = torch.distributions.Normal(θ_3K[0], θ_3K[1].exp())
        mixture = torch.distributions.MixtureSameFamily(torch.distributions.Categorical(logits=θ_3K[2]), normals)
        (gradient_3K,) = torch.autograd.grad(-mixture.log_prob(torch.from_numpy(x_N)).mean(), θ_3K)
        velocity_3K = 0.5 * velocity_3K + gradient_3K
        θ_3K = θ_3K.detach() - 0.5 * velocity_3K
    return θ_3K


@pytest.mark.parametrize("P", BORDERS)
@pytest.mark.parametrize("shares", ["even", "unequal"])
def test_processes_agree_with_one(groups, shares, P):
    ends = [torch.load(groups / f"{shares}{P}.{rank}", weights_only=True) for rank in range(P)]
    kept = torch.load(groups / f"{shares}{P}", weights_only=True)
    assert all(torch.equal(end["θ_3K"], kept["θ_3K"]) for end in ends), "the processes must not drift apart"
    torch.testing.assert_close(kept["θ_3K"], reference(SHORT), rtol=0, atol=1e-12)


def test_each_point_belongs_to_one_share():
    for count, P in [(10, 3), (2, 3), (10_007, 7), (10**12 + 1, 1000)]:
        borders = [script.share_of(rank, P, count) for rank in range(P)]
        assert [stop for _, stop in borders[:-1]] == [start for start, _ in borders[1:]]
        assert (borders[0][0], borders[-1][1]) == (0, count)
        sizes = [stop - start for start, stop in borders]
        assert max(sizes) - min(sizes) <= 1


# --- The checkpoint


@pytest.mark.parametrize("stage", STAGES)
def test_a_kill_while_writing_leaves_a_whole_checkpoint(groups, stage):
    assert torch.load(groups / f"{stage}.step") == (4 if stage == "after replace" else 3)
    ends = [torch.load(groups / name, weights_only=True) for name in (f"{stage}.pt", "even1")]
    assert ends[0]["step"] == SHORT and torch.equal(ends[0]["θ_3K"], ends[1]["θ_3K"])
    assert not list(groups.glob("*.part")), "what a killed process has left is cleared away"


def test_a_full_disk_and_a_nan_are_refused(groups):
    assert re.search(r"cannot write .*full\.pt: File too large; .* is whole$", (groups / "refused_full").read_text())
    assert "the loss is nan" in (groups / "refused_nan").read_text()
    assert torch.load(groups / "nan.pt", weights_only=True)["step"] == 0


def test_a_checkpoint_of_other_points_or_none_at_all_is_refused(tmp_path):
    path = tmp_path / "fit.pt"
    script.save(path, script.load(path, [10, 0.0, 1.0]))
    assert script.load(path, [10, 0.0, 1.0])["step"] == 0
    with pytest.raises(script.Refused, match="other points"):
        script.load(path, [11, 0.0, 1.0])
    for wrong in (path.read_bytes()[:500], b"", b"hello"):
        path.write_bytes(wrong)
        with pytest.raises(script.Refused, match="no checkpoint"):
            script.load(path, [10, 0.0, 1.0])
        assert path.read_bytes() == wrong, "what is refused is left as it is"


# --- Files of points


def wrong_files(folder):
    np.save(folder / "right.npy", draw(1000))
    whole = (folder / "right.npy").read_bytes()
    contents = {"cut": whole[:-8], "head": whole[:50], "empty": b"", "text": b"1.5\n2.5\n"}
    arrays = {"float32": draw(9).astype("f4"), "integers": np.arange(9), "table": np.zeros((4, 2)), "none": draw(0)}
    for name, content in contents.items():
        (folder / f"{name}.npy").write_bytes(content)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "objects.npy", np.array([1.0, None]), allow_pickle=True)
    return ["missing", "objects", *contents, *arrays]


def test_a_wrong_file_is_refused(tmp_path):
    for name in wrong_files(tmp_path):
        with pytest.raises(script.Refused, match=name) as refused:
            script.open_points(tmp_path / f"{name}.npy")
        assert "\n" not in str(refused.value)
    with pytest.raises(script.Refused):
        script.open_points(tmp_path)
    np.testing.assert_array_equal(script.open_points(tmp_path / "right.npy"), draw(1000))


MEMORY = """
import re, sys, threading, torch, share_the_work as script
def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1000
torch.set_num_threads(1)
θ_3K = torch.tensor([[-1.0, 1.0], [0, 0], [0, 0]], dtype=torch.float64)
x_N = script.open_points(sys.argv[1])
few = script.loss_and_gradient(x_N, 0, 200_000, θ_3K)  # what one chunk needs, and PyTorch itself
held, ended = [anonymous()], threading.Event()
def watch():
    while not ended.wait(0.002):
        held.append(anonymous())
watcher = threading.Thread(target=watch)
watcher.start()
sums = script.loss_and_gradient(x_N, 0, len(x_N), θ_3K)
ended.set()
watcher.join()
print(max(held) - held[0], (sums[0] / len(x_N)).item())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_ten_million_points_need_no_more_memory_than_few(tmp_path):
    """A tenth of the notebook's 10^8 points, 80 MB; the loss is that of 100,000 other points, but for chance."""
    make = runpy.run_path(str(SCRIPT.with_name("stored_results") / "share_27.py"))["write_points"]
    make(tmp_path / "points.npy", 10_000_000)
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "points.npy")]
    run = subprocess.run(command, cwd=SCRIPT.parent, capture_output=True, text=True, timeout=300, check=True)
    megabytes, loss = map(float, run.stdout.split())
    assert megabytes < 20
    rng = np.random.default_rng(0)
    x_N = torch.from_numpy(rng.choice([-3.0, 3.0], 100_000) + rng.standard_normal(100_000))
    z_KN = x_N - torch.tensor([[-1.0], [1.0]])
    expected = -torch.logsumexp(-0.5 * z_KN**2, dim=0) + np.log(2 * np.sqrt(2 * np.pi))
    assert abs(loss - expected.mean().item()) < 4 * expected.std().item() / np.sqrt(100_000)


# --- Runs by torchrun


def command(folder, checkpoint, *more, points="points.npy"):
    return [sys.executable, str(SCRIPT), str(folder / points), str(folder / checkpoint), *more]


def start(folder, checkpoint, *more, **how):
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONUTF8": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command(folder, checkpoint, *more, **how), env=environment, **pipes)


def ended(pid):
    try:
        os.kill(pid, 0)
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True


def listens(pids):
    """The addresses at which processes listen, in hexadecimal figures; on Linux."""
    if sys.platform != "linux":
        return set()
    links = {os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in links}


class Driver:
    """Follow a run line by line, and kill what it names."""

    def __init__(self, *how):
        self.run, self.pids, self.step, self.starts, self.seen = start(*how), {}, 0, 0, []
        self.everybody = set()

    def until(self, done):
        for line in self.run.stdout:
            self.seen.append(line.strip())
            if found := re.match(r"process (\d) starts: kill -9 (\d+)$", line):
                self.pids[int(found[1])] = int(found[2])
                self.everybody.add(int(found[2]))
                self.starts += 1
            if found := re.match(r"step (\d+) of", line):
                self.step = int(found[1])
            if done(self):
                return
        raise AssertionError(f"ended too early: {self.seen[-4:]}, {self.run.stderr.read()}")

    def kill(self, rank):
        os.kill(self.pids[rank], signal.SIGKILL)

    def give_up(self):
        for pid in [self.run.pid] if self.run.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        for pid in self.everybody:
            if not ended(pid):
                os.kill(pid, signal.SIGKILL)
        self.run.wait()
        self.run.stdout.close()
        self.run.stderr.close()


@pytest.fixture(scope="module")
def runs(groups, tmp_path_factory):
    """A run that is killed again and again while its checkpoint is watched, and the run that takes it up."""
    folder = tmp_path_factory.mktemp("runs")
    os.link(groups / "points.npy", folder / "points.npy")
    drivers, watched, enough = [], [], threading.Event()

    def watch():
        while not enough.wait(0.003):
            if (folder / "fit.pt").exists():
                watched.append(torch.load(folder / "fit.pt", weights_only=True)["step"])

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        killed = Driver(folder, "fit.pt", "--steps", str(LONG))
        drivers.append(killed)
        killed.until(lambda run: run.step >= 3)
        addresses = listens([killed.run.pid, *killed.pids.values()])
        killed.kill(1)
        killed.until(lambda run: run.starts == 4 and run.seen[-1].startswith("step"))
        killed.kill(0)
        killed.until(lambda run: run.starts == 5)  # the first of two is there, the other one not yet
        os.kill(int(killed.seen[-1].split()[-1]), signal.SIGKILL)
        killed.until(lambda run: run.starts >= 7 and run.seen[-1].startswith("step"))
        killed.run.kill()  # torchrun itself
        deadline = time.monotonic() + 90
        while not all(map(ended, killed.everybody)):
            assert time.monotonic() < deadline, "the processes must notice that torchrun is gone"
            time.sleep(0.05)
        between = torch.load(folder / "fit.pt", weights_only=True)["step"]
        again = Driver(folder, "fit.pt", "--steps", str(LONG))
        drivers.append(again)
        again.until(lambda run: run.step == LONG)
        assert again.run.wait(90) == 0
        enough.set()
        watcher.join()
        yield folder, watched, between, killed.seen, again.seen, addresses
    finally:
        enough.set()
        for driver in drivers:
            driver.give_up()


def test_a_run_that_is_killed_ends_with_the_same_bits(groups, runs):
    folder, _, between, before, after, _ = runs
    quiet, killed = (torch.load(path, weights_only=True) for path in (groups / "quiet.pt", folder / "fit.pt"))
    assert 0 < between < LONG == quiet["step"] == killed["step"]
    assert torch.equal(quiet["θ_3K"], killed["θ_3K"]) and torch.equal(quiet["velocity_3K"], killed["velocity_3K"])
    assert f"process 0 of 2: points 0 to {MANY // 2}, after step {between}" in after
    steps = [int(line.split()[1]) for line in before + after if line.startswith("step")]
    assert steps[0] == 1 and steps[-1] == LONG
    assert set(np.diff(steps)) <= {1, 2}, "a step may be kept and not be told; none comes twice"


def test_the_checkpoint_is_whole_at_every_moment(runs):
    watched = runs[1]
    assert len(set(watched)) > 3 and watched == sorted(watched)


def test_a_run_leaves_nothing_but_the_checkpoint(runs):
    folder = runs[0]
    assert sorted(path.name for path in folder.iterdir()) == ["fit.pt", "points.npy", "tmp"]


def test_what_cannot_be_mended_is_said_in_one_line_and_not_tried_again(tmp_path):
    """The front door refuses a file; a process that cannot write ends torchrun, too."""
    np.save(tmp_path / "points.npy", draw(1000))
    absent = start(tmp_path, "fit.pt", points="absent.npy")
    unwritable = start(tmp_path, "nowhere/fit.pt")
    lines = {absent: "cannot read .*absent.npy: No such file", unwritable: "cannot write .*fit.pt: No such file"}
    for run, line in lines.items():
        out, complaint = run.communicate(timeout=120)
        assert run.returncode == 1 and re.fullmatch(f"share_the_work: {line}.*\n", complaint), complaint
        assert out.count("starts") <= 2
    assert [path.name for path in tmp_path.iterdir() if path.name != "tmp"] == ["points.npy"]
    assert not list((tmp_path / "tmp").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_only_this_machine_can_reach_a_run(runs):
    """torchrun and both processes listened at 127.0.0.1, and nowhere else."""
    assert runs[-1] == {"0100007F"}


def test_a_shared_store_is_refused(monkeypatch):
    for name, value in {"RANK": 0, "WORLD_SIZE": 2, "MASTER_PORT": 1, "TORCHELASTIC_USE_AGENT_STORE": True}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(script.Refused, match="TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        script.join(script.LOOPBACK, 1)


# --- The notebook


def test_the_script_is_the_one_that_the_notebook_builds():
    nbformat = pytest.importorskip("nbformat")
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, 4).cells if cell.cell_type == "code"]
    text = SCRIPT.read_text("utf-8")
    defined = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    for node in defined:
        assert any(ast.get_source_segment(text, node) in cell for cell in cells), f"{node.name} differs"
    assert [node.name for node in defined] == re.search(r"parts = \[(.*?)\]", "\n".join(cells))[1].split(", ")
    head = ast.parse(next(cell for cell in cells if "header = '''" in cell)).body[0]
    header = ast.literal_eval(head.value)
    assert text.startswith(header)


if __name__ == "__main__":
    program(Path(sys.argv[1]))
