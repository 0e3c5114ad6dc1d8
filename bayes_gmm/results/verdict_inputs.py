"""The inputs of a verdict on the draws of a posterior, computed once, and their tables.

Other variables of a model are checked too. A variable along the dim cluster belongs to components;
its sorted entries are label-invariant. An unnamed dim of length K may belong to components too, so
its entries are sorted as well. Otherwise only dims count; the names of variables mean nothing.
"""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.posterior import chains
from bayes_gmm.posterior.convergence import Convergence, convergence
from bayes_gmm.posterior.deciding_rows import DecidingRow
from bayes_gmm.posterior.dispensable import Merger, dispensable
from bayes_gmm.posterior.draws import Draws, Scalar, catalogue, flatten
from bayes_gmm.posterior.identification import Identification, identify, largest
from bayes_gmm.posterior.importance import Gap, gap
from bayes_gmm.posterior.modes import Mode, weighed
from bayes_gmm.results.diagnosis import LabelReport
from bayes_gmm.results.given import known_number, numbers_of_clusters
from bayes_gmm.results.labels import is_unnamed, read_conjugate_prior
from bayes_gmm.results.reading import (
    VARIABLES,
    draws_of,
    feature_names,
    invariants,
    keeps_rows,
    kept_observations,
    permutation,
    point_parameters,
    read_number,
    require_posterior,
    structure_of,
    total_weight,
)
from bayes_gmm.results.remarks import rows_that_decide

LABEL_INVARIANT, RELABELLED = "label-invariant quantities", "relabelled parameters"
OCCUPIED = "occupied_components"
RAW_KINDS = ("weight", "mean", "sd")
MOST_ENTRIES = 50  # of one variable; of more, so many are judged, evenly spaced
CONSTANT = 1e-13  # spread, relative to the size, of what is constant
OURS = {"weight", "mean", "sd", "correlation", "covariance", "log_posterior"}  # names in tables


class VerdictInputs(NamedTuple):
    """The inputs of the rules; chain and draw are the first axes of every array.

    Other variables of the model are among the label-invariant quantities, as `names_of_model`;
    `others` are those of them that belong to components. `merger` are two components whose merging
    lowers BIC; `all_borne_out` says whether converged chains support all components nevertheless.
    `gap` is how far from the posterior the distribution is that variational Bayes draws from.
    """

    names: list[str]
    names_of_model: list[str]
    values: np.ndarray
    label_invariant: Convergence
    scalars: list[Scalar]
    parameters: Convergence
    others: list[Scalar]
    of_others: Convergence
    draws: Draws
    permutation: np.ndarray
    diverging: np.ndarray
    n_rows: float
    stuck: list[int]
    modes: list[Mode]
    identification: Identification
    merger: Merger | None
    all_borne_out: bool
    deciding: list[DecidingRow]
    n_clusters: dict[int, float]  # probabilities, where their number is unknown
    gap: Gap | None

    @property
    def parameter_names(self) -> list[str]:
        """What the relabelled parameters are called."""
        return [scalar.name for scalar in self.scalars]

    @property
    def height_name(self) -> str:
        """Which of the label-invariant quantities is the height of the posterior."""
        return "log_posterior" if "log_posterior" in self.names else "log_likelihood"

    @property
    def heights(self) -> np.ndarray:
        """Log posterior of every draw (chain, draw)."""
        return self.values[..., self.names.index(self.height_name)]


def gather(posterior: xr.DataTree) -> VerdictInputs:
    """Collect the inputs of a verdict on a posterior result."""
    known = known_number(require_posterior(posterior))
    draws = draws_of(known)
    names, values = invariants(posterior)
    finite = values[..., np.isfinite(values).all(axis=(0, 1))]
    still = chains.stuck(finite)
    # A hyperparameter has to converge as the mixture does, and may have several modes of its own.
    more_names, more = label_invariant(posterior)
    names, values = names + more_names, np.concatenate([values, more], axis=2)
    others, values_of_others = of_components(posterior)
    stats = posterior["sample_stats"]
    if "diverging" in stats:
        diverging = stats["diverging"].transpose("chain", "draw").to_numpy().astype(bool)
    else:
        diverging = np.zeros(values.shape[:2], dtype=bool)
    scalars = catalogue(draws.weights.shape[2], feature_names(posterior))
    parameters = convergence(flatten(*draws))
    n_rows, structure = total_weight(posterior), structure_of(posterior)
    settled = chains.modes(np.concatenate([finite, more], axis=2))
    modes = [group for group in settled if not set(group) <= set(still)]
    height = "log_posterior" if "log_posterior" in names else "log_likelihood"
    heights = values[..., names.index(height)]
    return VerdictInputs(
        names,
        more_names,
        values,
        convergence(values),
        scalars,
        parameters,
        others,
        convergence(values_of_others),
        draws,
        permutation(known),
        diverging,
        n_rows,
        still,
        weighed(modes, draws, heights, structure, with_prior=height == "log_posterior"),
        identify(draws, scalars, parameters.rhat, n_rows, point_parameters(known), structure),
        *_merger(posterior, draws, values[..., names.index("log_likelihood")]),
        rows_that_decide(known, point_parameters(known)),
        numbers_of_clusters(posterior),
        _gap(posterior, heights),
    )


