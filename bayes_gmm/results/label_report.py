"""Label switching, measured: how often it happened, what relabelling did, what remains in doubt."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayes_gmm.results.tables import as_html, as_text, wrapped


@dataclass(frozen=True, eq=False, repr=False)
class LabelReport:
    """What became of the names of the components.

    Attributes
    ----------
    renamed : float
        Share of the draws whose components had other names in the sampler.
    switches : pandas.Series
        By chain, the share of draws that are not in the chain's most common order.
    chains_differ : bool
        Whether the chains' most common orders differ.
    rhat_raw, rhat_relabelled, rhat_label_free : float
        Largest R-hat of weights, means and sds with the sampler's names; of all relabelled
        parameters; of label-free quantities.
    ambiguous : float
        Share of the draws whose second best naming is nearly as good: odds below 19 to 1, given how
        far the draws scatter about the point estimate.
    occupied : pandas.Series
        Posterior probability of each number of components that hold rows.
    table : pandas.DataFrame
        By component: mean weight, largest R-hat, distance from the nearest component in posterior
        sds, shares of draws in which it is nearly empty and ambiguous; identified, and if not, why.
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
        """Components without an identity."""
        return [int(k) for k in self.table.index[~self.table["identified"]]]

    @property
    def _sentences(self) -> list[str]:
        within = self.switches.mean()
        between = "differ" if self.chains_differ else "do not differ"
        said = [
            "Labels, which a sampler is free to switch: relabelling changed those of "
            f"{self.renamed:.1%} of the draws; {within:.1%} switched within their chain, and the "
            f"chains {between} in their usual order. Largest R-hat with the sampler's labels "
            f"{self.rhat_raw:.3f}, relabelled {self.rhat_relabelled:.3f}, label-free "
            f"{self.rhat_label_free:.3f}. {self.ambiguous:.1%} of the draws are ambiguous."
        ]
        if len(self.occupied):
            counts = ", ".join(f"{count}: {share:.1%}" for count, share in self.occupied.items())
            said.append(f"Components that hold rows: {counts}.")
        return said

    def _components(self) -> pd.DataFrame:
        """Write the table; of a component without identity only what is known of it."""
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

    def __str__(self) -> str:
        return "\n\n".join([*map(wrapped, self._sentences), as_text(self._components())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html("Label switching", [*self._sentences, self._components()])
