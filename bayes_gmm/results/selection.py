"""What `select` returns: every fit of a grid side by side, and the best of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, OutlierWarning
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.criteria import criteria
from bayes_gmm.posterior.poles import Pole
from bayes_gmm.results.remarks import advice, place, search_warnings
from bayes_gmm.results.tables import Printed, counted
from bayes_gmm.results.tree import point_tree

SHOWN = 5
PER_FIT = (
    "log_likelihood",
    "n_parameters",
    "entropy",
    "bic",
    "icl",
    "aic",
    "converged",
    "still_improving",
    "n_optima",
    "optimum_spread",
    "best_starts",
    "collapsed_starts",
)
CONVENTION = (
    "BIC = -2 log-likelihood + parameters x log rows: smaller is better (mclust's is -BIC)."
)
MANY_STARTS = 100  # to advise, where the best optimum rests on one start
# Numbers that differ from fit to fit where the reason is the same.
OWN_NUMBERS = (
    (r"^n_components is \d+, but X", "X"),
    (r"^all \d+ starts", "all starts"),
)


class Fitted(NamedTuple):
    """One fit of a grid: what was fitted, and what came of it."""

    covariance: str
    n_components: int
    prior: ConjugatePrior | None
    parameters: Parameters | None  # In the user's units; None where no fit could be made
    # What the search for the optimum reports; empty where no fit could be made
    optimizer: Mapping[str, Any]
    status: str  # "ok", or why no fit could be made
    poles: Sequence[Pole] = ()  # Where so many of its starts collapsed that it has to be said


@dataclass(frozen=True, eq=False, repr=False)
class Selection(Printed):
    """Fits over a grid of covariance structures and numbers of components.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``covariance`` and ``n_components``: log_likelihood, n_parameters, entropy, bic, icl,
        aic, converged, n_optima (number of distinct local optima), optimum_spread (nats between the
        best and the worst of them), best_starts (starts that reached the best), collapsed_starts
        (fraction of EM runs in which a component collapsed) and status, which is "ok" or the reason
        why the fit failed.
    best : DataTree
        The result of `fit` with the smallest criterion.
    remarks : tuple of str
        Remarks on the data: rows that determine a component of the best fit, and values on which EM
        runs collapsed, with the fits concerned.
    """

    dataset: xr.Dataset
    best: xr.DataTree
    remarks: tuple[str, ...] = ()

    @property
    def criterion(self) -> str:
        """The criterion by which the best fit is chosen."""
        return str(self.dataset.attrs["criterion"])

    @property
    def table(self) -> pd.DataFrame:
        """One row per fit, the best first."""
        frame = self.dataset.to_dataframe().reset_index()
        return frame.sort_values(self.criterion, kind="stable", ignore_index=True)

    @property
    def sentences(self) -> list[str]:
        """The main findings, in words."""
        table, n_components = self.table, int(self.best.attrs["n_components"])
        search = self.best["optimizer_result"].to_dataset()
        return [
            *ranking(table, self.criterion),
            *of_edge(self.dataset["n_components"].to_numpy().tolist(), n_components),
            *of_search(search, n_components),
            *self.remarks,
            *of_failures(table),
            *of_unfinished(table),
            CONVENTION,
        ]

    def _grid(self) -> pd.DataFrame:
        values = self.dataset[self.criterion].transpose("n_components", "covariance").to_pandas()
        values = values.rename_axis(index=f"{self.criterion.upper()}, K")
        return values.map(lambda value: f"{value:.1f}" if np.isfinite(value) else "-")

    def _top(self) -> pd.DataFrame:
        shown = self.table.head(SHOWN)
        shown = shown[np.isfinite(shown[self.criterion])]
        written = pd.DataFrame(
            {
                "K": shown["n_components"],
                "log-likelihood": shown["log_likelihood"].map("{:.3f}".format),
                "parameters": shown["n_parameters"].map("{:.0f}".format),
                **{
                    name.upper(): shown[name].map("{:.2f}".format) for name in ("bic", "icl", "aic")
                },
                "optima seen": shown["n_optima"].map("{:.0f}".format),
                "starts at the best": shown["best_starts"].map("{:.0f}".format),
            }
        )
        return written.set_index(pd.Index(shown["covariance"], name="covariance"))

    _heading = "Model selection"

    def _parts(self, *, html: bool) -> list[Any]:
        return [self._grid(), self._top(), self.sentences]


def selection(
    observations: Observations,
    fits: Sequence[Fitted],
    criterion: str,
    seed: int | None,
    missing: str = "refuse",
) -> Selection:
    """Put the fits of a grid side by side and pick the best."""
    made = [fit for fit in fits if fit.parameters is not None]
    if not made:
        raise CollapseError(f"every fit of the grid failed; the first because {fits[0].status}")
    structures = list(dict.fromkeys(fit.covariance for fit in fits))
    sizes = list(dict.fromkeys(fit.n_components for fit in fits))
    shape = (len(structures), len(sizes))
    columns = {name: np.full(shape, np.nan) for name in PER_FIT}
    status = np.empty(shape, dtype=object)
    for fit in fits:
        place = structures.index(fit.covariance), sizes.index(fit.n_components)
        status[place] = fit.status
        for name, value in _numbers(fit, observations.total_weight).items():
            columns[name][place] = value
    dims = ("covariance", "n_components")
    dataset = xr.Dataset(
        {
            **{name: (dims, values) for name, values in columns.items()},
            "status": (dims, status.astype(str)),
        },
        coords={"covariance": structures, "n_components": sizes},
        attrs={"criterion": criterion, "n_observations": observations.n_rows},
    )
    best = min(made, key=lambda fit: _numbers(fit, observations.total_weight)[criterion])
    assert best.parameters is not None
    tree = point_tree(
        best.parameters,
        observations,
        best.prior,
        best.optimizer,
        estimator="MLE" if best.prior is None else "MAP",
        covariance=best.covariance,
        missing=missing,
        seed=seed,
    )
    search = tree["optimizer_result"].to_dataset()
    of_best = [
        str(warning)
        for warning in search_warnings(search, observations.n_seen, observations.n_features)
        if isinstance(warning, OutlierWarning) or not best.poles
    ]
    return Selection(dataset, tree, (*of_best, *_at_poles(fits, observations.n_features)))


def _at_poles(fits: Sequence[Fitted], n_features: int) -> list[str]:
    """Say of each value or row that starts collapsed on in which fits they did."""
    at: dict[str, tuple[Pole, list[tuple[str, int]]]] = {}
    for fit in fits:
        for pole in fit.poles:
            where = at.setdefault(place(pole), (pole, []))[1]
            where.append((fit.covariance, fit.n_components))
    return [
        f"The likelihood is unbounded on {there}. Many starts collapsed there in "
        f"{counted(len(where), 'fit')} of {len(fits)}: "
        f"{cells(where, len({fit.covariance for fit in fits}))}. "
        f"{advice([pole], n_features)}"
        for there, (pole, where) in at.items()
    ]


def _numbers(fit: Fitted, n_rows: float) -> dict[str, float]:
    """The columns of one fit; none where it could not be made."""
    found = fit.optimizer
    if not found:
        return {}
    size = found["log_likelihood"], found["n_parameters"]
    heights = found["optimum_objective"]
    return {
        "log_likelihood": size[0],
        "n_parameters": size[1],
        "entropy": found["entropy"],
        **criteria(*size, n_rows, found["entropy"]),
        "converged": float(found["converged"]),
        "n_optima": len(heights),
        "optimum_spread": float(np.ptp(heights)),
        "best_starts": float(found["optimum_starts"][0]),
        "collapsed_starts": float(np.mean(found["start_collapsed"])),
    }


def ranking(table: pd.DataFrame, criterion: str) -> list[str]:
    """Say which fit is best, and how far the next one is behind."""
    first, name = table.iloc[0], criterion.upper()
    said = [
        f"Best by {name}: {first['covariance']} with "
        f"{counted(int(first['n_components']), 'component')}, {name} {first[criterion]:.2f}."
    ]
    if len(table) > 1 and np.isfinite(table[criterion].iloc[1]):
        second = table.iloc[1]
        said.append(
            f"Second: {second['covariance']} with {int(second['n_components'])}, "
            f"{second[criterion] - first[criterion]:.2f} behind."
        )
    return said


def of_edge(sizes: Iterable[int], best: int) -> list[str]:
    """Say so where the best number of components is the largest, or smallest, that was tried."""
    tried = sorted(set(sizes))
    if len(tried) == 1:
        return []
    if best == tried[-1]:
        return [
            f"K = {best} is the largest number of components tried, and more may be better: try up "
            f"to {2 * best} (n_components=range(1, {2 * best + 1}), on the command line "
            f"--most {2 * best})."
        ]
    if best == tried[0] > 1:
        return [f"K = {best} is the smallest number of components tried, and fewer may be better."]
    return []


def of_search(search: xr.Dataset, n_components: int) -> list[str]:
    """Say so where the optimum of the best fit rests on one start, or on none."""
    n_starts, reached = search.sizes["start"], int(search["optimum_starts"][0])
    improving = bool(search.get("still_improving", False))
    if n_components == 1 or (reached > 1 and not improving):
        return []
    if n_starts == 1:
        said = "Its optimum comes from the only start"
    elif reached == 0:
        said = (
            f"None of {n_starts} starts led to its optimum, which was found by moving components "
            "of another one"
        )
    elif reached == 1:
        said = f"Only 1 of {n_starts} starts led to its optimum"
    else:
        said = "The search for its optimum ended while it was still finding better ones"
    more = max(MANY_STARTS, 2 * n_starts)
    return [f"{said}: check whether n_starts={more} (--starts {more}) finds a better one."]


def of_failures(table: pd.DataFrame) -> list[str]:
    """Say which fits could not be made, a line for each reason."""
    failed = table[table["status"] != "ok"]
    if failed.empty:
        return []
    reasons: dict[str, list[tuple[str, int]]] = {}
    columns = (failed[name] for name in ("covariance", "n_components", "status"))
    for covariance, size, status in zip(*columns, strict=True):
        reasons.setdefault(_reason(status), []).append((covariance, size))
    return [
        f"{len(failed)} of {counted(len(table), 'fit')} failed:",
        *(
            f"- {cells(which, table['covariance'].nunique())}: {reason}."
            for reason, which in reasons.items()
        ),
    ]


def _reason(status: str) -> str:
    """What a status says without the numbers that are the fit's own."""
    for pattern, instead in OWN_NUMBERS:
        status = re.sub(pattern, instead, status)
    return status


def of_unfinished(table: pd.DataFrame) -> list[str]:
    """Say which fits had not converged."""
    unfinished = table[(table["status"] == "ok") & ~table["converged"].astype(bool)]
    if unfinished.empty:
        return []
    which = zip(unfinished["covariance"], unfinished["n_components"], strict=True)
    return [
        f"{counted(len(unfinished), 'fit')} had not converged, "
        f"{cells(which, table['covariance'].nunique())}: raise max_iter of bg.select in Python."
    ]


def cells(which: Iterable[tuple[str, int]], n_structures: int) -> str:
    """Write fits of a grid, structures with the same numbers of components together."""
    sizes: dict[str, list[int]] = {}
    for covariance, n_components in which:
        sizes.setdefault(covariance, []).append(int(n_components))
    structures: dict[tuple[int, ...], list[str]] = {}
    for covariance, own in sizes.items():
        structures.setdefault(tuple(sorted(own)), []).append(covariance)
    return "; ".join(
        f"{_listed(names, n_structures)} with {', '.join(map(str, own))}"
        for own, names in structures.items()
    )


def _listed(names: list[str], n_structures: int) -> str:
    if len(names) == n_structures > 1:
        return f"all {n_structures} structures"
    return ", ".join(names)
