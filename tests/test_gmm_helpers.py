"""gmm_helpers.py against references that other people wrote: scipy, torch.distributions, scikit-learn, Pillow, ffmpeg;
and against quadrature, finite differences and properties that have to hold."""

import ast
import inspect
import io
import json
import random
import re
import tempfile
from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import imageio_ffmpeg
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
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageSequence
from scipy import integrate, optimize, special, stats
from sklearn.mixture import GaussianMixture

import gmm_helpers
from gmm_helpers import (
    BLUE,
    FIGURE_STYLE,
    GREEN,
    GREY,
    PURPLE,
    RED,
    check_answer,
    descend,
    draw_graph,
    gmm_density,
    gmm_log_density,
    gmm_plot,
    graph_of,
    places,
    render_frames,
    sample_gmm,
    show_figure,
    write_film_strip,
    write_gif,
    write_mp4,
)

ROOT = Path(__file__).resolve().parent.parent
POST = [-3.0, 3.0], [1.0, 1.0], [0.5, 0.5]
UNEVEN = np.array([-4.0, 0.0, 3.0]), np.array([0.5, 1.0, 2.0]), np.array([0.2, 0.5, 0.3])
always_the_same = settings(deadline=None, derandomize=True, max_examples=40)


@pytest.fixture(autouse=True)
def one_thread_and_no_open_figures():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    plt.switch_backend("Agg")
    yield
    plt.close("all")
    torch.set_num_threads(threads)


def tensors(*arrays):
    return tuple(torch.tensor(array, dtype=torch.float64) for array in arrays)


@st.composite
def mixtures(draw, sum_to_one=True):
    K = draw(st.integers(1, 4))
    limits = (-5, 5), (0.1, 3), (0.01, 1)
    μ_K, σ_K, π_K = (draw(arrays(np.float64, K, elements=st.floats(*limit))) for limit in limits)
    return μ_K, σ_K, π_K / π_K.sum() if sum_to_one else π_K


points = arrays(np.float64, st.integers(1, 20), elements=st.floats(-15, 15))

# What is wrong with a mixture, and the complaint about it; the rest of the arguments is right.
BAD_MIXTURES = [
    ({"σ_K": [1, -1]}, "σ_K must be positive"),
    ({"σ_K": [0, 1]}, "σ_K must be positive"),
    ({"π_K": [1.5, -0.5]}, "π_K must not be negative"),
    ({"π_K": [0.5, 0.6]}, "π_K must sum to one.*1.1"),
    ({"π_K": [0.5, 0.5 + 2e-6]}, "π_K must sum to one"),
    ({"π_K": [0.5, 0.5 - 2e-6]}, "π_K must sum to one"),
    ({"μ_K": [0]}, "μ_K, σ_K and π_K must share one shape"),
    ({"σ_K": [1]}, "μ_K, σ_K and π_K must share one shape"),
    ({"π_K": [1]}, "μ_K, σ_K and π_K must share one shape"),
    ({"μ_K": [[0, 1]], "σ_K": [[1, 1]], "π_K": [[0.5, 0.5]]}, "μ_K, σ_K and π_K must share one shape"),
    ({"μ_K": 0, "σ_K": 1, "π_K": 1}, "μ_K, σ_K and π_K must share one shape"),
    ({"μ_K": [0, np.nan]}, "μ_K must be finite"),
    ({"σ_K": [1, np.inf]}, "σ_K must be finite"),
    ({"π_K": [0.5, np.nan]}, "π_K must be finite"),
    ({"μ_K": [], "σ_K": [], "π_K": []}, "μ_K must be finite and not empty"),
    ({"μ_K": None}, "μ_K"),
    ({"σ_K": "one"}, "σ_K must hold numbers"),
    ({"π_K": [[0.5], [0.2, 0.3]]}, "π_K must hold numbers"),
]


# --- sample_gmm


def cdf(x_N, μ_K, σ_K, π_K):
    return stats.norm.cdf(np.asarray(x_N)[:, None], μ_K, σ_K) @ π_K


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("mixture", [POST, UNEVEN], ids=["post", "uneven"])
def test_sample_has_the_law_of_the_mixture(mixture, seed):
    x_N = sample_gmm(4000, *mixture, seed=seed)
    assert x_N.shape == (4000,) and x_N.dtype == np.float64
    assert stats.kstest(x_N, lambda x_N: cdf(x_N, *mixture)).pvalue > 0.01


def test_sample_by_component():
    """Far apart, each point tells its component: the counts, the order and each component's points have their law."""
    μ_K, σ_K, π_K = np.array([-1000.0, 0.0, 1000.0]), *UNEVEN[1:]
    x_N = sample_gmm(6000, μ_K, σ_K, π_K, seed=1)
    z_N = abs(x_N[:, None] - μ_K).argmin(axis=1)
    assert stats.chisquare(np.bincount(z_N), 6000 * π_K).pvalue > 0.01
    assert stats.chi2_contingency(stats.contingency.crosstab(z_N[:-1], z_N[1:]).count).pvalue > 0.01
    for k in range(3):
        standard_N = (x_N[z_N == k] - μ_K[k]) / σ_K[k]
        assert stats.kstest(standard_N, "norm").pvalue > 0.01
        assert abs(stats.pearsonr(standard_N[:-1], standard_N[1:]).statistic) < 0.1


def test_component_without_weight_has_no_points():
    assert sample_gmm(500, [-1000, 1000], [1, 1], [0, 1], seed=0).min() > 900


def test_sample_depends_on_its_seed_alone():
    """Same seed, same points, whatever the global generators are at; and those stay where they are."""
    drawn = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        random.seed(seed)
        before = np.random.get_state()[1].copy(), torch.get_rng_state(), random.getstate()  # noqa: NPY002
        drawn.append(sample_gmm(50, *POST, seed=np.int64(7)))
        np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
        assert torch.equal(torch.get_rng_state(), before[1]) and random.getstate() == before[2]
    np.testing.assert_array_equal(*drawn)
    others = [sample_gmm(50, *POST, seed=seed) for seed in (0, 1, 8)]
    assert len({float(x_N[0]) for x_N in [drawn[0], *others]}) == 4


@always_the_same
@given(mixtures(), st.integers(0, 2**32), st.floats(-9, 9), st.floats(0.5, 2))
def test_sample_moves_and_stretches_with_the_mixture(mixture, seed, shift, scale):
    μ_K, σ_K, π_K = mixture
    moved_N = sample_gmm(30, μ_K * scale + shift, σ_K * scale, π_K, seed)
    np.testing.assert_allclose(moved_N, sample_gmm(30, μ_K, σ_K, π_K, seed) * scale + shift, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [list, np.float32, torch.tensor, lambda values: torch.tensor(values).double()])
def test_parameters_may_be_lists_arrays_or_tensors(kind):
    mixture = [kind(values) for values in POST]
    np.testing.assert_array_equal(sample_gmm(9, *mixture, seed=0), sample_gmm(9, *POST, seed=0))
    x_N = kind([-1.0, 0.5, 4.0])
    np.testing.assert_array_equal(gmm_density(x_N, *mixture), gmm_density([-1.0, 0.5, 4.0], *POST))


