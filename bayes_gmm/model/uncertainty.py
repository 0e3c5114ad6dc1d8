r"""How uncertain an estimate is: the inverse of its information, and the delta method.

Relative to the information that rows would hold with their labels, the eigenvalues of what they do
hold are the shares that are kept, direction by direction. One less the smallest is the rate at
which EM converges. Where a share is not positive the objective is flat or rises, and whatever
depends on such a direction has no standard error; everything else still has.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from bayes_gmm.model.information import Curvature

FLAT = 1e-9  # a share of information this small is none: rounding leaves about 1e-13 of it
UNTOUCHED = 1e-6  # what a number may depend on flat directions and still be determined


class Uncertainty(NamedTuple):
    """The covariance of the errors, root root', where the objective is curved downward."""

    root: np.ndarray  # (P, R)
    # (P,), eigenvalues of the information relative to that with labels, ascending
    shares: np.ndarray
    directions: np.ndarray  # (P, P), all eigenvectors, those of `root` and flat ones
    flat: np.ndarray  # (P,), in which of them the objective is not curved downward

    @classmethod
    def of(cls, curvature: Curvature) -> "Uncertainty":
        """Invert the observed information where it can be inverted."""
        factor = _factor(curvature.complete)
        half = solve_triangular(factor, curvature.observed, lower=True)
        relative = solve_triangular(factor, half.T, lower=True)
        shares, vectors = np.linalg.eigh((relative + relative.T) / 2)
        directions = solve_triangular(factor, vectors, lower=True, trans="T")
        flat = shares <= FLAT
        return cls(directions[:, ~flat] / np.sqrt(shares[~flat]), shares, directions, flat)

    def sandwich(self, scores: np.ndarray) -> "Uncertainty":
        r"""Take the spread of the score from the rows, not from the model.

        .. math:: H^{-1} J H^{-1}

        scores (P, P). Huber (1967); White (1982), Econometrica 50, 1-25.
        """
        values, vectors = np.linalg.eigh(self.root.T @ scores @ self.root)
        return self._replace(root=self.root @ (vectors * np.sqrt(np.maximum(values, 0))))

    def standard_errors(self, jacobian: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Standard errors of numbers that depend on the coordinates, by the delta method.

        jacobian (n, C) in the coordinates places (C,) -> (n,), nan where a number depends on a
        direction in which the objective is flat.
        """
        errors = np.linalg.norm(jacobian @ self.root[places], axis=1)
        if self.flat.any():
            depends = np.abs(jacobian @ self.directions[places])
            lost = np.linalg.norm(depends[:, self.flat], axis=1)
            errors[lost > UNTOUCHED * np.linalg.norm(depends, axis=1)] = np.nan
        return errors

    def distance(self, gradient: np.ndarray) -> float:
        """How far the objective may still climb, in nats, judged by one step of Newton's method.

        gradient (P,).
        """
        return float(0.5 * ((gradient @ self.root) ** 2).sum())


def _factor(complete: np.ndarray) -> np.ndarray:
    """Lower factor of the information with labels, or of its diagonal where it is singular."""
    diagonal = np.diagonal(complete)
    unit = np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    try:
        return unit[:, None] * np.linalg.cholesky(complete / np.outer(unit, unit))
    except np.linalg.LinAlgError:
        return np.diag(unit)
