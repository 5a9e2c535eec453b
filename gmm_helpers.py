"""What two or more notebooks of the series share.

"Built in notebook NN" means that the notebook writes the same text in the open. Suffixes list the axes: N data, M
distinct values, K components, S starts, C chains, D parameters, T steps, F frames. Data, means and standard deviations
have the unit of the x axis, densities one over it; log-densities and losses are in nats.
"""

import io
import itertools
import math
import tempfile
from pathlib import Path

import imageio.v3 as iio
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import scipy
import torch
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg

# --- The mixture


def sample_gmm(N, μ_K, σ_K, π_K, seed):
    """Draw N points from a mixture: first a component for each, then a normal draw from it.

    Returns x_N, float64. Raises ValueError (NumPy's) for weights that do not sum to one, a negative weight or σ, and
    lengths that differ. Built in notebook 01.
    """
    μ_K, σ_K, π_K = np.array([μ_K, σ_K, π_K], dtype=float)
    rng = np.random.default_rng(seed)
    z_N = rng.choice(len(π_K), size=N, p=π_K)
    return rng.normal(μ_K[z_N], σ_K[z_N])


def gmm_density(x_N, μ_K, σ_K, π_K, weights_sum_to_one=True):
    """The density p_N of a mixture at x_N, by scipy.

    Raises ValueError for a σ that is not positive, a negative weight, and weights that do not sum to one unless
    weights_sum_to_one=False allows it. Built in notebook 01.
    """
    μ_K, σ_K, π_K = np.array([μ_K, σ_K, π_K], dtype=float)
    if (σ_K <= 0).any() or (π_K < 0).any():
        raise ValueError(f"σ_K must be positive, π_K not negative, got {σ_K} and {π_K}")
    if weights_sum_to_one and abs(π_K.sum() - 1) > 1e-6:
        raise ValueError(f"π_K must sum to one, got {π_K} with sum {π_K.sum():.6g}")
    return scipy.stats.norm.pdf(np.asarray(x_N)[:, None], μ_K, σ_K) @ π_K


def gmm_log_density(x_N, μ_K, σ_K, π_K):
    """The log-density log_p_N of a mixture at x_N, differentiable also where a weight is zero.

    (Unless that component's density is more than e^700 times the others'.) σ_K: not zero, the sign is free. π_K: the
    sum is free. Raises ValueError for a negative weight. Built in notebook 04.
    """
    if (π_K < 0).any():
        raise ValueError(f"a weight is negative: {π_K.tolist()}")
    z_NK = (x_N[:, None] - μ_K) / σ_K
    log_normal_NK = -0.5 * z_NK**2 - torch.log(σ_K.abs()) - 0.5 * np.log(2 * np.pi)
    top_N1 = log_normal_NK.detach().max(dim=1, keepdim=True).values
    return torch.log(torch.exp(log_normal_NK - top_N1) @ π_K) + top_N1[:, 0]


def free_log_density(x_N, μ_K, s_K, a_K):
    """The log-density log_p_N of a mixture at x_N, with σ = exp(s) and π = softmax(a): any real numbers will do.

    The component axis comes last. Leading axes may differ if they broadcast: μ, s, a of shape (B, K) give each of B
    points a mixture of its own. s: not below -350, where the square of exp(-s) overflows. Built in notebook 07.
    """
    z_NK = (x_N[..., None] - μ_K) * torch.exp(-s_K)
    log_joint_NK = torch.log_softmax(a_K, dim=-1) - s_K - 0.5 * math.log(2 * math.pi) - 0.5 * z_NK**2
    return torch.logsumexp(log_joint_NK, dim=-1)


def tally(x_N, width=0.25):
    """Round data to multiples of a width, and count: equal values need only one log-density.

    Returns x_M, share_M, float64: the distinct values in ascending order, and their shares. Built in notebook 11.
    """
    rounded_N = torch.from_numpy(np.round(np.asarray(x_N) / width) * width)
    x_M, count_M = torch.unique(rounded_N, return_counts=True)
    return x_M, count_M.double() / len(rounded_N)


