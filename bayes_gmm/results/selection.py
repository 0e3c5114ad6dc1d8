"""What `select` returns: every fit of a grid side by side, and the best of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, OutlierWarning
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.posterior.criteria import criteria
from bayes_gmm.posterior.poles import Pole
from bayes_gmm.results import selection_words as words
from bayes_gmm.results.remarks import advice, place, search_warnings
from bayes_gmm.results.tables import as_html, as_text, counted, wrapped
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


class Fitted(NamedTuple):
    """One fit of a grid: what was fitted, and what came of it."""

    covariance: str
    n_components: int
    prior: Prior | None
    parameters: Parameters | None  # In the user's units; None where no fit could be made
    # What the search for the optimum reports; empty where no fit could be made
    optimizer: Mapping[str, Any]
    status: str  # "ok", or why no fit could be made
    poles: Sequence[Pole] = ()  # Where so many of its starts collapsed that it has to be said


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """Fits over a grid of covariance structures and numbers of components.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``covariance`` and ``n_components``: log_likelihood, n_parameters, entropy, bic, icl,
        aic, converged, n_optima (distinct local optima seen), optimum_spread (nats between the best
        and the worst of them), best_starts (starts that reached the best), collapsed_starts (share
        of the starts in which a component collapsed) and status; a fit that could not be made has a
        status other than "ok", which says why, and no numbers.
    best : DataTree
        The result of `fit` with the smallest criterion.
    remarks : tuple of str
        What is to be said of the data: rows that decide a component of the best fit alone, values
        on which starts collapsed, and in which fits.
    """

    dataset: xr.Dataset
    best: xr.DataTree
    remarks: tuple[str, ...] = ()

    @property
    def criterion(self) -> str:
        """What the best is chosen by."""
        return str(self.dataset.attrs["criterion"])

    @property
    def table(self) -> pd.DataFrame:
        """One row per fit, the best first."""
        frame = self.dataset.to_dataframe().reset_index()
        return frame.sort_values(self.criterion, kind="stable", ignore_index=True)

    @property
    def sentences(self) -> list[str]:
        """Say in words what stands out."""
        table, n_components = self.table, int(self.best.attrs["n_components"])
        search = self.best["optimizer_result"].to_dataset()
        return [
            *words.ranking(table, self.criterion),
            *words.of_edge(self.dataset["n_components"].to_numpy().tolist(), n_components),
            *words.of_search(search, n_components),
            *self.remarks,
            *words.of_failures(table),
            *words.of_unfinished(table),
            words.CONVENTION,
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

    def __str__(self) -> str:
        parts = [as_text(self._grid()), as_text(self._top())]
        return "\n\n".join([*parts, "\n".join(map(wrapped, self.sentences))])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html("Model selection", [self._grid(), self._top(), *self.sentences])


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
        raise CollapseError(f"no fit of the grid could be made; the first: {fits[0].status}")
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
            cells = at.setdefault(place(pole), (pole, []))[1]
            cells.append((fit.covariance, fit.n_components))
    return [
        f"The likelihood is unbounded on {there}. Many starts collapsed there in "
        f"{counted(len(cells), 'fit')} of {len(fits)}: "
        f"{words.cells(cells, len({fit.covariance for fit in fits}))}. "
        f"{advice([pole], n_features)}"
        for there, (pole, cells) in at.items()
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
