"""The sampler of an unknown number of components against the sum over all partitions.

Every z is a mean of draws less the exact value in units of its standard error, from the effective
sample size. Under the true sampler one |z| exceeds 5 with probability 6e-7; with some 40 quantities
of 26 runs the false-alarm rate is below 1e-3.
"""

import arviz as az
import numpy as np
import pytest
from partition_enumeration import FixedScale, Problem, SharedVariance, exact, problems

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.structures import Structure
from bayes_gmm.posterior.draws import Draws

FEWEST = 150  # draws of an event, of which its probability is compared
PROBLEMS = problems()


def starts(problem: Problem, n_chains: int) -> list[Parameters]:
    """One component, or three, about the rows."""
    x = problem.x
    covariance = np.cov(x.T).reshape(x.shape[1], x.shape[1])
    return [
        Parameters(np.full(k, 1 / k), x[:k], np.repeat(covariance[None], k, axis=0))
        for k in ([1, 3] * n_chains)[:n_chains]
    ]


def drawn(problem: Problem, draws: int, thin: int, *, split_merge: bool):
    """Draw from the posterior, with two chains of this many draws."""
    prior, structure = problem.prior, "VVV"
    if isinstance(prior, SharedVariance):
        prior, structure = prior.prior, "E"
    if isinstance(prior, FixedScale):
        prior = bg.SemiconjugatePrior([1.0], *prior)
    return next(
        gibbs.longer_runs(
            Observations.of(problem.x, spread=np.ones(problem.x.shape[1])),
            prior,
            starts(problem, 2),
            structure=Structure.named(structure, problem.x.shape[1]),
            number=problem.number,
            split_merge=split_merge,
            draws=draws,
            tune=500,
            cores=1,
            seed=7,
            thin=thin,
            progressbar=False,
        )
    )


def z_scores(values: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Standardized differences of means of (chain, draw, P) from the truth (P,)."""
    sizes = [az.ess(values[..., p], method="mean").item() for p in range(values.shape[2])]
    error = values.std(axis=(0, 1)) / np.sqrt(sizes)
    constant = np.ptp(values, axis=(0, 1)) < 1e-12
    return (values.mean(axis=(0, 1)) - truth) / np.where(constant, 1e-9, error)


def agree(problem: Problem, draws: int, thin: int, *, split_merge: bool) -> None:
    """Compare all that the enumeration knows."""
    truth, tree = exact(*problem[1:]), drawn(problem, draws, thin, split_merge=split_merge)
    posterior = tree["posterior"]
    columns, expected, least = [], [], FEWEST / (2 * draws)
    of_clusters = posterior["n_clusters"].to_numpy()
    for k in np.flatnonzero(truth.p_clusters > least) + 1:
        columns.append(of_clusters == k)
        expected.append(truth.p_clusters[k - 1])
    if not problem.number.is_dirichlet_process:
        of_components = posterior["n_components"].to_numpy()
        for k in np.flatnonzero(truth.p_k > least) + 1:
            columns.append(of_components == k)
            expected.append(truth.p_k[k - 1])
    if "alpha" in posterior:
        columns.append(np.log(posterior["alpha"].to_numpy()))
        expected.append(truth.mean_log_alpha)
    theta = Draws(*(posterior[name].to_numpy() for name in Draws._fields))
    columns.append((theta.weights**2).sum(axis=-1))
    expected.append(truth.sum_of_squared_weights)
    functions = theta.log_quadratic()
    points = problem.x[[0, 2]] + 0.29  # at a row the density may have no mean
    for point, log_density in zip(points, truth.log_density(points), strict=True):
        columns.append(joint(functions, point).sum(axis=-1).reshape(theta.weights.shape[:2]))
        expected.append(np.exp(log_density))
    for a, b in ((0, 1), (0, 2), (1, 4)):
        columns.append(together(functions, problem.x[[a, b]]).reshape(theta.weights.shape[:2]))
        expected.append(truth.co_clustering[a, b])
    values = np.stack(columns, axis=-1).astype(float)
    scores = z_scores(values, np.array(expected))
    assert np.abs(scores).max() < 5, scores.round(1)


def joint(functions: LogQuadratic, point: np.ndarray) -> np.ndarray:
    """Joint density of a row and each component, (draw, K), of all chains."""
    offset, center, whitener = functions
    whitened = np.einsum("skij,skj->ski", whitener, point - center)
    return np.exp(offset - 0.5 * (whitened**2).sum(axis=-1))


def together(functions: LogQuadratic, pair: np.ndarray) -> np.ndarray:
    """Probability that two rows share a component, given each draw."""
    share = np.array([joint(functions, row) for row in pair])
    share /= share.sum(axis=-1, keepdims=True)
    return share.prod(axis=0).sum(axis=-1)


@pytest.mark.parametrize("split_merge", [True, False], ids=["moves", "no moves"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_draws_are_those_of_the_sum_over_partitions(problem, split_merge):
    agree(problem, 3000, 2 if split_merge else 10, split_merge=split_merge)


@pytest.mark.validate
@pytest.mark.parametrize("split_merge", [True, False], ids=["moves", "no moves"])
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_a_hundred_thousand_sweeps_are_too(problem, split_merge):
    agree(problem, 50_000, 1, split_merge=split_merge)
