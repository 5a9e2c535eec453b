"""gmm_helpers.py against references that other people wrote, finite differences, and properties that have to hold."""

import io
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from IPython.core import display_functions
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from scipy import integrate, optimize, special, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import gmm_helpers as gmm

POST = [-3.0, 3.0], [1.0, 1.0], [0.5, 0.5]
UNEVEN = np.array([-4.0, 0.0, 3.0]), np.array([0.5, 1.0, 2.0]), np.array([0.2, 0.5, 0.3])
always_the_same = settings(deadline=None, derandomize=True, database=None, max_examples=40)
points = arrays(np.float64, st.integers(1, 20), elements=st.floats(-15, 15))


@pytest.fixture(autouse=True)
def as_in_a_notebook(as_in_the_notebooks):
    """And with nothing of a person's own matplotlibrc."""
    plt.switch_backend("Agg")
    with plt.rc_context():
        plt.rcdefaults()
        yield
    plt.close("all")


@st.composite
def mixtures(draw):
    """Means, standard deviations, and weights that do not sum to one."""
    K = draw(st.integers(1, 4))
    return tuple(draw(arrays(np.float64, K, elements=st.floats(*limits))) for limits in [(-5, 5), (0.1, 3), (0.01, 1)])


def tensors(*arrays):
    return [torch.as_tensor(np.asarray(array)) for array in arrays]


def mild_starts(S, K=2, seed=0):
    draw = torch.rand(3, S, K, generator=torch.Generator().manual_seed(seed))
    return 6 * draw[0] - 3, 0.5 + 2 * draw[1], (0.1 + draw[2]) / (0.1 + draw[2]).sum(dim=1, keepdim=True)


X_N = torch.from_numpy(gmm.sample_gmm(300, *POST, seed=0))
X_M, SHARE_M = (values.double() for values in gmm.tally(X_N))


# --- One mixture


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("mixture", [POST, UNEVEN], ids=["post", "uneven"])
def test_a_sample_has_the_law_of_its_mixture_and_depends_on_the_seed_alone(mixture, seed):
    x_N = gmm.sample_gmm(4000, *mixture, seed=seed)
    assert x_N.shape == (4000,) and x_N.dtype == np.float64
    assert stats.kstest(x_N, lambda x_N: stats.norm.cdf(x_N[:, None], *mixture[:2]) @ mixture[2]).pvalue > 0.01
    assert abs(stats.pearsonr(x_N[:-1], x_N[1:]).statistic) < 0.06
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    np.testing.assert_array_equal(gmm.sample_gmm(4000, *mixture, seed=np.int64(seed)), x_N)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert gmm.sample_gmm(9, *mixture, seed=seed + 1)[0] != x_N[0]


def by_torch(x_N, μ_K, σ_K, π_K):
    """log p_N by torch.distributions, which makes weights sum to one; so their sum is put back."""
    x_N, μ_K, σ_K, π_K = tensors(x_N, μ_K, σ_K, π_K)
    parts = torch.distributions.Categorical(π_K), torch.distributions.Normal(μ_K, σ_K)
    return torch.distributions.MixtureSameFamily(*parts).log_prob(x_N) + π_K.sum().log()


@always_the_same
@given(points, mixtures())
def test_the_density_is_that_of_torch_and_has_the_area_of_the_weights(x_N, mixture):
    p_N = gmm.gmm_density(x_N, *mixture, weights_sum_to_one=False)
    np.testing.assert_allclose(p_N, by_torch(x_N, *mixture).exp(), rtol=1e-10, atol=1e-300)
    grid_N = np.linspace(-40, 40, 8001)
    p_N = gmm.gmm_density(grid_N, *mixture, weights_sum_to_one=False)
    assert integrate.trapezoid(p_N, grid_N) == pytest.approx(mixture[2].sum(), rel=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [([0, 1], [1, 1], [0.5, 0.6]), ([0, 1], [1, -1], [0.5, 0.5]), ([0, 1], [1, 1], [1.5, -0.5]), ([0], *POST[1:])],
)
def test_impossible_mixtures_are_refused(wrong):
    for call in (lambda: gmm.sample_gmm(5, *wrong, seed=0), lambda: gmm.gmm_density([0.0], *wrong)):
        with pytest.raises(ValueError):
            call()


