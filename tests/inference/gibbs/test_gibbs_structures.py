"""Gibbs draws of shared covariances: exact on problems that can be enumerated."""

import numpy as np
import pytest
from exact_enumeration import enumerate_posterior, points_of, problems
from helpers import complete_statistics, random_prior
from structured_enumeration import StructuredExact

from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs.gibbs import sample
from bayes_gmm.kernels.gibbs import Prior, State, Sums, draw_conjugate
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import DRAWN, Structure
from bayes_gmm.model.structures.prior import StructuredPrior

PROBLEMS = {problem.name: problem for problem in problems()}
QUICK = ["components told apart, plane", "three rows in a plane, K = 3"]
SLOW = ["plane, K = 2", "plane, separated, K = 2", "corners with a tie, K = 2", "two rows, K = 3"]
POSTERIOR = ("weights", "means", "covariances")


def scores_of(name: str, code: str, n_draws: int) -> dict[str, np.ndarray]:
    problem, rng = PROBLEMS[name], np.random.default_rng(1)
    x, prior = problem.x[:7], problem.prior
    structure = Structure.named(code, prior.n_features)
    tree = sample(
        Observations.of(x),
        prior,
        [prior.sample(rng) for _ in range(4)],
        structure=structure,
        draws=n_draws // 4,
        tune=100,
        cores=2,
        seed=12,
        progressbar=False,
    )
    draws = [tree["posterior"][name].to_numpy() for name in POSTERIOR]
    return StructuredExact(x, prior, code).z_scores(*draws)


@pytest.mark.parametrize("code", DRAWN)
def test_unconstrained_and_shared_evidence_agree_with_the_other_enumeration(code):
    """With one component EEE is VVV, and of one feature all are; there the two files must agree."""
    problem = PROBLEMS["overlapping, K = 2"]
    x = problem.x[:5]
    if code[0] == "V":
        exact = enumerate_posterior(x, problem.prior)
        ours = StructuredExact(x, problem.prior, code)
    else:
        alone = PROBLEMS["one component, 1-D"].prior
        exact, ours = enumerate_posterior(x, alone), StructuredExact(x, alone, code)
    np.testing.assert_allclose(ours.co_clustering, exact.co_clustering, rtol=1e-10)
    np.testing.assert_allclose(ours.predictive, exact.predictive(points_of(x)), rtol=1e-10)


@pytest.mark.parametrize("code", [code for code in DRAWN if code != "VVV"])
@pytest.mark.parametrize("name", QUICK)
def test_the_posterior_is_the_sum_over_all_labellings(name, code):
    for what, scores in scores_of(name, code, 8000).items():
        assert np.abs(scores).max() < 5, what


@pytest.mark.validate
@pytest.mark.parametrize("code", DRAWN)
@pytest.mark.parametrize("name", QUICK + SLOW)
def test_100_000_draws_are_the_sum_over_all_labellings(name, code):
    for what, scores in scores_of(name, code, 100_000).items():
        assert np.abs(scores).max() < 5, what


@pytest.mark.parametrize("code", DRAWN)
def test_the_compiled_draw_has_the_distribution_of_the_book(code):
    """Means and spreads of 2000 draws of each, given labels, in three features."""
    rng = np.random.default_rng(2)
    x, z = rng.normal(size=(30, 3)) * [1.0, 2.0, 0.5], np.arange(30) % 3
    z[z == 2] = 0  # the third component holds no row
    prior, structure = random_prior(rng, 3, 3), Structure.of(code, 3)
    book = StructuredPrior.of(prior, structure).posterior(complete_statistics(x, z, 3))
    exact = [book.sample(rng) for _ in range(2000)]
    conjugate = Prior.conjugate(prior, structure)
    drawn = []
    for _ in range(2000):
        start = Parameters([0.2, 0.3, 0.5], rng.normal(size=(3, 3)), [np.eye(3) + 0.5] * 3)
        state = State.of(start)
        about = complete_statistics(x, z, 3, center=start.means)
        assert (
            draw_conjugate(rng, conjugate, state, Sums(about.count, about.first, about.second))
            == -1
        )
        drawn.append(state)
        sigma = state.covariances
        whitener = np.tril(state.whitener)
        assert (state.whitener == whitener).all()
        np.testing.assert_allclose(
            whitener @ sigma @ whitener.swapaxes(1, 2), [np.eye(3)] * 3, atol=1e-8
        )
        theta = Parameters.trusted(state.weights, state.means, sigma)
        np.testing.assert_allclose(state.offset, theta.log_quadratic().offset, rtol=1e-9)
    if code[0] == "E":
        assert (sigma == sigma[0]).all()
    if code[2] == "I":
        assert (sigma == np.einsum("kjj->kj", sigma)[..., None] * np.eye(3)).all()
    if code[1:] == "II":
        assert (np.einsum("kjj->kj", sigma) == sigma[:, :1, 0]).all()
    for quantity in (
        lambda one: one.weights,
        lambda one: one.means,
        lambda one: one.means**2,
        lambda one: np.linalg.inv(one.covariances),
        lambda one: np.log(np.einsum("kjj->kj", one.covariances)),
        lambda one: np.log(np.einsum("kjj->kj", one.covariances)) ** 2,
    ):
        ours, theirs = (np.array([quantity(one) for one in some]) for some in (drawn, exact))
        error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / 2000)
        assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) <= 5 * error).all()
