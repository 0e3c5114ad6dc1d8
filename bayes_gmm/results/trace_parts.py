"""One part of a mixture in a trace: its variable, found and checked, and the order of its axes.

The dim of the components is the one that the weights have besides chain and draw. Where a dim has
no name but the one that ArviZ makes up, the order of the axes tells: components come first. What
has no axis for components is the same for all of them.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.results.labels import is_unnamed

SAMPLE = ("chain", "draw")
# Relative errors that single precision may make.
NAME_OTHERS = "leave these draws out, or name other variables"
SUM = 1e-4
SYMMETRY = 1e-4
FEATURE_AXES = {"means": 1, "covariances": 2, "choleskys": 2, "sds": 1}


class Part(NamedTuple):
    """One part of the mixture: values (chain, draw, K, ...), and what the trace calls its axes."""

    values: np.ndarray
    component: Hashable | None
    features: tuple[Hashable, ...]
    array: xr.DataArray


def one_by_one(what: Any) -> list[str]:
    """Names of variables that are a component each."""
    return [one for one in what if isinstance(one, str)] if isinstance(what, list | tuple) else []


def _variable(posterior: xr.Dataset, what: Any, part: str) -> xr.DataArray:
    """Find a variable by its name, put those of all components together, or take an array."""
    if isinstance(what, list | tuple):
        each = [_variable(posterior, one, part) for one in what]
        shapes = {array.shape for array in each}
        if len(shapes) != 1:
            raise InputError(
                f"{part} are given one by one, and differ in shape: "
                f"{listing(sorted(map(str, shapes)))}"
            )
        values = np.stack([array.to_numpy() for array in each], axis=2)
        made_up = [f"{part}_dim_{axis}" for axis in range(values.ndim - 2)]
        return xr.DataArray(values, dims=(*SAMPLE, *made_up))
    if isinstance(what, str):
        if what not in posterior:
            raise InputError(
                f"trace has no variable {what!r} to take as {part}; it has "
                f"{listing(posterior.data_vars)}. Name the right one, as in {part}='...'"
                + (", or give choleskys= or sds=" if part == "covariances" else "")
            )
        array = posterior[what]
    elif isinstance(what, xr.DataArray):
        array = what
    else:
        raise InputError(
            f"{part} must be the name of a variable, a list of names, one per component, or a "
            f"DataArray; got {type(what).__name__}"
        )
    if not set(SAMPLE) <= set(array.dims):
        raise InputError(f"{part} has the dims {listing(array.dims)}: it needs chain and draw")
    if any(array.sizes[dim] != posterior.sizes[dim] for dim in SAMPLE):
        raise InputError(f"{part} has other chains or draws than the trace")
    array = array.transpose(*SAMPLE, ...)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{part} are not real numbers, but of type {array.dtype}")
    array = array.astype(np.float64)
    bad = ~np.isfinite(array.to_numpy()).reshape(*array.shape[:2], -1).all(axis=2)
    _require_none(bad, f"{part} are not finite")
    return array


def weights_part(posterior: xr.Dataset, what: Any) -> Part:
    """Find the weights (chain, draw, K), whose own dim is that of the components."""
    array = _variable(posterior, what, "weights")
    own = array.dims[2:]
    if len(own) != 1:
        raise InputError(
            f"weights have {_axes(array)}, but need exactly one: {_one_mixture(array, own)}"
        )
    values = array.to_numpy()
    total = values.sum(axis=2)
    _require_none((values < 0).any(axis=2), "weights are negative")
    _require_none(np.abs(total - 1) > SUM, "weights do not sum to one")
    return Part(values / total[..., None], own[0], (), array)


def placed(
    posterior: xr.Dataset, what: Any, part: str, component: Hashable, sizes: tuple[int, int]
) -> Part:
    """Bring components to the front, then features; without an axis all components are alike."""
    n_components, n_features = sizes
    array = _variable(posterior, what, part)
    own, rank = array.dims[2:], FEATURE_AXES[part]
    full = [(n_features,) * rank]
    if n_features == 1:  # its axes may be missing
        full.append(())
    elif part == "choleskys":  # packed row by row, as pymc.LKJCholeskyCov has them
        full.append((n_features * (n_features + 1) // 2,))
    values = array.to_numpy()
    found = _component_dim(array, part, component, n_components, full)
    if found is not None:
        values = np.moveaxis(values, array.dims.index(found), 2)
    else:
        values = np.broadcast_to(
            values[:, :, None], (*values.shape[:2], n_components, *values.shape[2:])
        )
    if values.shape[3:] not in full:
        wanted = " x ".join(map(str, (n_components, *full[0])))
        more = values.ndim - 3 > rank
        raise InputError(
            f"{part} have {_axes(array)}, but need {wanted}: the components, which are the "
            f"dim {component!r} of the weights, and the {n_features} columns of X. "
            + (_one_mixture(array, [dim for dim in own if dim != found]) if more else "")
        )
    features = tuple(dim for dim in own if dim != found)
    if values.ndim - 3 < rank and n_features > 1:
        values = _unpacked(values, n_features)
    return Part(values.reshape(*values.shape[:3], *(n_features,) * rank), found, features, array)


def _component_dim(
    array: xr.DataArray,
    part: str,
    component: Hashable,
    n_components: int,
    full: list[tuple[int, ...]],
) -> Hashable | None:
    """Find the dim of the components: that of the weights, or where there are no names, the first.

    Weights may have no name for it where another part has one; then its length must tell.
    """
    own = array.dims[2:]
    if component in own:
        return component
    as_long = [
        dim
        for dim in own
        if array.sizes[dim] == n_components
        and tuple(array.sizes[other] for other in own if other != dim) in full
    ]
    if not as_long:
        return None
    if is_unnamed(own[0]):
        return own[0] if own[0] in as_long else None
    if not is_unnamed(component):
        return None
    if len(as_long) > 1:
        raise InputError(
            f"{part} have {_axes(array)}, but the dim of the weights has no name, so that the dim "
            f"of the components could be {' or '.join(map(str, as_long))}: give the weights the "
            "same named dim in the model, or pass an array that has it as weights="
        )
    return as_long[0]


def _unpacked(packed: np.ndarray, n_features: int) -> np.ndarray:
    """Write the rows of lower triangles (..., D (D + 1) / 2) as matrices (..., D, D)."""
    factors = np.zeros((*packed.shape[:-1], n_features, n_features))
    factors[..., *np.tril_indices(n_features)] = packed
    return factors


def _one_mixture(array: xr.DataArray, dims: Any) -> str:
    """What a result is, and how one mixture is chosen of several."""
    place = f"trace['posterior'][{str(array.name)!r}]"
    return (
        "A result has one mixture per draw, the same for all rows of X. If it varies between rows "
        f"or groups (its dims are {listing(dims) or 'none'}), select one, as in "
        f"{place}.isel({dims[0] if len(dims) else 'group'}=0), and pass its rows as X."
    )


def _axes(array: xr.DataArray) -> str:
    sizes = [f"{dim} ({array.sizes[dim]})" for dim in array.dims[2:]]
    return f"the dims {listing(sizes)} besides chain and draw" if sizes else "only chain and draw"


def covariances_of(values: np.ndarray, form: str) -> np.ndarray:
    """Turn standard deviations, Cholesky factors or covariances into sound covariances."""
    if form == "sds":
        _require_none((values <= 0).any(axis=(2, 3)), "sds are not positive")
        return np.square(values)[..., None] * np.eye(values.shape[-1])
    if form == "choleskys":
        upper = np.triu(values, 1) != 0
        _require_none(upper.any(axis=(2, 3, 4)), "choleskys are not lower triangular")
        values = values @ values.swapaxes(-1, -2)
    size = np.abs(values).max(axis=(-1, -2), keepdims=True)
    skew = np.abs(values - values.swapaxes(-1, -2)) > SYMMETRY * size
    triangular = (np.triu(values, 1) == 0).all()
    advice = "give Cholesky factors as choleskys=" if triangular else NAME_OTHERS
    _require_none(skew.any(axis=(2, 3, 4)), "covariances are not symmetric", advice)
    values = (values + values.swapaxes(-1, -2)) / 2
    try:
        np.linalg.cholesky(values)
    except np.linalg.LinAlgError:
        bad = (np.linalg.eigvalsh(values) <= 0).any(axis=(2, 3))
        _require_none(bad, f"{form} are not positive definite")
    return values


def _require_none(bad: np.ndarray, statement: str, advice: str = NAME_OTHERS) -> None:
    """Check that no draw is bad (chain, draw)."""
    if bad.any():
        chain, draw = np.argwhere(bad)[0]
        raise InputError(
            f"{statement} in {bad.sum()} of {bad.size} draws, the first in chain {chain}, draw "
            f"{draw}: {advice}"
        )
