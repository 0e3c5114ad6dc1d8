r"""Entries that are missing at random: the marginal of what is observed, and what it says of the rest.

Of x ~ N(mu, Sigma) with x_o observed and x_m missing,

    x_o ~ N(mu_o, Sigma_oo)
    x_m | x_o ~ N(mu_m + B (x_o - mu_o), C),   B = Sigma_mo Sigma_oo^-1,   C = Sigma_mm - B Sigma_om

Where whether an entry is missing depends on observed entries alone, the likelihood of a row is that
of its observed entries (Rubin, 1976). EM completes sums over rows by their expectation, Gibbs by a
draw; both need N, F = sum d and S = sum d d' of the observed entries, d = x_o - mu_o, and no rows.
"""

import numpy as np

from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics


def marginal(functions: LogQuadratic, observed: np.ndarray) -> LogQuadratic:
    """Integrate exp of log-quadratic functions over the features that are not observed, bool (D,)."""
    inside = np.ix_(observed, observed)
    covariances = _covariances(functions)
    whitener = inverse_factors(cholesky(np.stack([one[inside] for one in covariances])))
    change = _log_det(whitener) - _log_det(functions.whitener)
    offset = functions.offset + change + 0.5 * LOG_2PI * np.count_nonzero(~observed)
    return LogQuadratic(offset, functions.center[:, observed], whitener)


def regression(covariance: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope B (|m|, |o|) and what is left, C (|m|, |m|), of the missing features on the observed."""
    across = covariance[np.ix_(~observed, observed)]
    slope = np.linalg.solve(covariance[np.ix_(observed, observed)], across.T).T
    return slope, covariance[np.ix_(~observed, ~observed)] - slope @ across.T


def completed(
    statistics: SufficientStatistics, functions: LogQuadratic, observed: np.ndarray
) -> SufficientStatistics:
    """Complete the statistics of observed entries by what is expected of the missing ones."""
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
    missing = np.isnan(x)
    found, place = np.unique(missing, axis=0, return_inverse=True)
    for g, lacking in enumerate(found):
        if lacking.any():
            rows = np.flatnonzero(place.ravel() == g)
            slope, _ = regression(covariance, ~lacking)
            x[np.ix_(rows, lacking)] = (
                mean[lacking] + (x[np.ix_(rows, ~lacking)] - mean[~lacking]) @ slope.T
            )
    return x


def _covariances(functions: LogQuadratic) -> np.ndarray:
    """(K, D, D), of whiteners."""
    roots = np.linalg.inv(functions.whitener)
    return roots @ roots.swapaxes(1, 2)


def _log_det(whitener: np.ndarray) -> np.ndarray:
    return np.log(np.einsum("kii->ki", whitener)).sum(axis=1)