def test_tensors_that_require_grad_are_welcome():
    parameters = [tensor.requires_grad_() for tensor in tensors(*POST)]
    np.testing.assert_array_equal(gmm_density(*tensors([0.0]), *parameters), gmm_density([0.0], *POST))
    check_answer(parameters[0], POST[0])


@pytest.mark.parametrize("excess", [5e-9, 5e-8, 5e-7, -5e-7])
def test_weights_need_not_sum_to_one_to_the_last_digit(excess):
    """Float32 weights, for one, do not."""
    almost = POST[0], POST[1], [0.5, 0.5 + excess]
    assert np.isfinite(gmm_density([0.0], *almost)).all()
    assert np.isfinite(sample_gmm(5, *almost, seed=0)).all()


def test_inputs_are_left_alone():
    mixture, x_N = [np.array(values) for values in POST], np.array([1.0, -2.0])
    sample_gmm(5, *mixture, seed=0)
    gmm_density(x_N, *mixture)
    check_answer(x_N, mixture[0])
    np.testing.assert_array_equal([*mixture, x_N], [*POST, [1.0, -2.0]])


@pytest.mark.parametrize(("change", "says"), BAD_MIXTURES)
def test_bad_mixtures_are_refused(change, says):
    parameters = dict(zip(("μ_K", "σ_K", "π_K"), POST, strict=True)) | change
    _, ax = plt.subplots()
    for call in (
        lambda: sample_gmm(5, **parameters, seed=0),
        lambda: gmm_density([0.0], **parameters),
        lambda: gmm_plot(**parameters, ax=ax),
    ):
        with pytest.raises(ValueError, match=says):
            call()
    assert not ax.lines
    if "sum to one" not in says:
        with pytest.raises(ValueError, match=says):
            gmm_density([0.0], **parameters, weights_sum_to_one=False)
        with pytest.raises(ValueError, match=says):
            gmm_plot(**parameters, ax=ax, weights_sum_to_one=False)


@pytest.mark.parametrize("value", [0, -1, 2.0, 1.5, "9", None, True, np.True_, [5], np.nan])
def test_bad_numbers_of_points_are_refused(value):
    with pytest.raises(ValueError, match="N must be an integer of at least 1"):
        sample_gmm(value, *POST, seed=0)


@pytest.mark.parametrize("value", [-1, 0.0, 1.5, "0", None, True, [0], np.nan])
def test_bad_seeds_are_refused(value):
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        sample_gmm(5, *POST, seed=value)


# --- gmm_density


def by_torch(x_N, μ_K, σ_K, π_K):
    """log p_N by torch.distributions, which makes weights sum to one; so their sum is put back."""
    x_N, μ_K, σ_K, π_K = (torch.as_tensor(value, dtype=torch.float64) for value in (x_N, μ_K, σ_K, π_K))
    parts = torch.distributions.Categorical(π_K), torch.distributions.Normal(μ_K, σ_K)
    return torch.distributions.MixtureSameFamily(*parts).log_prob(x_N) + π_K.sum().log()


@always_the_same
@given(points, mixtures(sum_to_one=False))
def test_density_is_that_of_torch(x_N, mixture):
    p_N = gmm_density(x_N, *mixture, weights_sum_to_one=False)
    assert p_N.shape == x_N.shape and p_N.dtype == np.float64
    np.testing.assert_allclose(p_N, by_torch(x_N, *mixture).exp(), rtol=1e-10, atol=1e-300)


@always_the_same
@given(mixtures(sum_to_one=False))
def test_area_under_the_density_is_the_sum_of_the_weights(mixture):
    grid_N = np.linspace(-40, 40, 8001)
    p_N = gmm_density(grid_N, *mixture, weights_sum_to_one=False)
    assert integrate.trapezoid(p_N, grid_N) == pytest.approx(mixture[2].sum(), rel=1e-9)


def test_area_by_adaptive_quadrature():
    area, _ = integrate.quad(lambda x: gmm_density([x], *UNEVEN)[0], -30, 30, points=[-4, 0, 3])
    assert area == pytest.approx(1, abs=1e-9)


@always_the_same
@given(points, mixtures(), st.randoms(use_true_random=False), st.floats(-9, 9))
def test_order_of_components_and_origin_are_free(x_N, mixture, shuffler, shift):
    order = list(range(len(mixture[0])))
    shuffler.shuffle(order)
    other = [parameter_K[order] for parameter_K in mixture]
    np.testing.assert_allclose(gmm_density(x_N, *mixture), gmm_density(x_N, *other), rtol=1e-12, atol=0)
    moved = gmm_density(x_N + shift, other[0] + shift, *other[1:])
    np.testing.assert_allclose(gmm_density(x_N, *mixture), moved, rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("weights", [[0.5, 0.6], [0.2, 0.2], [0.0, 0.0], [3.0, 1.0]])
def test_free_weights_have_to_be_asked_for(weights):
    with pytest.raises(ValueError, match="π_K must sum to one"):
        gmm_density([3.0], *POST[:2], weights)
    expected = weights @ stats.norm.pdf(3, [-3, 3], 1)
    assert gmm_density([3.0], *POST[:2], weights, weights_sum_to_one=False) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("x_N", "says"),
    [
        ([[0.0]], "x_N must have the shape"),
        (0.0, "x_N must have the shape"),
        ([], "x_N must be finite and not empty"),
        ([np.nan], "x_N must be finite"),
        ([0.0, np.inf], "x_N must be finite"),
        ("a", "x_N must hold numbers"),
    ],
)
def test_density_at_bad_points_is_refused(x_N, says):
    with pytest.raises(ValueError, match=says):
        gmm_density(x_N, *POST)


# --- gmm_plot


def test_plot_draws_the_density():
    _, (left, right) = plt.subplots(1, 2)
    lines = gmm_plot(*UNEVEN, ax=left, color=GREEN, label="truth", linestyle="--")
    assert lines == list(left.lines) and len(lines) == 1 and not right.lines
    x_N, p_N = lines[0].get_data()
    np.testing.assert_allclose(x_N, -10 + np.arange(500) * 20 / 499)
    np.testing.assert_allclose(p_N, by_torch(x_N, *UNEVEN).exp(), rtol=1e-10)
    assert (lines[0].get_color(), lines[0].get_label(), lines[0].get_linestyle()) == (GREEN, "truth", "--")


def test_plot_goes_to_the_current_axes_and_takes_free_weights():
    plt.subplots()
    _, (left, right) = plt.subplots(1, 2)
    plt.sca(left)
    (line,) = gmm_plot([0.0], [1.0], [2.0], weights_sum_to_one=False)
    assert list(left.lines) == [line] and not right.lines
    np.testing.assert_allclose(line.get_ydata(), 2 * stats.norm.pdf(line.get_xdata()))


# --- gmm_log_density