def test_a_plot_draws_the_density():
    _, (left, right) = plt.subplots(1, 2)
    (line,) = gmm.gmm_plot(*UNEVEN, ax=left, color=gmm.GREEN, label="truth")
    assert (line.axes, line.get_color(), line.get_label()) == (left, gmm.GREEN, "truth")
    np.testing.assert_allclose(line.get_xdata(), np.linspace(-10, 10, 500))
    np.testing.assert_allclose(line.get_ydata(), by_torch(line.get_xdata(), *UNEVEN).exp(), rtol=1e-10)
    assert gmm.gmm_plot([0.0], [1.0], [2.0], weights_sum_to_one=False)[0].axes is right  # the current axes


@always_the_same
@given(arrays(np.float64, 6, elements=st.floats(-1e5, 1e5) | st.floats(-9, 9)), mixtures(), st.floats(0.1, 10))
def test_the_log_density_is_that_of_torch_also_where_the_density_underflows(x_N, mixture, factor):
    """And the signs of σ, the order of the components and the sum of the weights are free."""
    μ_K, σ_K, π_K = tensors(*mixture)
    log_p_N = gmm.gmm_log_density(torch.from_numpy(x_N), μ_K, σ_K, π_K)
    torch.testing.assert_close(log_p_N, by_torch(x_N, *mixture), rtol=1e-12, atol=1e-12)
    other_N = gmm.gmm_log_density(torch.from_numpy(x_N), μ_K.flip(0), -σ_K.flip(0), factor * π_K.flip(0))
    torch.testing.assert_close(other_N - np.log(factor), log_p_N, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("mixture", [POST, UNEVEN, ([0.5, 1.0], [-0.7, 2.0], [0.1, 3.0])])
def test_derivatives_of_the_log_density(mixture):
    inputs = [tensor.requires_grad_() for tensor in tensors([-3.5, 0.2, 9.0], *mixture)]
    assert torch.autograd.gradcheck(gmm.gmm_log_density, inputs)
    assert torch.autograd.gradgradcheck(gmm.gmm_log_density, inputs)
    far_N = 60 * inputs[0].detach()  # where only the responsibilities can tell
    gmm.gmm_log_density(far_N, *inputs[1:]).sum().backward()
    away_NK = far_N[:, None].numpy() - mixture[0]
    r_NK = special.softmax(np.log(mixture[2]) + stats.norm.logpdf(away_NK, 0, np.abs(mixture[1])), axis=1)
    np.testing.assert_allclose(inputs[1].grad, (r_NK * away_NK / np.square(mixture[1])).sum(axis=0), rtol=1e-9)


def test_the_log_density_at_the_edges():
    x_N, μ_K, σ_K, π_K = tensors([0.3], [0.0, 1.0], [1.0, 1.0], [0.0, 1.0])
    gmm.gmm_log_density(x_N, μ_K, σ_K, π_K.requires_grad_()).backward()
    np.testing.assert_allclose(π_K.grad, [np.exp(0.2), 1], rtol=1e-12)  # 1.2214: a weight of zero can come back
    assert gmm.gmm_log_density(x_N, μ_K, σ_K, torch.zeros(2)) == -torch.inf
    for dtype, σ in ((torch.float64, 1e-200), (torch.float32, 1e-23)):
        one = torch.ones(1, dtype=dtype)
        log_p_N = gmm.gmm_log_density(one, one, σ * one, one)
        assert log_p_N.dtype == dtype
        torch.testing.assert_close(log_p_N.double(), stats.norm.logpdf(0) - torch.tensor([σ]).log(), rtol=1e-6, atol=0)
    with pytest.raises(ValueError, match=r"negative: \[1.5, -0.5\]"):
        gmm.gmm_log_density(x_N, μ_K, σ_K, torch.tensor([1.5, -0.5]))


# --- Many mixtures


@always_the_same
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.sampled_from([0.1, 0.25, 1.0, 3.0]))
def test_a_tally_holds_the_rounded_points(points, width):
    x_M, share_M = gmm.tally(points, width)
    values, counts = np.unique(np.round(np.array(points) / width) * width, return_counts=True)
    np.testing.assert_array_equal(x_M, values)
    np.testing.assert_allclose(share_M * len(points), counts, rtol=1e-12)
    assert x_M.dtype == share_M.dtype == torch.float64


