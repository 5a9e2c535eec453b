"""Measure the ladder of notebook 26: one loss and its gradient, rung by rung, in one run.

    python notebooks/stored_results/speed_26.py [--points N] [--rounds R] [--no-compile] [--no-write]

The rungs are those of the notebook: the cells tagged "rung" are read from it and run here. Every round times each rung
once, one after the other, so that a slow moment of the machine hits all of them alike; the fastest of the rounds is
kept. Each rung has to give the loss and the gradient of the first, or nothing is written. It writes speed_26.json
beside this file; on a quiet machine the default takes about two minutes. Where there is a GPU, the rungs are
measured there, too. Where there is no C++ compiler, the compiled rungs are left out.
"""

import argparse
import json
import math
import os
import platform
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import sklearn.mixture
import torch

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
import gmm_helpers  # noqa: E402  (it lies two folders up)


def rungs_of_the_notebook():
    """The names that the notebook's cells tagged "rung" define."""
    cells = json.loads((HERE.parent / "26_make_it_fast.ipynb").read_text(encoding="utf-8"))["cells"]
    names = {"torch": torch, "math": math, "free_log_density": gmm_helpers.free_log_density}
    for cell in cells:
        if "rung" in cell["metadata"].get("tags", []):
            exec("".join(cell["source"]), names)
    return names


def seconds(call):
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def fastest(calls, rounds):
    """{name: seconds, the fastest round}: each round times every call once; a first round does not count."""
    times = {name: [] for name in calls}
    for round_ in range(rounds + 1):
        for name, call in calls.items():
            spent = seconds(call)
            if round_:
                times[name].append(spent)
    return {name: min(spent) for name, spent in times.items()}


def draw(N):
    return torch.from_numpy(gmm_helpers.sample_gmm(N, [-3, 3], [1, 1], [0.5, 0.5], seed=0))


def parameters_for(K, **how):
    """K components: the test values of Part II for two, else evenly spread."""
    spread = np.linspace(-4, 4, K), np.zeros(K), np.zeros(K)
    values = ([-2.0, 2.5], [0.3, -0.2], [0.4, -0.1]) if K == 2 else spread
    return [torch.tensor(value, **how) for value in values]


def ladder(n, x_N, parameters):
    """{name: call} of the rungs, slowest first; each call returns (loss, gradient_3K)."""
    x_3N = n["powers"](x_N)
    parts, parts_32 = n["chunks"](x_3N), n["chunks"](x_3N.float())
    return {
        "library": lambda: n["by_autograd"](n["library_loss"], x_N, *parameters),
        "our own density": lambda: n["by_autograd"](n["own_loss"], x_N, *parameters),
        "turn it": lambda: n["by_autograd"](n["turned_loss"], x_N, *parameters),
        "a parabola": lambda: n["by_autograd"](n["parabola_loss"], x_3N, *parameters),
        "no graph": lambda: n["by_hand"]([x_3N], *parameters),
        "chunks": lambda: n["by_hand"](parts, *parameters),
        "float32": lambda: n["by_hand"](parts_32, *parameters),
    }


def sums_not_in_place(x_3N, c_K3):
    """The notebook's six_sums, with a new tensor for each operation."""
    joint_KN = c_K3 @ x_3N
    top_N = joint_KN.amax(dim=0)
    ratio_KN = (joint_KN - top_N).exp()
    sum_N = ratio_KN.sum(dim=0)
    r_KN = ratio_KN / sum_N
    return top_N.sum() + sum_N.log().sum(), r_KN @ x_3N.T


def beside(n, x_N, parameters):
    """{name: call} of "no graph" without work in place, and of "chunks" with two threads, in two ways."""
    x_3N = n["powers"](x_N)
    parts, large_parts = n["chunks"](x_3N), n["chunks"](x_3N, 4 * 32_768)
    pool = ThreadPoolExecutor(2)

    def inside_each_operation():
        torch.set_num_threads(2)
        try:
            return n["by_hand"](large_parts, *parameters)
        finally:
            torch.set_num_threads(1)
    return {"no graph, not in place": lambda: n["by_hand"]([x_3N], *parameters, sums_of=sums_not_in_place),
            "two threads of Python": lambda: n["by_hand"](parts, *parameters, map_=pool.map),
            "two threads of PyTorch": inside_each_operation}


