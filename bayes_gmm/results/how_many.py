"""What `how_many` returns: every answer to "how many?" side by side, and where they agree."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.results.answers import (
    CRITERIA,
    POSTERIOR,
    answers,
    errors_of,
    ground,
    values_of,
    written,
)
from bayes_gmm.results.selection import Selection, of_edge, of_failures
from bayes_gmm.results.tables import Printed, counted, joined

RARE = 0.005  # probability below which a number is not listed
OF_THE_DATA = ("modes", *POSTERIOR)  # criteria whose answers the grid does not limit


@dataclass(frozen=True, eq=False, repr=False)
class HowMany(Printed):
    """Answers to the question how many clusters there are.

    Attributes
    ----------
    dataset : xarray.Dataset
        By ``n_components``: log_likelihood, bic, icl, aic and status of the fits; n_modes of their
        densities; likelihood_ratio, p_value and n_replicates of the bootstrap test against the next
        number; elpd and elpd_se, elpd_difference from the best with its standard error
        elpd_difference_se, and large_pareto_k, the number of rows that make elpd unreliable;
        log_evidence and log_evidence_se, and evidence_doubtful, whether they are unreliable;
        not_converged, whether the chains had not converged. By
        ``number``: probability_n_components and probability_n_clusters, with their Monte Carlo
        standard errors (..._se). Only what was asked for is there.
    selection : Selection
        The fits, as of `select`; `.selection.best` is the one that BIC chooses.
    """

    dataset: xr.Dataset
    selection: Selection

    @property
    def answers(self) -> dict[str, int | None]:
        """The answer of each criterion; None where there is none."""
        return answers(self.dataset)

    @property
    def table(self) -> pd.DataFrame:
        """One row per criterion: its answer, its question, its values, and their errors."""
        rows = {}
        for name, own in self.answers.items():
            errors = errors_of(name, self.dataset)
            rows[name] = {"answer": own, "question": CRITERIA[name].question}
            rows[name] |= {f"K = {k}": value for k, value in values_of(name, self.dataset).items()}
            if errors is not None:
                rows[name] |= {f"se, K = {k}": error for k, error in errors.items()}
        table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("criterion")
        return table.astype({"answer": "Int64"})

    @property
    def sentences(self) -> list[str]:
        """Where the criteria agree and where they don't, and what to do at the edge of the grid."""
        own = {name: k for name, k in self.answers.items() if k is not None}
        return [
            *of_agreement(own),
            *of_overlap(own),
            *of_edges(own, self.dataset["n_components"].to_numpy().tolist()),
            *of_reliability(self.dataset),
            *self.selection.remarks,
            *of_failures(self.selection.table),
        ]

    def _numbers(self) -> pd.DataFrame:
        """The values as text, an asterisk at each answer."""
        largest = int(self.dataset["n_components"].max())
        columns = {}
        for name, own in self.answers.items():
            values, errors = values_of(name, self.dataset), errors_of(name, self.dataset)
            columns[CRITERIA[name].heading] = {
                k: written(name, value, None if errors is None else errors[k])
                + ("*" if k == own and name != "modes" else " ")
                for k, value in values.items()
            }
            if name in POSTERIOR:
                largest = max(largest, *values.index[values > RARE])
        frame = pd.DataFrame(columns).sort_index().fillna("- ")
        return frame[frame.index <= largest].rename_axis(index="K")

    def _lines(self) -> list[str]:
        """Each criterion with its answer, what it rests on, and its question."""
        return [
            f"{CRITERIA[name].title}: {'no answer' if own is None else own}"
            f"{ground(name, own, self.dataset)}. {CRITERIA[name].question}"
            for name, own in self.answers.items()
        ]

    _heading = "How many clusters?"

    def _parts(self, *, html: bool) -> list[Any]:
        return [self._numbers(), self._lines(), self.sentences]