@always_the_same
@given(points, mixtures(sum_to_one=False), st.data())
def test_log_density_is_the_log_of_the_density(x_N, mixture, data):
    """And the signs of σ, the order of the components and the origin are free."""
    μ_K, σ_K, π_K = mixture
    log_p_N = gmm_log_density(*tensors(x_N, *mixture)).numpy()
    p_N = stats.norm.pdf(x_N[:, None], μ_K, σ_K) @ π_K
    is_normal_N = p_N > 1e-290
    assert log_p_N.shape == x_N.shape and np.isfinite(log_p_N).all()
    np.testing.assert_allclose(log_p_N[is_normal_N], np.log(p_N[is_normal_N]), rtol=1e-12, atol=1e-12)
    order = data.draw(st.permutations(range(len(μ_K))))
    signs_K = data.draw(arrays(np.float64, len(μ_K), elements=st.sampled_from([-1.0, 1.0])))
    shift, factor = data.draw(st.floats(-9, 9)), data.draw(st.floats(0.1, 10))
    other = x_N + shift, (μ_K + shift)[order], (σ_K * signs_K)[order], (π_K * factor)[order]
    other_N = gmm_log_density(*tensors(*other)) - np.log(factor)
    np.testing.assert_allclose(other_N, log_p_N, rtol=1e-10, atol=1e-10)