def log_joint(x_M, μ_SK, s_SK, log_π_SK):
    """log π + log N(x | μ, exp(s)) of each point under each component of S mixtures, (S, K, M).

    s_SK: not below -350, where the square of exp(-s) overflows. Built in notebook 11.
    """
    z_SKM = (x_M - μ_SK[..., None]) * torch.exp(-s_SK)[..., None]
    return (log_π_SK - s_SK - 0.5 * math.log(2 * math.pi))[..., None] - 0.5 * z_SKM**2


def mixture_losses(x_M, share_M, μ_SK, σ_SK, log_π_SK):
    """Minus the mean log-density of tallied data under S mixtures at once; the sign of σ is free.

    Returns loss_S in nats, NaN or inf for a start that is lost; the others do not mind. Built in notebook 11.
    """
    return -torch.logsumexp(log_joint(x_M, μ_SK, σ_SK.abs().log(), log_π_SK), dim=1) @ share_M


def free_losses(x_M, share_M, μ_SK, s_SK, a_SK):
    """As mixture_losses, with σ = exp(s) and π = softmax(a). Built in notebook 13."""
    return -torch.logsumexp(log_joint(x_M, μ_SK, s_SK, torch.log_softmax(a_SK, dim=1)), dim=1) @ share_M


def post_losses(x_M, share_M, μ_SK, σ_SK, π_SK):
    """The loss of the post of 2017 for S mixtures at once, in its own way: exp, sum, log, and |1 - sum(π)|.

    Returns loss_S in nats, inf or NaN where the density underflows: that is its subject. Built in notebook 11.
    """
    μ_SK1, σ_SK1, π_SK1 = μ_SK[..., None], σ_SK[..., None], π_SK[..., None]
    log_normal_SKM = -0.5 * torch.log(2 * torch.pi * σ_SK1**2) - 0.5 * (x_M - μ_SK1) ** 2 / σ_SK1**2
    p_SM = (π_SK1 * torch.exp(log_normal_SKM)).sum(dim=1)
    return -torch.log(p_SM) @ share_M + torch.abs(1 - π_SK.sum(dim=1))


def em_step(x_M, share_M, μ_SK, σ_SK, π_SK):
    """One step of EM for S mixtures at once: the responsibilities (E), then weighted means, spreads and shares (M).

    σ_SK, π_SK: positive (else, and where a component gets no point: NaN). Returns the three after the step; the weights
    sum to one. Built in notebook 16.
    """
    r_SKM = torch.softmax(log_joint(x_M, μ_SK, σ_SK.log(), π_SK.log()), dim=1)
    π_SK = r_SKM @ share_M
    μ_SK = r_SKM @ (share_M * x_M) / π_SK
    variance_SK = (r_SKM * (x_M - μ_SK[..., None]) ** 2) @ share_M / π_SK
    return μ_SK, variance_SK.sqrt(), π_SK


def unpack(θ_CD):
    """(μ_CK, s_CK, a_CK) of C mixtures of two: θ_CD holds μ_1, μ_2, s_1, s_2, a_1; a_2 is 0. Built in notebook 18."""
    return θ_CD[:, :2], θ_CD[:, 2:4], torch.nn.functional.pad(θ_CD[:, 4:], (0, 1))


def log_likelihood(x_N, θ_CD):
    """The log-likelihood of x_N under C mixtures, (C,); θ_CD as in unpack. Built in notebook 18."""
    return -len(x_N) * free_losses(x_N, torch.full_like(x_N, 1 / len(x_N)), *unpack(θ_CD))


def log_prior(μ_SK, s_SK, a_SK):
    """The series' prior, (S,): μ normal (0, 5), s normal (0, 1), π Dirichlet (2), a density of μ, s and K - 1 logits.

    Normalised: the Jacobian of softmax is in it. Built in notebook 18.
    """
    log_normal_SK = -0.5 * (μ_SK / 5) ** 2 - 0.5 * s_SK**2 - math.log(5 * 2 * math.pi)
    log_weights_S = 2 * torch.log_softmax(a_SK, dim=1).sum(dim=1) + math.lgamma(2 * μ_SK.shape[1])
    return log_normal_SK.sum(dim=1) + log_weights_S


