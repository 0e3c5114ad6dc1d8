r"""Entries missing at random: the marginal of what is observed, and what it says of the rest.

Of x ~ N(mu, Sigma) with x_o observed and x_m missing,

    x_o ~ N(mu_o, Sigma_oo)
    x_m | x_o ~ N(mu_m + B (x_o - mu_o), C),   B = Sigma_mo Sigma_oo^-1,   C = Sigma_mm - B Sigma_om

Where whether an entry is missing depends on observed entries alone, the likelihood of a row is that
of its observed entries (Rubin, 1976). EM completes sums over rows by their expectation, Gibbs by a
draw; both need N, F = sum d and S = sum d d' of the observed entries, d = x_o - mu_o, and no rows.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics


def by_pattern(x: np.ndarray) -> np.ndarray:
    """Order (N,) in which rows (N, D) of one pattern stand together, complete rows first."""
    missing = np.packbits(np.isnan(x), axis=1)
    _, pattern = np.unique(missing, axis=0, return_inverse=True)
    return np.argsort(pattern.ravel(), kind="stable")


def patterns(x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each pattern of rows (N, D): what is observed, bool (D,), and where its rows are."""
    order = by_pattern(x)
    missing = np.isnan(x[order])
    edges = np.flatnonzero((missing[1:] != missing[:-1]).any(axis=1)) + 1
    for places in np.split(order, edges):
        yield ~np.isnan(x[places[0]]), places


def marginal(functions: LogQuadratic, observed: np.ndarray) -> LogQuadratic:
    """Integrate the missing features out of exp of log-quadratic functions; observed: bool (D,)."""
    if observed.all():
        return functions
    inside = np.ix_(observed, observed)
    covariances = _covariances(functions)
    whitener = inverse_factors(cholesky(np.stack([one[inside] for one in covariances])))
    change = _log_det(whitener) - _log_det(functions.whitener)
    offset = functions.offset + change + 0.5 * LOG_2PI * np.count_nonzero(~observed)
    return LogQuadratic(offset, functions.center[:, observed], whitener)


def regression(covariance: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope B (|m|, |o|) of the missing features, and what is left of them, C (|m|, |m|)."""
    across = covariance[np.ix_(~observed, observed)]
    slope = np.linalg.solve(covariance[np.ix_(observed, observed)], across.T).T
    return slope, covariance[np.ix_(~observed, ~observed)] - slope @ across.T


def log_rho(functions: LogQuadratic, x: np.ndarray) -> np.ndarray:
    """Marginals of log-quadratic functions at rows (N, D), nan where missing: (N, K)."""
    found = np.empty((len(x), len(functions.offset)))
    for observed, own in patterns(x):
        found[own] = marginal(functions, observed)(x[np.ix_(own, observed)])
    return found


def completed(
    statistics: SufficientStatistics, functions: LogQuadratic, observed: np.ndarray
) -> SufficientStatistics:
    """Complete the statistics of observed entries by what is expected of the missing ones."""
    if observed.all():
        return statistics
    n_components, n_features = functions.center.shape
    first, second = np.zeros((n_components, n_features)), np.zeros(functions.whitener.shape)
    for k, covariance in enumerate(_covariances(functions)):
        slope, left = regression(covariance, observed)
        full = np.zeros((n_features, np.count_nonzero(observed)))
        full[observed], full[~observed] = np.eye(full.shape[1]), slope
        first[k] = full @ statistics.first[k]
        second[k] = full @ statistics.second[k] @ full.T
        second[k][np.ix_(~observed, ~observed)] += statistics.count[k] * left
    return SufficientStatistics(
        statistics.log_normalizer, statistics.count, first, second, functions.center
    )


def filled(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Rows (N, D) with what is expected of their missing entries (nan) under one normal."""
    x = x.copy()
    for observed, own in patterns(x):
        slope, _ = regression(covariance, observed)
        gap = x[np.ix_(own, observed)] - mean[observed]
        x[np.ix_(own, ~observed)] = mean[~observed] + gap @ slope.T
    return x


def as_expected(observations: Observations, theta: Parameters) -> Observations:
    """Put what the mixture as one normal expects in the place of missing entries."""
    if observations.is_complete:
        return observations
    moments = mixture_moments(theta.weights, theta.means, theta.covariances)
    values = filled(np.asarray(observations.values), *moments)
    return replace(observations, values=values, is_complete=True)


def _covariances(functions: LogQuadratic) -> np.ndarray:
    """(K, D, D), of whiteners."""
    roots = np.linalg.inv(functions.whitener)
    return roots @ roots.swapaxes(1, 2)


def _log_det(whitener: np.ndarray) -> np.ndarray:
    return np.log(np.einsum("kii->ki", whitener)).sum(axis=1)