@always_the_same
@given(arrays(np.float64, 5, elements=st.floats(-1e6, 1e6)), mixtures())
def test_log_density_stays_finite_where_the_density_underflows(x_N, mixture):
    μ_K, σ_K, π_K = mixture
    log_p_N = gmm_log_density(*tensors(x_N, *mixture))
    expected_N = special.logsumexp(stats.norm.logpdf(x_N[:, None], μ_K, σ_K), b=π_K, axis=1)
    assert log_p_N.isfinite().all()
    np.testing.assert_allclose(log_p_N, expected_N, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(log_p_N, by_torch(x_N, *mixture), rtol=1e-12, atol=1e-12)


def gradients(x_N, μ_K, σ_K, π_K):
    """Of the mean log-density to μ_K, σ_K and π_K: by the responsibilities, in NumPy."""
    log_normal_NK = stats.norm.logpdf(x_N[:, None], μ_K, abs(σ_K))
    r_NK = special.softmax(np.log(π_K) + log_normal_NK, axis=1)
    log_p_N1 = special.logsumexp(log_normal_NK, b=π_K, axis=1, keepdims=True)
    away_NK = x_N[:, None] - μ_K
    to_μ_NK, to_σ_NK = r_NK * away_NK / σ_K**2, r_NK * (away_NK**2 / σ_K**3 - 1 / σ_K)
    return [to_NK.mean(axis=0) for to_NK in (to_μ_NK, to_σ_NK, np.exp(log_normal_NK - log_p_N1))]


def test_gradients_by_responsibilities_are_those_by_differences():
    """The reference itself, against differences of a loss by scipy; the second standard deviation is negative."""
    x_N, θ_D = np.linspace(-6, 6, 31), np.array([-2.0, 0.5, 3.0, 0.8, -1.0, 1.5, 0.3, 0.9, 0.2])

    def loss(θ_D):
        return -np.log(stats.norm.pdf(x_N[:, None], θ_D[:3], abs(θ_D[3:6])) @ θ_D[6:]).mean()

    by_formula_D = -np.concatenate(gradients(x_N, *np.split(θ_D, 3)))
    np.testing.assert_allclose(by_formula_D, optimize.approx_fprime(θ_D, loss), rtol=0, atol=1e-6)


@always_the_same
@given(arrays(np.float64, 6, elements=st.floats(-60, 60)), mixtures(sum_to_one=False), st.booleans())
def test_gradient_is_made_of_responsibilities(x_N, mixture, mirrored):
    μ_K, σ_K, π_K = mixture[0], -mixture[1] if mirrored else mixture[1], mixture[2]
    parameters = [tensor.requires_grad_() for tensor in tensors(μ_K, σ_K, π_K)]
    gmm_log_density(*tensors(x_N), *parameters).mean().backward()
    for parameter_K, expected_K in zip(parameters, gradients(x_N, μ_K, σ_K, π_K), strict=True):
        np.testing.assert_allclose(parameter_K.grad, expected_K, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mixture", [POST, UNEVEN, ([0.5, 1.0], [-0.7, 2.0], [0.1, 3.0])])
def test_first_and_second_derivatives_by_gradcheck(mixture):
    inputs = [tensor.requires_grad_() for tensor in tensors([-3.5, 0.2, 9.0], *mixture)]
    assert torch.autograd.gradcheck(gmm_log_density, inputs)
    assert torch.autograd.gradgradcheck(gmm_log_density, inputs)


def test_a_component_without_weight_adds_nothing():
    x_N = [-1.0, 0.0, 50.0]
    with_N = gmm_log_density(*tensors(x_N, [0, 1], [1, 2], [0.7, 0.0]))
    np.testing.assert_allclose(with_N, stats.norm.logpdf(x_N) + np.log(0.7), rtol=1e-12)
    none_N = gmm_log_density(*tensors(x_N, [0, 1], [1, 2], [0.0, 0.0]))
    assert (none_N == -torch.inf).all()


def test_log_density_keeps_the_precision():
    inputs = [torch.tensor(values, dtype=torch.float32) for values in ([0.0, 100.0], *POST)]
    log_p_N = gmm_log_density(*inputs)
    assert log_p_N.dtype == torch.float32
    np.testing.assert_allclose(log_p_N, gmm_log_density(*tensors([0.0, 100.0], *POST)), rtol=1e-6)


NOT_TENSORS = [0.5, 0.5], np.array([0.5, 0.5]), 0.5, None
OTHER_TENSORS = [1, 1], [True, True], [1j, 1j], 0.5, [[0.5, 0.5]], [], [0.5, np.nan]


@pytest.mark.parametrize("call", [gmm_log_density, descend])
@pytest.mark.parametrize("value", [*NOT_TENSORS, *map(torch.tensor, OTHER_TENSORS)], ids=repr)
def test_other_than_tensors_of_one_axis_are_refused(call, value):
    arguments = dict(zip(("x_N", "μ_K", "σ_K", "π_K"), tensors([0.0, 1.0], *POST), strict=True))
    for name in arguments:
        says = f"{name} must be a floating point tensor with one axis, no NaN, not empty"
        with pytest.raises(ValueError, match=says):
            call(**arguments | {name: value})


BAD_STARTS = [
    ({"σ_K": [0.0, 1.0]}, "σ_K must not be zero"),
    ({"σ_K": [1.0, -0.0]}, "σ_K must not be zero"),
    ({"π_K": [0.5, -0.1]}, "π_K not negative"),
    ({"μ_K": [0.0]}, "μ_K, σ_K and π_K differ in length: 1, 2, 2"),
    ({"σ_K": [1.0]}, "μ_K, σ_K and π_K differ in length: 2, 1, 2"),
    ({"π_K": [1.0, 1.0, 1.0]}, "μ_K, σ_K and π_K differ in length: 2, 2, 3"),
    ({"μ_K": [0.0, np.nan]}, "μ_K must be .* no NaN"),
]


@pytest.mark.parametrize("call", [gmm_log_density, descend])
@pytest.mark.parametrize(("change", "says"), BAD_STARTS)
def test_bad_parameters_are_refused(call, change, says):
    parameters = dict(zip(("μ_K", "σ_K", "π_K"), POST, strict=True)) | change
    with pytest.raises(ValueError, match=says):
        call(*tensors([0.0, 1.0], *parameters.values()))


# --- descend


def descend_in_numpy(x_N, μ_K, σ_K, π_K, steps, lr):
    """The rows of a descent, and whether abs ever changed a weight."""
    rows, is_mirrored = [], False
    for _ in range(steps):
        log_p_N = special.logsumexp(stats.norm.logpdf(x_N[:, None], μ_K, abs(σ_K)), b=π_K, axis=1)
        rows.append((abs(1 - π_K.sum()) - log_p_N.mean(), μ_K, σ_K, π_K))
        to_μ_K, to_σ_K, to_π_K = gradients(x_N, μ_K, σ_K, π_K)
        μ_K, σ_K = μ_K + lr * to_μ_K, σ_K + lr * to_σ_K
        π_K = π_K + lr * (to_π_K + np.sign(1 - π_K.sum()))
        is_mirrored |= bool((π_K < 0).any())
        π_K = abs(π_K)
    return [np.array(column) for column in zip(*rows, strict=True)], is_mirrored


NAMES = ["loss_T", "μ_TK", "σ_TK", "π_TK"]


@settings(always_the_same, max_examples=20)
@given(
    arrays(np.float64, 20, elements=st.floats(-6, 6)),
    arrays(np.float64, (3, 3), elements=st.floats(0.4, 2)),
    st.floats(0.001, 0.1),
)
def test_descent_is_that_of_numpy(x_N, start, lr):
    start = start * [[3], [1], [0.5]] - [[3], [0], [0]]
    history = descend(*tensors(x_N, *start), steps=15, lr=lr)
    expected, _ = descend_in_numpy(x_N, *start, steps=15, lr=lr)
    assert list(history) == NAMES
    for name, rows in zip(NAMES, expected, strict=True):
        assert history[name].shape == rows.shape
        np.testing.assert_allclose(history[name], rows, rtol=1e-8, atol=1e-8, err_msg=name)


def test_first_step_goes_down_the_differences():
    """Without any formula: differences of a loss by scipy, from a start whose weights sum to more than one."""
    x_N, θ_D = np.linspace(-4, 5, 40), np.array([-1.0, 2.0, 0.8, 1.5, 0.7, 0.6])

    def loss(θ_D):
        p_N = stats.norm.pdf(x_N[:, None], θ_D[:2], θ_D[2:4]) @ θ_D[4:]
        return abs(1 - θ_D[4:].sum()) - np.log(p_N).mean()

    history = descend(*tensors(x_N, *np.split(θ_D, 3)), steps=2, lr=0.1)
    moved_D = np.concatenate([history[name][1] for name in NAMES[1:]])
    np.testing.assert_allclose(moved_D, θ_D - 0.1 * optimize.approx_fprime(θ_D, loss), rtol=0, atol=1e-6)
    np.testing.assert_allclose(history["loss_T"], [loss(θ_D), loss(moved_D)], rtol=1e-12)


def test_rows_are_taken_before_the_step():
    x_N, start = np.linspace(-4, 4, 21), ([-1.0, 1.0], [1.0, 2.0], [0.3, 0.3])
    history = descend(*tensors(x_N, *start), steps=30)
    for name, values in zip(NAMES[1:], start, strict=True):
        np.testing.assert_array_equal(history[name][0], values)
    for loss, *mixture in zip(*history.values(), strict=True):
        log_p_N = np.log(stats.norm.pdf(x_N[:, None], *mixture[:2]) @ mixture[2])
        assert loss == pytest.approx(abs(1 - mixture[2].sum()) - log_p_N.mean(), rel=1e-12)
    once = descend(*tensors(x_N, *start), steps=1)
    assert [once[name].shape for name in NAMES] == [(1,), (1, 2), (1, 2), (1, 2)]


def test_weights_are_never_negative():
    """A component without points loses weight at every step, comes to zero and is reflected."""
    x_N, start = np.linspace(-1, 1, 11), [np.array([0.0, 60.0]), np.array([1.0, 1.0]), np.array([1.5, 0.02])]
    history = descend(*tensors(x_N, *start), steps=12, lr=0.05)
    expected, is_mirrored = descend_in_numpy(x_N, *start, steps=12, lr=0.05)
    assert is_mirrored and (history["π_TK"] >= 0).all()
    np.testing.assert_allclose(history["π_TK"], expected[3], rtol=1e-9)


def test_a_negative_standard_deviation_may_start():
    x_N = np.linspace(-3, 3, 15)
    plus, minus = (descend(*tensors(x_N, [-1, 1], σ_K, [0.5, 0.5]), steps=9) for σ_K in ([1, 2], [1, -2]))
    np.testing.assert_allclose(minus["σ_TK"], plus["σ_TK"] * [1, -1], rtol=1e-12)
    np.testing.assert_allclose(minus["loss_T"], plus["loss_T"], rtol=1e-12)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_the_start_is_left_as_it_is(requires_grad):
    x_N, *start = tensors([-2.0, 0.0, 3.0], *POST)
    before = [tensor.clone() for tensor in (x_N, *start)]
    for tensor in start:
        tensor.requires_grad_(requires_grad)
    descend(x_N, *start, steps=3)
    for tensor, old in zip((x_N, *start), before, strict=True):
        assert torch.equal(tensor.detach(), old) and tensor.grad is None
    assert [tensor.requires_grad for tensor in (x_N, *start)] == [False] + [requires_grad] * 3


def test_descent_finds_what_em_finds():
    """With its own step and number of steps, from the start of notebook 04."""
    x_N = torch.from_numpy(sample_gmm(2000, [-3, 3], [1, 1], [0.5, 0.5], seed=0))
    generator = torch.Generator().manual_seed(6)
    drawn = [torch.randn(2, generator=generator, dtype=torch.float64) for _ in range(3)]
    start = drawn[0], drawn[1] ** 2, drawn[2].abs()
    history = descend(x_N, *start)
    assert [history[name].shape for name in NAMES] == [(2000,), (2000, 2), (2000, 2), (2000, 2)]
    assert all(rows.dtype == np.float64 for rows in history.values())
    expected, _ = descend_in_numpy(x_N.numpy(), *(start_K.numpy() for start_K in start), steps=60, lr=0.05)
    for name, rows in zip(NAMES, expected, strict=True):
        np.testing.assert_allclose(history[name][:60], rows, rtol=1e-8, atol=1e-8)
    judge = GaussianMixture(2, means_init=[[-1], [1]], tol=1e-12, max_iter=1000).fit(x_N.numpy()[:, None])
    best = history["loss_T"].argmin()
    np.testing.assert_allclose(history["μ_TK"][best], judge.means_[:, 0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(history["σ_TK"][best], judge.covariances_[:, 0, 0] ** 0.5, rtol=0, atol=1e-4)
    np.testing.assert_allclose(history["π_TK"][best], judge.weights_, rtol=0, atol=1e-4)
    assert history["loss_T"][best] == pytest.approx(-judge.score(x_N.numpy()[:, None]), abs=1e-6)


@pytest.mark.parametrize("steps", [0, -1, 2.0, "9", None, True, np.nan])
def test_bad_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match="steps must be an integer of at least 1"):
        descend(*tensors([0.0, 1.0], *POST), steps=steps)


@pytest.mark.parametrize("lr", [0, -0.05, np.nan, np.inf, "a", None])
def test_bad_learning_rates_are_refused(lr):
    with pytest.raises(ValueError, match=r"lr must (be positive|be finite|hold numbers)"):
        descend(*tensors([0.0, 1.0], *POST), steps=2, lr=lr)


def test_a_descent_that_ends_in_nan_says_so():
    with pytest.raises(ValueError, match="no NaN"):
        descend(*tensors([0.0, 1.0], *POST), steps=9, lr=1e300)


# --- graph_of, places, draw_graph


OPERATIONS = [(torch.add, "Add", 2), (torch.mul, "Mul", 2), (torch.exp, "Exp", 1), (torch.sin, "Sin", 1)]


@st.composite
def expressions(draw):
    """A tensor, its named leaves, and its graph as written down while it was made."""
    leaves = {name: torch.ones(1, requires_grad=True) for name in "μσπ"}
    made, written = list(leaves.values()), nx.DiGraph()
    written.add_nodes_from((n, {"label": name}) for n, name in enumerate(leaves))
    for _ in range(draw(st.integers(1, 6))):
        operation, label, arity = draw(st.sampled_from(OPERATIONS))
        inputs = [draw(st.integers(0, len(made) - 1)) for _ in range(arity)]
        written.add_node(len(made), label=label)
        written.add_edges_from((len(made), n) for n in inputs)
        made.append(operation(*(made[n] for n in inputs)))
    root = len(made) - 1
    return made[root], leaves, nx.DiGraph(written.subgraph({root} | nx.descendants(written, root)))


def agree(one, other):
    return nx.is_isomorphic(one, other, node_match=lambda a, b: a["label"] == b["label"])


@always_the_same
@given(expressions())
def test_graph_has_the_nodes_and_edges_of_the_expression(expression):
    root, leaves, written = expression
    graph = graph_of(root, leaves)
    assert agree(graph, written)
    assert [node for node in graph if graph.in_degree(node) == 0] == [root.grad_fn]
    assert all(set(graph.successors(node)) == {n for n, _ in node.next_functions if n} for node in graph)


def test_leaves_are_labelled_by_identity():
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    c = torch.ones(2)
    assert Counter(dict(graph_of(a * b + c, {"b": b, "c": c}).nodes(data="label")).values()) == Counter(
        ["Add", "Mul", "leaf", "b"]
    )
    assert sorted(dict(graph_of(a * 2).nodes(data="label")).values()) == ["Mul", "leaf"]


@pytest.mark.parametrize("root", [torch.ones(2), torch.ones(2, requires_grad=True), np.ones(2), 3.0, None], ids=str)
def test_a_root_without_a_graph_is_refused(root):
    _, ax = plt.subplots()
    for call in (lambda: graph_of(root), lambda: draw_graph(root, ax)):
        with pytest.raises(ValueError, match="root must be a tensor with a grad_fn"):
            call()


@st.composite
def dags(draw):
    n = draw(st.integers(0, 9))
    order = draw(st.permutations(range(n)))
    graph = nx.DiGraph()
    graph.add_nodes_from(range(n))
    pairs = [(order[i], order[j]) for i in range(n) for j in range(i + 1, n)]
    graph.add_edges_from(pair for pair in pairs if draw(st.booleans()))
    return graph


@always_the_same
@given(dags())
def test_every_node_has_its_place(graph):
    place = places(graph)
    assert set(place) == set(graph)
    assert len(set(place.values())) == len(graph)
    assert all(place[child][1] < place[node][1] for node, child in graph.edges)
    for node, (_, y) in place.items():
        assert y == min((place[parent][1] for parent in graph.predecessors(node)), default=1) - 1
    leaves = [node for node in graph if not graph.out_degree(node)]
    ways = nx.transitive_closure(graph, reflexive=True)
    for row in {y for _, y in place.values()}:
        nodes = sorted((node for node in graph if place[node][1] == row), key=lambda node: place[node][0])
        assert [place[node][0] for node in nodes] == [n - (len(nodes) - 1) / 2 for n in range(len(nodes))]
        below = [np.mean([n for n, leaf in enumerate(leaves) if ways.has_edge(node, leaf)]) for node in nodes]
        assert below == sorted(below)


@pytest.mark.parametrize("graph", [nx.DiGraph([(1, 2), (2, 1)]), nx.DiGraph([(1, 1)]), nx.Graph([(1, 2)]), None, {}])
def test_graphs_without_a_top_are_refused(graph):
    with pytest.raises(ValueError, match="graph must be a networkx DiGraph without cycles"):
        places(graph)


@settings(always_the_same, max_examples=15)
@given(expressions())
def test_drawing_shows_every_node_and_every_arrow(expression):
    root, leaves, written = expression
    ax = Figure().subplots()
    graph = draw_graph(root, ax, leaves)
    assert agree(graph, written)
    assert Counter(text.get_text() for text in ax.texts) == Counter(dict(written.nodes(data="label")).values())
    assert len({text.get_position() for text in ax.texts}) == len(graph)
    for text in ax.texts:
        edge = to_hex(text.get_bbox_patch().get_edgecolor()).upper()
        assert edge == (GREEN if text.get_text() in leaves else BLUE)
    assert len(ax.patches) == written.number_of_edges()
    assert not ax.axison
    for arrow in ax.patches:
        start, _, end = arrow.get_path().vertices[:3]
        assert end[1] < start[1]
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    for x, y in (text.get_position() for text in ax.texts):
        assert left < x < right and bottom < y < top


# --- render_frames


def test_frames_show_what_was_drawn():
    """Each frame is its own copy, pixel for pixel what savefig writes of such a figure."""

    def figure():
        fig, ax = plt.subplots(figsize=(2.1, 1.3), dpi=100)
        return fig, *ax.plot([0, 1], [0, 1])

    def by_savefig(t):
        fig, line = figure()
        line.set_ydata([t, 1 - t])
        fig.savefig(file := io.BytesIO(), format="png")
        return np.asarray(Image.open(file).convert("RGB"))

    fig, line = figure()
    steps = np.array([0.0, 0.5, 1.0, 0.5])
    frames_F = render_frames(fig, lambda t: line.set_ydata([t, 1 - t]), steps)
    assert type(frames_F) is list and not plt.fignum_exists(fig.number)
    np.testing.assert_array_equal(frames_F, [by_savefig(t) for t in steps])
    assert all(frame.shape == (130, 210, 3) and frame.dtype == np.uint8 for frame in frames_F)
    assert len({frame.tobytes() for frame in frames_F}) == 3
    assert not any(np.shares_memory(frames_F[0], frame) for frame in frames_F[1:])
    frames_F[0][:] = 0  # it may be written to


def test_the_axes_stay_where_the_first_drawing_has_put_them():
    def figure():
        fig, ax = plt.subplots(figsize=(3, 2), layout="constrained")
        ax.set(ylabel="density", title="step")
        return fig, ax

    fig, ax = figure()
    fig.draw_without_rendering()
    expected = ax.get_position().bounds
    fig, ax = figure()
    seen = []

    def draw(t):
        seen.append(ax.get_position().bounds)
        ax.set(ylabel="density\n" * t, title="step\n" * t)

    render_frames(fig, draw, range(1, 5))
    seen.append(ax.get_position().bounds)
    np.testing.assert_allclose(seen, [expected] * 5, atol=1e-3)


@pytest.mark.parametrize("steps", [[], np.array([]), range(0)])
def test_an_empty_history_is_refused(steps):
    fig = plt.figure()
    with pytest.raises(ValueError, match="steps is empty"):
        render_frames(fig, print, steps)


# --- write_gif, write_mp4, write_film_strip

COLOURS = np.array([[255, 255, 255], [0, 0, 0], [0, 114, 178], [213, 94, 0], [0, 158, 115], [1, 2, 3]], np.uint8)
WRITERS = [(".gif", write_gif), (".mp4", write_mp4), (".png", write_film_strip)]
every_writer = pytest.mark.parametrize(("ending", "write"), WRITERS, ids=["gif", "mp4", "png"])


def some_frames(F=4, height=24, width=36):
    """F plain pictures, no two alike, each with a mark, so that no axis can be mixed up."""
    frames_F = [np.full((height, width, 3), COLOURS[f % 6], np.uint8) for f in range(F)]
    for f, frame in enumerate(frames_F):
        frame[: height // 3, : width // 2] = COLOURS[(f + 3) % 6]
    return frames_F


def read_pillow(path):
    """Frames, their milliseconds, and the loop, by Pillow."""
    with Image.open(path) as picture:
        frames, durations = [], []
        for frame in ImageSequence.Iterator(picture):
            frames.append(np.asarray(frame.convert("RGB")))
            durations.append(frame.info.get("duration"))
        return frames, durations, picture.info.get("loop")


@always_the_same
@given(arrays(np.uint8, st.tuples(st.integers(1, 5), *[st.integers(1, 8)] * 2), elements=st.integers(0, 5)), st.data())
def test_gif_comes_back_frame_by_frame(number_FHW, data):
    """Pillow stores equal neighbours once, with their durations added up: frame by frame in time nothing changes."""
    frames_F, fps = list(COLOURS[number_FHW]), data.draw(st.integers(1, 50) | st.floats(0.5, 50))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "film.gif")
        assert write_gif(path, frames_F, fps) == path
        assert list(Path(folder).iterdir()) == [path]
        stored, durations, loop = read_pillow(path)
    assert loop == 0
    unit = sum(durations) / len(frames_F)
    assert unit % 10 == 0 and abs(unit - 1000 / fps) <= 5 + 1e-9
    counts = np.array(durations) / unit
    np.testing.assert_array_equal(counts, counts.astype(int))
    np.testing.assert_array_equal(np.repeat(stored, counts.astype(int), axis=0), frames_F)


@pytest.mark.parametrize(("fps", "expected"), [((), 100), ((5,), 200), ((12.5,), 80), ((30,), 30), ((50,), 20)])
def test_gif_keeps_time(tmp_path, fps, expected):
    path = write_gif(str(tmp_path / "film.gif"), some_frames(), *fps)
    assert path == tmp_path / "film.gif"
    frames_F, durations, loop = read_pillow(path)
    assert durations == [expected] * 4 and loop == 0
    np.testing.assert_array_equal(frames_F, some_frames())


def test_gif_of_a_figure_is_close_to_it(tmp_path):
    """More colours than a GIF has: they are reduced, no more."""
    fig, ax = plt.subplots(figsize=(2, 1.5), dpi=100)
    ax.imshow(np.linspace(0, 1, 400).reshape(20, 20), cmap="viridis")
    frames_F = render_frames(fig, lambda t: ax.set_title(f"step {t}"), [1, 2])
    stored, _, _ = read_pillow(write_gif(tmp_path / "film.gif", frames_F))
    assert len(stored) == 2
    assert np.abs(np.array(stored, float) - frames_F).mean() < 4


@always_the_same
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), *[st.integers(1, 5)] * 2, st.just(3))), st.data())
def test_film_strip_comes_back_frame_by_frame(frames_F, data):
    F, height, width, _ = frames_F.shape
    columns = data.draw(st.sampled_from([n for n in range(1, F + 1) if F % n == 0]))
    with tempfile.TemporaryDirectory() as folder:
        path = write_film_strip(Path(folder, "strip.png"), list(frames_F), columns)
        assert list(Path(folder).iterdir()) == [path] == [Path(folder, "strip.png")]
        pictures, _, _ = read_pillow(path)
    assert len(pictures) == 1 and pictures[0].shape == (F // columns * height, columns * width, 3)
    for f, frame in enumerate(frames_F):
        top, left = f // columns * height, f % columns * width
        np.testing.assert_array_equal(pictures[0][top : top + height, left : left + width], frame)


def test_film_strip_has_two_columns(tmp_path):
    (picture,), _, _ = read_pillow(write_film_strip(tmp_path / "strip.png", some_frames(6)))
    assert picture.shape == (3 * 24, 2 * 36, 3)


@pytest.mark.parametrize("columns", [0, -1, 1.0, "2", None, True])
def test_bad_columns_are_refused(tmp_path, columns):
    with pytest.raises(ValueError, match="columns must be an integer of at least 1"):
        write_film_strip(tmp_path / "strip.png", some_frames(), columns)


@pytest.mark.parametrize("columns", [3, 5, 8])
def test_columns_have_to_divide_the_number_of_frames(tmp_path, columns):
    with pytest.raises(ValueError, match="columns must divide the number of frames, 4"):
        write_film_strip(tmp_path / "strip.png", some_frames(), columns)
    assert not list(tmp_path.iterdir())


def read_mp4(path):
    reader = imageio_ffmpeg.read_frames(path)
    about = next(reader)
    width, height = about["size"]
    return [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader], about


@pytest.mark.parametrize(("F", "height", "width"), [(1, 2, 2), (5, 24, 36), (7, 50, 34), (3, 98, 130)])
@pytest.mark.parametrize(("fps", "expected"), [((), 10), ((25,), 25)])
def test_mp4_comes_back_frame_by_frame(tmp_path, F, height, width, fps, expected):
    frames_F = some_frames(F, height, width)
    path = write_mp4(str(tmp_path / "film.mp4"), frames_F, *fps)
    assert list(tmp_path.iterdir()) == [path] == [tmp_path / "film.mp4"]
    stored, about = read_mp4(path)
    assert about["codec"] == "h264" and about["fps"] == expected
    assert np.shape(stored) == (F, height, width, 3)
    if height > 2:
        inner = np.s_[:, height // 2 :, 4:-4]  # away from edges, whose colours H.264 blurs
        assert np.abs(np.array(stored, float) - frames_F)[inner].max() < 12


def test_same_frames_give_the_same_mp4(tmp_path, monkeypatch):
    """Byte by byte: again, on a processor without vector instructions, and with nothing said of encoder versions."""
    fig, ax = plt.subplots(figsize=(3.2, 2.4), dpi=100)
    (line,) = ax.plot([0, 1], [0, 1])
    frames_F = render_frames(fig, lambda t: line.set_ydata([t, 1 - t]), np.linspace(0, 1, 12))
    once = write_mp4(tmp_path / "once.mp4", frames_F).read_bytes()
    assert write_mp4(tmp_path / "again.mp4", frames_F).read_bytes() == once
    assert b" threads=1 " in once and not re.search(rb"Lav[cf]\d", once)
    imwrite = iio.imwrite

    def without_vectors(*arguments, output_params, **how):
        output_params = list(output_params)
        output_params[output_params.index("-x264-params") + 1] += ":asm=0"
        imwrite(*arguments, output_params=output_params, **how)

    monkeypatch.setattr(iio, "imwrite", without_vectors)
    assert write_mp4(tmp_path / "plain.mp4", frames_F).read_bytes() == once


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (5, 5)])
def test_odd_sizes_are_refused_by_mp4_alone(tmp_path, height, width):
    with pytest.raises(ValueError, match="frames_F must have an even height and width"):
        write_mp4(tmp_path / "film.mp4", some_frames(2, height, width))
    assert not list(tmp_path.iterdir())
    write_gif(tmp_path / "film.gif", some_frames(2, height, width))