def test_tallies_and_starts_are_float64_whatever_the_default():
    torch.set_default_dtype(torch.float32)
    assert {value.dtype for value in (*gmm.tally([1.0, 2.0]), *gmm.draw_starts(2))} == {torch.float64}


@pytest.mark.parametrize("K", [1, 2, 5])
def test_losses_are_those_of_one_mixture_at_a_time(K):
    rounded_N = np.round(4 * X_N.numpy()) / 4
    μ_SK, σ_SK, π_SK = mild_starts(9, K)
    rows = zip(μ_SK, σ_SK, π_SK, strict=True)
    loss_S = torch.stack([-by_torch(rounded_N, *row).mean() for row in rows])
    log_p_SKM = gmm.log_joint(X_M, μ_SK, σ_SK.log(), π_SK.log())
    expected = stats.norm.logpdf(X_M, μ_SK[..., None], σ_SK[..., None]) + np.log(π_SK[..., None].numpy())
    np.testing.assert_allclose(log_p_SKM, expected, rtol=1e-12)
    for losses in (
        gmm.mixture_losses(X_M, SHARE_M, μ_SK, -σ_SK, π_SK.log()),
        gmm.free_losses(X_M, SHARE_M, μ_SK, σ_SK.log(), π_SK.log() + 7),
        gmm.post_losses(X_M, SHARE_M, μ_SK, -σ_SK, π_SK),
        gmm.post_losses(X_M, SHARE_M, μ_SK, σ_SK, 3 * π_SK) + np.log(3) - 2,
    ):
        torch.testing.assert_close(losses, loss_S, rtol=1e-12, atol=1e-12)
    starts = [start_SK[:2].clone().requires_grad_() for start_SK in (μ_SK, σ_SK, 2 * π_SK)]
    for losses_of in (gmm.mixture_losses, gmm.free_losses, gmm.post_losses):
        assert torch.autograd.gradcheck(lambda *start, f=losses_of: f(X_M, SHARE_M, *start), starts)


