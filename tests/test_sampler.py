"""Is the sampler that the series builds a correct one? Its functions are taken out of their notebook and tested.

The rank test is that of Gandy and Scott (2020): draw θ from the prior, data from θ, and run the sampler from θ twice.
Some draws of the one run, chosen in number at random, stand before θ, those of the other after it, so that θ has a
random place in one chain. If the sampler is reversible and leaves the posterior as it is, the rank of θ among the draws
is uniform, exactly, however short the chain.
"""

import ast
import functools
import json
import runpy

import numpy as np
import pytest
import torch
from scipy import stats

from gmm_helpers import log_posterior, sample_gmm
from tests.support.notebooks import ROOT, code_cells, read, series
from tests.support.rules import functions

NAMES = "leapfrog", "hmc", "warm_up"
pytestmark = pytest.mark.usefixtures("as_in_the_notebooks")


@functools.cache
def source():
    """The code of the sampler, from the notebook that defines hmc; what is not there, from the first that has it."""
    codes = ["\n\n".join(cell.source for cell in code_cells(read(path))) for path in series()]
    built = sorted(map(functions, codes), key=lambda found: "hmc" not in found)
    return "\n".join(ast.unparse(next(found[name] for found in built if name in found)[-1]) for name in NAMES)


def sampler(old="", new=""):
    """The functions by name; with a fault planted, if one is named."""
    assert old in source(), f"the fault cannot be planted: there is no {old!r}"
    space = {"torch": torch}
    exec(source().replace(old, new) if old else source(), space)
    return space


# --- The rank test, on mixtures of two components with two points each


def draw_prior(C, generator):
    z_CD = torch.randn(C, 4, generator=generator)
    wait_4C = -torch.rand(4, C, generator=generator).log()  # gamma(2) is the sum of two waiting times
    a_C = (wait_4C[0] + wait_4C[1]).log() - (wait_4C[2] + wait_4C[3]).log()
    return torch.cat([5 * z_CD[:, :2], z_CD[:, 2:], a_C[:, None]], dim=1)


def draw_data(θ_CD, N, generator):
    first_CN = torch.rand(len(θ_CD), N, generator=generator) < torch.sigmoid(θ_CD[:, 4:])
    μ_CN = torch.where(first_CN, θ_CD[:, :1], θ_CD[:, 1:2])
    s_CN = torch.where(first_CN, θ_CD[:, 2:3], θ_CD[:, 3:4])
    return μ_CN + s_CN.exp() * torch.randn(len(θ_CD), N, generator=generator)


def posterior_of(x_CN, width=1.0, jacobian=True):
    """log_posterior with other data for each chain; a wrong one with another prior width, or without the Jacobian."""

    def log_p(θ_CD):
        a_C = θ_CD[:, 4]
        log_π_CK = torch.nn.functional.logsigmoid(torch.stack([a_C, -a_C], dim=1))
        z_CKN = (x_CN[:, None] - θ_CD[:, :2, None]) * torch.exp(-θ_CD[:, 2:4, None])
        log_p_CKN = (log_π_CK - θ_CD[:, 2:4])[..., None] - 0.5 * z_CKN**2
        prior_C = -0.5 * (θ_CD[:, :2] / 5).square().sum(dim=1) - 0.5 * (θ_CD[:, 2:4] / width).square().sum(dim=1)
        return torch.logsumexp(log_p_CKN, dim=1).sum(dim=1) + prior_C + (1 + jacobian) * log_π_CK.sum(dim=1)

    return log_p