def how_many(
    selection: Selection,
    of_fits: Iterable[str],
    columns: dict[str, np.ndarray],
    posterior: dict[str, np.ndarray],
    n_bootstrap: int,
) -> HowMany:
    """Put values side by side: criteria of the fits, columns by K, probabilities of 1, 2, ...

    Shapes: columns (n_components,) each, posterior (number,) each.
    """
    fits = selection.dataset.isel(covariance=0, drop=True)
    dataset = fits[["log_likelihood", *(name for name in of_fits if name in fits), "status"]]
    dataset = dataset.assign({name: ("n_components", values) for name, values in columns.items()})
    if posterior:
        most = max(map(len, posterior.values()))
        padded = {
            name: ("number", np.append(values, np.zeros(most - len(values))))
            for name, values in posterior.items()
        }
        dataset = dataset.assign(padded).assign_coords(number=np.arange(1, most + 1))
    attrs = {
        "n_observations": selection.dataset.attrs["n_observations"],
        "least_bic": int(selection.best.attrs["n_components"]),
        "n_bootstrap": n_bootstrap,
    }
    return HowMany(dataset.drop_attrs().assign_attrs(attrs), selection)


def of_agreement(own: dict[str, int]) -> list[str]:
    """Say which criteria answer the same."""
    if len(own) < 2:
        return []
    groups: dict[int, list[str]] = {}
    for name, k in own.items():
        title = CRITERIA[name].title
        groups.setdefault(k, []).append(f"the {title}" if title[0].islower() else title)
    if len(groups) == 1:
        every = "Both" if len(own) == 2 else f"All {len(own)}"
        return [f"{every} criteria answer {next(iter(groups))}."]
    order = sorted(groups, key=lambda k: (-len(groups[k]), k))
    return [f"The criteria differ: {'; '.join(f'{k} by {joined(groups[k])}' for k in order)}."]


def of_overlap(own: dict[str, int]) -> list[str]:
    """Say so where the density takes more components than it has peaks."""
    components, peaks = own.get("bic"), own.get("modes")
    if components is None or peaks is None or peaks >= components:
        return []
    return [
        f"The density of {counted(components, 'component')} has {counted(peaks, 'mode')}: some "
        "components overlap, and together describe one cluster that is not normal. "
        'bg.merge(result.selection.best, by="modes") shows which.'
    ]


def of_edges(own: dict[str, int], sizes: list[int]) -> list[str]:
    """Say which criteria choose the largest, or smallest, number that was tried."""
    said = []
    for edge in sorted({min(sizes), max(sizes)}):
        at = [
            CRITERIA[name].title for name, k in own.items() if k == edge and name not in OF_THE_DATA
        ]
        if at:
            said += [f"{joined(at)}: {sentence}" for sentence in of_edge(sizes, edge)]
    return said


def of_reliability(dataset: xr.Dataset) -> list[str]:
    """Say which values rest on too little."""
    said = []
    if "n_replicates" in dataset:
        made, asked = dataset["n_replicates"].to_series().dropna(), dataset.attrs["n_bootstrap"]
        fewer = made[made < asked]
        if len(fewer):
            said.append(
                f"The bootstrap test of K = {joined(fewer.index)} rests on fewer samples than the "
                f"{asked} asked for, at least on {fewer.min():.0f}: the others could not be fitted "
                "with both numbers, or the test was interrupted."
            )
    if "not_converged" in dataset:
        stuck = dataset["n_components"].to_numpy()[dataset["not_converged"].to_numpy() > 0]
        if stuck.size:
            said.append(
                f"The chains had not converged with K = {joined(stuck)}, so that LOO and evidence "
                "are provisional there: raise draws, or see bg.diagnose."
            )
    if "evidence_doubtful" in dataset:
        bad = dataset["n_components"].to_numpy()[dataset["evidence_doubtful"].to_numpy() > 0]
        if bad.size:
            said.append(f"The evidence is unreliable with K = {joined(bad)}: bg.evidence says why.")
        missing = dataset["n_components"].to_numpy()[dataset["log_evidence"].isnull().to_numpy()]
        if missing.size:
            said.append(f"There is no evidence for K = {joined(missing)}: it takes too long.")
    if "large_pareto_k" in dataset:
        rows = dataset["large_pareto_k"].to_series()
        rows = rows[rows > 0]
        if len(rows):
            said.append(
                f"LOO is unreliable with K = {joined(rows.index)}: up to "
                f"{counted(int(rows.max()), 'row')} with a large Pareto k, which bg.loo shows."
            )
    return said
