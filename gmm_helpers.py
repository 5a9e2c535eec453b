"""What two or more notebooks of the series share.

A function that carries an idea is first built in the open, in the notebook that its docstring names; here it checks
its input, too. Suffixes list the axes: N data, M distinct values, K components, S starts, T steps, F frames. Data,
means and standard deviations have the unit of the x axis, densities one over it, log-densities and losses are in nats.
"""

import io
import math
import operator
import tempfile
from pathlib import Path

import imageio.v3 as iio
import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import torch
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.stats import binomtest, norm

BLUE, RED, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#AA4499", "#666666"  # each over 3:1 on white
FIGURE_STYLE = {
    "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, PURPLE]), "axes.spines.top": False,
    "axes.spines.right": False, "lines.linewidth": 2, "axes.titlelocation": "left", "figure.figsize": (8, 3.6),
    "figure.dpi": 100, "figure.constrained_layout.use": True, "font.family": "DejaVu Sans", "legend.frameon": False}


def _array(name, value):
    """A float64 NumPy copy of a tensor, list or array; ValueError when it is empty or not finite."""
    try:
        array = np.array(value.detach().numpy() if isinstance(value, torch.Tensor) else value)
        array = array.astype(np.float64, casting="same_kind")  # not from text, not from complex numbers
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must hold numbers: {error}") from None
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite and not empty, got {value!r}")
    return array


