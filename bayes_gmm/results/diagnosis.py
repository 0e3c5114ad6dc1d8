"""The result of `diagnose`: findings with the values found, and a verdict in words."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayes_gmm.results.tables import Printed

Kind = Literal["data", "convergence", "identification", "note"]


@dataclass(frozen=True)
class Finding:
    """One finding of `diagnose`.

    Attributes
    ----------
    name : str
        Such as ``several_modes``.
    kind : str
        "data": a few rows determine a component, and should be checked first. "convergence": the
        draws do not represent the posterior. "identification": they do, but some components are not
        identified. "note": a harmless remark.
    statement : str
        The finding in words.
    value, threshold : float
        The value found, and its threshold.
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
class LabelReport(Printed):
    """Label switching and its effects.

    Attributes
    ----------
    renamed : float
        Fraction of the draws that were relabelled.
    switches : pandas.Series
        By chain, the fraction of draws without the chain's most common labelling.
    chains_differ : bool
        Whether the most common labelling differs between chains.
    rhat_raw, rhat_relabelled, rhat_label_free : float
        Largest R-hat of weights, means and sds with the sampler's labels; of all relabelled
        parameters; of label-invariant quantities.
    ambiguous : float
        Fraction of the draws whose second best labelling is nearly as good: odds below 19 to 1,
        given the spread of the draws around the point estimate.
    occupied : pandas.Series
        Posterior probability of each number of nonempty components.
    table : pandas.DataFrame
        By component: mean weight, largest R-hat, distance from the nearest component in posterior
        sds, fractions of draws in which it is nearly empty and ambiguous; whether it is identified,
        and if not, why.
    """

    renamed: float
    switches: pd.Series
    chains_differ: bool
    rhat_raw: float
    rhat_relabelled: float
    rhat_label_free: float
    ambiguous: float
    occupied: pd.Series
    table: pd.DataFrame

    @property
    def unidentified(self) -> list[int]:
        """Components that are not identified."""
        return [int(k) for k in self.table.index[~self.table["identified"]]]

    @property
    def _sentences(self) -> list[str]:
        within = self.switches.mean()
        between = "differs" if self.chains_differ else "does not differ"
        said = [
            f"Label switching: relabelling changed the labels of {self.renamed:.1%} of the draws; "
            f"{within:.1%} switched within their chain, and the most common labelling {between} "
            "between chains. "
            f"Largest R-hat: {self.rhat_raw:.3f} with the sampler's labels, "
            f"{self.rhat_relabelled:.3f} relabelled, {self.rhat_label_free:.3f} of label-invariant "
            f"quantities. The labels of {self.ambiguous:.1%} of the draws are ambiguous."
        ]
        if len(self.occupied):
            counts = ", ".join(f"{count}: {share:.1%}" for count, share in self.occupied.items())
            said.append(f"Number of nonempty components: {counts}.")
        return said

    def written(self) -> pd.DataFrame:
        """Write the table; the weight of a component that is not identified is omitted."""
        table = self.table
        known = table["identified"]
        return pd.DataFrame(
            {
                "weight": [
                    f"{weight:.3f}" if sure else "-"
                    for weight, sure in zip(table["weight"], known, strict=True)
                ],
                "R-hat": [f"{value:.3f}" for value in table["rhat"]],
                "nearest, in sds": [
                    f"{value:.1f}" if np.isfinite(value) else "-" for value in table["nearest"]
                ],
                "nearly empty": [f"{value:.1%}" for value in table["nearly_empty"]],
                "ambiguous": [f"{value:.1%}" for value in table["ambiguous"]],
                "identified": [
                    "yes" if sure else f"no: {why}"
                    for sure, why in zip(known, table["why_not"], strict=True)
                ],
            },
            index=table.index,
        )

    _heading = "Label switching"

    def _parts(self, *, html: bool) -> list[Any]:
        return [*self._sentences, self.written()]


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis(Printed):
    """Whether the draws of a posterior can be trusted, and for which purposes.

    Attributes
    ----------
    verdict : str
        One sentence.
    reasons : tuple of Finding
        The most serious first; also notes.
    table : pandas.DataFrame
        R-hat, ESS bulk and ESS tail of the label-invariant quantities and of the relabelled
        parameters, including other variables of the model, and whether the component of the
        parameter is identified.
    chains : pandas.DataFrame
        One row per chain: mean log posterior, divergences, label switches, its mode, and the
        posterior mass of this mode relative to all modes found.
    labels : LabelReport
        Label switching, the effect of relabelling, and components that are not identified.
    """

    verdict: str
    reasons: tuple[Finding, ...]
    table: pd.DataFrame
    chains: pd.DataFrame
    labels: LabelReport

    @property
    def converged(self) -> bool:
        """Whether label-invariant statements (density, predictions) can be trusted."""
        return not any(finding.kind == "convergence" for finding in self.reasons)

    @property
    def identified(self) -> bool:
        """Whether all components are identified, so that each can be interpreted."""
        return not any(finding.kind == "identification" for finding in self.reasons)

    @property
    def ok(self) -> bool:
        """Whether there is no finding but notes: converged, identified, no determining row."""
        return not any(finding.kind != "note" for finding in self.reasons)

    def _parts(self, *, html: bool) -> list[Any]:
        bullet = "" if html else "* "
        reasons = [f"{bullet}{finding}" for finding in self.reasons]
        return [self.verdict, reasons, worst(self.table), self._chains(), self.labels]

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
    """Write down the worst diagnostics of each group of quantities."""
    groups = table.groupby(level="group", sort=False)
    return pd.DataFrame(
        {
            "largest R-hat": [f"{value:.3f}" for value in groups["rhat"].max()],
            "smallest ESS bulk": [f"{value:.0f}" for value in groups["ess_bulk"].min()],
            "smallest ESS tail": [f"{value:.0f}" for value in groups["ess_tail"].min()],
        },
        index=pd.Index(list(groups.groups), name="convergence"),
    )
