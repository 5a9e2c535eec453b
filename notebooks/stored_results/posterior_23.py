"""A long reference run for notebook 23: the posterior of a two-component mixture, by a method that is not HMC.

    python notebooks/stored_results/posterior_23.py [--draws N] [--out FILE]

The data are the 20 points of notebooks 13, 18 and 22. The log-posterior is written down a second time, from
scipy.stats, with another parameterisation of the weight prior; nothing comes from gmm_helpers. The sampler is a
random-walk Metropolis over 1000 chains side by side. Its proposal is learnt in a burn-in that is thrown away, and fixed
afterwards. Half of the proposals are the learnt ones, the other half have a length that is drawn anew each time, up to
five times as long, so that a chain can leave a minor mode.

It writes posterior_23.json beside this file: means, standard deviations and quantiles of the parameters, relabelled so
that the first mean is the smaller one, and their Monte Carlo standard errors, from 20 groups of 50 chains. The
default takes two to three minutes on one core.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import logsumexp

NAMES = ["μ_1", "μ_2", "s_1", "s_2", "a"]
CHAINS, GROUPS, SEED, THIN = 1000, 20, 13, 10


def draw_data():
    """The 20 points: a component for each, then a normal draw, with the generator that the series uses."""
    rng = np.random.default_rng(1)
    mean_N = np.array([-3.0, 3.0])[rng.choice(2, size=20, p=[0.5, 0.5])]
    return rng.normal(mean_N, 1.0)


def log_posterior(x_N, θ_CD):
    """(C,) log-densities of data and parameters together, up to nothing: every factor is normalised."""
    μ_CK, s_CK, a_C = θ_CD[:, :2], θ_CD[:, 2:4], θ_CD[:, 4]
    log_π_CK = np.stack([stats.logistic.logcdf(a_C), stats.logistic.logsf(a_C)], axis=1)
    log_p_CKN = stats.norm.logpdf(x_N, μ_CK[..., None], np.exp(s_CK)[..., None])
    log_likelihood_C = logsumexp(log_p_CKN + log_π_CK[..., None], axis=1).sum(axis=1)
    # The first weight of a Dirichlet(2, 2) is Beta(2, 2); the logistic density is the derivative of the weight in a.
    log_prior_C = stats.beta.logpdf(np.exp(log_π_CK[:, 0]), 2, 2) + stats.logistic.logpdf(a_C)
    log_prior_C += stats.norm.logpdf(μ_CK, 0, 5).sum(axis=1) + stats.norm.logpdf(s_CK, 0, 1).sum(axis=1)
    return log_likelihood_C + log_prior_C


def draw_prior(rng, C):
    """(C, 5) draws from the prior: where the chains start."""
    π_C = np.clip(rng.beta(2, 2, C), 1e-6, 1 - 1e-6)
    return np.column_stack([rng.normal(0, 5, (C, 2)), rng.normal(0, 1, (C, 2)), np.log(π_C / (1 - π_C))])


def ordered(θ_CD):
    """The same mixtures, relabelled: the component with the smaller mean comes first."""
    other_CD = np.column_stack([θ_CD[:, [1, 0, 3, 2]], -θ_CD[:, 4]])
    return np.where(θ_CD[:, :1] > θ_CD[:, 1:2], other_CD, θ_CD)


def sample(x_N, draws, seed=SEED, chains=CHAINS):
    """Returns θ_TCD, the kept draws (one in ten steps), relabelled, and the acceptance rate after the burn-in."""
    rng = np.random.default_rng(seed)
    θ_CD, kept, accepted, burn_in = draw_prior(rng, chains), [], 0.0, max(draws // 4, 200)
    log_p_C, root_DD, log_scale = log_posterior(x_N, θ_CD), np.eye(5), np.log(0.3)
    for t in range(-burn_in, draws):
        if t < 0 and t % 50 == 0:
            # The shape of the posterior, from all chains, relabelled. Chains with the labels the other way round use it
            # as well: it fits them less, but it is fixed after the burn-in, so their draws are right.
            root_DD = np.linalg.cholesky(np.cov(ordered(θ_CD).T) + 1e-6 * np.eye(5))
        length_C = np.exp(log_scale) * np.where(rng.random(chains) < 0.5, 1.0, rng.uniform(0.2, 5, chains))
        proposal_CD = θ_CD + length_C[:, None] * (rng.standard_normal((chains, 5)) @ root_DD.T)
        new_log_p_C = log_posterior(x_N, proposal_CD)
        accept_C = np.log(rng.random(chains)) < new_log_p_C - log_p_C
        θ_CD, log_p_C = np.where(accept_C[:, None], proposal_CD, θ_CD), np.where(accept_C, new_log_p_C, log_p_C)
        if t < 0:
            log_scale += 0.1 * (accept_C.mean() - 0.234)
        else:
            accepted += accept_C.mean() / draws
            if t % THIN == 0:
                kept.append(ordered(θ_CD))
    return np.stack(kept), accepted


def summarise(θ_TCD):
    """For each statistic, its value for the five parameters and its standard error, from groups of chains."""
    statistics = {"mean": lambda θ_SD: θ_SD.mean(axis=0), "sd": lambda θ_SD: θ_SD.std(axis=0)}
    for percent in (5, 50, 95):
        statistics[f"q{percent}"] = lambda θ_SD, percent=percent: np.percentile(θ_SD, percent, axis=0)
    found = {}
    for name, statistic in statistics.items():
        groups = [statistic(part.reshape(-1, 5)) for part in np.array_split(θ_TCD, GROUPS, axis=1)]
        error_D = np.std(groups, axis=0, ddof=1) / np.sqrt(GROUPS)
        found[name] = {"value": statistic(θ_TCD.reshape(-1, 5)).tolist(), "mcse": error_D.tolist()}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20_000, help="steps of each chain after the burn-in")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"), help="the file to write")
    arguments = parser.parse_args()
    if arguments.draws < THIN:
        parser.error(f"--draws must be at least {THIN}, got {arguments.draws}")
    x_N = draw_data()
    θ_TCD, acceptance = sample(x_N, arguments.draws)
    report = {
        "made by": "python notebooks/stored_results/posterior_23.py",
        "method": "random-walk Metropolis, relabelled so that μ_1 < μ_2",
        "data": np.round(x_N, 6).tolist(),
        "parameters": NAMES,
        "chains": CHAINS, "steps of each chain": arguments.draws, "kept": θ_TCD.shape[0] * CHAINS, "seed": SEED,
        "acceptance": acceptance,
        "statistics": summarise(θ_TCD),
    }
    with tempfile.TemporaryDirectory(dir=arguments.out.resolve().parent, prefix=".writing-") as folder:
        unfinished = Path(folder) / arguments.out.name
        unfinished.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        unfinished.replace(arguments.out)


if __name__ == "__main__":
    main()
