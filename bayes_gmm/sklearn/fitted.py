"""Methods of a fitted mixture: labels, probabilities, densities, criteria and draws.

They read the public attributes only, so that they also work if these were set by hand. Of
covariances, precisions and factors scikit-learn stores one number per component for "spherical", D
for "diag", one matrix for "tied" and K matrices for "full"; this package always uses K matrices.
"""

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.structures import Structure

FLOATS = (np.float64, np.float32)


class FittedMixture(DensityMixin, BaseEstimator):
    """The methods of a mixture that need only its parameters."""

    covariance_type: str
    random_state: Any
    weights_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray

    def predict(self, X: Any) -> np.ndarray:
        """Label each row by its most probable component.

        Parameters
        ----------
        X : array_like (N, D)

        Returns
        -------
        ndarray of int (N,)
        """
        return mixture.joint_log_density(*self._rows_and_parameters(X)).argmax(axis=1)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Responsibilities: the probability of each component given the row.

        Parameters
        ----------
        X : array_like (N, D)

        Returns
        -------
        ndarray (N, K)
        """
        return mixture.responsibilities(*self._rows_and_parameters(X))

    def score_samples(self, X: Any) -> np.ndarray:
        """Log density of each row.

        Parameters
        ----------
        X : array_like (N, D)

        Returns
        -------
        ndarray (N,)
        """
        return mixture.marginal_log_density(*self._rows_and_parameters(X))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Mean log density of the rows.

        Parameters
        ----------
        X : array_like (N, D)
        y : None
            Not used.
        sample_weight : array_like (N,), optional

        Returns
        -------
        float
        """
        log_densities = self.score_samples(X)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, log_densities)
        return float(np.average(log_densities, weights=sample_weight))

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Bayesian information criterion, -2 log-likelihood + log(N) x number of free parameters.

        Parameters
        ----------
        X : array_like (N, D)
        sample_weight : array_like (N,), optional
            Row weights; N is then their sum. Unlike the fit, the criterion depends on their scale.

        Returns
        -------
        float
            Smaller is better.
        """
        log_likelihood, n_rows = self._log_likelihood(X, sample_weight)
        return float(-2 * log_likelihood + self._n_parameters() * np.log(n_rows))

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Akaike information criterion, -2 log-likelihood + 2 x number of free parameters.

        Parameters
        ----------
        X : array_like (N, D)
        sample_weight : array_like (N,), optional
            Row weights.

        Returns
        -------
        float
            Smaller is better.
        """
        return float(-2 * self._log_likelihood(X, sample_weight)[0] + 2 * self._n_parameters())

    def sample(self, n_samples: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Draw rows from the mixture, sorted by component.

        Parameters
        ----------
        n_samples : int

        Returns
        -------
        X : ndarray (n_samples, D)
        y : ndarray of int (n_samples,)
            The component from which each row was drawn.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise InputError(f"n_samples is {n_samples}: give at least 1")
        x, z = mixture.sample(self._parameters(), n_samples, np.random.default_rng(self._seed()))
        order = np.argsort(z, kind="stable")
        return x[order], z[order]

    def _log_likelihood(self, X: Any, sample_weight: Any) -> tuple[float, float]:
        """Log-likelihood of weighted rows, and the sum of their weights."""
        log_densities = self.score_samples(X)
        if sample_weight is None:
            return float(log_densities.sum()), float(len(log_densities))
        times = _check_sample_weight(sample_weight, log_densities, ensure_non_negative=True)
        return float(times @ log_densities), float(times.sum())

    def _rows_and_parameters(self, X: Any) -> tuple[np.ndarray, Parameters]:
        check_is_fitted(self)
        return validate_data(self, X, dtype=FLOATS, reset=False), self._parameters()

    def _parameters(self) -> Parameters:
        """Read the mixture back from the public attributes."""
        sizes = self.means_.shape
        covariances = expand(self.covariances_, self.covariance_type, *sizes)
        return Parameters(self.weights_, self.means_, covariances)

    def _n_parameters(self) -> int:
        """Count the free parameters."""
        n_components, n_features = self.means_.shape
        structure = Structure.of(self.covariance_type, n_features)
        covariances = structure.n_parameters(n_components, n_features)
        return n_components * (n_features + 1) - 1 + covariances

    def _seed(self) -> int:
        """Draw a seed from `random_state`."""
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))


def expected_shape(kind: str, n_components: int, n_features: int) -> tuple[int, ...]:
    """Return the shape of the public attribute `covariances_` for this type."""
    own = {
        "spherical": (n_components,),
        "diag": (n_components, n_features),
        "tied": (n_features, n_features),
    }
    return own.get(kind, (n_components, n_features, n_features))


def expand(values: np.ndarray, kind: str, n_components: int, n_features: int) -> np.ndarray:
    """Convert a public attribute to K matrices (K, D, D)."""
    if kind == "spherical":
        return values[:, None, None] * np.eye(n_features)
    if kind == "diag":
        return values[:, :, None] * np.eye(n_features)
    if kind == "tied":
        return np.repeat(values[None], n_components, axis=0)
    return values


def compact(matrices: np.ndarray, kind: str) -> np.ndarray:
    """Convert K matrices (K, D, D) to the shape of the public attributes."""
    if kind == "spherical":
        return matrices[:, 0, 0].copy()
    if kind == "diag":
        return np.einsum("kii->ki", matrices).copy()
    if kind == "tied":
        return matrices[0].copy()
    return matrices.copy()