def log_posterior(x_N, θ_CD):
    """log_likelihood + log_prior, (C,): the log-posterior up to a number. Built in notebook 18."""
    return log_likelihood(x_N, θ_CD) + log_prior(*unpack(θ_CD))


# --- Descents


def draw_starts(S, K=2, seed=0):
    """Draw S random starts at once, as the post of 2017 draws one: N(0, 1), squares of it, absolute values of it.

    Returns μ_SK, σ_SK, π_SK, float64; the weights do not sum to one. Built in notebook 11.
    """
    rng = torch.Generator().manual_seed(seed)
    μ_SK, root_SK, weight_SK = (torch.randn(S, K, generator=rng, dtype=torch.float64) for _ in range(3))
    return μ_SK, root_SK**2, weight_SK.abs()


def descend_together(losses_of, x_M, share_M, start, steps, lr=0.05, tidy=None):
    """Gradient descent from S starts at once: the sum of their losses gives each row its own gradient.

    losses_of(x_M, share_M, *parameters): (S,) losses. start: (S, K) tensors, left as they are. lr: a number or (S, 1).
    tidy: applied to the last parameter after each step. Returns a history of each parameter, (steps + 1, S, K): a row
    before each step, and the end. Built in notebook 11.
    """
    parameters = [start_SK.detach().clone().requires_grad_() for start_SK in start]
    history = [[parameter_SK.detach().clone()] for parameter_SK in parameters]
    for _ in range(steps):
        losses_of(x_M, share_M, *parameters).sum().backward()
        with torch.no_grad():
            for parameter_SK in parameters:
                parameter_SK -= lr * parameter_SK.grad
                parameter_SK.grad.zero_()
            if tidy is not None:
                parameters[-1].copy_(tidy(parameters[-1]))
        for rows, parameter_SK in zip(history, parameters):
            rows.append(parameter_SK.detach().clone())
    return [torch.stack(rows) for rows in history]


def rate(successes, trials):
    """A rate with its exact (Clopper-Pearson) 95 % interval, as text: "82 of 500, 16.4 % (13.3 to 19.9)".

    Raises ValueError unless 0 <= successes <= trials. Built in notebook 11.
    """
    low, high = scipy.stats.binomtest(int(successes), int(trials)).proportion_ci(0.95)
    percent = f"{100 * successes / trials:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    return f"{successes} of {trials}, {percent}"


# --- Pictures

BLUE, RED, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666"  # each over 3:1 on white
DARK = ".15"
FIGURE_STYLE = {  # for plt.rcParams.update; seaborn's style "ticks" and what the series changes in it
    "font.family": "DejaVu Sans", "font.sans-serif": ["DejaVu Sans"], "font.size": 12, "axes.labelsize": 12,
    "axes.titlesize": 12, "xtick.labelsize": 11, "ytick.labelsize": 11, "legend.fontsize": 11,
    "legend.frameon": False, "text.color": DARK, "axes.labelcolor": DARK, "axes.edgecolor": DARK,
    "xtick.color": DARK, "ytick.color": DARK,
    "xtick.major.size": 6, "ytick.major.size": 6, "xtick.minor.size": 4, "ytick.minor.size": 4,
    "axes.linewidth": 1.25, "xtick.major.width": 1.25, "ytick.major.width": 1.25, "xtick.minor.width": 1,
    "ytick.minor.width": 1, "lines.linewidth": 2, "lines.solid_capstyle": "round", "patch.edgecolor": "w",
    "patch.force_edgecolor": True, "axes.axisbelow": True, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False, "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, PURPLE]),
    "grid.color": ".8", "grid.linewidth": 1, "figure.figsize": (8, 3.6), "figure.dpi": 100,
    "figure.constrained_layout.use": True}


def gmm_plot(μ_K, σ_K, π_K, ax=None, weights_sum_to_one=True, **line):
    """Draw the density of a mixture over -10 to 10, as the post of 2017 does. Returns what ax.plot returns.

    ax: by default the current axes. line: colour, label ... Built in notebook 01.
    """
    grid_N, ax = np.linspace(-10, 10, 500), ax or plt.gca()
    return ax.plot(grid_N, gmm_density(grid_N, μ_K, σ_K, π_K, weights_sum_to_one), **line)


