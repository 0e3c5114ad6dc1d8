"""A point result read back as what it was made of: rows, parameters, structure and prior."""

from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.results.draws import complete_rows, is_point, keeps_rows, observed_rows, row_weights
from bayes_gmm.results.prior_parameters import read_conjugate_prior
from bayes_gmm.results.tree import point_parameters


class Fitted(NamedTuple):
    """A point estimate and all that it was an estimate from."""

    observations: Observations
    parameters: Parameters
    structure: Structure
    prior: Prior | None  # None for maximum likelihood
    estimator: str  # MLE or MAP
    features: tuple[str, ...]
    equal_weights: bool = False  # Whether every weight was held at 1 / K

    @property
    def counted(self) -> Prior | None:
        """The prior as it counts for this structure; see `model.structures.prior`."""
        if self.prior is None:
            return None
        return StructuredPrior.of(self.prior, self.structure).counted

    @classmethod
    def of(cls, result: Any, X: Any = None) -> "Fitted":
        """Read a result of `fit`."""
        if not is_point(result) or "covariance" not in result.attrs:
            raise InputError(
                "result must come from bg.fit or be the best of bg.select, which know what was "
                "estimated and how"
            )
        parameters = point_parameters(result)
        features = tuple(str(name) for name in result["point_estimate"]["feature"].to_numpy())
        prior = read_conjugate_prior(result)
        return cls(
            _rows(result, X, features, prior),
            parameters,
            Structure.of(result.attrs["covariance"], parameters.n_features),
            prior,
            str(result.attrs["estimator"]),
            features,
            bool(result.attrs.get("equal_weights", 0)),
        )


def _rows(
    result: xr.DataTree, X: Any, features: tuple[str, ...], prior: Prior | None
) -> Observations:
    """The data, given or kept."""
    spread = None if prior is None else prior.spread
    if X is None:
        if not keeps_rows(result):
            raise InputError("X is needed, because the result keeps no copy of its rows")
        rows = complete_rows(observed_rows(result), "standard_errors")
        observations = Observations.of(np.ascontiguousarray(rows), spread=spread)
        return _weighted(observations, result, spread)
    observations = Observations.of(X, spread=spread)
    names = observations.feature_names
    nameless = names == tuple(f"x{j}" for j in range(len(features)))
    if names != features and not nameless:
        raise InputError(
            f"X has the columns {listing(names)}, and the result {listing(features)}: "
            "give the data of the fit"
        )
    expected = result.attrs.get("n_observations", observations.n_rows)
    if observations.n_rows != expected:
        raise InputError(
            f"X has {observations.n_rows} rows, and the fit had {expected}: "
            "give the data of the fit"
        )
    return _weighted(observations, result, spread)


def _weighted(
    observations: Observations, result: xr.DataTree, spread: np.ndarray | None
) -> Observations:
    """Let rows count as often as they did in the fit, if weights are kept."""
    weights = row_weights(result)
    if weights is None:
        return observations
    return observations.weighted(weights, what="row_weights", spread=spread)
