"""The rows that a result keeps, as the data that it was computed from, their weights included."""

from dataclasses import replace

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.row_labels import restored
from bayes_gmm.results.draws import feature_names, observed_rows, row_weights


def kept_observations(result: xr.DataTree) -> Observations:
    """Read the rows of a result, with their names, labels and weights.

    Parameters
    ----------
    result : DataTree

    Returns
    -------
    Observations
        They were checked when the result was made; one row, or a constant column, is not refused.

    Raises
    ------
    InputError
        If the result does not keep them.
    """
    rows = observed_rows(result, complete=False)
    spread = np.ones(rows.shape[1])
    observations = Observations.of(np.ascontiguousarray(rows), spread=spread, missing="mar")
    weights = row_weights(result)
    if weights is not None:
        observations = observations.weighted(weights, spread=spread)
    return replace(
        observations,
        feature_names=feature_names(result),
        row_labels=restored(result["observed_data"].dataset),
    )
