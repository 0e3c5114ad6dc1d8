"""What a picture of a mixture shows: a point, some draws around it, and rows with their shares.

Marginals of a mixture over some of its features are mixtures with the same weights, so that every
panel of a picture is the same subject seen through fewer columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayes_gmm.data.new_rows import rows_like
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.given import known_number
from bayes_gmm.results.predictive import models_missing, predict, result_weights
from bayes_gmm.results.reading import (
    draws_of,
    is_posterior,
    keeps_rows,
    observed_rows,
    point_parameters,
)

MOST_DRAWS = 200
MOST_ROWS = 3000  # more dots than this cover each other


@dataclass(frozen=True, eq=False)
class Subject:
    """A mixture, ready to be drawn."""

    name: str  # MLE, MAP, posterior or mixture
    features: tuple[str, ...]
    point: Parameters  # Of a posterior, the estimate that the draws are labelled by
    draws: list[Parameters]  # Empty unless the result is a posterior
    rows: np.ndarray | None  # (N, D)
    # (n, D), the rows that a scatter shows, at most `MOST_ROWS`, evenly spaced
    dots: np.ndarray | None
    shares: np.ndarray | None  # (n, K), their responsibilities
    times: np.ndarray | None = None  # (N,), how often each row was seen; None is once

    @classmethod
    def of(cls, result: xr.DataTree | Parameters, X: Any = None) -> "Subject":
        """Read a result; X replaces the rows that it was computed from."""
        result = known_number(result)
        point = point_parameters(result)
        draws: list[Parameters] = []
        if isinstance(result, Parameters):
            features = tuple(f"x{j}" for j in range(point.n_features))
            rows, name = None, "mixture"
        else:
            features = tuple(map(str, result["point_estimate"]["feature"].to_numpy()))
            # A fit of more rows than memory holds keeps none of them.
            rows = observed_rows(result) if keeps_rows(result) else None
            if is_posterior(result):
                draws, name = draws_of(result).thinned(MOST_DRAWS), "posterior"
            else:
                name = str(result.attrs["estimator"])
        if X is not None:
            rows, _ = rows_like(X, features, missing=models_missing(result))
        dots = shares = times = None
        if rows is not None:
            times = result_weights(result, X, len(rows))
            drawn = ~np.isnan(rows).any(axis=1)  # a row that lacks an entry has no place
            rows = rows[drawn] if drawn.any() else None
            times = None if times is None else times[drawn]
        if rows is not None:
            n_dots = min(len(rows), MOST_ROWS)
            dots = rows[np.linspace(0, len(rows) - 1, n_dots).round().astype(int)]
            fitted = result if draws else point
            shares = predict(fitted, dots)["responsibilities"].to_numpy()
        return cls(name, features, point, draws, rows, dots, shares, times)

    @property
    def mixtures(self) -> list[Parameters]:
        """The draws, or the point alone."""
        return self.draws or [self.point]

    def columns(self, names: Sequence[str]) -> list[int]:
        """Find features by name."""
        for name in names:
            if name not in self.features:
                close = get_close_matches(str(name), self.features, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                known = ", ".join(self.features)
                raise InputError(f"features: there is no {name!r}; {hint}there are {known}")
        return [self.features.index(name) for name in names]

    def chosen(self, names: Sequence[str] | None, most: int) -> tuple[list[int], str]:
        """Positions of the features to show, and a note if they are not all of them.

        Those asked for by name; else all, or as many as `most` that separate the components best.
        """
        if names is not None:
            named = [names] if isinstance(names, str) else list(names)
            if not named:
                raise InputError("features is empty: name at least one")
            return self.columns(named), ""
        n_features = len(self.features)
        if n_features <= most:
            return list(range(n_features)), ""
        best = np.sort(np.argsort(-self.separation(), kind="stable")[:most])
        note = f"the {most} of {n_features} features that separate the components most"
        return best.tolist(), note

    def marginal(self, columns: Sequence[int]) -> "Subject":
        """Return the same subject seen through some of its columns."""
        chosen = list(columns)
        return replace(
            self,
            features=tuple(self.features[j] for j in chosen),
            point=marginal_of(self.point, chosen),
            draws=[marginal_of(theta, chosen) for theta in self.draws],
            rows=None if self.rows is None else self.rows[:, chosen],
            dots=None if self.dots is None else self.dots[:, chosen],
        )

    def separation(self) -> np.ndarray:
        """Spread of the component means of each feature, in units of the spread within."""
        theta = self.point
        center = theta.weights @ theta.means
        between = theta.weights @ (theta.means - center) ** 2
        within = theta.weights @ np.einsum("kjj->kj", theta.covariances)
        return between / within

    def component_densities(self, x: np.ndarray) -> np.ndarray:
        """Weighted component densities at x (n, D) of each mixture, (S, n, K)."""
        return np.exp(np.stack([theta.log_quadratic()(x) for theta in self.mixtures]))

    def log_density(self, x: np.ndarray, most: int = MOST_DRAWS) -> np.ndarray:
        """Log density at x (n, D), averaged over at most so many draws."""
        step = -(-len(self.mixtures) // most)
        chosen = self.mixtures[::step]
        parts = np.stack([logsumexp(theta.log_quadratic()(x), axis=1) for theta in chosen])
        return logsumexp(parts, axis=0) - np.log(len(chosen))

    def limits(self) -> np.ndarray:
        """Low and high end of each axis, (D, 2): the rows, and the components as far as fits."""
        deviations = np.sqrt(np.einsum("kjj->kj", self.point.covariances))
        reach = np.stack(
            [
                (self.point.means - 2.8 * deviations).min(axis=0),
                (self.point.means + 2.8 * deviations).max(axis=0),
            ],
            axis=1,
        )
        if self.rows is None:
            return reach
        low, high = self.rows.min(axis=0), self.rows.max(axis=0)
        span = np.where(high > low, high - low, 1.0)
        return np.stack(
            [
                np.maximum(np.minimum(low - 0.05 * span, reach[:, 0]), low - 0.25 * span),
                np.minimum(np.maximum(high + 0.05 * span, reach[:, 1]), high + 0.25 * span),
            ],
            axis=1,
        )


def marginal_of(theta: Parameters, columns: list[int]) -> Parameters:
    """Keep some features of a mixture."""
    block = theta.covariances[:, columns][:, :, columns]
    return Parameters.trusted(theta.weights, theta.means[:, columns], block)
