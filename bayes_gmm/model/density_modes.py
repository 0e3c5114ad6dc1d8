r"""Modes of the density of a mixture, in any dimension.

A mode solves grad log p(x) = sum_k r_k(x) P_k (mu_k - x) = 0 with P_k = Sigma_k^-1, so that

    x = (sum_k r_k P_k)^-1 sum_k r_k P_k mu_k.

Iterating the right side is an EM algorithm for x, which never lowers p(x). Near a mode Newton steps
replace it. All critical points lie on the image of the simplex under

    x(a) = (sum_k a_k P_k)^-1 sum_k a_k P_k mu_k,

the ridgeline of a mixture, so that climbs start there: at every mean, at points between two means
and in the middle of three. A mode can be no component's own, and a component need not have one.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayes_gmm.model.mixture import marginal_log_density, mixture_moments
from bayes_gmm.model.parameters import LogQuadratic, Parameters

BETWEEN = (0.25, 0.5, 0.75)  # where climbs start between two means
MOST_IN_THREES = 12  # components up to which climbs also start in the middle of three
MOST_STEPS = 2000
ARRIVED = 1e-9  # length of the gradient in local standard deviations
LONGEST = 0.5  # local standard deviations that a Newton step may be longer than one of EM
SAME = 1e-2  # local standard deviations within which two ends are one mode
SADDLE = 1e-4  # curvature upwards from which an end is a saddle point; downwards it is at most 1
FLAT = 1e-6  # least curvature by which a Newton step is divided
DIGITS = 9  # after the point, of log densities that are compared


class Modes(NamedTuple):
    """The modes of a density, the highest first, and where the climb from each mean ends."""

    points: np.ndarray  # (M, D)
    log_density: np.ndarray  # (M,)
    of_component: np.ndarray  # (K,)


class Slope(NamedTuple):
    """A density at S points, in local coordinates in which the mean precision is the identity."""

    log_density: np.ndarray  # (S,)
    gradient: np.ndarray  # (S, D), along the axes
    curvature: np.ndarray  # (S, D), of -log p, ascending; at most 1
    axes: np.ndarray  # (S, D, D): x moves by axes @ step


def density_modes(theta: Parameters) -> Modes:
    r"""Find the modes of the density of a mixture, by climbing from many points.

    .. math:: x \leftarrow \left(\sum_k r_k(x) \Sigma_k^{-1}\right)^{-1}
        \sum_k r_k(x) \Sigma_k^{-1} \mu_k

    Each point that is returned is a mode. That there is no other is not proved, except for one
    component; with two, climbs start all along the curve that holds every critical point.

    Carreira-Perpiñán (2000), IEEE PAMI 22, on climbing from the means; Ray & Lindsay (2005), Ann.
    Statist. 33, on the ridgeline; Carreira-Perpiñán & Williams (2003) on modes that no mean leads
    to.
    """
    mean, covariance = mixture_moments(theta.weights, theta.means, theta.covariances)
    scale = np.sqrt(np.diagonal(covariance))
    standard = theta.rescale(-mean / scale, 1 / scale)
    functions = standard.log_quadratic()
    precision = precisions(functions)
    ends = climb(starts(standard, precision), functions, precision)
    height = log_density_of(functions, ends)
    metric = slope(ends, functions, precision).axes
    points: list[int] = []
    place = np.empty(len(ends), dtype=int)
    # Modes that are equally high but for rounding keep the order of their components.
    for end in np.argsort(-height.round(DIGITS), kind="stable"):
        for number, known in enumerate(points):
            step = np.linalg.solve(metric[known], ends[end] - ends[known])
            if np.linalg.norm(step) < SAME:
                place[end] = number
                break
        else:
            place[end] = len(points)
            points.append(int(end))
    found = mean + scale * ends[points]
    return Modes(found, marginal_log_density(found, theta), place[: theta.n_components])


def starts(theta: Parameters, precision: np.ndarray) -> np.ndarray:
    """All means (K, D), and then points between components of positive weight, (S, D)."""
    held = np.flatnonzero(theta.weights > 0).tolist()
    pairs = list(combinations(held, 2))
    points = [theta.means]
    points += [ridgeline(theta, precision, pair, [[1 - b, b] for b in BETWEEN]) for pair in pairs]
    if len(held) <= MOST_IN_THREES:
        points += [
            ridgeline(theta, precision, three, [[1.0, 1.0, 1.0]]) for three in combinations(held, 3)
        ]
    return np.concatenate(points)


def ridgeline(
    theta: Parameters, precision: np.ndarray, components: Sequence[int], shares: object
) -> np.ndarray:
    r"""Points of the ridgeline of some components, at given shares of each.

    .. math:: x(a) = \left(\sum_k a_k \Sigma_k^{-1}\right)^{-1} \sum_k a_k \Sigma_k^{-1} \mu_k

    Shares are divided by the geometric mean precision of their component, so that equal shares are
    about equally far from components of different size.

    Shapes: precision (K, D, D), shares (S, C) -> (S, D). Ray & Lindsay (2005).
    """
    own = list(components)
    own_precision, means = precision[own], theta.means[own]
    size = np.exp(np.linalg.slogdet(own_precision)[1] / theta.n_features)
    amount = np.asarray(shares) / size
    total = np.einsum("sc,cij->sij", amount, own_precision)
    pull = np.einsum("sc,cij,cj->si", amount, own_precision, means)
    return np.linalg.solve(total, pull[..., None])[..., 0]


def climb(x: np.ndarray, functions: LogQuadratic, precision: np.ndarray) -> np.ndarray:
    """Climb from points to modes; shapes: x (S, D) -> (S, D).

    A step of EM is the gradient in local coordinates. Newton's divides it by the curvature along
    each axis, upward or downward, and is taken where it is short and raises the density. A climb
    that ends at a saddle point goes on along its steepest axis.
    """
    x = x.copy()
    going = np.arange(len(x))
    for _ in range(MOST_STEPS):
        here = slope(x[going], functions, precision)
        length = np.linalg.norm(here.gradient, axis=1)
        newton = here.gradient / np.maximum(np.abs(here.curvature), FLAT)
        saddle = (length < ARRIVED) & (here.curvature[:, 0] < -SADDLE)
        newton[saddle] = SAME * (np.arange(x.shape[1]) == 0)
        longest = np.maximum(LONGEST, length) / np.linalg.norm(newton, axis=1).clip(min=ARRIVED)
        newton *= np.minimum(1.0, longest)[:, None]
        ahead = x[going] + np.einsum("sij,sj->si", here.axes, newton)
        plain = x[going] + np.einsum("sij,sj->si", here.axes, here.gradient)
        rises = log_density_of(functions, ahead) >= here.log_density
        arrived = (length < ARRIVED) & ~saddle
        after = np.where(rises[:, None], ahead, plain)
        x[going] = np.where(arrived[:, None], x[going], after)
        going = going[~arrived]
        if not going.size:
            break
    return x


def slope(x: np.ndarray, functions: LogQuadratic, precision: np.ndarray) -> Slope:
    r"""Log density at x (S, D), with its gradient and curvature.

    .. math:: g = \sum_k r_k P_k (\mu_k - x), \qquad
        H = -\sum_k r_k P_k + \sum_k r_k P_k (\mu_k - x)(\mu_k - x)^\top P_k - g g^\top
    """
    log_joint = functions(x)
    log_density = logsumexp(log_joint, axis=1)
    r = np.exp(log_joint - log_density[:, None])
    pull = np.einsum("kij,skj->ski", precision, functions.center - x[:, None])
    gradient = np.einsum("sk,ski->si", r, pull)
    mean_precision = np.einsum("sk,kij->sij", r, precision)
    apart = np.sqrt(r)[..., None] * (pull - gradient[:, None])
    # W with W' W = mean_precision^-1: the local coordinates are W'^-1 x.
    whitener = np.linalg.inv(np.linalg.cholesky(mean_precision))
    local = np.einsum("sij,skj->ski", whitener, apart)
    spread = np.einsum("ski,skj->sij", local, local)
    curvature, turn = np.linalg.eigh(np.eye(x.shape[1]) - spread)
    axes = whitener.swapaxes(1, 2) @ turn
    return Slope(log_density, np.einsum("sij,si->sj", axes, gradient), curvature, axes)


def precisions(functions: LogQuadratic) -> np.ndarray:
    """Precision matrices P_k = W_k' W_k of the components, (K, D, D)."""
    return functions.whitener.swapaxes(1, 2) @ functions.whitener


def log_density_of(functions: LogQuadratic, x: np.ndarray) -> np.ndarray:
    """Log density of rows x (S, D) -> (S,)."""
    return logsumexp(functions(x), axis=1)