BAD_FRAMES = {
    "empty": [],
    "other height": [np.zeros((4, 4, 3), np.uint8), np.zeros((6, 4, 3), np.uint8)],
    "other width": [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)],
    "float": [np.zeros((4, 4, 3))] * 2,
    "int": [np.zeros((4, 4, 3), int)] * 2,
    "one float": [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3))],
    "grey": [np.zeros((4, 4), np.uint8)] * 2,
    "alpha": [np.zeros((4, 4, 4), np.uint8)] * 2,
    "five axes": [np.zeros((2, 4, 4, 3), np.uint8)] * 2,
    "numbers": [1, 2],
}


@every_writer
@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_bad_frames_are_refused_and_the_older_file_stays(tmp_path, ending, write, kind):
    path = tmp_path / f"film{ending}"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="frames_F"):
        write(path, BAD_FRAMES[kind])
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


@every_writer
@pytest.mark.parametrize("name", ["film", "film.txt", "film.jpg", ".gif", "film.gif.bak", "film.mp44"])
def test_wrong_endings_are_refused(tmp_path, ending, write, name):
    with pytest.raises(ValueError, match=rf"path must end in \{ending}"):
        write(tmp_path / name, some_frames())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("ending", "write"), WRITERS[:2], ids=["gif", "mp4"])