def draw_graph(root, ax, names):
    """Draw an autograd graph: leaves green, on the left; the result on the right; arrows as backward() walks.

    root: a tensor with a grad_fn. ax: axes, at least 0.6 inch wide for each step. names: {name: leaf or result}. The
    first operand of a formula stands on top. Returns the graph, a networkx DiGraph whose nodes have a "label" and a
    "place", (x, y) in ax. Raises ValueError for a root that no recorded operation has made.
    """
    if root.grad_fn is None:
        raise ValueError("root has no grad_fn: no recorded operation has made it")
    graph, arrows, row, free, boxes = nx.DiGraph(), [], {}, itertools.count(), {}

    def visit(node):  # returns a row: the middle of its operands', a new one for a leaf and for what is used again
        if node in graph:
            return next(free)
        leaf = getattr(node, "variable", None)
        name = [name for name, tensor in names.items() if tensor is leaf or tensor.grad_fn is node][:1]
        step = [node.name().split("Backward")[0]] if leaf is None else []
        graph.add_node(node, label=" = ".join(name + step) or "leaf")
        ways = [(node, child, visit(child)) for child, _ in node.next_functions if child is not None]
        arrows.extend(ways)
        return row.setdefault(node, np.mean([r for _, _, r in ways])) if ways else next(free)

    visit(root.grad_fn)
    graph.add_edges_from((node, child) for node, child, _ in arrows)
    columns = [*nx.topological_generations(graph)]
    column = {node: c for c, nodes in enumerate(columns) for node in nodes}
    for node, child, r in sorted(arrows, key=lambda arrow: -column[arrow[0]]):
        row.setdefault(child, r)  # a leaf stands beside its deepest use
    width_C = np.array([4 + max(len(graph.nodes[node]["label"]) for node in nodes) for nodes in columns])
    left_C, middle_C = -width_C.cumsum(), width_C / 2 - width_C.cumsum()
    place = {node: (middle_C[column[node]], row[node]) for node in graph}
    nx.set_node_attributes(graph, place, "place")
    ax.set(xlim=(left_C[-1], 0), ylim=(next(free) - 0.4, -0.6))
    ax.set_axis_off()
    look = {"ha": "center", "va": "center", "size": min(11, 130 * ax.bbox.width / ax.figure.dpi / width_C.sum())}
    for node, label in graph.nodes(data="label"):
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": BLUE if graph.out_degree(node) else GREEN}
        boxes[node] = ax.text(*place[node], label, bbox=box, **look).get_bbox_patch()
    for node, child, r in arrows:  # along row r past the columns between, then to the child
        line = [place[node]] + [(middle_C[c], r) for c in range(column[node] + 1, column[child])]
        gap = left_C[column[child] - 1]
        line += [(gap, r)] if r != row[child] else []
        line += [(gap - 1, row[child])] if abs(r - row[child]) > 1 else []
        ax.plot(*zip(*line), color=RED, linewidth=1.2, zorder=1)
        ends = {"patchA": boxes[node], "patchB": boxes[child], "shrinkA": 0, "shrinkB": 1}
        style = {"arrowstyle": "-|>", "color": RED, "linewidth": 1.2}
        ax.annotate("", place[child], line[-1], arrowprops=style | ends)
    return graph


def render_frames(fig, draw, steps):
    """Draw one picture for each step of a history: draw(t) changes the figure, which is closed at the end.

    Returns frames_F, a list of F pictures, each (height, width, 3) uint8. Built in notebook 06.
    """
    canvas, frames_F = FigureCanvasAgg(fig), []
    canvas.draw()
    fig.set_layout_engine("none")  # the axes stay where the first drawing has put them
    for t in steps:
        draw(t)
        canvas.draw()
        frames_F.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    plt.close(fig)
    return frames_F


