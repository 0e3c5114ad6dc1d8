"""Optima are ranked by what they predict of new rows, not by their height."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

import bayes_gmm as bg
from bayes_gmm.inference.em import ranking
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.runs import State
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic
from bayes_gmm.model.structures import Structure


def state_of(x: np.ndarray, prior: ConjugatePrior, structure: Structure) -> State:
    """One component at its mode."""
    n_features = x.shape[1]
    own = SufficientStatistics.of(x, np.ones((len(x), 1)), np.zeros((1, n_features)), 0.0)
    rule = Rule(prior, structure, np.full(n_features, 1e-9))
    candidate = rule.maximize(own, np.eye(n_features)[None])
    statistics = from_log_quadratic(x, candidate.log_quadratic)
    return State(candidate, statistics, statistics.log_normalizer + candidate.log_prior)


@pytest.mark.parametrize(
    ("code", "prior"),
    [
        ("VVV", ConjugatePrior.flat(1, 3)),
        ("VVI", ConjugatePrior.flat(1, 3)),
        ("VII", ConjugatePrior.flat(1, 3)),
        ("VVV", ConjugatePrior([1.0], np.zeros(3), 20.0, 25.0, 25 * np.eye(3))),
    ],
    ids=["VVV", "VVI", "VII", "a prior worth many rows"],
)
def test_the_score_is_the_log_likelihood_that_new_rows_are_expected_to_have(code, prior):
    """600 data sets of 60 rows: what they predict of rows of N(0, I), known in closed form."""
    structure, rng, n = Structure.of(code, 3), np.random.default_rng(3), 60
    score = ranking.predicted(prior, structure, np.eye(3), n)
    gaps, freedoms = [], []
    for _ in range(600):
        x = rng.normal(size=(n, 3))
        state = state_of(x, prior, structure)
        mean, covariance = (
            array[0]
            for array in (state.candidate.parameters.means, state.candidate.parameters.covariances)
        )
        precision = np.linalg.inv(covariance)
        quadratic = np.trace(precision) + mean @ precision @ mean
        new = -0.5 * n * (np.linalg.slogdet(2 * np.pi * covariance)[1] + quadratic)
        # What the truth's own log-likelihood happens to exceed its mean by is common to all.
        luck = -0.5 * ((x**2).sum() - x.size)
        gaps.append(score(state) - luck - new)
        freedoms.append(state.statistics.log_normalizer - score(state))
    # Three quarters of the excess of few rows are left out, 7% at most here.
    tolerance = 0.08 * np.mean(freedoms) + 4 * np.std(gaps) / np.sqrt(len(gaps))
    assert abs(np.mean(gaps)) < tolerance
    assert np.mean(freedoms) > 4 * tolerance


def test_a_component_without_rows_is_not_worth_the_prior_density_at_its_peak():
    """Two clear groups, a third component empty or in use: the density prefers it empty."""
    rng = np.random.default_rng(1)
    n_features = 12
    means = 3 * rng.normal(size=(3, n_features))
    means[2] = means[1] + 1.5
    x = np.concatenate([rng.normal(size=(200, n_features)) + mean for mean in means])
    prior = ConjugatePrior.default(x, 3)
    structure = Structure.of("VVV", n_features)
    rule = Rule(prior, structure, np.full(n_features, 1e-9))
    score = ranking.predicted(prior, structure, np.cov(x.T), len(x))
    groups = np.repeat([0, 1, 2], 200)
    states = []
    for labels in (groups, np.minimum(groups, 1)):
        share = np.eye(3)[labels]
        center = np.stack([x[groups == k].mean(axis=0) for k in range(3)])
        candidate = rule.maximize(
            SufficientStatistics.of(x, share, center, 0.0), np.stack([np.eye(n_features)] * 3)
        )
        statistics = from_log_quadratic(x, candidate.log_quadratic)
        states.append(State(candidate, statistics, statistics.log_normalizer + candidate.log_prior))
    used, empty = states
    assert empty.statistics.count[2] < 0.5
    assert empty.objective > used.objective
    assert score(used) > score(empty)


@pytest.mark.parametrize(
    ("code", "n_features", "least"), [("VVV", 1, 3), ("VVV", 10, 16.5), ("VVI", 10, 3)]
)
def test_a_covariance_of_its_own_takes_three_numbers_for_each_of_its_parameters(
    code, n_features, least
):
    structure = Structure.of(code, n_features)
    few = ranking.rests_on_few(np.array([0.0, least - 0.1, least, 500.0]), structure, n_features)
    np.testing.assert_array_equal(few, [True, True, False, False])


def test_a_shared_covariance_rests_on_all_rows():
    assert not ranking.rests_on_few(np.array([0.5, 100.0]), Structure.of("EEE", 4), 4).any()


def hugging() -> np.ndarray:
    """2000 rows in 10 features of which 14 happen to lie close to a line."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(2000, 10))
    x[:1000] += 1.2
    x[:14] = rng.normal(size=(14, 1)) * np.ones(10) + 0.15 * rng.normal(size=(14, 10))
    return x


def test_a_component_on_few_rows_is_marked():
    fit = bg.fit(hugging(), 3, seed=1, n_starts=10)
    weights = fit["point_estimate"]["weights"].to_numpy()
    marked = fit["optimizer_result"]["component_spurious"].to_numpy().astype(bool)
    np.testing.assert_array_equal(marked, 2000 * weights < 16.5)
    assert fit["optimizer_result"]["component_spurious"].dims == ("cluster",)


def twenty_features(seed: int) -> np.ndarray:
    """Four groups of a quarter each, not far apart."""
    rng = np.random.default_rng(seed)
    n, d, k = 3000, 20, 4
    means = 0.8 * rng.normal(size=(k, d))
    roots = np.eye(d) + 0.3 * rng.normal(size=(k, d, d)) / np.sqrt(d)
    z = rng.integers(k, size=n)
    return means[z] + np.einsum("nij,nj->ni", roots[z], rng.normal(size=(n, d)))


@pytest.mark.parametrize(
    "seed", [9, *(pytest.param(seed, marks=pytest.mark.validate) for seed in (7, 8, 10))]
)
def test_the_map_of_twenty_features_has_all_its_components(seed):
    fit = bg.fit(twenty_features(seed), 4, prior="default", seed=1)
    weights = fit["point_estimate"]["weights"].to_numpy()
    assert weights.min() > 0.2


@pytest.mark.validate
@pytest.mark.parametrize("seed", [7, 8, 9, 10])
def test_the_components_of_twenty_features_are_identified(seed):
    posterior = bg.sample(twenty_features(seed), 4, seed=1, progressbar=False)
    assert bg.diagnose(posterior).labels.table["identified"].all()


def test_the_density_of_a_normal_is_what_scipy_says():
    """The oracle's own constant, so that the test of the score rests on nothing of the package."""
    x = np.random.default_rng(2).normal(size=(40, 3))
    state = state_of(x, ConjugatePrior.flat(1, 3), Structure.of("VVV", 3))
    theta = state.candidate.parameters
    expected = multivariate_normal(theta.means[0], theta.covariances[0]).logpdf(x).sum()
    assert state.statistics.log_normalizer == pytest.approx(expected, rel=1e-12)
