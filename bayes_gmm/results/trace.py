"""A trace of any model read as draws of a mixture, with its other variables and groups beside."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.labels import DIMS
from bayes_gmm.results.reading import VARIABLES
from bayes_gmm.results.trace_parts import SAMPLE, covariances_of, one_by_one, placed, weights_part
from bayes_gmm.results.tree import KNOWN

OTHER_LABELS = ("warmup_", "unconstrained_")  # groups that are not relabelled, and are left out


class Mixture(NamedTuple):
    """The mixture in a trace."""

    draws: Draws  # Components in the order in which the sampler had them
    others: xr.Dataset  # The other variables; the dim of the components is called cluster
    feature_labels: tuple[str, ...] | None  # Names of the features, if the trace has any

    def sampled(self, trace: Any, feature_names: tuple[str, ...]) -> xr.DataTree:
        """Lay the draws out as an engine returns them, in groups posterior and sample_stats."""
        posterior = self.others.assign(
            {
                name: ((*SAMPLE, *DIMS[name]), values)
                for name, values in self.draws._asdict().items()
            }
        )
        taken = {"feature": feature_names, "feature_bis": feature_names}
        for dim, labels in taken.items():
            own = _text_labels(self.others, dim)
            if own is not None and own != labels:
                raise InputError(
                    f"trace has a dim {dim!r} with the labels {listing(own)}, but X has the "
                    f"columns {listing(labels)}: rename the dim in the model"
                )
        stats = xr.Dataset(coords={dim: posterior[dim] for dim in SAMPLE})
        if isinstance(trace, xr.DataTree) and "sample_stats" in trace.children:
            stats = trace["sample_stats"].to_dataset()
            # What our own engines record under these names may be something else here.
            stats = stats.rename({name: f"{name}_of_model" for name in KNOWN if name in stats})
        return xr.DataTree.from_dict({"/posterior": posterior, "/sample_stats": stats})


def read_mixture(
    trace: Any,
    n_features: int,
    *,
    weights: Any,
    means: Any,
    covariances: Any,
    choleskys: Any,
    sds: Any,
) -> Mixture:
    """Find the draws of weights, means and covariances in a trace."""
    posterior = posterior_of(trace)
    forms = {"covariances": covariances, "choleskys": choleskys, "sds": sds}
    given = {name: what for name, what in forms.items() if what is not None}
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are both given: give one of them")
    ((form, named),) = given.items() or [("covariances", "covariances")]
    phi = weights_part(posterior, weights)
    sizes = phi.values.shape[2], n_features
    mu = placed(posterior, means, "means", phi.component, sizes)
    spread = placed(posterior, named, form, phi.component, sizes)
    draws = Draws(phi.values, mu.values, covariances_of(spread.values, form))
    components = {part.component for part in (phi, mu, spread)} - {None}
    labels = _text_labels(mu.array, mu.features[0]) if mu.features else None
    # What is given by the name that it has here is there already. Components that are variables of
    # their own would keep the sampler's labels.
    parts = {"weights": weights, "means": means, form: named}
    own = [
        part for part, what in parts.items() if isinstance(what, str) and what == part in VARIABLES
    ]
    single = {name for what in parts.values() for name in one_by_one(what)}
    kept = posterior.drop_vars([*own, *single])
    clash = {name: f"{name}_of_model" for name in VARIABLES if name in kept}
    for name, new in clash.items():
        if new in kept:
            raise InputError(f"trace has variables {name!r} and {new!r}: rename one of them")
    return Mixture(draws, _along_cluster(kept.rename(clash), components, sizes), labels)


def posterior_of(trace: Any) -> xr.Dataset:
    """Read the group posterior of a trace."""
    if isinstance(trace, xr.DataTree):
        if "invariants" in trace.children:
            raise InputError("trace is a result already: use it as it is, or see bg.relabel")
        if not trace.children and set(SAMPLE) <= set(trace.dims):
            return trace.to_dataset()
        if "posterior" not in trace.children:
            raise InputError(
                f"trace has no group posterior (its groups: {listing(trace.children) or 'none'}): "
                "give what pm.sample returns"
            )
        posterior = trace["posterior"].to_dataset()
    elif isinstance(trace, xr.Dataset):
        posterior = trace
    else:
        raise InputError(
            f"trace is an object of type {type(trace).__name__}: give the DataTree that pm.sample "
            "returns, or its group posterior as a Dataset"
        )
    missing = [dim for dim in SAMPLE if dim not in posterior.dims]
    if missing:
        raise InputError(f"trace's posterior has no dim {missing[0]!r}: it needs chain and draw")
    return posterior


def weights_of_rows(trace: Any) -> np.ndarray | None:
    """Read how often each row was seen, where a model says so in its data."""
    if not isinstance(trace, xr.DataTree) or "constant_data" not in trace.children:
        return None
    data = trace["constant_data"]
    return data["row_weights"].to_numpy() if "row_weights" in data else None


def carried(trace: Any, result: xr.DataTree) -> xr.DataTree:
    """Give a result the groups of the trace that it has none of.

    Without the groups warmup_* and unconstrained_*, in which components would keep the labels of
    the sampler.
    """
    if not isinstance(trace, xr.DataTree):
        return result
    for name, group in trace.children.items():
        if name not in result.children and not name.startswith(OTHER_LABELS):
            result[name] = xr.DataTree(group.to_dataset())
    if "observed_data" in trace.children and "observed_data" in result.children:
        rows, own = (tree["observed_data"].to_dataset() for tree in (result, trace))
        beside = {
            name: array
            for name, array in own.data_vars.items()
            if name not in rows and not set(array.dims) & set(rows.dims)
        }
        result["observed_data"] = xr.DataTree(rows.assign(beside))
    return result


def _along_cluster(
    others: xr.Dataset, components: set[Hashable], sizes: tuple[int, int]
) -> xr.Dataset:
    """Call the dim of the components cluster, in whatever variable it is."""
    present = [dim for dim in others.dims if dim in components]
    if "cluster" in others.dims and "cluster" not in components:
        raise InputError(
            "trace has a dim 'cluster' that is not the dim of the components, which is "
            f"{listing(components)}: rename it in the model"
        )
    for name, array in others.data_vars.items():
        if len(set(array.dims) & components) > 1:
            raise InputError(
                f"trace's variable {name!r} has several dims of components: {listing(array.dims)}"
            )
    lengths = {"feature": sizes[1], "feature_bis": sizes[1]}
    for dim, length in lengths.items():
        if others.sizes.get(dim, length) != length:
            raise InputError(
                f"trace has a dim {dim!r} with {others.sizes[dim]} entries, but X has {length} "
                "columns: rename the dim in the model"
            )
    renamed = [
        array.rename({dim: "cluster" for dim in array.dims if dim in components})
        for array in others.drop_vars(present, errors="ignore").data_vars.values()
    ]
    coords = {name: others[name] for name in SAMPLE if name in others.coords}
    return xr.Dataset({array.name: array for array in renamed}, coords=coords)


def _text_labels(array: Any, dim: Hashable) -> tuple[str, ...] | None:
    """Labels along a dim, if it has any that are text."""
    if dim not in array.coords:
        return None
    labels = array.coords[dim].to_numpy()
    text = labels.dtype.kind in "UO" and all(isinstance(label, str) for label in labels)
    return tuple(map(str, labels)) if text else None
