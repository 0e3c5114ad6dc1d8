r"""The parameters of a mixture, and the function of them that a pass over the data evaluates.

`Parameters` is theta = (phi, mu, Sigma). `LogQuadratic` is the function that every algorithm
evaluates at each row, log rho_k(x) = offset_k - 1/2 |whitener_k (x - center_k)|^2. For given
parameters it is the log joint density log p(x, z = k).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.model.arrays import as_numbers, require_finite, symmetrized
from bayes_gmm.model.categorical import check_weights
from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors

# Fields accept anything array-like, and are stored as ndarray.
ArrayOrLike = Any


class LogQuadratic(NamedTuple):
    r"""K functions of a row, log rho_k(x) = offset_k - 1/2 |whitener_k (x - center_k)|^2."""

    offset: np.ndarray  # (K,)
    center: np.ndarray  # (K, D)
    whitener: np.ndarray  # (K, D, D), lower triangular at point parameters, where it is L_k^-1

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate at rows x (N, D); returns (N, K)."""
        whitened = (x - self.center[:, None, :]) @ self.whitener.swapaxes(1, 2)
        return self.offset - 0.5 * (whitened**2).sum(axis=-1).T


@dataclass(frozen=True, eq=False)
class Parameters:
    r"""The parameters of a Gaussian mixture, theta = (phi, mu, Sigma).

    .. math:: z \sim \mathrm{Categorical}(\phi), \qquad x \mid z = k \sim N(\mu_k, \Sigma_k)

    Parameters
    ----------
    weights : array_like (K,)
        phi, non-negative, summing to one.
    means : array_like (K, D)
        mu, in the units of the data.
    covariances : array_like (K, D, D)
        Sigma, symmetric positive definite, in squared units of the data.

    Raises
    ------
    InputError
        If a shape is wrong, a number is not finite, the weights do not sum to one, or a covariance
        is not symmetric positive definite.

    Examples
    --------
    >>> theta = Parameters([0.5, 0.5], [[0.0], [3.0]], [[[1.0]], [[2.0]]])
    >>> theta.n_components, theta.n_features
    (2, 1)
    """

    weights: ArrayOrLike
    means: ArrayOrLike
    covariances: ArrayOrLike

    def __post_init__(self) -> None:
        weights = check_weights(self.weights)
        means = as_numbers("means", self.means)
        covariances = as_numbers("covariances", self.covariances)
        if means.ndim != 2 or len(means) != len(weights) or means.shape[1] == 0:
            raise InputError(
                f"means must have shape (K, D) with K = {len(weights)}, one row per weight; "
                f"got {means.shape}"
            )
        if covariances.shape != (*means.shape, means.shape[1]):
            raise InputError(
                f"covariances must have shape (K, D, D) = {(*means.shape, means.shape[1])}; "
                f"got {covariances.shape}"
            )
        require_finite("means", means)
        require_finite("covariances", covariances)
        covariances = symmetrized("covariances", covariances)
        for name, array in (("weights", weights), ("means", means), ("covariances", covariances)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        _ = self.choleskys  # raises if a covariance is not positive definite

    @classmethod
    def trusted(
        cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
    ) -> "Parameters":
        """Build from computed arrays without checks, for use in inner loops."""
        parameters = object.__new__(cls)
        object.__setattr__(parameters, "weights", weights)
        object.__setattr__(parameters, "means", means)
        object.__setattr__(parameters, "covariances", covariances)
        return parameters

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return self.means.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features, D."""
        return self.means.shape[1]

    @cached_property
    def choleskys(self) -> np.ndarray:
        """Lower Cholesky factors L_k of the covariances, (K, D, D)."""
        return cholesky(self.covariances, "covariances")

    def log_quadratic(self) -> LogQuadratic:
        r"""Return the log joint density as K functions of a row.

        .. math:: \mathrm{offset}_k = \log\phi_k - \log|L_k| - \tfrac{D}{2}\log 2\pi, \qquad
            \mathrm{whitener}_k = L_k^{-1}
        """
        half_log_det = np.log(np.einsum("kii->ki", self.choleskys)).sum(axis=1)
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        offset = log_weights - half_log_det - 0.5 * self.n_features * LOG_2PI
        return LogQuadratic(offset, self.means, inverse_factors(self.choleskys))

    @property
    def order_of_means(self) -> np.ndarray:
        """Component indices sorted by their means, by the first feature first, (K,)."""
        return np.lexsort(self.means.T[::-1])

    def reorder(self, order: np.ndarray) -> "Parameters":
        """Return the same mixture with its components in another order.

        Parameters
        ----------
        order : array_like of int (K,)
            A permutation of 0..K-1; component k of the result is component order[k] of this one.

        Returns
        -------
        theta : Parameters
        """
        order = np.asarray(order)
        return Parameters(self.weights[order], self.means[order], self.covariances[order])

    def rescale(self, shift: np.ndarray, scale: np.ndarray) -> "Parameters":
        r"""Return the parameters of shift + scale * x, a change of origin and units per feature.

        .. math:: \mu_k \to a + s \odot \mu_k, \qquad \Sigma_k \to (s s^\top) \odot \Sigma_k

        Parameters
        ----------
        shift, scale : array_like (D,)
            a and s; scale must be positive.

        Returns
        -------
        theta : Parameters
        """
        scale = np.asarray(scale, dtype=float)
        return Parameters(
            self.weights, shift + scale * self.means, self.covariances * np.outer(scale, scale)
        )
