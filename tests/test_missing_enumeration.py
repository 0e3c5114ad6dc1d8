"""The truth for missing entries is true: a finer grid and the closed form say the same."""

import numpy as np
import pytest
from exact_enumeration import Exact, normal_density, problems
from missing_enumeration import MissingExact, StructuredMissing
from scipy.special import gammaln, logsumexp
from scipy.stats import multivariate_normal

from bayes_gmm.model.priors import ConjugatePrior

nan = np.nan
PRIOR = {p.name: p for p in problems()}["components told apart, plane"].prior
ROWS = np.array([[-1.2, -0.6], [0.1, 0.9], [1.4, nan], [0.6, -0.8], [2.0, nan], [0.3, 0.4]])


def closed_form(x, prior):
    """log p(x_o), P(z_i = z_j) of rows that lack the last feature or nothing, without a grid."""
    lacks, n_rows = np.isnan(x[:, -1]), len(x)
    part = ConjugatePrior(
        prior.concentration,
        prior.mean[:, :-1],
        prior.mean_precision,
        prior.degrees_of_freedom - 1,
        prior.scale[:, :-1, :-1],
    )
    whole, rest = Exact(np.nan_to_num(x), prior), Exact(x[:, :-1], part)
    complete = (1 << np.arange(n_rows))[~lacks].sum()  # a set of rows is its bits
    alpha, log_joint = prior.concentration, []
    for z in whole.labellings:
        count = np.bincount(z, minlength=prior.n_components)
        total = gammaln(alpha.sum()) - gammaln(alpha.sum() + n_rows)
        total += (gammaln(alpha + count) - gammaln(alpha)).sum()
        for k in range(prior.n_components):
            held = (1 << np.arange(n_rows))[z == k].sum()
            total += whole.components[k].log_marginal[held & complete]
            total += rest.components[k].log_marginal[held]
            total -= rest.components[k].log_marginal[held & complete]
        log_joint.append(total)
    same = whole.labellings[:, :, None] == whole.labellings[:, None, :]
    shares = np.exp(log_joint - logsumexp(log_joint))
    return logsumexp(log_joint), np.einsum("z,zij->ij", shares, same)


@pytest.mark.parametrize("n_missing", [1, 2])
def test_the_grid_gives_the_closed_form_of_rows_that_lack_one_feature(n_missing):
    x = ROWS[: 2 + 2 * n_missing]
    log_evidence, co_clustering = closed_form(x, PRIOR)
    exact = MissingExact(x, PRIOR, 121 if n_missing == 1 else 45)
    tolerance = 1e-8 if n_missing == 1 else 3e-4
    assert exact.log_evidence == pytest.approx(log_evidence, abs=tolerance)
    np.testing.assert_allclose(exact.co_clustering, co_clustering, atol=tolerance)


def test_a_finer_grid_says_the_same_of_everything():
    x = ROWS[:4]
    coarse, fine = MissingExact(x, PRIOR, 91), MissingExact(x, PRIOR, 301)
    for name in ("n_occupied", "weights", "sum_of_squared_weights", "inverse_evidence"):
        np.testing.assert_allclose(getattr(coarse, name), getattr(fine, name), atol=1e-6)
    points = x[:2] + 0.3
    np.testing.assert_allclose(coarse.predictive(points), fine.predictive(points), rtol=1e-6)


def test_unconstrained_covariances_are_the_same_in_both_enumerations():
    x = ROWS[:4]
    one, other = MissingExact(x, PRIOR, 45), StructuredMissing(x, PRIOR, "VVV", 45)
    assert one.log_evidence == pytest.approx(other.log_evidence, rel=1e-10)
    np.testing.assert_allclose(one.co_clustering, other.co_clustering, rtol=1e-9)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-9)


def test_the_density_of_a_row_is_that_of_what_it_has():
    mean, covariance = np.array([0.3, -1.0, 2.0]), np.diag([1.0, 2.0, 3.0]) + 0.4
    row = np.array([1.0, nan, 0.5])
    found = normal_density(row[None], mean[None, None, None], covariance[None, None, None])
    own = np.ix_([0, 2], [0, 2])
    expected = multivariate_normal.pdf(row[[0, 2]], mean[[0, 2]], covariance[own])
    assert found.item() == pytest.approx(expected, rel=1e-12)
