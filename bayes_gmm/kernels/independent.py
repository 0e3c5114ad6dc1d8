r"""The draw of components whose means are independent of their covariances.

    mu_k ~ N(m, diag(s^2))     Sigma_k | Psi ~ IW(nu, Psi)     Psi ~ Wishart(q, V), or fixed

Given the labels each of mu, Sigma and Psi is conjugate given the other two. With n rows in a
component, of mean x̄ and scatter S(mu) about mu,

    mu_k | Sigma_k      N(P^-1 (diag(s^-2) m + n Sigma_k^-1 x̄), P^-1)
                        with P = diag(s^-2) + n Sigma_k^-1
    Sigma_k | mu_k      IW(nu + n, Psi + S(mu_k))
    Psi | Sigma_1..J    Wishart(q + J nu, (V^-1 + sum_k Sigma_k^-1)^-1)

The J components are those that hold rows: the others are drawn last, from their prior given Psi,
and would only slow Psi down. Richardson & Green (1997), sec. 2.3; Stephens (2000), Ann. Stat. 28.
"""

import numpy as np
from numba import types

from bayes_gmm.kernels.gibbs import (
    DRAW,
    DRAW_ONE,
    PRIOR,
    STATE,
    Prior,
    draw_one_at,
    draw_weights,
)
from bayes_gmm.kernels.kernel import inlined, kernel, twin
from bayes_gmm.kernels.signatures import MATRIX, OUT_MATRIX, OUT_VECTOR, REAL, VECTOR, WHOLE
from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.model.structures.loops import lower_factor as lower_factor_of_the_book

LOWER_FACTOR = types.boolean(OUT_MATRIX)
lower_factor = twin(lower_factor_of_the_book, LOWER_FACTOR)


@inlined
def solve_transposed(factor, vector):  # pragma: no cover - compiled
    """Solve L' y = v in place, of a lower triangle (D, D) and a vector (D,)."""
    for i in range(vector.size - 1, -1, -1):
        for m in range(i + 1, vector.size):
            vector[i] -= factor[m, i] * vector[m]
        vector[i] /= factor[i, i]


@kernel(DRAW)
def draw_independent(rng, prior, state, sums):  # pragma: no cover - compiled
    """Draw the parameters given the labels; see `gibbs.draw_conjugate`."""
    n_components, n_features = state.means.shape
    draw_weights(rng, prior, state, sums)
    precision, root = np.empty((n_features, n_features)), np.zeros((n_features, n_features))
    n_occupied = 0
    for k in range(n_components):
        if sums.counts[k] > 0:
            n_occupied += 1
            center = state.means[k].copy()
            draw_mean(rng, prior, sums.counts[k], sums.first[k], center, state.whitener[k],
                      precision, state.means[k])  # fmt: skip
            log_det = draw_covariance(
                rng, prior, sums.counts[k], sums.first[k], sums.second[k], center, state.means[k],
                root, state.whitener[k], state.covariances[k],
            )  # fmt: skip
            if np.isnan(log_det):
                return k
            state.offset[k] = np.log(state.weights[k]) + log_det - 0.5 * n_features * LOG_2PI
    if prior.scale_degrees > 0.0:
        draw_scale(rng, prior, state, sums.counts, n_occupied)
    for k in range(n_components):
        if sums.counts[k] == 0:
            for i in range(n_features):
                sd = 1.0 / np.sqrt(prior.mean_information[i])
                state.means[k, i] = prior.mean[0, i] + sd * rng.standard_normal()
            log_det = draw_covariance(
                rng, prior, 0.0, sums.first[k], sums.second[k], state.means[k], state.means[k],
                root, state.whitener[k], state.covariances[k],
            )  # fmt: skip
            if np.isnan(log_det):
                return k
            state.offset[k] = np.log(state.weights[k]) + log_det - 0.5 * n_features * LOG_2PI
    return -1


@kernel(
    types.void(
        types.npy_rng, PRIOR, REAL, VECTOR, VECTOR, MATRIX, OUT_MATRIX, OUT_VECTOR
    )
)  # fmt: skip
def draw_mean(
    rng, prior, count, first, center, whitener, precision, mean
):  # pragma: no cover - compiled
    """Draw a mean given its covariance, from the first moment of its rows about a center.

    Shapes: first, center, mean (D,), whitener, precision (D, D), the last overwritten.
    """
    n_features = mean.size
    pull = np.empty(n_features)  # P (E mu - m) = Sigma^-1 (n (center - m) + first)
    solve_mean(prior, count, first, center, whitener, precision, pull)
    for i in range(n_features - 1, -1, -1):  # add noise before L' is solved for
        pull[i] += rng.standard_normal()
    solve_transposed(precision, pull)
    for i in range(n_features):
        mean[i] = prior.mean[0, i] + pull[i]