def replace_file(path, data):
    """Write data (bytes) beside path, then move it into place: an older file stays whole until then. Returns path.

    Raises FileNotFoundError where the folder of path is missing.
    """
    if not Path(path).parent.is_dir():
        raise FileNotFoundError(f"no folder {Path(path).parent} from here: run the notebook in its folder, notebooks/")
    with tempfile.TemporaryDirectory(dir=Path(path).parent, prefix=".writing-") as folder:
        finished = Path(folder) / Path(path).name
        finished.write_bytes(data)
        return finished.replace(path)


def write_gif(path, frames_F, fps=10):
    """Write a GIF that loops for ever.

    frames_F: F pictures of one size, each (height, width, 3) uint8. fps: frames a second. Returns the path. Raises
    ValueError for an fps over 50, no frames, sizes that differ. Built in notebook 06.
    """
    if not 0 < fps <= 50:
        raise ValueError(f"browsers show at most 50 frames a second, got fps = {fps}")
    frames_F = np.stack(list(frames_F))
    ends_F = 10 * np.round(100 / fps * np.arange(len(frames_F) + 1))  # in hundredths of a second, as a GIF counts
    how = {"plugin": "pillow", "extension": ".gif", "duration": np.diff(ends_F).tolist(), "loop": 0}
    return replace_file(path, iio.imwrite("<bytes>", frames_F, **how))


def write_film_strip(path, frames_F, columns=2):
    """Write pictures side by side as one still PNG, row after row: a moving picture for paper.

    frames_F: F pictures of one size, each (height, width, 3) uint8. Returns the path. Raises ValueError for no frames,
    sizes that differ, a last row that is not full. Built in notebook 06.
    """
    frames_F = list(frames_F)
    rows = [np.hstack(frames_F[f : f + columns]) for f in range(0, len(frames_F), columns)]
    return replace_file(path, iio.imwrite("<bytes>", np.vstack(rows), plugin="pillow", extension=".png"))


def show_figure(fig, description):
    """Show a figure with its description below it, and the same text as the picture's alt text; then close it."""
    fig.savefig(file := io.BytesIO(), format="png", dpi=100)
    plt.close(fig)
    display({"image/png": file.getvalue()}, metadata={"image/png": {"alt": description}}, raw=True)
    display({"text/markdown": f"*{description}*", "text/plain": description}, raw=True)


# --- Exercises


def check_answer(answer, expected, tolerance=1e-6, mistakes=None, name=""):
    """Say in one line whether an exercise's answer is right, and if not, what is wrong with it.

    answer, expected: a number, array, tensor (also one that requires grad) or list of them; ... is "Not answered yet".
    tolerance: the largest difference allowed. mistakes: {what is wrong: the answer it gives}. name: of one answer among
    several. Raises ValueError for an expected value that is not finite.
    """
    expected, start = _as_array(expected), f"{name}: " if name else ""
    if not np.isfinite(expected).all():
        raise ValueError(f"the expected value must be finite, got {expected}")
    if answer is ...:
        return print(f"{start}Not answered yet.")
    if answer is None:
        return print(f"{start}Not correct: the answer is None. (What works in place, like backward(), returns None.)")
    try:
        answer = _as_array(answer)
    except (TypeError, ValueError) as error:
        return print(f"{start}Not correct: numbers are expected, got {type(answer).__name__} ({error}).")
    if _agree(answer, expected, tolerance):
        return print(f"{start}Correct.")
    for what, wrong in (mistakes or {}).items():
        if _agree(answer, _as_array(wrong), tolerance):
            return print(f"{start}Not correct: {what}")
    if answer.shape != expected.shape:
        return print(f"{start}Wrong shape: yours is {answer.shape}, expected {expected.shape}.")
    print(f"{start}Not correct: the largest difference is {abs(answer - expected).max():.4g}, allowed {tolerance:g}.")


def _as_array(value):
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
    if isinstance(value, (list, tuple)):
        value = [_as_array(item) for item in value]
    if value is None or np.iscomplexobj(value):
        raise TypeError("None or complex")
    return np.asarray(value, dtype=float)


def _agree(answer, expected, tolerance):
    return answer.shape == expected.shape and np.allclose(answer, expected, rtol=0, atol=tolerance, equal_nan=True)
