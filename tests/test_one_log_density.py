"""What Part III makes of the log-density: a step of EM, the prior, the posterior; against scikit-learn and scipy."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from gmm_helpers import (
    descend_together,
    em_step,
    free_losses,
    log_posterior,
    log_prior,
    mixture_losses,
    sample_gmm,
    tally,
)

X_N = torch.from_numpy(sample_gmm(300, [-3, 3], [1, 1], [0.5, 0.5], seed=0))
EVEN_N = torch.full_like(X_N, 1 / len(X_N))
always_the_same = settings(deadline=None, derandomize=True, max_examples=40)
pytestmark = pytest.mark.usefixtures("as_in_the_notebooks")


def mild_starts(S, K=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = torch.rand(3, S, K, generator=generator, dtype=torch.float64)
    return 6 * draw[0] - 3, 0.5 + 2 * draw[1], (0.1 + draw[2]) / (0.1 + draw[2]).sum(dim=1, keepdim=True)


# --- EM


@pytest.mark.parametrize("steps", [1, 7])
@pytest.mark.parametrize("K", [1, 2, 4])
def test_a_step_is_that_of_scikit_learn(K, steps):
    μ_SK, σ_SK, π_SK = mild_starts(1, K, seed=K)
    fit = GaussianMixture(
        K,
        means_init=μ_SK.T.numpy(),
        weights_init=π_SK[0].numpy(),
        precisions_init=(σ_SK**-2.0).T.numpy()[..., None],
        max_iter=steps,
        tol=0,
        reg_covar=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fit.fit(X_N.numpy()[:, None])
    for _ in range(steps):
        μ_SK, σ_SK, π_SK = em_step(X_N, EVEN_N, μ_SK, σ_SK, π_SK)
    np.testing.assert_allclose(μ_SK[0], fit.means_[:, 0], atol=1e-9)
    np.testing.assert_allclose(σ_SK[0] ** 2, fit.covariances_[:, 0, 0], atol=1e-9)
    np.testing.assert_allclose(π_SK[0], fit.weights_, atol=1e-9)


@given(st.integers(0, 10**6), st.integers(1, 5))
@always_the_same
def test_the_likelihood_never_falls(seed, K):
    parameters = mild_starts(5, K, seed)
    x_M, share_M = tally(X_N)
    losses = []
    for _ in range(20):
        losses.append(mixture_losses(x_M, share_M, *parameters[:2], parameters[2].log()))
        parameters = em_step(x_M, share_M, *parameters)
    assert (torch.stack(losses).diff(dim=0) < 1e-12).all()
    torch.testing.assert_close(parameters[2].sum(dim=1), torch.ones(5))


def test_a_step_keeps_mean_and_variance_of_the_data():
    """After an M step the mixture has the mean and the variance of the data, whatever the responsibilities were."""
    μ_SK, σ_SK, π_SK = em_step(X_N, EVEN_N, *mild_starts(6, 3))
    mean_S = (π_SK * μ_SK).sum(dim=1)
    torch.testing.assert_close(mean_S, X_N.mean().expand(6))
    variance_S = (π_SK * (σ_SK**2 + μ_SK**2)).sum(dim=1) - mean_S**2
    torch.testing.assert_close(variance_S, X_N.var(correction=0).expand(6))


def test_rows_counts_and_sizes_of_weights_do_not_matter():
    start = mild_starts(4)
    together = em_step(*tally(X_N), *start)
    rounded_N = torch.round(X_N * 4) / 4
    scaled = em_step(rounded_N, EVEN_N, start[0], start[1], 7 * start[2])
    for row in range(4):
        alone = em_step(rounded_N, EVEN_N, *(start_SK[row : row + 1] for start_SK in start))
        for together_SK, scaled_SK, alone_SK in zip(together, scaled, alone, strict=True):
            torch.testing.assert_close(together_SK[row], alone_SK[0], rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(scaled_SK[row], alone_SK[0], rtol=1e-10, atol=1e-12)


def test_em_descent_and_a_quasi_newton_method_agree():
    """The optimum, found in three ways from one start, to 1e-6."""
    x_M, share_M = tally(X_N)
    start = torch.tensor([[-1.0, 2.0]]), torch.tensor([[1.0, 2.0]]), torch.tensor([[0.3, 0.7]])
    by_em = start
    for _ in range(400):
        by_em = em_step(x_M, share_M, *by_em)
    free = [start[0], start[1].log(), start[2].log()]
    μ_SK, s_SK, a_SK = (rows[-1] for rows in descend_together(free_losses, x_M, share_M, free, steps=4000, lr=0.3))

    def loss_and_gradient(θ):
        θ_3SK = torch.from_numpy(θ).reshape(3, 1, 2).requires_grad_()
        loss = free_losses(x_M, share_M, *θ_3SK).sum()
        loss.backward()
        return loss.item(), θ_3SK.grad.numpy().ravel()

    answer = optimize.minimize(loss_and_gradient, torch.stack(free).numpy().ravel(), jac=True, tol=1e-13)
    μ_K, s_K, a_K = torch.from_numpy(answer.x).reshape(3, 2)
    close = {"rtol": 0, "atol": 1e-6}
    torch.testing.assert_close(torch.stack(by_em)[:, 0], torch.stack([μ_K, s_K.exp(), a_K.softmax(0)]), **close)
    torch.testing.assert_close(
        torch.stack(by_em)[:, 0], torch.stack([μ_SK[0], s_SK[0].exp(), a_SK[0].softmax(0)]), **close
    )


@pytest.mark.parametrize("place", [3, 4])
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_a_step_from_nowhere_is_refused(place, value):
    values = [X_N, EVEN_N, *mild_starts(3)]
    values[place][1, 0] = value
    with pytest.raises(ValueError, match="must be positive"):
        em_step(*values)


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("bad", [None, [0.0], np.zeros(2), torch.zeros(2, 3, 4), torch.zeros(()), torch.ones(7).long()])
def test_steps_of_other_shapes_are_refused(place, bad):
    values = [X_N, EVEN_N, *mild_starts(3)]
    values[place] = bad
    with pytest.raises(ValueError, match="shape"):
        em_step(*values)


# --- The prior and the posterior


def prior_by_scipy(μ_K, s_K, π_K):
    """In μ, s and the first K - 1 logits: the Jacobian of the softmax with its last logit at rest is prod(π)."""
    log_p = stats.norm(0, 5).logpdf(μ_K).sum() + stats.norm(0, 1).logpdf(s_K).sum()
    return log_p + stats.dirichlet([2] * len(π_K)).logpdf(π_K) + np.log(π_K).sum()


@pytest.mark.parametrize("K", [2, 3, 5])
def test_the_prior_is_that_of_scipy(K):
    generator = torch.Generator().manual_seed(K)
    μ_SK, s_SK, a_SK = torch.randn(3, 20, K, generator=generator) * torch.tensor([5.0, 1.0, 2.0])[:, None, None]
    π_SK = a_SK.softmax(dim=1)
    π_SK = π_SK / π_SK.sum(dim=1, keepdim=True)
    expected_S = [prior_by_scipy(*row) for row in zip(μ_SK.numpy(), s_SK.numpy(), π_SK.numpy(), strict=True)]
    np.testing.assert_allclose(log_prior(μ_SK, s_SK, a_SK), expected_S, rtol=1e-12)


def test_the_prior_has_the_jacobian_of_softmax():
    """By autograd: the determinant of the map from the first K - 1 logits to the first K - 1 weights."""
    free = torch.tensor([0.3, -1.2, 0.7])

    def weights(free):
        return torch.softmax(torch.cat([free, torch.zeros(1)]), dim=0)

    jacobian = torch.autograd.functional.jacobian(weights, free)[:-1]
    torch.testing.assert_close(torch.linalg.det(jacobian), weights(free).prod())


def test_a_shift_of_all_logits_changes_nothing():
    a_SK = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_prior(a_SK, a_SK, a_SK), log_prior(a_SK, a_SK, a_SK + 9))


def test_the_prior_integrates_to_one():
    def density(μ, s, a):
        mixture = (torch.tensor([[value, fixed]]) for value, fixed in ((μ, 0.0), (s, 0.0), (a, 0.0)))
        return log_prior(*mixture).exp().item()

    rest = stats.norm(0, 5).pdf(0) * stats.norm(0, 1).pdf(0)  # of the second component, held fixed
    slices = [
        integrate.quad(lambda μ: density(μ, 0, 0), -60, 60)[0] / density(0, 0, 0) * stats.norm(0, 5).pdf(0),
        integrate.quad(lambda s: density(0, s, 0), -12, 12)[0] / density(0, 0, 0) * stats.norm(0, 1).pdf(0),
        integrate.quad(lambda a: density(0, 0, a), -60, 60)[0] / rest**2,
    ]
    np.testing.assert_allclose(slices, 1, rtol=1e-8)


def test_the_posterior_is_that_of_scipy():
    generator = torch.Generator().manual_seed(1)
    θ_CD = torch.randn(30, 5, generator=generator) * torch.tensor([4, 4, 0.7, 0.7, 1.5])
    for θ_D, value in zip(θ_CD.numpy(), log_posterior(X_N, θ_CD), strict=True):
        π_K = np.array([1 / (1 + np.exp(-θ_D[4])), 1 / (1 + np.exp(θ_D[4]))])
        likelihood = np.log(stats.norm.pdf(X_N[:, None], θ_D[:2], np.exp(θ_D[2:4])) @ π_K).sum()
        expected = likelihood + prior_by_scipy(θ_D[:2], θ_D[2:4], π_K / π_K.sum())
        np.testing.assert_allclose(value, expected, rtol=1e-12)


def test_the_posterior_does_not_know_the_labels():
    θ_CD = torch.randn(9, 5, generator=torch.Generator().manual_seed(2))
    swapped_CD = torch.cat([θ_CD[:, [1, 0, 3, 2]], -θ_CD[:, 4:]], dim=1)
    torch.testing.assert_close(log_posterior(X_N, θ_CD), log_posterior(X_N, swapped_CD), rtol=1e-12, atol=0)


def test_gradients_and_curvatures_of_the_posterior():
    θ_CD = torch.randn(3, 5, generator=torch.Generator().manual_seed(3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda θ: log_posterior(X_N[:20], θ), [θ_CD])
    assert torch.autograd.gradgradcheck(lambda θ: log_posterior(X_N[:20], θ), [θ_CD])


@pytest.mark.parametrize("bad", [None, 1.0, [[0.0] * 5], np.zeros((2, 5)), torch.zeros(5), torch.zeros(2, 4)])
def test_posteriors_of_other_shapes_are_refused(bad):
    with pytest.raises(ValueError, match="θ_CD"):
        log_posterior(X_N, bad)


@pytest.mark.parametrize("bad", [None, [0.0], np.zeros(2), torch.zeros(2, 2), torch.zeros(()), torch.ones(7).long()])
def test_posteriors_of_other_data_are_refused(bad):
    with pytest.raises(ValueError, match="x_N"):
        log_posterior(bad, torch.zeros(2, 5))


def test_posteriors_of_no_data_are_refused():
    with pytest.raises(ValueError, match="x_N"):
        log_posterior(torch.zeros(0), torch.zeros(2, 5))


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("bad", [None, [0.0], torch.zeros(2), torch.zeros(3, 3), torch.ones(3, 2).long()])
def test_priors_of_other_shapes_are_refused(place, bad):
    values = [torch.zeros(3, 2) for _ in range(3)]
    values[place] = bad
    with pytest.raises(ValueError, match="shape"):
        log_prior(*values)


def test_the_prior_of_one_component_is_refused():
    with pytest.raises(ValueError, match="K = 1"):
        log_prior(*torch.zeros(3, 4, 1))