def test_losses_far_out_are_finite_and_a_lost_start_leaves_the_others_alone():
    s_SK = torch.tensor([[300.0, 0.0], [-300.0, 0.0]], requires_grad=True)
    loss_S = gmm.free_losses(X_M, SHARE_M, torch.full((2, 2), 0.1), s_SK, torch.zeros(2, 2))
    loss_S.sum().backward()
    assert loss_S.isfinite().all() and s_SK.grad.isfinite().all()
    start = mild_starts(3)
    alone = gmm.descend_together(gmm.post_losses, X_M, SHARE_M, [start_SK[1:] for start_SK in start], steps=5)
    start[1][0] = 1e-3
    together = gmm.descend_together(gmm.post_losses, X_M, SHARE_M, start, steps=5)
    for alone_TSK, together_TSK in zip(alone, together, strict=True):
        assert together_TSK[-1, 0].isnan().all()
        torch.testing.assert_close(together_TSK[:, 1:], alone_TSK, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("K", [1, 2, 4])
def test_em_is_that_of_scikit_learn(K):
    μ_SK, σ_SK, π_SK = mild_starts(1, K, seed=K)
    how = {"means_init": μ_SK.T, "weights_init": π_SK[0], "precisions_init": (σ_SK**-2.0).T[..., None]}
    how = {name: value.numpy() for name, value in how.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit = GaussianMixture(K, max_iter=7, tol=0, reg_covar=0, **how).fit(X_N.numpy()[:, None])
    for _ in range(7):
        μ_SK, σ_SK, π_SK = gmm.em_step(X_N, torch.full_like(X_N, 1 / len(X_N)), μ_SK, σ_SK, π_SK)
    expected = np.array([fit.means_[:, 0], fit.covariances_[:, 0, 0] ** 0.5, fit.weights_])
    np.testing.assert_allclose(torch.cat([μ_SK, σ_SK, π_SK]), expected, atol=1e-9)


@always_the_same
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_likelihood_never_falls_under_em_and_the_moments_are_those_of_the_data(seed, K):
    parameters, losses = mild_starts(5, K, seed), []
    for _ in range(10):
        losses.append(gmm.mixture_losses(X_M, SHARE_M, *parameters[:2], parameters[2].log()))
        parameters = μ_SK, σ_SK, π_SK = gmm.em_step(X_M, SHARE_M, *parameters)
    assert (torch.stack(losses).diff(dim=0) < 1e-12).all()
    mean = X_M @ SHARE_M
    torch.testing.assert_close((π_SK * μ_SK).sum(dim=1), mean.expand(5))
    torch.testing.assert_close((π_SK * (σ_SK**2 + μ_SK**2)).sum(dim=1), (X_M**2 @ SHARE_M).expand(5))


def log_prior_by_scipy(μ_K, s_K, π_K):
    """In μ, s and the first K - 1 logits: the Jacobian of the softmax with its last logit at rest is prod(π)."""
    log_p = stats.norm(0, 5).logpdf(μ_K).sum() + stats.norm(0, 1).logpdf(s_K).sum()
    return log_p + stats.dirichlet([2] * len(π_K)).logpdf(π_K / π_K.sum()) + np.log(π_K).sum()


def test_the_prior_and_the_posterior_are_those_of_scipy():
    scale_D = torch.tensor([4, 4, 0.7, 0.7, 1.5])
    θ_CD = torch.randn(30, 5, generator=torch.Generator().manual_seed(1)) * scale_D
    μ_CK, s_CK, a_CK = gmm.unpack(θ_CD)
    π_CK = a_CK.softmax(dim=1)
    prior_C = [log_prior_by_scipy(*row) for row in zip(μ_CK.numpy(), s_CK.numpy(), π_CK.numpy(), strict=True)]
    np.testing.assert_allclose(gmm.log_prior(μ_CK, s_CK, a_CK), prior_C, rtol=1e-12)
    np.testing.assert_allclose(gmm.log_prior(μ_CK, s_CK, a_CK + 9), prior_C, rtol=1e-12)
    normal_CKN = stats.norm.pdf(X_N, μ_CK[..., None], s_CK.exp()[..., None])
    likelihood_C = np.log((π_CK[..., None].numpy() * normal_CKN).sum(axis=1)).sum(axis=1)
    np.testing.assert_allclose(gmm.log_likelihood(X_N, θ_CD), likelihood_C, rtol=1e-12)
    np.testing.assert_allclose(gmm.log_posterior(X_N, θ_CD), likelihood_C + prior_C, rtol=1e-12)
    swapped_CD = torch.cat([θ_CD[:, [1, 0, 3, 2]], -θ_CD[:, 4:]], dim=1)
    torch.testing.assert_close(gmm.log_posterior(X_N, swapped_CD), gmm.log_posterior(X_N, θ_CD), rtol=1e-12, atol=0)
    θ_CD = θ_CD[:3].requires_grad_()
    assert torch.autograd.gradcheck(lambda θ: gmm.log_posterior(X_N[:20], θ), [θ_CD])
    assert torch.autograd.gradgradcheck(lambda θ: gmm.log_posterior(X_N[:20], θ), [θ_CD])


def test_the_priors_jacobian_is_that_of_autograd():
    free = torch.tensor([0.3, -1.2, 0.7])

    def weights(free):
        return torch.softmax(torch.cat([free, torch.zeros(1)]), dim=0)

    torch.testing.assert_close(torch.linalg.det(torch.func.jacrev(weights)(free)[:-1]), weights(free).prod())


# --- Descents


def test_starts_have_the_laws_of_the_post_and_depend_on_their_seed_alone():
    state = torch.get_rng_state()
    starts = gmm.draw_starts(5000, K=3, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    for start_SK, law in zip(starts, [stats.norm, stats.chi2(1), stats.halfnorm], strict=True):
        assert start_SK.shape == (5000, 3) and start_SK.dtype == torch.float64
        assert stats.kstest(start_SK.flatten(), law.cdf).pvalue > 0.01
    assert abs(np.corrcoef([start_SK.flatten() for start_SK in starts]) - np.eye(3)).max() < 0.05
    assert all(map(torch.equal, starts, gmm.draw_starts(5000, K=3, seed=3)))
    assert not torch.equal(starts[0], gmm.draw_starts(5000, K=3, seed=4)[0])


@pytest.mark.parametrize("requires_grad", [False, True])
def test_many_descents_are_many_single_descents_in_numpy(requires_grad):
    """By differences of a loss by scipy, one row at a time; a start that requires grad will do, too."""
    μ_SK, σ_SK, π_SK = mild_starts(3)
    start = [start_SK.requires_grad_(requires_grad) for start_SK in (μ_SK, σ_SK, 3 * π_SK)]
    before = [start_SK.detach().clone() for start_SK in start]
    lr_S1 = torch.tensor([[0.01], [0.05], [0.1]])
    history = gmm.descend_together(gmm.post_losses, X_M, SHARE_M, start, 3, lr_S1, tidy=lambda π_SK: 0.9 * π_SK)
    for start_SK, before_SK, history_TSK in zip(start, before, history, strict=True):
        assert torch.equal(start_SK, before_SK) and start_SK.grad is None
        assert history_TSK.shape == (4, 3, 2) and not history_TSK.requires_grad

    def loss(θ_D):
        p_M = stats.norm.pdf(X_M.numpy()[:, None], θ_D[:2], θ_D[2:4]) @ θ_D[4:]
        return abs(1 - θ_D[4:].sum()) - np.log(p_M) @ SHARE_M.numpy()

    for row, lr in enumerate(lr_S1[:, 0].tolist()):
        θ_D = np.concatenate([before_SK[row] for before_SK in before])
        for step in range(4):
            np.testing.assert_allclose(np.concatenate([rows[step, row] for rows in history]), θ_D, atol=1e-5)
            θ_D = θ_D - lr * optimize.approx_fprime(θ_D, loss)
            θ_D[4:] *= 0.9


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (7, 7), (82, 500), (1, 3)])
def test_the_interval_of_a_rate_is_that_of_the_beta_distribution(successes, trials):
    low = stats.beta.ppf(0.025, successes, trials - successes + 1) if successes else 0
    high = stats.beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1
    percent = f"{100 * successes / trials:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    assert gmm.rate(successes, trials) == f"{successes} of {trials}, {percent}"
    assert gmm.rate(torch.tensor(successes), np.int64(trials)) == gmm.rate(successes, trials)
    with pytest.raises(ValueError):
        gmm.rate(trials + 1, trials)


# --- Pictures


def test_a_drawn_graph_is_that_of_the_expression():
    μ, σ = (torch.ones(1, requires_grad=True) for _ in range(2))
    root = (μ * σ + μ.exp()) * (μ * σ).sin() + σ
    graph = gmm.draw_graph(root, ax := Figure((9, 4)).subplots(), {"μ": μ, "σ": σ})
    labels = ["Add", "Mul", "σ", "Add", "Sin", "Mul", "Exp", "μ", "Mul"]
    written = nx.DiGraph(
        [(0, 1), (0, 2), (1, 3), (1, 4), (3, 5), (3, 6), (5, 7), (5, 2), (6, 7), (4, 8), (8, 7), (8, 2)]
    )
    nx.set_node_attributes(written, dict(enumerate(labels)), "label")
    assert nx.is_isomorphic(graph, written, node_match=lambda a, b: a["label"] == b["label"])
    texts = [text for text in ax.texts if text.get_text()]
    assert sorted(text.get_text() for text in texts) == sorted(labels)
    assert len({text.get_position() for text in texts}) == len(labels)
    (left, right), (bottom, top) = sorted(ax.get_xlim()), sorted(ax.get_ylim())
    for text in texts:
        edge = to_hex(text.get_bbox_patch().get_edgecolor()).upper()
        assert edge == (gmm.GREEN if text.get_text() in "μσ" else gmm.BLUE)
        assert left < text.get_position()[0] < right and bottom < text.get_position()[1] < top


def test_a_root_without_a_graph_is_refused():
    with pytest.raises(ValueError, match="no recorded operation"):
        gmm.draw_graph(torch.ones(2, requires_grad=True), Figure().subplots(), {})


def test_frames_show_what_was_drawn_and_the_axes_stay():
    def figure():
        fig, ax = plt.subplots(figsize=(2.1, 1.3), dpi=100, layout="constrained")
        return fig, ax, *ax.plot([0, 1], [0, 1])

    places = []

    def draw(t):
        places.append(ax.get_position().bounds)
        line.set_ydata([t, 1 - t])

    fig, ax, line = figure()
    frames_F = gmm.render_frames(fig, draw, iter([0.0, 0.5, 1.0]))
    assert not plt.fignum_exists(fig.number) and len({tuple(np.round(place, 6)) for place in places}) == 1
    for t, frame in zip((0.0, 0.5, 1.0), frames_F, strict=True):
        fig, ax, line = figure()
        draw(t)
        fig.savefig(file := io.BytesIO(), format="png")
        np.testing.assert_array_equal(frame, Image.open(file).convert("RGB"))


def some_frames(F=4, height=24, width=36):
    """F plain pictures, no two neighbours alike, each with a mark, so that no axis can be mixed up."""
    frames_F = np.zeros((F, height, width, 3), np.uint8)
    frames_F += np.array([0, 60, 120, 180], np.uint8)[np.arange(F) % 4, None, None, None]
    frames_F[:, : height // 3, : width // 2, 0] = 255
    return list(frames_F)


def read_pillow(path):
    """Frames, their milliseconds, and the loop, by Pillow."""
    with Image.open(path) as picture:
        frames = [(np.asarray(f.convert("RGB")), f.info.get("duration")) for f in ImageSequence.Iterator(picture)]
        return [frame for frame, _ in frames], [duration for _, duration in frames], picture.info.get("loop")


@pytest.mark.parametrize("fps", [10, 5, 12.5, 30, 40, 45, 50, np.int64(10)])
def test_a_gif_comes_back_frame_by_frame_and_keeps_time(tmp_path, fps):
    """At 30 frames a second too, where no frame can have its exact length: a GIF counts in hundredths of a second."""
    path = gmm.write_gif(str(tmp_path / "film.gif"), (frame for frame in some_frames(60)), fps)
    assert [path] == [*tmp_path.iterdir()] == [tmp_path / "film.gif"]
    frames_F, durations, loop = read_pillow(path)
    np.testing.assert_array_equal(frames_F, some_frames(60))
    assert loop == 0
    assert abs(np.cumsum(durations) - 1000 / fps * np.arange(1, 61)).max() <= 5 + 1e-9


@always_the_same
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), *[st.integers(1, 5)] * 2, st.just(3))), st.data())
def test_a_film_strip_comes_back_frame_by_frame(frames_F, data):
    F, height, width, _ = frames_F.shape
    columns = data.draw(st.sampled_from([n for n in range(1, F + 1) if F % n == 0]))
    with tempfile.TemporaryDirectory() as folder:
        path = gmm.write_film_strip(Path(folder, "strip.png"), (frame for frame in frames_F), columns)
        ((picture,), _, _) = read_pillow(path)
    assert picture.shape == (F // columns * height, columns * width, 3)
    for f, frame in enumerate(frames_F):
        top, left = f // columns * height, f % columns * width
        np.testing.assert_array_equal(picture[top : top + height, left : left + width], frame)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: gmm.write_gif(path, []),
        lambda path: gmm.write_gif(path, some_frames(), fps=51),
        lambda path: gmm.write_gif(path, [*some_frames(2), *some_frames(2, height=20)]),
        lambda path: gmm.write_film_strip(path, some_frames(5)),
    ],
)
def test_what_cannot_be_written_is_refused_and_the_older_file_stays(tmp_path, write):
    path = tmp_path / "film.gif"
    path.write_bytes(b"older")
    with pytest.raises(ValueError):
        write(path)
    assert path.read_bytes() == b"older" and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_in_the_middle_leaves_the_older_file_whole(tmp_path, monkeypatch, failure):
    path = gmm.write_gif(tmp_path / "film.gif", some_frames())
    older = path.read_bytes()

    def write_half(file, data):
        with open(file, "wb") as half:
            half.write(data[: len(data) // 2])
        raise failure

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(type(failure)):
        gmm.write_gif(path, some_frames(6))
    assert path.read_bytes() == older and [*tmp_path.iterdir()] == [path]
    monkeypatch.undo()
    assert gmm.replace_file(path, b"newer").read_bytes() == b"newer"
    with pytest.raises(FileNotFoundError, match="missing from here: run the notebook in its folder"):
        gmm.replace_file(tmp_path / "missing" / "film.gif", b"")


def test_a_figure_is_shown_with_its_description(monkeypatch):
    sent = []
    monkeypatch.setattr(InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(
        display_functions, "publish_display_data", lambda data, metadata=None, **_: sent.append((data, metadata))
    )
    with plt.rc_context(gmm.FIGURE_STYLE):
        fig, ax = plt.subplots(figsize=(8, 3.6))
        ax.set(title="A title that is wider than the axes themselves " * 3)
        gmm.show_figure(fig, "A line.")
    (picture, about), (caption, _) = sent
    assert about == {"image/png": {"alt": "A line."}}
    assert caption == {"text/markdown": "*A line.*", "text/plain": "A line."}
    assert Image.open(io.BytesIO(picture["image/png"])).size == (800, 360)
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("colour", [gmm.BLUE, gmm.RED, gmm.GREEN, gmm.PURPLE, gmm.GREY])
def test_colours_stand_out_from_white(colour):
    light = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    light = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in light]
    assert 1.05 / (0.05 + np.dot([0.2126, 0.7152, 0.0722], light)) > 3


# --- Exercises


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        (..., [1.0, 2.0], "Not answered yet."),
        (np.float32(1), torch.tensor(1.0), "Correct."),
        ((1, 2), torch.tensor([1.0, 2.0]), "Correct."),
        (torch.tensor([1.0, 2.0], requires_grad=True), [1, 2], "Correct."),
        ([1.0, 2.0], torch.tensor([1.0, 2.0], requires_grad=True), "Correct."),
        (1 + 9e-7, 1.0, "Correct."),
        (1e6 + 1, 1e6, "Not correct: the largest difference is 1, allowed 1e-06."),
        ([1.0, None], [1.0, 2.0], "Not correct: numbers are expected"),
        (torch.tensor(1.0 + 1j), 1.0, "Not correct: numbers are expected"),
        ([1.0, 2.5, 2.75], [1.0, 2.0, 3.0], "Not correct: the largest difference is 0.5, allowed 1e-06."),
        (-1.0, 1.0, "Not correct: the largest difference is 2, allowed 1e-06."),
        ([1.0], 1.0, "Wrong shape: yours is (1,), expected ()."),
        (np.ones((2, 1)), np.ones((1, 2)), "Wrong shape: yours is (2, 1), expected (1, 2)."),
        (None, 1.0, "Not correct: the answer is None."),
        (np.nan, 1.0, "Not correct: "),
        ([1.0, np.nan], [1.0, 2.0], "Not correct: "),
        (np.inf, 1.0, "Not correct: "),
        ("two", 2.0, "Not correct: numbers are expected, got str"),
        ([[1.0], [1.0, 2.0]], [1.0, 2.0], "Not correct: numbers are expected"),
    ],
)
def test_answers_are_judged(capsys, answer, expected, says):
    for name, start in (("", ""), ("at_e", "at_e: ")):
        assert gmm.check_answer(answer, expected, name=name) is None
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith(start + says)


def test_mistakes_are_named_and_do_not_hide_a_right_answer(capsys):
    mistakes = {"a sign is lost.": -2.0, "one number is expected.": [2.0, 2.0], "look again.": torch.tensor(2.05)}
    for answer, says in [(-2.0, "a sign is lost."), ([2.0, 2.0], "one number is expected."), (2.3, "look again.")]:
        gmm.check_answer(answer, 2.0, tolerance=0.1 if answer != 2.3 else 0.26, mistakes=mistakes)
        assert capsys.readouterr().out == f"Not correct: {says}\n"
    gmm.check_answer(2.04, 2.0, tolerance=0.1, mistakes=mistakes)
    assert capsys.readouterr().out == "Correct.\n"
    gmm.check_answer(3.0, 2.0, tolerance=0.1, mistakes=mistakes)
    assert capsys.readouterr().out == "Not correct: the largest difference is 1, allowed 0.1.\n"


def test_an_expected_value_that_is_not_finite_is_refused():
    for expected in (np.nan, [1, np.inf]):
        with pytest.raises(ValueError, match="expected value must be finite"):
            gmm.check_answer(..., expected)