@pytest.mark.parametrize("fps", [0, 0.0, 0.001, -1, 51, 50.1, np.nan, np.inf, -np.inf, None, "10"])
def test_bad_fps_are_refused(tmp_path, ending, write, fps):
    path = tmp_path / f"film{ending}"
    path.write_bytes(b"older")
    with pytest.raises(ValueError, match="fps"):
        write(path, some_frames(), fps)
    assert path.read_bytes() == b"older" and list(tmp_path.iterdir()) == [path]


@every_writer
def test_unwritable_paths_are_named(tmp_path, ending, write):
    is_folder, is_file = tmp_path / f"folder{ending}", tmp_path / "file"
    is_folder.mkdir()
    is_file.write_bytes(b"file")
    missing = tmp_path / "no" / "such" / f"film{ending}"
    for path in (is_folder, is_file / f"film{ending}", missing):
        with pytest.raises(ValueError, match=r"path: cannot write .*" + path.name):
            write(path, some_frames())
    assert set(tmp_path.iterdir()) == {is_folder, is_file} and not list(is_folder.iterdir())
    assert is_file.read_bytes() == b"file"


@every_writer
@pytest.mark.parametrize(
    ("failure", "seen"), [(OSError("disk full"), ValueError), (KeyboardInterrupt(), KeyboardInterrupt)], ids=repr
)
def test_a_failure_in_the_middle_leaves_the_older_file_whole(tmp_path, monkeypatch, ending, write, failure, seen):
    path = write(tmp_path / f"film{ending}", some_frames())
    older = path.read_bytes()

    def write_half(file, *_, **__):
        Path(file).write_bytes(older[: len(older) // 2])
        raise failure

    monkeypatch.setattr(iio, "imwrite", write_half)
    with pytest.raises(seen) as caught:
        write(path, some_frames(6))
    if seen is ValueError:
        assert "path" in str(caught.value) and path.name in str(caught.value) and "disk full" in str(caught.value)
    assert path.read_bytes() == older and list(tmp_path.iterdir()) == [path]


@every_writer
def test_the_older_file_is_replaced(tmp_path, ending, write):
    path = tmp_path / f"film{ending}"
    path.write_bytes(b"older")
    write(path, some_frames())
    alone = write(tmp_path / f"alone{ending}", some_frames())
    assert path.read_bytes() == alone.read_bytes() and len(list(tmp_path.iterdir())) == 2


# --- show_figure


@pytest.fixture
def shown(monkeypatch):
    """What IPython sends to the notebook, in order: (data, metadata)."""
    sent = []
    monkeypatch.setattr(InteractiveShell, "initialized", lambda: True)
    monkeypatch.setattr(
        display_functions, "publish_display_data", lambda data, metadata=None, **_: sent.append((data, metadata or {}))
    )
    return sent


@pytest.mark.parametrize("size", [(8, 3.6), (5, 4), (3.21, 2.5)])
def test_figure_is_shown_with_its_description(shown, size):
    with plt.rc_context(FIGURE_STYLE):
        fig, ax = plt.subplots(figsize=size)
        ax.plot([0, 1e6], [0, 1])
        ax.set(title="A title that is wider than the axes themselves", xlabel="x")
        expected = render_frames(Figure(size), lambda t: None, [0])[0].shape
        assert show_figure(fig, "A line from (0, 0) up.") is None
    (picture, about), (caption, _) = shown
    assert set(picture) == {"image/png"} and about == {"image/png": {"alt": "A line from (0, 0) up."}}
    with Image.open(io.BytesIO(picture["image/png"])) as png:
        assert png.format == "PNG" and png.size == (round(100 * size[0]), round(100 * size[1])) == expected[1::-1]
        assert len(png.convert("L").getcolors()) > 2
    assert caption == {"text/markdown": "*A line from (0, 0) up.*", "text/plain": "A line from (0, 0) up."}
    assert not plt.fignum_exists(fig.number)


@pytest.mark.parametrize("description", ["", "  \n", None, 5, b"text"])
def test_a_figure_without_description_is_refused(shown, description):
    fig, _ = plt.subplots()
    with pytest.raises(ValueError, match="description must say what the figure shows"):
        show_figure(fig, description)
    assert not shown


def test_colours_stand_out_on_white():
    """Contrast as WCAG 2 defines it; and the style is one that matplotlib knows."""
    with plt.rc_context(FIGURE_STYLE):
        assert plt.rcParams["figure.dpi"] == 100 and plt.rcParams["savefig.bbox"] is None
        cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert cycle == [BLUE, RED, GREEN, PURPLE] and len({*cycle, GREY}) == 5
    for colour in (*cycle, GREY):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        assert 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear) + 0.05) >= 3, colour


