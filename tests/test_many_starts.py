"""The helpers that run many descents at once, against slow programs, scipy and properties that have to hold."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from gmm_helpers import (
    descend,
    descend_together,
    draw_starts,
    free_losses,
    gmm_log_density,
    mixture_losses,
    post_losses,
    rate,
    sample_gmm,
    tally,
)

X_N = sample_gmm(300, [-3, 3], [1, 1], [0.5, 0.5], seed=0)
X_M, SHARE_M = tally(X_N)
always_the_same = settings(deadline=None, derandomize=True, max_examples=40)
pytestmark = pytest.mark.usefixtures("as_in_the_notebooks")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_helpers_give_float64_whatever_the_default(dtype):
    torch.set_default_dtype(dtype)
    assert {value.dtype for value in (*tally([1.0, 2.0]), *draw_starts(2))} == {torch.float64}


def mild_starts(S, K=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(3, S, K, generator=generator, dtype=torch.float64)
    return 6 * draw[0] - 3, 0.5 + 2 * draw[1], 0.1 + draw[2]


# --- Tallies


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=60), st.sampled_from([0.1, 0.25, 1.0, 3.0]))
@always_the_same
def test_a_tally_holds_the_rounded_points(points, width):
    x_M, share_M = tally(points, width)
    values, counts = np.unique(np.round(np.array(points) / width) * width, return_counts=True)
    np.testing.assert_array_equal(x_M, values)
    np.testing.assert_allclose(share_M * len(points), counts, rtol=1e-12)
    assert x_M.dtype == share_M.dtype == torch.float64 and abs(share_M.sum() - 1) < 1e-12


def test_a_tally_moves_no_point_by_more_than_half_a_width():
    x_M, share_M = tally(X_N, 0.5)
    assert abs(np.sort(X_N) - np.repeat(x_M.numpy(), np.round(300 * share_M.numpy()).astype(int))).max() <= 0.25 + 1e-12
    assert tally(torch.tensor([1.0, 1.1]))[0].tolist() == [1.0]


@pytest.mark.parametrize("width", [0, -1, np.nan, np.inf, "a", None, [0.1, 0.2]])
def test_bad_widths_are_refused(width):
    with pytest.raises(ValueError, match="width"):
        tally(X_N, width)


@pytest.mark.parametrize("x_N", [[], [[1.0]], [np.nan], ["a"], None, 3.0])
def test_data_that_cannot_be_tallied_are_refused(x_N):
    with pytest.raises(ValueError, match="x_N"):
        tally(x_N)


# --- Starts


def test_starts_have_the_laws_of_the_post():
    μ_SK, σ_SK, π_SK = (start_SK.flatten().numpy() for start_SK in draw_starts(5000, K=2, seed=3))
    assert stats.kstest(μ_SK, stats.norm.cdf).pvalue > 0.01
    assert stats.kstest(σ_SK, stats.chi2(1).cdf).pvalue > 0.01
    assert stats.kstest(π_SK, stats.halfnorm.cdf).pvalue > 0.01
    assert abs(np.corrcoef([μ_SK, σ_SK, π_SK]) - np.eye(3)).max() < 0.05


def test_starts_depend_on_their_seed_alone():
    first, again, other = draw_starts(7, K=3, seed=5), draw_starts(7, K=3, seed=5), draw_starts(7, K=3, seed=6)
    for a_SK, b_SK, c_SK in zip(first, again, other, strict=True):
        assert torch.equal(a_SK, b_SK) and not torch.equal(a_SK, c_SK)
        assert a_SK.shape == (7, 3) and a_SK.dtype == torch.float64


@pytest.mark.parametrize("name", ["S", "K"])
def test_no_starts_and_no_components_are_refused(name):
    with pytest.raises(ValueError, match=name):
        draw_starts(**{"S": 3, "K": 2, name: 0})


@pytest.mark.parametrize("name", ["S", "K", "seed"])
@pytest.mark.parametrize("value", [-1, 1.5, "2", None, True])
def test_bad_numbers_of_starts_are_refused(name, value):
    with pytest.raises(ValueError, match=name):
        draw_starts(**{"S": 3, "K": 2, "seed": 0, name: value})


# --- Losses


@pytest.mark.parametrize("K", [1, 2, 5])
def test_losses_are_those_of_one_mixture_at_a_time(K):
    μ_SK, σ_SK, π_SK = mild_starts(9, K)
    log_π_SK = torch.log(π_SK / π_SK.sum(dim=1, keepdim=True))
    rounded_N = torch.from_numpy(np.round(4 * X_N) / 4)
    one_by_one = torch.stack(
        [-gmm_log_density(rounded_N, *row).mean() for row in zip(μ_SK, σ_SK, log_π_SK.exp(), strict=True)]
    )
    post = torch.stack([-gmm_log_density(rounded_N, *row).mean() for row in zip(μ_SK, σ_SK, π_SK, strict=True)])
    torch.testing.assert_close(mixture_losses(X_M, SHARE_M, μ_SK, σ_SK, log_π_SK), one_by_one, rtol=1e-10, atol=1e-10)
    free_S = free_losses(X_M, SHARE_M, μ_SK, σ_SK.log(), log_π_SK + 3)
    torch.testing.assert_close(free_S, one_by_one, rtol=1e-10, atol=1e-10)
    penalty_S = (1 - π_SK.sum(dim=1)).abs()
    torch.testing.assert_close(post_losses(X_M, SHARE_M, μ_SK, σ_SK, π_SK), post + penalty_S, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("losses_of", [mixture_losses, free_losses, post_losses])
def test_gradients_of_the_losses(losses_of):
    start = [start_SK.requires_grad_() for start_SK in mild_starts(3)]
    assert torch.autograd.gradcheck(lambda *rows: losses_of(X_M, SHARE_M, *rows), start)


def test_the_free_loss_survives_widths_that_exp_does_not():
    s_SK = torch.tensor([[5000.0, 0.0], [-600.0, 0.0], [800.0, 900.0]], dtype=torch.float64, requires_grad=True)
    loss_S = free_losses(X_M, SHARE_M, torch.full((3, 2), 0.1), s_SK, torch.zeros(3, 2))
    loss_S.sum().backward()
    assert loss_S.isfinite().all() and not s_SK.grad.isnan().any()


def test_a_start_that_is_lost_leaves_the_others_alone():
    μ_SK, σ_SK, π_SK = mild_starts(4)
    alone = descend_together(post_losses, X_M, SHARE_M, [start_SK[1:] for start_SK in (μ_SK, σ_SK, π_SK)], steps=5)
    σ_SK[0] = 1e-3
    together = descend_together(post_losses, X_M, SHARE_M, (μ_SK, σ_SK, π_SK), steps=5)
    for alone_TSK, together_TSK in zip(alone, together, strict=True):
        assert together_TSK[-1, 0].isnan().all()
        torch.testing.assert_close(together_TSK[:, 1:], alone_TSK, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("losses_of", [mixture_losses, free_losses, post_losses])
@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("bad", [None, [0.0], np.zeros(2), torch.zeros(2, 3, 4), torch.zeros(()), torch.ones(7).long()])
def test_losses_of_other_shapes_are_refused(losses_of, place, bad):
    values = [X_M, SHARE_M, *mild_starts(3)]
    values[place] = bad
    with pytest.raises(ValueError, match="shape"):
        losses_of(*values)


@pytest.mark.parametrize("losses_of", [mixture_losses, free_losses, post_losses])
@pytest.mark.parametrize("place", range(5))
def test_losses_of_whole_numbers_are_refused(losses_of, place):
    values = [X_M, SHARE_M, *mild_starts(3)]
    values[place] = values[place].ceil().long()
    with pytest.raises(ValueError, match="tensors"):
        losses_of(*values)


# --- Descents


def test_many_descents_are_many_single_descents():
    start, rounded_N = mild_starts(4), torch.from_numpy(np.round(4 * X_N) / 4)
    together = descend_together(post_losses, X_M, SHARE_M, start, steps=30, tidy=torch.abs)
    for row in range(4):
        single = descend(rounded_N, *[start_SK[row] for start_SK in start], steps=31)
        for many_TSK, name in zip(together, ("μ_TK", "σ_TK", "π_TK"), strict=True):
            np.testing.assert_allclose(many_TSK[:, row], single[name], rtol=1e-9, atol=1e-9)


def test_a_column_of_rates_is_one_rate_a_row():
    start = mild_starts(2)
    both = descend_together(free_losses, X_M, SHARE_M, start, steps=9, lr=torch.tensor([[0.01], [0.3]]))
    for row, lr in enumerate((0.01, 0.3)):
        one = descend_together(free_losses, X_M, SHARE_M, [start_SK[row : row + 1] for start_SK in start], 9, lr)
        for both_TSK, one_TSK in zip(both, one, strict=True):
            torch.testing.assert_close(both_TSK[:, row], one_TSK[:, 0], rtol=1e-9, atol=1e-12)


def test_the_history_begins_at_the_start_and_leaves_it_alone():
    start = mild_starts(3)
    before = [start_SK.clone() for start_SK in start]
    history = descend_together(free_losses, X_M, SHARE_M, start, steps=4)
    for start_SK, before_SK, history_TSK in zip(start, before, history, strict=True):
        assert torch.equal(start_SK, before_SK) and torch.equal(history_TSK[0], start_SK)
        assert history_TSK.shape == (5, 3, 2) and not start_SK.requires_grad and not history_TSK.requires_grad


def test_tidy_gets_the_last_parameter_after_each_step():
    history = descend_together(
        post_losses, X_M, SHARE_M, mild_starts(3), steps=6, tidy=lambda π_SK: π_SK / π_SK.sum(dim=1, keepdim=True)
    )
    torch.testing.assert_close(history[2][1:].sum(dim=2), torch.ones(6, 3, dtype=torch.float64))


@pytest.mark.parametrize("steps", [0, -1, 2.0, "9", None, True])
def test_bad_numbers_of_steps_are_refused(steps):
    with pytest.raises(ValueError, match="steps"):
        descend_together(free_losses, X_M, SHARE_M, mild_starts(2), steps)


@pytest.mark.parametrize("lr", [0, -0.1, np.nan, np.inf, "a", None, torch.tensor([[0.1], [-0.1]])])
def test_bad_learning_rates_are_refused(lr):
    with pytest.raises(ValueError, match="lr"):
        descend_together(free_losses, X_M, SHARE_M, mild_starts(2), 3, lr)


# --- Rates


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (7, 7), (82, 500), (1, 3)])
def test_the_interval_is_that_of_the_beta_distribution(successes, trials):
    low = stats.beta.ppf(0.025, successes, trials - successes + 1) if successes else 0
    high = stats.beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1
    percent = f"{100 * successes / trials:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
    assert rate(successes, trials) == f"{successes} of {trials}, {percent}"
    assert rate(torch.tensor(successes), np.int64(trials)) == rate(successes, trials)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0), (1.0, 5), ("1", 5), (None, 5), (1, None)])
def test_rates_that_are_none_are_refused(successes, trials):
    with pytest.raises(ValueError, match="successes of trials"):
        rate(successes, trials)
