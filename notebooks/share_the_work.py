"""Fit a mixture of two Gaussians to many points. Notebook 27 builds this file: change it there.

    python share_the_work.py POINTS CHECKPOINT --processes 2

POINTS is a .npy file of float64 numbers. Where there is a CHECKPOINT, the fit goes on from it.
"""

import argparse
import io
import logging
import math
import os
import signal
import socket
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist

LOOPBACK = "lo0" if sys.platform == "darwin" else "lo"


class Refused(Exception):
    """No restart can mend this: say why, in one line, and stop."""


def open_points(path):
    try:
        x_N = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise Refused(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if x_N.dtype != np.float64 or x_N.ndim != 1 or len(x_N) == 0:
        raise Refused(f"{path} holds {x_N.dtype} of shape {x_N.shape}, not float64 of shape (N,)")
    return x_N


def share_of(rank, P, N):
    return N * rank // P, N * (rank + 1) // P


def loss_and_gradient(x_N, start, stop, θ_3K, chunk=65_536):
    θ_3K = θ_3K.clone().requires_grad_()
    θ_3K.grad, total = torch.zeros_like(θ_3K), torch.zeros_like(θ_3K[0, 0])
    for first in range(start, stop, chunk):
        x_B = torch.from_numpy(np.array(x_N[first : min(first + chunk, stop)])).to(θ_3K.device)
        μ_K, s_K, a_K = θ_3K
        z_KB = (x_B - μ_K[:, None]) * torch.exp(-s_K)[:, None]
        constant_K = torch.log_softmax(a_K, dim=0) - s_K - 0.5 * math.log(2 * math.pi)
        loss = -torch.logsumexp(constant_K[:, None] - 0.5 * z_KB * z_KB, dim=0).sum()
        loss.backward()
        total += loss.detach()
    return torch.cat([total.detach()[None], θ_3K.grad.flatten()])  # what all_reduce adds


def save(path, state):
    beside, memory = path.with_name(f"{path.name}.{os.getpid()}.part"), io.BytesIO()
    torch.save(state, memory)
    try:
        with open(beside, "wb") as file:
            file.write(memory.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Refused(f"cannot write {path}: {error.strerror}; a checkpoint before it is whole") from error


def load(path, points):
    for left_behind in path.parent.glob(f"{path.name}.*.part"):
        left_behind.unlink(missing_ok=True)
    θ_3K = torch.tensor([[-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]], dtype=torch.float64)
    fresh = {"points": points, "step": 0, "θ_3K": θ_3K, "velocity_3K": torch.zeros_like(θ_3K)}
    if not path.exists():
        return fresh
    try:
        state = torch.load(path, weights_only=True)
        same = state["points"] == points and state["step"] >= 0
        for name in ("θ_3K", "velocity_3K"):
            if (state[name].shape, state[name].dtype) != (fresh[name].shape, fresh[name].dtype):
                raise ValueError(name)
    except Exception as error:
        raise Refused(f"{path} is no checkpoint of this script: move it away") from error
    if not same:
        raise Refused(f"{path} belongs to other points: move it away")
    return state


def say(text):
    try:
        print(text + "\n", end="", flush=True)  # in one piece, also when several processes print
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody listens any more: go on in silence


def fit(x_N, path, steps, device="cpu", lr=0.5, momentum=0.5):
    rank, P, N = dist.get_rank(), dist.get_world_size(), len(x_N)
    parent = int(os.environ.get("TORCHRUN_PID", os.getppid()))
    start, stop = share_of(rank, P, N)
    box = [load(path, [N, str(x_N[0]), str(x_N[-1])]) if rank == 0 else None]
    dist.broadcast_object_list(box)
    state = box[0]
    say(f"process {rank} of {P}: points {start} to {stop}, after step {state['step']}")
    if rank == 0:
        save(path, state)  # if that cannot be done, better to know it now
    while state["step"] < steps:
        since = time.perf_counter()
        θ_3K, velocity_3K = state["θ_3K"], state["velocity_3K"]
        sums = loss_and_gradient(x_N, start, stop, θ_3K.to(device))
        try:
            dist.all_reduce(sums)
        except RuntimeError:
            sys.exit(f"process {rank}: another one is gone, or slower than --patience")
        if os.getppid() != parent:
            sys.exit(f"process {rank}: torchrun is gone")
        loss, gradient_3K = sums[0].item() / N, sums[1:].view(3, -1).cpu() / N
        velocity_3K = momentum * velocity_3K + gradient_3K
        state = {**state, "step": state["step"] + 1, "θ_3K": θ_3K - lr * velocity_3K, "velocity_3K": velocity_3K}
        if rank == 0:
            if not math.isfinite(loss):
                raise Refused(f"the loss is {loss}: is every point a finite number?")
            save(path, state)
            say(f"step {state['step']} of {steps}: loss {loss:.6f}, {time.perf_counter() - since:.4f} s")
    return state


def a_gpu_each():
    return torch.cuda.device_count() >= int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def join(interface, patience):
    rank, P, port = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "MASTER_PORT"))
    backend, patience = "nccl" if a_gpu_each() else "gloo", timedelta(seconds=patience)
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise Refused("set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 for torchrun, or a restart may hang")
    os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
    if interface != LOOPBACK:
        return dist.init_process_group(backend, timeout=patience)
    listener = socket.create_server(("127.0.0.1", port)).detach() if rank == 0 else None
    store = dist.TCPStore("127.0.0.1", port, P, rank == 0, patience, master_listen_fd=listener)
    dist.init_process_group(backend, timeout=patience, store=store, rank=rank, world_size=P)