# --- check_answer


@pytest.mark.parametrize(
    ("answer", "expected", "says"),
    [
        (None, 1.0, "Not answered yet."),
        (..., [1.0, 2.0], "Not answered yet."),
        (1.0, 1.0, "Correct."),
        (1, torch.tensor(1.0), "Correct."),
        (np.float32(1), 1.0, "Correct."),
        ([1, 2], np.array([1.0, 2.0]), "Correct."),
        ((1, 2), torch.tensor([1.0, 2.0]), "Correct."),
        (torch.tensor([1.0, 2.0], requires_grad=True), [1, 2], "Correct."),
        (torch.ones(2, 3, dtype=torch.float32), np.ones((2, 3)), "Correct."),
        ([torch.tensor(1.0), 2.0], torch.tensor([1.0, 2.0], requires_grad=True), "Correct."),
        (1 + 9e-7, 1.0, "Correct."),
        (1 + 2e-6, 1.0, "Not correct: the largest difference is 2e-06."),
        ([1.0, 2.5, 2.75], [1.0, 2.0, 3.0], "Not correct: the largest difference is 0.5."),
        ([1.0, 1.5, 3.25], [1.0, 2.0, 3.0], "Not correct: the largest difference is 0.5."),
        (-1.0, 1.0, "Not correct: the largest difference is 2."),
        ([1.0], 1.0, r"Wrong shape: yours is (1,), expected ()."),
        (1.0, [1.0, 1.0], r"Wrong shape: yours is (), expected (2,)."),
        (np.ones((2, 1)), np.ones((1, 2)), r"Wrong shape: yours is (2, 1), expected (1, 2)."),
        (np.nan, 1.0, "Not correct: your answer must be finite and not empty, got nan."),
        ([1.0, np.inf], [1.0, 2.0], "Not correct: your answer must be finite and not empty, got [1.0, inf]."),
        ([], [1.0], "Not correct: your answer must be finite and not empty, got []."),
        ([None, 1.0], [1.0, 1.0], "Not correct: your answer must"),
        ("two", 2.0, "Not correct: your answer must hold numbers"),
        (print, 2.0, "Not correct: your answer must hold numbers"),
        ({}, 2.0, "Not correct: your answer must hold numbers"),
        ([[1.0], [1.0, 2.0]], [1.0, 2.0], "Not correct: your answer must hold numbers"),
        ([1 + 1j], [1.0], "Not correct: your answer must hold numbers"),
        (np.array([1 + 1j]), [1.0], "Not correct: your answer must hold numbers"),
        pytest.param(10**400, 1.0, "Not correct: your answer must", id="more than a float holds"),
        ("1.0", 1.0, "Not correct: your answer must hold numbers"),
    ],
)
def test_answers_are_judged(capsys, answer, expected, says):
    assert check_answer(answer, expected) is None
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0] == says if says.endswith(".") else lines[0].startswith(says)