def compiled(n, x_N, parameters):
    """{name: call} of what torch.compile makes of the rungs, and of nothing but the exponentials and logarithms.

    Both empty, and one line printed, where it cannot work.
    """
    names = "turned_loss", "one_loop", "one_loop_loss"
    turned_loss, one_loop, one_loop_loss = (torch.compile(n[name]) for name in names)
    x_32 = x_N.float()
    grad_and_value = torch.compile(torch.func.grad_and_value(n["one_loop_loss"], argnums=(1, 2, 3)))

    def by_func(*inputs):
        gradient, loss = grad_and_value(*inputs)
        return loss, torch.stack(gradient)

    @torch.compile
    def exp_and_log(x_N, μ_K):
        return torch.log(sum(torch.exp(μ * x_N) for μ in μ_K)).sum()

    calls = {"turn it, compiled": lambda: n["by_autograd"](turned_loss, x_N, *parameters),
             "one loop, by backward": lambda: n["by_autograd"](one_loop_loss, x_N, *parameters),
             "one loop, by torch.func": lambda: by_func(x_N, *parameters),
             "one loop": lambda: n["by_hand"]([x_N], *parameters, sums_of=one_loop),
             "one loop, float32": lambda: n["by_hand"]([x_32], *parameters, sums_of=one_loop)}
    alone = {"exp and log alone, compiled": lambda: exp_and_log(x_N, parameters[0])}
    try:
        for call in (calls | alone).values():
            call()
    except Exception as error:  # no compiler, one that does not work, a system that PyTorch cannot compile for ...
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        print(f"torch.compile does not work here, the compiled rungs are left out: {reason}", file=sys.stderr)
        return {}, {}
    return calls, alone


def limits(N, K):
    """What cannot be avoided: K N exponentials and N logarithms, in a chunk that stays in the cache; one read of x."""
    B = 32768
    number_KB, out_KB = torch.rand(K, B), torch.empty(K, B)

    def exponentials():
        for _ in range(math.ceil(N / B)):
            torch.exp(number_KB, out=out_KB)
            torch.log(number_KB[0], out=out_KB[0])
    return {"limit": exponentials}


def parts_of_a_chunk(x_3N, parameters, n, rounds):
    """{operation: seconds for all chunks} of six_sums(), each alone on one chunk in the cache, times the chunks."""
    x_3B, c_K3 = x_3N[:, :32_768].contiguous(), n["coefficients"](*parameters)
    joint_KB = c_K3 @ x_3B
    top_B = joint_KB.amax(dim=0)
    below_KB = joint_KB - top_B
    ratio_KB = below_KB.exp()
    sum_B, out_KB, out_B = ratio_KB.sum(dim=0), torch.empty_like(ratio_KB), torch.empty_like(top_B)
    calls = {
        "matrix product": lambda: torch.mm(c_K3, x_3B, out=out_KB), "amax": lambda: torch.amax(joint_KB, 0, out=out_B),
        "subtract": lambda: torch.sub(joint_KB, top_B, out=out_KB), "exp": lambda: torch.exp(below_KB, out=out_KB),
        "sum": lambda: torch.sum(ratio_KB, 0, out=out_B), "divide": lambda: torch.div(ratio_KB, sum_B, out=out_KB),
        "log": lambda: torch.log(sum_B, out=out_B), "two sums": lambda: (top_B.sum(), sum_B.sum()),
        "second product": lambda: ratio_KB @ x_3B.T}

    def repeated(call):
        def run():
            for _ in range(math.ceil(x_3N.shape[1] / 32_768)):
                call()
        return run
    return fastest({name: repeated(call) for name, call in calls.items()}, rounds)


def density_and_chunks(n, x_N, parameters, rounds):
    """Seconds of two rungs on these points."""
    parts = n["chunks"](n["powers"](x_N))
    return fastest({"our own density": lambda: n["by_autograd"](n["own_loss"], x_N, *parameters),
                    "chunks": lambda: n["by_hand"](parts, *parameters)}, rounds)


def many_starts(n, x_N, parameters, rounds):
    """{S: seconds} of our own density for S starts at once, a row of the parameters for each."""
    def loss_of(x_N, μ_SK, s_SK, a_SK):
        return -n["free_log_density"](x_N, μ_SK[:, None], s_SK[:, None], a_SK[:, None]).mean(dim=1).sum()

    rows = {S: [value_K.expand(S, -1) for value_K in parameters] for S in (1, 4, 16, 64, 256)}
    return fastest({S: lambda S=S: n["by_autograd"](loss_of, x_N, *rows[S]) for S in rows}, rounds)


def check(calls):
    """The first call is the reference. Raises AssertionError where a rung gives something else."""
    answers = {name: call() for name, call in calls.items()}
    loss, gradient_3K = next(iter(answers.values()))
    for name, (own_loss, own_gradient_3K) in answers.items():
        tolerance = 1e-4 if "float32" in name else 1e-9
        print(f"{name:24s} loss {own_loss:.6f}", flush=True)
        torch.testing.assert_close(own_loss.double(), loss, rtol=0, atol=tolerance)
        torch.testing.assert_close(own_gradient_3K.double(), gradient_3K, rtol=0, atol=tolerance)