def p_values(hmc, seed=0, C=5000, places=16, thin=2, **wrong):
    """p-values of the ranks' uniformity: the five parameters, the log-posterior, and two sums; and the acceptance."""
    generator = torch.Generator().manual_seed(seed)
    θ_CD = draw_prior(C, generator)
    x_CN = draw_data(θ_CD, 2, generator)
    log_p, right = posterior_of(x_CN, **wrong), posterior_of(x_CN)
    before_CTD, after_CTD = (
        hmc(log_p, θ_CD, 0.5, 4, thin * (places - 1), generator)[0][:, thin - 1 :: thin] for _ in range(2)
    )
    # Draw n comes from the first run, counted back from θ, or from the second one, counted on from it.
    turn_CT = torch.arange(places - 1) - torch.randint(places, (C, 1), generator=generator)
    pick_CTD = torch.where(turn_CT < 0, -turn_CT - 1, turn_CT)[..., None].expand(-1, -1, 5)
    draws_CTD = torch.where(turn_CT[..., None] < 0, before_CTD.gather(1, pick_CTD), after_CTD.gather(1, pick_CTD))

    def statistics(θ_CD):
        sums_C2 = torch.stack([θ_CD[:, :2].square().sum(dim=1), θ_CD[:, 2:4].sum(dim=1)], dim=1)
        return torch.cat([θ_CD, right(θ_CD)[:, None], sums_C2], dim=1)

    here_CQ = statistics(θ_CD)
    draws_CTQ = torch.stack([statistics(draw_CD) for draw_CD in draws_CTD.unbind(dim=1)], dim=1)
    ties_CQ = (draws_CTQ == here_CQ[:, None]).sum(dim=1)
    dice_CQ = torch.rand(here_CQ.shape, generator=generator)
    ranks_CQ = (draws_CTQ < here_CQ[:, None]).sum(dim=1) + (dice_CQ * (ties_CQ + 1)).floor().long()
    return [stats.chisquare(np.bincount(rank_C, minlength=places)).pvalue for rank_C in ranks_CQ.T.numpy()]


def test_the_tests_posterior_is_that_of_the_helpers():
    x_N, θ_CD = torch.tensor([0.5, -2.0, 3.0]), draw_prior(50, torch.Generator().manual_seed(1))
    difference_C = log_posterior(x_N, θ_CD) - posterior_of(x_N.expand(50, 3))(θ_CD)
    torch.testing.assert_close(difference_C, difference_C[:1].expand(50))


@pytest.mark.parametrize("seed", [0, 1])
def test_ranks_are_uniform(seed):
    assert min(p_values(sampler()["hmc"], seed)) > 0.001  # eight p-values for each seed