def _gap(posterior: xr.DataTree, log_joint: np.ndarray) -> Gap | None:
    """Measure how far from the posterior the distribution of variational Bayes is."""
    if posterior.attrs.get("engine") != "vb":
        return None
    log_q = posterior["sample_stats"]["log_q"].transpose("chain", "draw").to_numpy()
    return gap(log_joint - log_q, posterior["variational"]["optimum_log_mass"].to_numpy())


def _merger(posterior: xr.DataTree, draws: Draws, height: np.ndarray) -> tuple[Merger | None, bool]:
    """Find two components that BIC would merge, and whether the draws support both nevertheless.

    There are none if the rows are so many that the result does not keep them, and of a model of
    the user's, in which components may rest on other rows as well.
    """
    is_unknown = read_number(posterior) is not None  # the draws themselves say how many
    if not keeps_rows(posterior) or is_unknown or posterior.attrs.get("engine") == "trace":
        return None, False
    rows, prior = kept_observations(posterior), read_conjugate_prior(posterior)
    point, structure = point_parameters(posterior), structure_of(posterior)
    return dispensable(point, draws, height, rows, structure, prior)


def table(inputs: VerdictInputs) -> pd.DataFrame:
    """R-hat and ESS of label-invariant quantities, and of variables of relabelled components."""
    reasons = inputs.identification.reasons
    parameters, others = (
        ([scalar.name for scalar in scalars], [not reasons[scalar.cluster] for scalar in scalars])
        for scalars in (inputs.scalars, inputs.others)
    )
    parts = [
        pd.DataFrame(
            {"group": group, "quantity": names, **measured._asdict(), "identified": identified}
        )
        for group, (names, identified), measured in (
            (LABEL_INVARIANT, (inputs.names, True), inputs.label_invariant),
            (RELABELLED, parameters, inputs.parameters),
            (RELABELLED, others, inputs.of_others),
        )
        if names
    ]
    return pd.concat(parts).set_index(["group", "quantity"])


def by_chain(inputs: VerdictInputs) -> pd.DataFrame:
    """One row per chain: what it did."""
    n_chains = len(inputs.values)
    labels = {}
    if len(inputs.permutation) == n_chains:  # given a number of clusters, a chain may be left out
        labels["other labels"] = chains.other_labels(inputs.permutation)
        labels["switches"] = chains.switches(inputs.permutation)[0]
    mode = np.full(n_chains, "unsettled", dtype=object)
    share = np.full(n_chains, np.nan)
    for name, found in enumerate(inputs.modes):
        mode[found.chains] = str(name)
        share[found.chains] = found.share
    mode[inputs.stuck] = "stuck"
    share[inputs.stuck] = np.nan
    return pd.DataFrame(
        {
            inputs.height_name.replace("_", " "): inputs.heights.mean(axis=1),
            "divergences": inputs.diverging.sum(axis=1),
            **labels,
            "mode": mode,
            "mode's mass": share,
        },
        index=pd.RangeIndex(n_chains, name="chain"),
    )


def label_report(inputs: VerdictInputs) -> LabelReport:
    """Measure label switching, and what relabelling left in doubt."""
    draws, found = inputs.draws, inputs.identification
    within, between = chains.switches(inputs.permutation)
    kept = [place for place, scalar in enumerate(inputs.scalars) if scalar.kind in RAW_KINDS]
    raw = draws.reorder(np.argsort(inputs.permutation, axis=2))
    if OCCUPIED in inputs.names:
        counts = inputs.values[..., inputs.names.index(OCCUPIED)].astype(int)
        occupied = pd.Series(counts.ravel()).value_counts(normalize=True).sort_index()
    else:
        occupied = pd.Series(dtype=float)
    why_not = found.reasons
    components = pd.DataFrame(
        {
            "weight": draws.weights.mean(axis=(0, 1)),
            "rhat": found.rhat,
            "nearest": found.distances.min(axis=1),
            "nearly_empty": found.empty,
            "ambiguous": found.ambiguous,
            "identified": [not why for why in why_not],
            "why_not": why_not,
        },
        index=pd.RangeIndex(len(why_not), name="component"),
    )
    return LabelReport(
        renamed=float(chains.other_labels(inputs.permutation).mean()),
        switches=pd.Series(within, pd.RangeIndex(len(within), name="chain"), name="switches"),
        chains_differ=between,
        rhat_raw=largest(convergence(flatten(*raw)[..., kept], ["rhat"]).rhat),
        rhat_relabelled=largest(inputs.parameters.rhat),
        rhat_label_free=largest(inputs.label_invariant.rhat),
        ambiguous=found.ambiguous_draws,
        occupied=occupied.rename_axis("occupied components").rename("probability"),
        table=components,
    )


def label_invariant(posterior: xr.DataTree) -> tuple[list[str], np.ndarray]:
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
        spread > CONSTANT * size, values, values[0, 0]
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
