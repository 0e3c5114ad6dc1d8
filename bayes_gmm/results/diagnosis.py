"""What `diagnose` returns: findings with their evidence, and a verdict in words."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from bayes_gmm.results.label_report import LabelReport
from bayes_gmm.results.tables import as_html, as_text, wrapped

Kind = Literal["data", "convergence", "identification", "note"]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    name : str
        Such as ``several_modes``.
    kind : str
        "data": a few rows decide a component, and should be looked at first. "convergence": the
        draws are no fair sample of the posterior. "identification": they are, but the names of the
        components mean little. "note": worth knowing, and harmless.
    statement : str
        What was found.
    value, threshold : float
        The evidence, and where it begins to count.
    advice : str
        What to do.
    """

    name: str
    kind: Kind
    statement: str
    value: float
    threshold: float
    advice: str

    def __str__(self) -> str:
        return (
            f"{self.statement} [{self.name}: {self.value:.4g}, threshold {self.threshold:.4g}] "
            f"{self.advice}"
        )


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """Whether a posterior sample can be trusted, and with what.

    Attributes
    ----------
    verdict : str
        One sentence.
    reasons : tuple of Finding
        Gravest first; also notes.
    table : pandas.DataFrame
        R-hat, ESS bulk and ESS tail of the label-free quantities and of the relabelled parameters,
        other variables of the model among them, and whether the component that a parameter belongs
        to is identified.
    chains : pandas.DataFrame
        One row per chain: mean log posterior, divergences, label switches, the mode it settled in,
        and the share of the posterior mass that this mode holds among those found.
    labels : LabelReport
        Label switching: how often, what relabelling did, which components have no identity.
    """

    verdict: str
    reasons: tuple[Finding, ...]
    table: pd.DataFrame
    chains: pd.DataFrame
    labels: LabelReport

    @property
    def converged(self) -> bool:
        """Whether label-free statements (density, predictions) can be trusted."""
        return not any(finding.kind == "convergence" for finding in self.reasons)

    @property
    def identified(self) -> bool:
        """Whether nothing speaks against statements about single components."""
        return not any(finding.kind == "identification" for finding in self.reasons)

    @property
    def ok(self) -> bool:
        """Whether everything can be trusted: converged, identified, and no row decides alone."""
        return not any(finding.kind != "note" for finding in self.reasons)

    def __str__(self) -> str:
        parts = [wrapped(self.verdict)]
        if self.reasons:
            parts.append("\n".join(wrapped(f"* {finding}") for finding in self.reasons))
        return "\n\n".join(
            [*parts, as_text(worst(self.table)), as_text(self._chains()), str(self.labels)]
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        reasons = [str(finding) for finding in self.reasons]
        return as_html(self.verdict, [*reasons, worst(self.table), self._chains()]) + (
            f"\n{self.labels._repr_html_()}"
        )

    def _chains(self) -> pd.DataFrame:
        written = self.chains.astype(object)
        height = self.chains.columns[0]
        written[height] = [f"{v:.2f}" for v in self.chains[height]]
        written["mode's mass"] = [
            "-" if np.isnan(v) else f"{v:.1%}" for v in self.chains["mode's mass"]
        ]
        for column in ("other labels", "switches"):
            written[column] = [f"{v:.1%}" for v in self.chains[column]]
        return written


def worst(table: pd.DataFrame) -> pd.DataFrame:
    """Write down the worst diagnostics of each group of quantities.

    Parameters
    ----------
    table : pandas.DataFrame
        Columns rhat, ess_bulk and ess_tail by (group, quantity).

    Returns
    -------
    pandas.DataFrame
        Of strings, one row per group.
    """
    groups = table.groupby(level="group", sort=False)
    return pd.DataFrame(
        {
            "largest R-hat": [f"{value:.3f}" for value in groups["rhat"].max()],
            "smallest ESS bulk": [f"{value:.0f}" for value in groups["ess_bulk"].min()],
            "smallest ESS tail": [f"{value:.0f}" for value in groups["ess_tail"].min()],
        },
        index=pd.Index(list(groups.groups), name="convergence"),
    )