@pytest.mark.parametrize("tolerance", [0, 0.25, 2])
def test_the_tolerance_itself_is_near_enough(capsys, tolerance):
    for answer in (3 + tolerance, 3 - tolerance):
        check_answer(answer, 3, tolerance)
        assert capsys.readouterr().out == "Correct.\n"
    for answer in (3 + tolerance + 1e-9, 3 - tolerance - 1e-9):
        check_answer(answer, 3, tolerance=tolerance)
        assert capsys.readouterr().out.startswith("Not correct: the largest difference is ")


@pytest.mark.parametrize("answer", [None, 1.0])
def test_bad_expectations_are_refused(capsys, answer):
    for expected in (np.nan, [1, np.inf], [], "one", None, ...):
        with pytest.raises(ValueError, match=r"^expected must"):
            check_answer(answer, expected)
    for tolerance in (-1e-9, np.nan, np.inf, "small", None):
        with pytest.raises(ValueError, match=r"^tolerance must"):
            check_answer(answer, 1.0, tolerance)
    assert capsys.readouterr().out == ""


# --- What a notebook builds in the open computes the same


def built_in(number, *names):
    """Functions of a notebook, from the source of its code cells."""
    (path,) = (ROOT / "notebooks").glob(f"{number}_*.ipynb")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    statements = [statement for source in sources for statement in ast.parse(source).body]
    imports = [statement for statement in statements if isinstance(statement, ast.Import | ast.ImportFrom)]
    functions = [statement for statement in statements if isinstance(statement, ast.FunctionDef)]
    built = {function.name: function for function in reversed(functions) if function.name in names}
    assert set(built) == set(names)
    space = {}
    exec(compile(ast.Module([*imports, *built.values()], []), path.name, "exec"), space)
    return [space[name] for name in names]


def test_notebook_01_builds_these():
    density, plot, sample = built_in("01", "gmm_density", "gmm_plot", "sample_gmm")
    x_N = np.linspace(-9, 9, 50)
    for mixture in (tuple(map(np.array, POST)), UNEVEN):
        np.testing.assert_array_equal(density(x_N, *mixture), gmm_density(x_N, *mixture))
        for seed in (0, 5):
            np.testing.assert_array_equal(sample(40, *mixture, seed), sample_gmm(40, *mixture, seed))
        ours, theirs = gmm_plot(*mixture, color=RED), plot(*mixture, color=RED)
        np.testing.assert_array_equal(ours[0].get_data(), theirs[0].get_data())
        assert ours[0].get_color() == theirs[0].get_color()


def test_notebook_02_builds_these():
    graph_in_the_open, _, draw_in_the_open = built_in("02", "graph_of", "node_label", "draw_graph")
    a, b = torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)
    for root in (a * b, (a * a).exp() + a * 2, torch.logsumexp(torch.stack([a, b, a]), 0)):
        ours, theirs = graph_of(root, {"a": a}), graph_in_the_open(root, {"a": a})
        assert list(ours.nodes(data="label")) == list(theirs.nodes(data="label"))
        assert list(ours.edges) == list(theirs.edges)
        left, right = Figure().subplots(1, 2)
        draw_graph(root, left, {"a": a})
        draw_in_the_open(root, right, {"a": a})
        labels = [{text.get_text(): text.get_position() for text in ax.texts} for ax in (left, right)]
        assert labels[0] == labels[1] and len(left.patches) == len(right.patches)


def test_notebook_03_builds_this():
    _, in_the_open = built_in("03", "log_normal", "gmm_log_density")
    for mixture in (POST, UNEVEN, ([0.0], [-2.0], [3.0])):
        inputs = tensors([-60.0, -1.0, 0.0, 4.0], *mixture)
        torch.testing.assert_close(in_the_open(*inputs), gmm_log_density(*inputs), rtol=1e-15, atol=0)


def test_notebook_05_builds_these(tmp_path):
    render, gif, mp4, strip = built_in("05", "render_frames", "write_gif", "write_mp4", "write_film_strip")

    def both(render):
        fig, ax = plt.subplots(figsize=(2, 1.4), layout="constrained")
        (line,) = ax.plot([0, 1], [0, 1])
        return render(fig, lambda t: line.set_ydata([t, 1 - t]), [0, 0.3, 0.3, 1])

    frames_F = both(render_frames)
    np.testing.assert_array_equal(both(render), frames_F)
    for name, ours, theirs, how in [
        ("film.gif", write_gif, gif, {"fps": 5}),
        ("film.mp4", write_mp4, mp4, {"fps": 5}),
        ("strip.png", write_film_strip, strip, {"columns": 2}),
    ]:
        paths = ours(tmp_path / name, frames_F, **how), theirs(tmp_path / f"open-{name}", frames_F, **how)
        assert paths[0].read_bytes() == paths[1].read_bytes(), name


def test_every_helper_is_tested_here():
    """Or in one of two files beside; and its docstring names the notebook that builds it, or says it is plumbing."""
    names = Path(__file__).name, "test_many_starts.py", "test_one_log_density.py"
    files = [Path(__file__).with_name(name) for name in names]
    source = "\n".join(file.read_text(encoding="utf-8") for file in files)
    for name, function in inspect.getmembers(gmm_helpers, inspect.isfunction):
        if function.__module__ == "gmm_helpers" and not name.startswith("_"):
            assert f"{name}(" in source, name
            is_plumbing = function.__doc__.rstrip().endswith("Plumbing.")
            assert is_plumbing or re.search(r"Built in notebook \d\d", function.__doc__), name