@kernel(types.void(PRIOR, REAL, VECTOR, VECTOR, MATRIX, OUT_MATRIX, OUT_VECTOR))
def solve_mean(
    prior, count, first, center, whitener, precision, pull
):  # pragma: no cover - compiled
    """Factor P = L L' into the lower triangle of `precision`; write L^-1 P (E mu - m) into `pull`.

    Shapes: first, center, pull (D,), whitener, precision (D, D).
    """
    n_features = pull.size
    whitened = np.zeros(n_features)
    for i in range(n_features):
        for j in range(i + 1):
            gap = count * (center[j] - prior.mean[0, j]) + first[j]
            whitened[i] += whitener[i, j] * gap
    for i in range(n_features):
        pull[i] = 0.0
        for m in range(i, n_features):
            pull[i] += whitener[m, i] * whitened[m]
        for j in range(i + 1):
            entry = prior.mean_information[i] if i == j else 0.0
            for m in range(i, n_features):
                entry += count * whitener[m, i] * whitener[m, j]
            precision[i, j] = entry
    lower_factor(precision)
    for i in range(n_features):
        for m in range(i):
            pull[i] -= precision[i, m] * pull[m]
        pull[i] /= precision[i, i]


@kernel(
    REAL(
        types.npy_rng, PRIOR, REAL, VECTOR, MATRIX, VECTOR, VECTOR, OUT_MATRIX, OUT_MATRIX,
        OUT_MATRIX,
    )
)  # fmt: skip
def draw_covariance(
    rng, prior, count, first, second, center, mean, root, whitener, covariance
):  # pragma: no cover - compiled
    """Draw a covariance given its mean; return log |whitener|, or nan if rounding left none.

    Shapes: first, center, mean (D,), second, root, whitener, covariance (D, D).
    """
    factor = np.empty_like(covariance)
    scatter_about(prior, count, first, second, center, mean, factor)
    degrees = prior.degrees_of_freedom[0] + count
    return draw_one_at(prior.draw_one)(
        rng, degrees, factor, prior.constants, root, whitener, covariance
    )


@inlined
def scatter_about(prior, count, first, second, center, mean, out):  # pragma: no cover - compiled
    """Write the lower triangle of Psi + S(mean), from moments about a center."""
    for i in range(mean.size):
        a = mean[i] - center[i]
        for j in range(i + 1):
            b = mean[j] - center[j]
            about = second[i, j] - a * first[j] - b * first[i] + count * a * b
            out[i, j] = prior.scale[0, i, j] + about


@kernel(types.void(types.npy_rng, PRIOR, STATE, VECTOR, WHOLE))
def draw_scale(rng, prior, state, counts, n_occupied):  # pragma: no cover - compiled
    """Draw Psi given the covariances of components with rows, into `prior.scale[0]`."""
    n_features = state.means.shape[1]
    # A = V^-1 + sum Sigma_k^-1 = L L';  with T T' ~ Wishart(degrees, I), Psi = L^-T T T' L^-1
    information = np.empty((n_features, n_features))
    for i in range(n_features):
        for j in range(i + 1):
            entry = prior.scale_information[i, j]
            for k in range(counts.size):
                if counts[k] > 0:
                    for m in range(i, n_features):
                        entry += state.whitener[k, m, i] * state.whitener[k, m, j]
            information[i, j] = entry
    lower_factor(information)
    degrees = prior.scale_degrees + n_occupied * prior.degrees_of_freedom[0]
    triangle = np.zeros((n_features, n_features))
    for i in range(n_features):
        for j in range(i):
            triangle[i, j] = rng.standard_normal()
        triangle[i, i] = np.sqrt(2.0 * rng.standard_gamma(0.5 * (degrees - i)))
    for column in range(n_features):  # L' X = T
        solve_transposed(information, triangle[:, column])
    for i in range(n_features):
        for j in range(i + 1):
            entry = 0.0
            for m in range(n_features):
                entry += triangle[i, m] * triangle[j, m]
            prior.scale[0, i, j] = entry
            prior.scale[0, j, i] = entry


def independent(prior: HierarchicalPrior | SemiconjugatePrior) -> Prior:
    """Copy the fields of a prior; a random scale sets out from its mean."""
    degrees, information, scale = 0.0, np.empty((0, 0)), prior.scale[None].copy()
    if isinstance(prior, HierarchicalPrior):
        degrees, information = float(prior.scale_degrees_of_freedom), np.linalg.inv(prior.scale)
        scale *= degrees
    return Prior(
        concentration=prior.concentration.copy(),
        mean=prior.mean[None].copy(),
        mean_precision=np.empty(0),
        degrees_of_freedom=np.array([float(prior.degrees_of_freedom)]),
        scale=scale,
        is_common=False,
        constants=UNCONSTRAINED.constants.copy(),
        draw_one=twin(UNCONSTRAINED.draw_one, DRAW_ONE).address,
        mean_information=prior.mean_sd**-2.0,
        scale_degrees=degrees,
        scale_information=information,
        draw=draw_independent.address,
    )
