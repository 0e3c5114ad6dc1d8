"""How often the verdict errs: sound samples that are accused, and planted failures that pass.

Chains are stationary Gaussian autoregressions in unconstrained coordinates, with the mean and
covariance of a posterior whose labels are known; the sampler's labels are permuted at random.
Real runs are judged in test_verdict_of_runs.py.
"""

import numpy as np
import pytest
from results.synthetic import conjugate_posterior, exact_draws, sampled_tree
from scipy.signal import lfilter

from bayes_gmm.data import Observations
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.modes import unconstrained
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.tree import posterior_tree

CHAINS = 4


def constrained(free, n_components, n_features):
    """The inverse of `unconstrained`."""
    lead = free.shape[:2]
    sizes = [n_components - 1, n_components * n_features]
    ratios, means, of_covariances = np.split(free, np.cumsum(sizes), axis=2)
    logits = np.concatenate([ratios, np.zeros((*lead, 1))], axis=2)
    weights = np.exp(logits - np.logaddexp.reduce(logits, axis=2, keepdims=True))
    means = means.reshape(*lead, n_components, n_features)
    covariances = UNCONSTRAINED.covariances_at(of_covariances, n_components, n_features)
    return Draws(weights, means, covariances)


def chains_about(exact, n_draws, rho, rng, n_chains=CHAINS):
    """Autocorrelated draws of a posterior, and its center."""
    n_components, n_features = exact.mean.shape
    sample = unconstrained(Draws(*exact_draws(exact, 1, 150, rng)))[0][0]
    factor = np.linalg.cholesky(np.cov(sample.T))
    noise = rng.normal(size=(n_chains, n_draws + 300, sample.shape[1])) * np.sqrt(1 - rho**2)
    free = sample.mean(axis=0) + lfilter([1], [1, -rho], noise, axis=1)[:, 300:] @ factor.T
    center = constrained(sample.mean(axis=0)[None, None], n_components, n_features)
    return constrained(free, n_components, n_features), Parameters(*(a[0, 0] for a in center))


def data(rng, n_components, n_features, n=150, apart=6.0):
    """Rows of clusters several standard deviations apart, and their labels."""
    means = apart * np.arange(n_components)[:, None] + rng.normal(size=(n_components, n_features))
    weights = rng.dirichlet(np.full(n_components, 20.0))
    factors = np.eye(n_features) + 0.3 * rng.normal(size=(n_components, n_features, n_features))
    theta = Parameters(weights, means, factors @ factors.swapaxes(1, 2) + 0.1 * np.eye(n_features))
    return mixture.sample(theta, n, rng)


def replaced(draws, chains, other):
    """Put other chains in the place of some."""
    arrays = [array.copy() for array in draws]
    for array, instead in zip(arrays, other, strict=True):
        array[chains] = instead
    return Draws(*arrays)


def verdict(x, draws, pivot, rng):
    """Permute labels between chains, and in half of the chains within them; label and diagnose."""
    n_components = draws.weights.shape[2]
    order = np.empty(draws.weights.shape, dtype=int)
    for chain in order:
        chain[:] = rng.permutation(n_components)
        if rng.random() < 0.5:
            chain[rng.integers(len(chain)) :] = rng.permutation(n_components)
    prior = ConjugatePrior.default(x, n_components)
    sampled = sampled_tree(draws.reorder(order))
    return diagnose(posterior_tree(sampled, pivot, Observations.of(x), prior))


def sound(rng, n_draws, rho):
    n_components, n_features = rng.integers(2, 4), rng.integers(1, 3)
    x, z = data(rng, n_components, n_features)
    draws, center = chains_about(conjugate_posterior(x, z, n_components), n_draws, rho, rng)
    return x, draws, center


def clean(rng, n_draws, rho):
    found = verdict(*sound(rng, n_draws, rho), rng)
    return not found.ok


def stuck(rng, n_draws, rho):
    x, draws, center = sound(rng, n_draws, rho)
    chain, kind = rng.integers(CHAINS), rng.integers(3)
    frozen = [array[chain].copy() for array in draws]
    if kind == 0:  # repeats its first draw
        frozen = [np.broadcast_to(array[:1], array.shape) for array in frozen]
    elif kind == 1:  # hardly leaves it
        frozen[1] = frozen[1][:1] + 1e-3 * (frozen[1] - frozen[1][:1])
        frozen[0], frozen[2] = (np.broadcast_to(frozen[i][:1], frozen[i].shape) for i in (0, 2))
    else:  # stops on its way
        stop = int(0.4 * n_draws)
        for array in frozen:
            array[stop:] = array[stop]
    return not verdict(x, replaced(draws, chain, frozen), center, rng).converged


def second_mode(rng, n_draws, rho):
    """One or two chains that take two clusters for one, and split the third."""
    x, z = data(rng, 3, rng.integers(1, 3))
    draws, center = chains_about(conjugate_posterior(x, z, 3), n_draws, rho, rng)
    middle = np.median(x[z == 2, 0])
    wrong = np.where(z < 2, 0, np.where(x[:, 0] < middle, 1, 2))
    chains = rng.permutation(CHAINS)[: rng.integers(1, 3)]
    other, _ = chains_about(conjugate_posterior(x, wrong, 3), n_draws, rho, rng, len(chains))
    found = verdict(x, replaced(draws, chains, other), center, rng)
    return not found.converged and found.reasons[0].name == "several_modes"


FAILURES = [stuck, second_mode]


def count(case, n, n_draws, rho, seed=0):
    flags = [case(np.random.default_rng([seed, place]), n_draws, rho) for place in range(n)]
    return sum(flags), [place for place, flag in enumerate(flags) if flag]


def test_coordinates_lead_back_to_the_draws():
    rng = np.random.default_rng(0)
    x, z = data(rng, 3, 2)
    draws = Draws(*exact_draws(conjugate_posterior(x, z, 3), 2, 5, rng))
    for ours, truth in zip(constrained(unconstrained(draws)[0], 3, 2), draws, strict=True):
        np.testing.assert_allclose(ours, truth, rtol=1e-9, atol=1e-12)


def test_ten_sound_samples_pass():
    flagged, which = count(clean, 10, 250, 0.0)
    assert flagged == 0, which


@pytest.mark.parametrize("failure", FAILURES)
def test_planted_failures_are_flagged(failure):
    flagged, which = count(failure, 5, 250, 0.0)
    assert flagged == 5, which


@pytest.mark.validate
@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_at_most_two_sound_samples_of_a_hundred_are_accused(rho):
    flagged, which = count(clean, 100, 1000, rho, seed=1)
    print(f"accused: {flagged} of 100, {which}")
    assert flagged <= 2, which


@pytest.mark.validate
@pytest.mark.parametrize("failure", FAILURES)
def test_ninety_nine_failures_of_a_hundred_are_flagged(failure):
    flagged, which = count(failure, 100, 1000, 0.6, seed=2)
    missed = sorted(set(range(100)) - set(which))
    print(f"missed: {missed}")
    assert flagged >= 99, missed
