"""The cluster of each row beside the row: a table to look at."""

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data.wording import free_name

DIGITS = 6


def with_clusters(table: pd.DataFrame, predicted: xr.Dataset) -> pd.DataFrame:
    """Put the cluster of each row beside it.

    Columns cluster, its probability, of a posterior the ends of its credible interval, and the
    entropy of the label in nats. A column of the table that has such a name keeps it.
    """
    label = predicted["label"]
    shares = {
        name: predicted[variable]
        for name, variable in (
            ("probability", "responsibilities"),
            ("lower", "responsibilities_lower"),
            ("upper", "responsibilities_upper"),
        )
        if variable in predicted
    }
    values = {
        "cluster": label.to_numpy(),
        **{name: _of_the_label(share, label).round(DIGITS) for name, share in shares.items()},
        "entropy": predicted["entropy"].to_numpy().round(DIGITS),
    }
    made = table.set_axis(list(map(str, table.columns)), axis=1)
    for name, column in values.items():
        made[free_name(name, made.columns)] = column
    return made


def _of_the_label(shares: xr.DataArray, label: xr.DataArray) -> np.ndarray:
    """Take the share of each row's own cluster."""
    rows = np.arange(label.size)
    return shares.transpose("obs_id", "cluster").to_numpy()[rows, label.to_numpy()]