FAULTS = {
    "everything is accepted": ("accept_C = chance_C.log() < -error_C", "accept_C = chance_C < 2"),
    "half of the error": ("chance_C.log() < -error_C", "chance_C.log() < -0.5 * error_C"),
    "log-posterior of a rejected end": ("torch.where(accept_C, end_log_p_C, log_p_C)", "end_log_p_C"),
    "no half step at the end": ("(2 if n in (0, L) else 1)", "(2 if n == 0 else 1)"),
    "twice the kinetic energy": ("0.5 * (end_p_CD ** 2).sum(dim=1)", "(end_p_CD ** 2).sum(dim=1)"),
    "momenta of another size": ("p_CD = torch.randn(", "p_CD = 1.1 * torch.randn("),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_rank_test_finds_a_wrong_sampler(fault):
    assert min(p_values(sampler(*FAULTS[fault])["hmc"])) < 1e-6


@pytest.mark.parametrize("wrong", [{"width": 1.2}, {"jacobian": False}])
def test_the_rank_test_finds_a_wrong_posterior(wrong):
    assert min(p_values(sampler()["hmc"], **wrong)) < 1e-6


# --- What else can be known exactly

COVARIANCE = torch.tensor([[1.0, 0.6, 0.0], [0.6, 2.0, -0.3], [0.0, -0.3, 0.5]], dtype=torch.float64)
PRECISION = torch.linalg.inv(COVARIANCE)


def normal(θ_CD):
    return -0.5 * ((θ_CD - 1) @ PRECISION * (θ_CD - 1)).sum(dim=1)


@pytest.mark.parametrize(("step", "L"), [(0.3, 5), (1.2, 1), (1.2, 4)])
def test_draws_have_the_moments_of_a_normal_target(step, L):
    generator = torch.Generator().manual_seed(0)
    start_CD = 1 + torch.randn(20_000, 3, generator=generator) @ torch.linalg.cholesky(COVARIANCE).T
    θ_CTD, error_CT, _ = sampler()["hmc"](normal, start_CD, step, L, 40, generator)
    assert 0.2 < error_CT.neg().exp().clamp(max=1).mean() < 0.999
    end_CD = θ_CTD[:, -1]  # one draw a chain: independent
    z_D = (end_CD.mean(dim=0) - 1) / (COVARIANCE.diagonal() / 20_000).sqrt()
    assert z_D.abs().max() < 4
    spread_DD = (COVARIANCE**2 + COVARIANCE.diagonal()[:, None] * COVARIANCE.diagonal()) / 20_000
    assert ((torch.cov(end_CD.T) - COVARIANCE) / spread_DD.sqrt()).abs().max() < 4


def test_a_leapfrog_goes_back_keeps_volume_and_is_of_second_order():
    leapfrog, generator = sampler()["leapfrog"], torch.Generator().manual_seed(0)
    log_p = posterior_of(draw_data(draw_prior(8, generator), 2, generator))
    θ_CD, p_CD = 0.5 * torch.randn(8, 5, generator=generator), torch.randn(8, 5, generator=generator)
    end_CD, end_p_CD, log_p_C = leapfrog(log_p, θ_CD, p_CD, 0.05, 30)
    torch.testing.assert_close(log_p_C, log_p(end_CD))
    back_CD, back_p_CD, _ = leapfrog(log_p, end_CD, -end_p_CD, 0.05, 30)
    torch.testing.assert_close((back_CD, -back_p_CD), (θ_CD, p_CD), rtol=0, atol=1e-9)
    errors = []
    for step in (0.02, 0.01, 0.005):
        end_CD, end_p_CD, log_p_C = leapfrog(log_p, θ_CD, p_CD, step, round(0.4 / step))
        change_C = 0.5 * (end_p_CD.square() - p_CD.square()).sum(dim=1) - log_p_C + log_p(θ_CD)
        errors.append(change_C.square().mean().sqrt())
    assert abs(np.polyfit(np.log([4, 2, 1]), np.log(errors), 1)[0] - 2) < 0.1


def test_an_end_that_is_lost_is_rejected():
    """Where the density is zero or NaN nobody may go, and nobody who is elsewhere is disturbed."""

    def edge(θ_CD):
        log_p_C = normal(θ_CD)
        return torch.where(θ_CD[:, 0] > 1, torch.log(1 - θ_CD[:, 0]), log_p_C)  # NaN beyond 1

    θ_CTD, error_CT, _ = sampler()["hmc"](edge, torch.zeros(500, 3), 0.5, 3, 50, torch.Generator().manual_seed(0))
    assert (θ_CTD[..., 0] <= 1).all() and (error_CT == torch.inf).any() and not error_CT.isnan().any()


@pytest.mark.parametrize(("target", "first"), [(0.6, 0.01), (0.8, 5.0)])
def test_the_warm_up_finds_the_step(target, first):
    space, generator = sampler(), torch.Generator().manual_seed(0)
    θ_CD, step = space["warm_up"](normal, torch.zeros(64, 3), first, 5, 300, generator, target=target)
    error_CT = space["hmc"](normal, θ_CD, step, 5, 300, generator)[1]
    assert abs(error_CT.neg().exp().clamp(max=1).mean() - target) < 0.04


# --- The long run that the notebook compares with


def test_the_stored_run_is_that_of_its_script():
    """By Metropolis in NumPy, without a gradient. A shorter run with another seed agrees within standard errors."""
    ((script, file),) = [(file.with_suffix(".py"), file) for file in (ROOT / "notebooks").glob("*/posterior*.json")]
    module, stored = runpy.run_path(str(script)), json.loads(file.read_text("utf-8"))
    x_N = module["draw_data"]()
    np.testing.assert_allclose(x_N, sample_gmm(20, [-3, 3], [1, 1], [0.5, 0.5], seed=1), atol=1e-12)
    np.testing.assert_allclose(stored["data"], x_N, atol=1e-6)
    assert (stored["chains"], stored["seed"]) == (module["CHAINS"], module["SEED"])
    θ_CD = draw_prior(40, torch.Generator().manual_seed(0))
    theirs_C = module["log_posterior"](x_N, θ_CD.numpy())
    np.testing.assert_allclose(theirs_C, log_posterior(torch.from_numpy(x_N), θ_CD), rtol=1e-10)
    θ_TCD, acceptance = module["sample"](x_N, 2000, seed=5, chains=200)
    assert abs(acceptance - 0.234) < 0.03
    for name, ours in module["summarise"](θ_TCD[len(θ_TCD) // 4 :]).items():
        long = stored["statistics"][name]
        z_D = np.subtract(ours["value"], long["value"]) / np.hypot(ours["mcse"], long["mcse"])
        assert abs(z_D).max() < 4, name