def profile(n, x_N, parameters):
    """[(operation, share of the time)] of one loss and gradient by free_log_density, the largest first."""
    from torch.profiler import ProfilerActivity
    def call():
        return n["by_autograd"](n["own_loss"], x_N, *parameters)

    call()
    with torch.profiler.profile(activities=[ProfilerActivity.CPU]) as prof:
        for _ in range(5):
            call()
    spent = {event.key.removeprefix("aten::"): event.self_cpu_time_total for event in prof.key_averages()}
    total = sum(spent.values())
    largest = sorted(spent.items(), key=lambda item: -item[1])[:9]
    return [(name, time_ / total) for name, time_ in largest] + [("all others", 1 - sum(t for _, t in largest) / total)]


def whole_fit(n, N, rounds):
    """Seconds of a whole EM fit, ours and scikit-learn's, from one start by one rule; their largest difference."""
    x_N = draw(N)
    start = torch.tensor([-1.0, 1.0]), torch.zeros(2), torch.zeros(2)
    judge = sklearn.mixture.GaussianMixture(2, means_init=[[-1], [1]], precisions_init=[[[1]], [[1]]],
                                            weights_init=[0.5, 0.5], tol=1e-12, reg_covar=0, max_iter=1000)
    X = x_N[:, None].numpy()
    ours = n["fit_by_em"](n["chunks"](n["powers"](x_N)), *start, tolerance=1e-12)
    judge.fit(X)
    theirs = judge.means_[:, 0], np.log(judge.covariances_[:, 0, 0]) / 2, np.log(judge.weights_)
    difference = max(abs(a.numpy() - b).max() for a, b in zip(ours[:3], theirs, strict=True))
    both = fastest({"ours": lambda: n["fit_by_em"](n["chunks"](n["powers"](x_N)), *start, tolerance=1e-12),
                    "scikit-learn": lambda: judge.fit(X)}, max(1, rounds // 5))
    steps = {"steps of ours": ours[3], "steps of scikit-learn": int(judge.n_iter_)}
    return both | steps | {"largest difference": float(difference)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--no-compile", action="store_true", help="leave the compiled rungs out")
    parser.add_argument("--no-write", action="store_true", help="print the ladder, write nothing, measure nothing else")
    options = parser.parse_args()
    if options.points < 1000 or options.rounds < 1:
        parser.error("at least 1000 points and one round")
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=UserWarning)
    N, rounds, n = options.points, options.rounds, rungs_of_the_notebook()
    x_N, parameters = draw(N), parameters_for(2)
    calls, alone = ladder(n, x_N, parameters) | beside(n, x_N, parameters), {}
    if not options.no_compile:
        print("compiling (half a minute, the first time) ...", flush=True)
        more, alone = compiled(n, x_N, parameters)
        calls |= more
    check(calls)
    times = fastest(calls | alone | limits(N, 2), rounds)
    rungs, before = [*ladder(n, x_N, parameters)], None
    for name, spent in times.items():
        step = f"{before / spent:6.2f} times the rung before" if before and name in rungs else ""
        print(f"{name:24s} {times['library'] / spent:7.2f} times the library {step}")
        before = spent
    if torch.cuda.is_available():
        on_gpu = ladder(n, x_N.cuda(), [value_K.cuda() for value_K in parameters])
        check(on_gpu)
        gpu = fastest(on_gpu, rounds)
        for name, spent in gpu.items():
            print(f"GPU {name:20s} {times['library'] / spent:7.2f} times the library on the CPU")
    else:
        gpu = None
        print("no GPU that PyTorch can use: nothing measured there")
    if options.no_write:
        return
    x_3N = n["powers"](x_N)
    sizes = [2**k for k in range(10, 21)]
    by_chunk = fastest({B: lambda B=B: n["by_hand"](x_3N.split(B, dim=1), *parameters) for B in sizes}, rounds)
    by_points = {points: density_and_chunks(n, x_N[:points], parameters, rounds) for points in (10**3, 10**4, 10**5, N)}
    by_components = {K: density_and_chunks(n, x_N[:100_000], parameters_for(K), rounds) for K in (2, 4, 8, 16, 32)}
    by_starts = many_starts(n, x_N[:1000], parameters, rounds)
    result = {
        "command": "python notebooks/stored_results/speed_26.py", "points": N, "rounds": rounds,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}; "
                   f"Python {platform.python_version()}, PyTorch {torch.__version__.split('+')[0]}, "
                   f"{torch.backends.cpu.get_cpu_capability()}",
        "seconds": times, "gpu": gpu, "profile": profile(n, x_N, parameters),
        "seconds of the parts of chunks": parts_of_a_chunk(x_3N, parameters, n, rounds),
        "seconds by chunk": by_chunk, "seconds by points": by_points, "seconds by components": by_components,
        "seconds by starts": by_starts,
        "fit": whole_fit(n, N, rounds)}
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    with tempfile.TemporaryDirectory(dir=HERE, prefix=".writing-") as folder:
        finished = Path(folder) / "speed_26.json"
        finished.write_text(text, encoding="utf-8")
        finished.replace(HERE / "speed_26.json")
    print("written:", HERE / "speed_26.json")


if __name__ == "__main__":
    main()
