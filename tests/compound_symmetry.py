"""A toy family of covariance structures, which `CONTRIBUTING.md` walks through: it is this file.

    Sigma_k = a_k 11'/D + b_k (I - 11'/D)        one variance and one covariance for all features

With Q the orthonormal frame whose first axis is 1 / sqrt(D), it has two variances along known axes.
"""

import numpy as np
from scipy.linalg import helmert
from scipy.special import digamma, gammaln

from bayes_gmm.model.structures.fixed_axes import FixedAxes
from bayes_gmm.model.structures.loops import lower_factor, right_divide


class CompoundSymmetry(FixedAxes):
    """CS: components whose features are exchangeable."""

    name = "CS"

    def axes(self, n_features):
        return helmert(n_features, full=True).T

    def blocks(self, n_features):
        return [(1, True), (1, True)]  # log a_k and log b_k, each component's own

    def basis(self, n_features):
        first = np.arange(n_features) == 0
        return np.column_stack([first, ~first]).astype(float)

    def share(self, n_components, n_features):
        return 1.0  # each direction has its prior, as in VVI, although those across are one number

    def log_integral(self, power, scale):
        _, shapes, rates = gammas(power, scale)
        return (gammaln(shapes) - shapes * np.log(rates)).sum()

    def expectations(self, power, scale):
        sizes, shapes, rates = gammas(power, scale)
        fill(*rates / shapes, covariance := np.empty_like(scale))
        return sizes @ (digamma(shapes) - np.log(rates)), covariance

    @staticmethod
    def maximize(scatter, weight, previous, constants):
        n_components, n_features = scatter.shape[0], scatter.shape[1]
        covariances = np.empty_like(scatter)
        for k in range(n_components):
            along = scatter[k].sum() / n_features
            across = (np.trace(scatter[k]) - along) / (n_features - 1)
            fill(along / weight[k], across / weight[k], covariances[k])
        return covariances

    @staticmethod
    def draw_one(rng, degrees, scale, constants, root, whitener, covariance):
        n_features = len(scale)
        power, along, trace = degrees + n_features + 1, 0.0, 0.0
        for i in range(n_features):
            trace += scale[i, i]
            along += scale[i, i] / n_features
            for j in range(i):  # of the scale, only the lower triangle is there
                along += 2 * scale[i, j] / n_features
        a = 0.5 * along / rng.standard_gamma(0.5 * power - 1)
        b = 0.5 * (trace - along) / rng.standard_gamma(0.5 * (n_features - 1) * power - 1)
        if not min(a, b) > 0:
            return np.nan
        fill(a, b, covariance)
        for i in range(n_features):
            for j in range(i + 1):
                root[i, j] = covariance[i, j]
        lower_factor(root)
        right_divide(np.eye(n_features), root, whitener)
        return -0.5 * (np.log(a) + (n_features - 1) * np.log(b))


def gammas(power, scale):
    """How many axes have the variances a and b, and the gamma densities of 1 / a and 1 / b."""
    along = scale.mean(axis=0).sum()
    sizes = np.array([1, len(scale) - 1])
    rates = np.array([along, np.trace(scale) - along]) / 2
    return sizes, 0.5 * sizes * power - 1, rates


def fill(a, b, out):
    """Write a 11'/D + b (I - 11'/D)."""
    n_features = len(out)
    for i in range(n_features):
        for j in range(n_features):
            out[i, j] = (a - b) / n_features
        out[i, i] += b