def launch(processes, restarts):
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    os.environ.update(TORCH_DISABLE_SHARE_RDZV_TCP_STORE="1", OMP_NUM_THREADS="1", TORCHRUN_PID=str(os.getpid()))
    logging.disable(logging.CRITICAL)
    shm = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a full disk shall not stop torchrun
    with tempfile.TemporaryDirectory(dir=shm, ignore_cleanup_errors=True) as folder:
        settings = ["--nproc-per-node", str(processes), "--max-restarts", str(restarts), "--log-dir", folder]
        settings += ["--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file", "--rdzv-endpoint", f"{folder}/store"]
        try:
            torchrun([*settings, *sys.argv])
        except ChildFailedError:
            sys.exit(f"share_the_work: gave up after {restarts} restarts; the same command goes on from the checkpoint")
        except SignalException as stopped:
            sys.exit(130 if stopped.sigval == signal.SIGINT else 1)


def work(asked):
    device, local_rank = "cpu", int(os.environ.get("LOCAL_RANK", 0))
    if local_rank == 0:
        open_points(asked.points)  # one process of a machine says what is wrong with the file
    if "RANK" not in os.environ:
        return launch(asked.processes, asked.restarts)
    say(f"process {os.environ['RANK']} starts: kill -9 {os.getpid()}")
    if a_gpu_each():
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    join(asked.interface, asked.patience)
    fit(open_points(asked.points), asked.checkpoint, asked.steps, device)
    dist.destroy_process_group()


def count(text):
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 1024")
    return int(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("points", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--processes", type=count, default=2)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--interface", default=LOOPBACK, help="of the network; by default this machine alone")
    parser.add_argument("--patience", type=float, default=60, help="seconds to wait for another process")
    torch.set_num_threads(1)
    try:
        work(parser.parse_args())
    except KeyboardInterrupt:
        sys.exit(130)
    except Refused as reason:
        print(f"share_the_work: {reason}\n", end="", file=sys.stderr, flush=True)
        if os.environ.get("TORCHRUN_PID") == str(os.getppid()):
            os.kill(os.getppid(), signal.SIGTERM)  # torchrun shall not try again
        sys.exit(1)


if __name__ == "__main__":
    main()