def _whole(name, value, least):
    """Complain unless value is an integer (True is none) that is at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _mixture(μ_K, σ_K, π_K, weights_sum_to_one=True):
    """The three parameters as float64 arrays of one length K, checked."""
    μ_K, σ_K, π_K = _array("μ_K", μ_K), _array("σ_K", σ_K), _array("π_K", π_K)
    if not μ_K.shape == σ_K.shape == π_K.shape or μ_K.ndim != 1:
        raise ValueError(f"μ_K, σ_K and π_K must share one shape (K,), got {μ_K.shape}, {σ_K.shape}, {π_K.shape}")
    if (σ_K <= 0).any() or (π_K < 0).any():
        raise ValueError(f"σ_K must be positive, got {σ_K}; π_K must not be negative, got {π_K}")
    if weights_sum_to_one and abs(π_K.sum() - 1) > 1e-6:
        raise ValueError(f"π_K must sum to one, got {π_K} with sum {π_K.sum():.6g}")
    return μ_K, σ_K, π_K


def _shapes(x_M, share_M, *parameters_SK):
    """Complain unless all are floating point tensors, the data (M,) both and the parameters (S, K) all."""
    values = (x_M, share_M, *parameters_SK)
    is_fine = all(isinstance(value, torch.Tensor) and value.is_floating_point() for value in values)
    shapes = [tuple(value.shape) for value in values] if is_fine else [type(value).__name__ for value in values]
    if not is_fine or len(shapes[0]) != 1 or shapes[0] != shapes[1] or len(shapes[2]) != 2 or len(set(shapes[2:])) > 1:
        raise ValueError(f"x_M, share_M must be tensors of one shape (M,), the parameters of one (S, K), got {shapes}")


def sample_gmm(N, μ_K, σ_K, π_K, seed):
    """Draw N points from a mixture: first a component for each, then a normal draw from it.

    N: how many points. μ_K, σ_K, π_K: (K,) means, standard deviations, weights. seed: an integer, not negative.
    Returns x_N, (N,) float64. Raises ValueError for an N below one, a bad seed, σ_K not positive, π_K negative or not
    summing to one, lengths that differ. Built in notebook 01.
    """
    μ_K, σ_K, π_K = _mixture(μ_K, σ_K, π_K)
    _whole("N", N, least=1)
    _whole("seed", seed, least=0)
    rng = np.random.default_rng(seed)
    z_N = rng.choice(len(π_K), size=N, p=π_K / π_K.sum())
    return rng.normal(μ_K[z_N], σ_K[z_N])


def gmm_density(x_N, μ_K, σ_K, π_K, weights_sum_to_one=True):
    """The density of a mixture, by scipy.stats.norm.

    x_N: (N,) points. μ_K, σ_K, π_K: (K,) as in sample_gmm. weights_sum_to_one=False allows the weights of a fit under
    way; the area under the curve is then their sum. Returns p_N, (N,). Raises ValueError for σ_K not positive, π_K
    negative or (unless allowed) not summing to one, lengths that differ. Built in notebook 01.
    """
    x_N, (μ_K, σ_K, π_K) = _array("x_N", x_N), _mixture(μ_K, σ_K, π_K, weights_sum_to_one)
    if x_N.ndim != 1:
        raise ValueError(f"x_N must have the shape (N,), got {x_N.shape}")
    return norm.pdf(x_N[:, None], μ_K, σ_K) @ π_K


def gmm_plot(μ_K, σ_K, π_K, ax=None, weights_sum_to_one=True, **line):
    """Draw the density of a mixture over -10 to 10, as the post of 2017 does.

    μ_K, σ_K, π_K, weights_sum_to_one: as in gmm_density. ax: the axes, by default the current ones. line: colour,
    label ... Returns the line in a list, as ax.plot does. Raises ValueError as gmm_density. Built in notebook 01.
    """
    grid_N, ax = np.linspace(-10, 10, 500), ax or plt.gca()
    return ax.plot(grid_N, gmm_density(grid_N, μ_K, σ_K, π_K, weights_sum_to_one), **line)


def gmm_log_density(x_N, μ_K, σ_K, π_K):
    """The log-density of a mixture, differentiable, by logsumexp over the components.

    x_N: (N,) tensor. μ_K, σ_K, π_K: (K,) tensors: means, standard deviations (not zero; the sign is free, because only
    the square enters), weights (not negative; the sum is free). Returns log_p_N, (N,) tensor. Raises ValueError for
    other than tensors, shapes that do not fit, a σ of zero, a negative weight, NaN. Built in notebook 03.
    """
    for name, value in {"x_N": x_N, "μ_K": μ_K, "σ_K": σ_K, "π_K": π_K}.items():
        is_fine = isinstance(value, torch.Tensor) and value.is_floating_point() and value.ndim == 1
        if not is_fine or value.numel() == 0 or value.isnan().any():
            raise ValueError(f"{name} must be a floating point tensor with one axis, no NaN, not empty, got {value!r}")
    if not μ_K.shape == σ_K.shape == π_K.shape:
        raise ValueError(f"μ_K, σ_K and π_K differ in length: {len(μ_K)}, {len(σ_K)}, {len(π_K)}")
    if (σ_K == 0).any() or (π_K < 0).any():
        raise ValueError(f"σ_K must not be zero and π_K not negative, got {σ_K} and {π_K}")
    log_normal_NK = -0.5 * torch.log(2 * torch.pi * σ_K**2) - 0.5 * (x_N[:, None] - μ_K) ** 2 / σ_K**2
    return torch.logsumexp(torch.log(π_K) + log_normal_NK, dim=1)


def descend(x_N, μ_K, σ_K, π_K, steps=2000, lr=0.05):
    """The update loop of the post of 2017: minus the mean log-likelihood plus |1 - sum(π)|, stepped down by hand.

    x_N: (N,) tensor. μ_K, σ_K, π_K: (K,) tensors, the start, left as they are. steps: how many steps T. lr: the step in
    gradients. Returns a dict of NumPy arrays, a row a step, taken before it: "loss_T", "μ_TK", "σ_TK", "π_TK". Raises
    ValueError for steps below one, lr not positive, and as gmm_log_density does. Built in notebook 04 (as a loop).
    """
    _whole("steps", steps, least=1)
    if (lr := float(_array("lr", lr))) <= 0:
        raise ValueError(f"lr must be positive, got {lr!r}")
    gmm_log_density(x_N, μ_K, σ_K, π_K)  # complains about a bad start, before anything is copied
    μ_K, σ_K, π_K = (start_K.detach().clone().requires_grad_() for start_K in (μ_K, σ_K, π_K))
    history = {"loss_T": [], "μ_TK": [], "σ_TK": [], "π_TK": []}
    for _ in range(steps):
        loss = -gmm_log_density(x_N, μ_K, σ_K, π_K).mean() + torch.abs(1 - π_K.sum())
        loss.backward()
        for name, value in zip(history, (loss, μ_K, σ_K, π_K), strict=True):
            history[name].append(value.detach().numpy().copy())
        with torch.no_grad():
            for parameter_K in (μ_K, σ_K, π_K):
                parameter_K -= lr * parameter_K.grad
                parameter_K.grad.zero_()
            π_K.abs_()
    return {name: np.array(rows) for name, rows in history.items()}


def tally(x_N, width=0.25):
    """Round data to multiples of a width, and count: equal values need only one log-density.

    x_N: (N,) points. width: the multiple, in units of x. Returns x_M, share_M, two (M,) float64 tensors: the distinct
    values in ascending order, and which share of the data each has; the shares sum to one. Raises ValueError for a
    width that is not positive, data of another shape or not finite. Built in notebook 06.
    """
    x_N, width = _array("x_N", x_N), _array("width", width)
    if x_N.ndim != 1 or width.ndim != 0 or width <= 0:
        raise ValueError(f"x_N must have the shape (N,) and width be one positive number, got {x_N.shape}, {width}")
    x_M, count_M = torch.unique(torch.from_numpy(np.round(x_N / width) * width), return_counts=True)
    return x_M, count_M.double() / len(x_N)


def draw_starts(S, K=2, seed=0):
    """Draw S random starts at once, as the post of 2017 draws one: N(0, 1), squares of it, absolute values of it.

    S, K: how many starts, and components in each. seed: an integer, not negative; it seeds torch. Returns μ_SK, σ_SK,
    π_SK, three (S, K) float64 tensors; the weights do not sum to one. Raises ValueError for an S or K below one, a bad
    seed. Built in notebook 06.
    """
    for name, value, least in (("S", S, 1), ("K", K, 1), ("seed", seed, 0)):
        _whole(name, value, least)
    torch.manual_seed(seed)
    normal_SK = [torch.randn(S, K, dtype=torch.float64) for _ in range(3)]
    return normal_SK[0], normal_SK[1] ** 2, normal_SK[2].abs()


def post_losses(x_M, share_M, μ_SK, σ_SK, π_SK):
    """The loss of the post of 2017 for S mixtures at once, in its own way: exp, sum, log, and |1 - sum(π)|.

    x_M, share_M: (M,) tensors from tally. μ_SK, σ_SK, π_SK: (S, K) tensors: means, standard deviations (the sign is
    free), weights (the sum is free). Returns loss_S, (S,) tensor, in nats, inf or NaN where the density underflows:
    that is its subject. Raises ValueError as mixture_losses does. Built in notebook 06.
    """
    _shapes(x_M, share_M, μ_SK, σ_SK, π_SK)
    log_normal_SKM = -0.5 * torch.log(2 * torch.pi * σ_SK**2)[..., None]
    log_normal_SKM = log_normal_SKM - 0.5 * (x_M - μ_SK[..., None]) ** 2 / σ_SK[..., None] ** 2
    p_SM = (π_SK[..., None] * torch.exp(log_normal_SKM)).sum(dim=1)
    return -torch.log(p_SM) @ share_M + torch.abs(1 - π_SK.sum(dim=1))


def mixture_losses(x_M, share_M, μ_SK, σ_SK, log_π_SK):
    """Minus the mean log-density of tallied data under S mixtures at once, differentiable, by logsumexp.

    x_M, share_M: (M,) tensors from tally. μ_SK, σ_SK, log_π_SK: (S, K) tensors: means, standard deviations (the sign is
    free), logarithms of the weights. Returns loss_S, (S,) tensor, in nats; a start that is lost gives NaN or inf there
    and leaves the others alone. Raises ValueError for other than tensors and other shapes. Built in notebook 06.
    """
    _shapes(x_M, share_M, μ_SK, σ_SK, log_π_SK)
    z_SKM = (x_M - μ_SK[..., None]) / σ_SK[..., None]
    log_p_SKM = (log_π_SK - 0.5 * torch.log(2 * torch.pi * σ_SK**2))[..., None] - 0.5 * z_SKM**2
    return -(torch.logsumexp(log_p_SKM, dim=1) @ share_M)


def free_losses(x_M, share_M, μ_SK, s_SK, a_SK):
    """As mixture_losses, with free parameters: the standard deviations are exp(s), the weights softmax(a).

    x_M, share_M: (M,) tensors from tally. μ_SK, s_SK, a_SK: (S, K) tensors: means, logarithms of the standard
    deviations (as large as they like; below about -700, exp(-s) overflows), logits of the weights. Returns loss_S, (S,)
    tensor, in nats. Raises ValueError as mixture_losses does. Built in notebook 07.
    """
    _shapes(x_M, share_M, μ_SK, s_SK, a_SK)
    z_SKM = (x_M - μ_SK[..., None]) * torch.exp(-s_SK)[..., None]
    log_π_SK = torch.log_softmax(a_SK, dim=1)
    log_p_SKM = (log_π_SK - s_SK - 0.5 * np.log(2 * np.pi))[..., None] - 0.5 * z_SKM**2
    return -torch.logsumexp(log_p_SKM, dim=1) @ share_M


def descend_together(losses_of, x_M, share_M, start, steps, lr=0.05, tidy=None):
    """Gradient descent from S starts at once: the sum of their losses gives each row its own gradient.

    losses_of: a function of x_M, share_M and the parameters that returns (S,) losses. x_M, share_M: (M,) tensors from
    tally. start: three (S, K) tensors, left as they are. steps: how many steps T. lr: a number, or an (S, 1) tensor.
    tidy: what to do with the last parameter after a step, a function of it. Returns three histories of the shape
    (T + 1, S, K): a row before each step, and the end. Raises ValueError for steps below one, an lr that is not
    positive, and as losses_of does. Built in notebook 06.
    """
    _whole("steps", steps, least=1)
    if (_array("lr", lr) <= 0).any():
        raise ValueError(f"lr must be positive, got {lr!r}")
    parameters = [start_SK.clone().requires_grad_() for start_SK in start]
    history = [[start_SK.clone()] for start_SK in start]
    for _ in range(steps):
        losses_of(x_M, share_M, *parameters).sum().backward()
        with torch.no_grad():
            for parameter_SK in parameters:
                parameter_SK -= lr * parameter_SK.grad
                parameter_SK.grad.zero_()
            if tidy is not None:
                parameters[-1].copy_(tidy(parameters[-1]))
        for rows, parameter_SK in zip(history, parameters, strict=True):
            rows.append(parameter_SK.detach().clone())
    return [torch.stack(rows) for rows in history]


def em_step(x_M, share_M, μ_SK, σ_SK, π_SK):
    """One step of EM for S mixtures at once: the responsibilities (E), then weighted means, spreads and shares (M).

    x_M, share_M: (M,) tensors from tally, or data and 1/N each. μ_SK, σ_SK, π_SK: (S, K) tensors: means, standard
    deviations (positive), weights (positive; only their ratios count). Returns the three after the step, (S, K)
    tensors; the weights sum to one. Raises ValueError as mixture_losses does, and for a σ or weight that is not
    positive. Built in notebook 10.
    """
    _shapes(x_M, share_M, μ_SK, σ_SK, π_SK)
    if not ((σ_SK > 0).all() and (π_SK > 0).all()):
        raise ValueError(f"σ_SK and π_SK must be positive, got {σ_SK} and {π_SK}")
    z_SKM = (x_M - μ_SK[..., None]) / σ_SK[..., None]
    r_SKM = torch.softmax((π_SK.log() - σ_SK.log())[..., None] - 0.5 * z_SKM**2, dim=1)
    π_SK = r_SKM @ share_M
    μ_SK = r_SKM @ (share_M * x_M) / π_SK
    σ_SK = ((r_SKM * (x_M - μ_SK[..., None]) ** 2) @ share_M / π_SK).sqrt()
    return μ_SK, σ_SK, π_SK


def log_prior(μ_SK, s_SK, a_SK):
    """The log-density of the series' prior in free parameters: μ normal (0, 5), s normal (0, 1), π Dirichlet (2).

    μ_SK, s_SK, a_SK: (S, K) tensors as in free_losses, at least two components. The density is that of μ, s and the
    first K - 1 logits, the last being held at rest: the Jacobian of softmax is in it. Returns log_p_S, (S,) tensor,
    normalised. Raises ValueError for other than tensors, other shapes, K = 1. Built in notebook 11.
    """
    _shapes(torch.zeros(1), torch.zeros(1), μ_SK, s_SK, a_SK)
    if (K := μ_SK.shape[1]) < 2:
        raise ValueError(f"a mixture with weights to choose has two components or more, got K = {K}")
    log_normal_SK = -0.5 * (μ_SK / 5) ** 2 - np.log(5) - 0.5 * s_SK**2 - np.log(2 * np.pi)
    return log_normal_SK.sum(dim=1) + 2 * torch.log_softmax(a_SK, dim=1).sum(dim=1) + math.lgamma(2 * K)


def log_posterior(x_N, θ_CD):
    """The log-density of data and parameters together, for C mixtures of two components: the posterior, up to a number.

    x_N: (N,) tensor. θ_CD: (C, 5) tensor, in each row μ_1, μ_2, s_1, s_2 and a, the log-odds of the first component.
    Returns log_p_C, (C,) tensor, differentiable: the sum of the log-likelihood and log_prior. Raises ValueError for
    no data, other than tensors and other shapes. Built in notebook 11.
    """
    is_fine = all(isinstance(value, torch.Tensor) and value.is_floating_point() for value in (x_N, θ_CD))
    if not is_fine or x_N.ndim != 1 or len(x_N) == 0 or θ_CD.ndim != 2 or θ_CD.shape[1] != 5:
        found = [getattr(value, "shape", value) for value in (x_N, θ_CD)]
        raise ValueError(f"x_N and θ_CD must be floating point tensors of the shapes (N,) and (C, 5), got {found}")
    μ_CK, s_CK, a_CK = θ_CD[:, :2], θ_CD[:, 2:4], torch.nn.functional.pad(θ_CD[:, 4:], (0, 1))
    loss_C = free_losses(x_N, torch.full_like(x_N, 1 / len(x_N)), μ_CK, s_CK, a_CK)
    return log_prior(μ_CK, s_CK, a_CK) - len(x_N) * loss_C


def rate(successes, trials):
    """A rate with its exact (Clopper-Pearson) 95 % interval, as text: "82 of 500, 16.4 % (13.3 to 19.9)".

    successes, trials: integers, or tensors and arrays that hold one. Returns the text. Raises ValueError for trials
    below one, and for successes below zero or above trials. Built in notebook 06.
    """
    try:
        successes, trials = operator.index(successes), operator.index(trials)
        low, high = binomtest(successes, trials).proportion_ci(0.95)
    except (TypeError, ValueError) as error:
        raise ValueError(f"successes of trials must be whole numbers with 0 <= successes <= trials: {error}") from None
    return f"{successes} of {trials}, {successes / trials:.1%} ({100 * low:.1f} to {100 * high:.1f})".replace("%", " %")


def graph_of(root, names=None):
    """Walk an autograd graph from its end to its leaves.

    root: a tensor with a grad_fn. names: {name: leaf tensor}, to label the leaves. Returns a networkx DiGraph of the
    nodes, each with a "label". Raises ValueError for a tensor without a grad_fn. Built in notebook 02.
    """
    if not isinstance(root, torch.Tensor) or root.grad_fn is None:
        raise ValueError("root must be a tensor with a grad_fn: the result of a recorded operation")
    graph, to_visit = nx.DiGraph(), [root.grad_fn]
    while to_visit:
        node = to_visit.pop(0)
        leaf = getattr(node, "variable", None)
        name = next((name for name, tensor in (names or {}).items() if tensor is leaf), "leaf")
        graph.add_node(node, label=node.name().split("Backward")[0] if leaf is None else name)
        for child in (child for child, _ in node.next_functions if child is not None):
            to_visit += [] if child in graph else [child]
            graph.add_edge(node, child)
    return graph


def places(graph):
    """Where to draw the nodes of a graph: one row below the lowest node above, ordered by the leaves below.

    graph: a networkx DiGraph. Returns {node: (x, y)}. Raises ValueError for other graphs, and for cycles. Plumbing.
    """
    if not isinstance(graph, nx.DiGraph) or not nx.is_directed_acyclic_graph(graph):
        raise ValueError("graph must be a networkx DiGraph without cycles")
    leaves = [node for node in graph if graph.out_degree(node) == 0]
    column, place = {}, {}
    for row, nodes in enumerate(nx.topological_generations(graph)):
        for node in nodes:
            below = [n for n, leaf in enumerate(leaves) if leaf == node or leaf in nx.descendants(graph, node)]
            above = [column[parent][0] for parent in graph.predecessors(node)]
            column[node] = (np.mean(below), np.mean(above or [0]))
        for n, node in enumerate(sorted(nodes, key=column.get)):
            place[node] = (n - (len(nodes) - 1) / 2, -row)
    return place


def draw_graph(root, ax, names=None):
    """Draw an autograd graph: operations as boxes, leaves as green boxes at the bottom, arrows as backward() walks.

    root, names: as in graph_of. ax: axes. Returns the graph. Raises ValueError as graph_of does. Built in notebook 02.
    """
    graph = graph_of(root, names)
    place = places(graph)
    nx.draw_networkx_edges(graph, place, ax=ax, node_size=900, edge_color=GREY)
    for node, label in graph.nodes(data="label"):
        box = {"boxstyle": "round", "facecolor": "white", "edgecolor": BLUE if graph.out_degree(node) else GREEN}
        nx.draw_networkx_labels(graph, place, {node: label}, font_size=10, bbox=box, ax=ax)
    ax.margins(0.2, 0.08)
    ax.set_axis_off()
    return graph


def render_frames(fig, draw, steps):
    """Draw one picture for each step of a history.

    fig: the figure that draw draws into; it is closed. draw: a function of one step t. steps: the F steps. Returns
    frames_F, F pictures, each (height, width, 3) uint8. Raises ValueError for no steps. Built in notebook 05.
    """
    if len(steps) == 0:
        raise ValueError("steps is empty: there is nothing to draw")
    canvas, frames_F = FigureCanvasAgg(fig), []
    canvas.draw()
    fig.set_layout_engine("none")  # the axes stay where the first drawing has put them
    for t in steps:
        draw(t)
        canvas.draw()
        frames_F.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    plt.close(fig)
    return frames_F


def _write(path, ending, pictures_F, how, fps=1):
    """Encode into a folder beside path, then move the finished file into place: the old one is whole until then."""
    path, pictures_F = Path(path), [np.asarray(picture) for picture in pictures_F]
    kinds = {(picture.shape, picture.dtype.name) for picture in pictures_F}
    if path.suffix != ending or not 0.002 <= _array("fps", fps) <= 50:
        raise ValueError(f"path must end in {ending}, and fps lie between 0.002 and 50, got {path} and {fps!r}")
    if len(kinds) != 1 or pictures_F[0].shape[2:] != (3,) or pictures_F[0].dtype != np.uint8:
        raise ValueError(f"frames_F must be uint8 of one shape (height, width, 3), got {kinds or 'an empty list'}")
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".writing-") as folder:
            iio.imwrite(Path(folder) / path.name, np.stack(pictures_F), **how)
            return Path(folder, path.name).replace(path)
    except OSError as error:
        raise ValueError(f"path: cannot write {path.as_posix()}: {error}") from error


def write_gif(path, frames_F, fps=10):
    """Write a GIF that loops for ever.

    path: where, ending in .gif. frames_F: F pictures, each (height, width, 3) uint8. fps: frames a second, at most 50:
    browsers slow faster ones down. Returns the path. Raises ValueError for no frames, frames that differ, a bad fps or
    ending, a path that cannot be written; then an older file stays whole. Built in notebook 05.
    """
    how = {"plugin": "pillow", "duration": 10 * round(100 / max(_array("fps", fps), 0.002)), "loop": 0}  # 10 ms
    return _write(path, ".gif", frames_F, how, fps)


def write_mp4(path, frames_F, fps=10):
    """Write an MP4 (H.264), by one encoder thread, so that the same frames give the same bytes.

    path: where, ending in .mp4. frames_F: F pictures, each (height, width, 3) uint8. fps: as in write_gif. Returns the
    path. Raises ValueError as write_gif does, and for an odd height or width. Built in notebook 05.
    """
    if any(size % 2 for picture in frames_F for size in np.shape(picture)[:2]):
        raise ValueError("frames_F must have an even height and width, as H.264 asks for")
    exact = "-threads 1 -x264-params cpu-independent=1 -fflags +bitexact -flags:v +bitexact -map_metadata -1".split()
    how = {"plugin": "FFMPEG", "codec": "libx264", "macro_block_size": 2, "ffmpeg_log_level": "error"}
    return _write(path, ".mp4", frames_F, how | {"fps": fps, "output_params": exact}, fps)


def write_film_strip(path, frames_F, columns=2):
    """Write pictures side by side as one still PNG, row after row: a moving picture for paper.

    path: where, ending in .png. frames_F: F pictures, each (height, width, 3) uint8. columns: pictures in a row.
    Returns the path. Raises ValueError as write_gif does, and for columns that do not divide F. Built in notebook 05.
    """
    _whole("columns", columns, least=1)
    if len(frames_F) % columns or len({np.shape(picture) for picture in frames_F}) > 1:
        raise ValueError(f"columns must divide the number of frames, {len(frames_F)}, and frames_F share one shape")
    rows = [np.hstack(frames_F[n : n + columns]) for n in range(0, len(frames_F), columns)]
    return _write(path, ".png", [np.vstack(rows)] if rows else [], {"plugin": "pillow"})


def show_figure(fig, description):
    """Show a figure with its description below it, and the same text as the picture's alt text.

    fig: a matplotlib figure; it is closed. description: a sentence. Raises ValueError for an empty one. Plumbing.
    """
    if not isinstance(description, str) or not description.strip():
        raise ValueError(f"description must say what the figure shows, got {description!r}")
    fig.savefig(file := io.BytesIO(), format="png", dpi=100)
    plt.close(fig)
    display({"image/png": file.getvalue()}, metadata={"image/png": {"alt": description}}, raw=True)
    display({"text/markdown": f"*{description}*", "text/plain": description}, raw=True)


def check_answer(answer, expected, tolerance=1e-6):
    """Say whether an exercise's answer is right, and if not, what is wrong with it.

    answer, expected: a number, array or tensor of any shape; an answer of None or ... is "not answered yet". tolerance:
    the largest difference allowed. Prints one line; returns nothing. Raises ValueError for an expected value that is
    not finite numbers, or a negative tolerance. Plumbing.
    """
    expected, tolerance = _array("expected", expected), _array("tolerance", tolerance)
    if tolerance < 0:
        raise ValueError(f"tolerance must not be negative, got {tolerance!r}")
    if answer is None or answer is ...:
        return print("Not answered yet.")
    try:
        answer = _array("your answer", answer)
    except ValueError as error:
        return print(f"Not correct: {error}.")
    if answer.shape != expected.shape:
        return print(f"Wrong shape: yours is {answer.shape}, expected {expected.shape}.")
    difference = abs(answer - expected).max()
    print("Correct." if difference <= tolerance else f"Not correct: the largest difference is {difference:.4g}.")
