"""What else a model drew, as scalars that convergence is judged by.

A variable along the dim cluster belongs to components; its sorted entries are label-invariant.
A dim without a name, as long as there are components, may be theirs too, so its entries are taken
in order of size as well. Otherwise dims are taken at their word, and names of variables mean
nothing.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import xarray as xr

from bayes_gmm.posterior.scalars import Scalar
from bayes_gmm.results.labels import is_unnamed
from bayes_gmm.results.reading import VARIABLES, invariants, require_posterior

MOST_ENTRIES = 50  # of one variable; of more, so many are judged, evenly spaced
ROUNDING = 1e-13  # spread, relative to the size, of what is constant
OURS = {"weight", "mean", "sd", "correlation", "covariance", "log_posterior"}  # names in tables


def label_free(posterior: xr.DataTree) -> tuple[list[str], np.ndarray]:
    """Read the variables that are not the mixture's own, so that no names of components count.

    Values are finite: what is infinite or undefined lies beyond all else, which its rank keeps.
    Names are such as ``size``, or ``tau[sorted 0]`` for the least of all components.

    Shapes: -> values (chain, draw, P).
    """
    columns = []
    names, _ = invariants(posterior)
    n_taken = len(names)
    n_components = posterior["posterior"].sizes["cluster"]
    for array in _others(posterior):
        ordered = array
        for dim in array.dims[2:]:
            perhaps = is_unnamed(dim) and array.sizes[dim] == n_components
            if n_components > 1 and (dim == "cluster" or perhaps):
                labels = [f"sorted {place}" for place in range(n_components)]
                values = np.sort(ordered.to_numpy(), axis=ordered.get_axis_num(dim))
                ordered = ordered.copy(data=values).assign_coords({dim: labels})
        entries, values = _entries(ordered)
        name = str(array.name)
        for entry in entries:
            label = f"{name}[{', '.join(entry)}]" if entry else name
            while label in names:
                label = f"variable {label}"
            names.append(label)
        columns.append(values)
    return names[n_taken:], _joined(columns, posterior)


def of_components(posterior: xr.DataTree) -> tuple[list[Scalar], np.ndarray]:
    """Read the variables that belong to components, as these are named.

    Shapes: -> values (chain, draw, P).
    """
    scalars, columns = [], []
    for array in _others(posterior):
        if "cluster" in array.dims:
            entries, values = _entries(array.transpose("chain", "draw", "cluster", ...))
            scalars += [
                Scalar(str(array.name), int(cluster), ", ".join(rest)) for cluster, *rest in entries
            ]
            columns.append(values)
    return scalars, _joined(columns, posterior)


def _others(posterior: xr.DataTree) -> Iterator[xr.DataArray]:
    """Variables that are not the mixture's own, finite and under names that are in no table."""
    taken = OURS.union(map(str, require_posterior(posterior)["invariants"].data_vars))
    for name, array in posterior["posterior"].to_dataset().drop_vars(VARIABLES).items():
        draws = array.transpose("chain", "draw", ...)
        called = f"variable {name}" if name in taken else str(name)
        yield draws.copy(data=_finite(draws.to_numpy().astype(float))).rename(called)


def _entries(array: xr.DataArray) -> tuple[list[tuple[str, ...]], np.ndarray]:
    """List the scalars of a variable by their labels, with their values (chain, draw, P)."""
    labels = [[str(label) for label in array[dim].to_numpy()] for dim in array.dims[2:]]
    entries = list(product(*labels))
    places = np.linspace(0, len(entries) - 1, min(len(entries), MOST_ENTRIES)).round().astype(int)
    values = array.to_numpy().reshape(*array.shape[:2], -1)[..., places]
    size, spread = np.abs(values).max(axis=(0, 1)), np.ptp(values, axis=(0, 1))
    return [entries[place] for place in places], np.where(
        spread > ROUNDING * size, values, values[0, 0]
    )


def _finite(values: np.ndarray) -> np.ndarray:
    """Move infinite and undefined values beyond all others."""
    usual = values[np.isfinite(values)]
    low, high = (usual.min(), usual.max()) if usual.size else (0.0, 0.0)
    step = max(high - low, 1.0)
    return np.nan_to_num(values, nan=low - 2 * step, posinf=high + step, neginf=low - step)


def _joined(columns: list[np.ndarray], posterior: xr.DataTree) -> np.ndarray:
    sizes = posterior["posterior"].sizes
    return np.concatenate([np.empty((sizes["chain"], sizes["draw"], 0)), *columns], axis=2)
