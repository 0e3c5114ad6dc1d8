"""Names of dims and coordinates: plain arrays in, labelled Datasets out.

Everything below this floor is unlabelled. Which axis is what is said once, here.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

DIMS: dict[str, tuple[str, ...]] = {
    "weights": ("cluster",),
    "means": ("cluster", "feature"),
    "covariances": ("cluster", "feature", "feature_bis"),
    "concentration": ("cluster",),
    "mean": ("feature",),
    "scale": ("feature", "feature_bis"),
    "x": ("obs_id", "feature"),
    "z": ("obs_id",),
    "responsibilities": ("obs_id", "cluster"),
}


def is_unnamed(dim: Hashable) -> bool:
    """Whether a dim has no name but the one that ArviZ makes up, such as ``tau_dim_0``."""
    return re.search(r"_dim_\d+$", str(dim)) is not None


def labelled(
    arrays: Mapping[str, Any],
    *,
    feature_names: Sequence[str] = (),
    index: Any = None,
    leading: tuple[str, ...] = (),
    dims: Mapping[str, tuple[str, ...]] | None = None,
) -> xr.Dataset:
    """Attach dims and coordinates to arrays by the names of the variables."""
    own = {**DIMS, **(dims or {})}
    variables = {name: ((*leading, *own.get(name, ())), value) for name, value in arrays.items()}
    sizes = {
        dim: size
        for on, value in variables.values()
        for dim, size in zip(on, np.shape(value), strict=True)
    }
    known = {"feature": list(feature_names), "feature_bis": list(feature_names)}
    coordinates: dict[str, Any] = {
        dim: known[dim] if dim in known else np.arange(size) for dim, size in sizes.items()
    }
    dataset = xr.Dataset(variables, coordinates)
    if index is None or "obs_id" not in sizes:
        return dataset
    if isinstance(index, pd.MultiIndex):
        return dataset.assign_coords(xr.Coordinates.from_pandas_multiindex(index, "obs_id"))
    return dataset.assign_coords(obs_id=pd.Index(index, name="obs_id"))


def record_columns(prefix: str, kind: type, found: Sequence[Any]) -> dict[str, np.ndarray]:
    """Lay named tuples of a kind out as variables `prefix_...`, one entry for each."""
    return {
        f"{prefix}_{name}": np.array([getattr(one, name) for one in found], dtype=type_)
        for name, type_ in kind.__annotations__.items()
    }


def records(prefix: str, kind: type, dataset: xr.Dataset) -> list[Any]:
    """Read named tuples back from variables along the dim `prefix`."""
    if not dataset.sizes[prefix]:
        return []
    columns = [dataset[f"{prefix}_{name}"].to_numpy().tolist() for name in kind.__annotations__]
    return [kind(*entries) for entries in zip(*columns, strict=True)]
