"""What `check` returns: replicated statistics beside observed ones, ready to print and to plot."""

from dataclasses import dataclass

import pandas as pd
import xarray as xr

from bayes_gmm.results.tables import as_html, as_text, counted, number, some, wrapped

LEVEL = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class Check:
    """Posterior predictive checks.

    Attributes
    ----------
    tree : DataTree
        ``/statistics`` by (feature, statistic) and ``/correlations`` by pair, for more than one
        feature, hold ``replicated`` (draw, ...), ``observed``, the mean, sd and central band
        (lower, upper) of the replicates, ``p_value`` and ``adjusted_p_value``. ``/density`` holds
        curves by (feature, point): ``x``, ``observed``, ``mean``, ``lower``, ``upper``.
    """

    tree: xr.DataTree

    @property
    def table(self) -> pd.DataFrame:
        """One row per statistic; numbers, not rounded."""
        names = ["observed", "mean", "sd", "lower", "upper", "p_value", "adjusted_p_value"]
        parts = []
        for group in ("statistics", "correlations"):
            if group in self.tree.children:
                frame = self.tree[group].to_dataset()[names].to_dataframe()[names]
                frame.index = pd.Index([_name(label) for label in frame.index])
                parts.append(frame)
        return pd.concat(parts).rename_axis("statistic")

    @property
    def p_value(self) -> float:
        """How often a replicate deviates as much as the data, over all statistics jointly."""
        return float(self.table["adjusted_p_value"].min())

    @property
    def surprising(self) -> list[str]:
        """Statistics of the data that the model does not reproduce, the worst first."""
        adjusted = self.table["adjusted_p_value"].sort_values(kind="stable")
        return [str(name) for name in adjusted.index[adjusted < LEVEL]]

    @property
    def ok(self) -> bool:
        """Whether no statistic is surprising."""
        return not self.surprising

    @property
    def verdict(self) -> str:
        """One sentence."""
        table, n_replicates = self.table, self.tree.attrs["n_replicates"]
        if 1 / (n_replicates + 1) >= LEVEL:
            return f"No verdict: {n_replicates} replicates are too few to call anything surprising."
        if self.ok:
            return (
                f"The model makes data like these: none of {len(table)} statistics is surprising "
                f"(joint p = {self.p_value:.2g})."
            )
        first, *others = self.surprising
        worst = table.loc[first]
        observed, lower, upper = (
            number(worst[name], worst["sd"]) for name in ("observed", "lower", "upper")
        )
        named = some(others, "marked in the table")
        more = f"; so {'are' if len(others) > 1 else 'is'} {named}" if others else ""
        return (
            f"The model does not make data like these (joint p = {self.p_value:.2g}): {first} is "
            f"{observed} where {self.tree.attrs['band']:.0%} of replicates have {lower} to "
            f"{upper}{more}."
        )

    def __str__(self) -> str:
        return "\n\n".join([wrapped(self.verdict), as_text(self._written()), wrapped(self._note())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(self.verdict, [self._written(), self._note()])

    def _written(self) -> pd.DataFrame:
        """Round the table to what the spread of the replicates supports."""
        table = self.table
        tail = 50 * (1 - self.tree.attrs["band"])
        titles = {
            "observed": "observed",
            "mean": "replicates",
            "sd": "sd",
            "lower": f"{tail:g}%",
            "upper": f"{100 - tail:g}%",
        }
        written = pd.DataFrame(index=table.index)
        for name, title in titles.items():
            written[title] = [
                number(value, sd) for value, sd in zip(table[name], table["sd"], strict=True)
            ]
        written["p"] = [f"{p:.3f}" for p in table["p_value"]]
        written["joint p"] = [
            f"{p:.3f}{'*' if p < LEVEL else ' '}" for p in table["adjusted_p_value"]
        ]
        return written

    def _note(self) -> str:
        attrs = self.tree.attrs
        part = ""
        if attrs["n_rows_used"] < attrs["n_observations"]:
            part = f", a random part of {attrs['n_observations']}"
        made = (
            f"{counted(attrs['n_replicates'], 'replicate')} of "
            f"{counted(attrs['n_rows_used'], 'row')}{part}."
        )
        return (
            f"{made} p is two-sided, for a distance one-sided; joint p is adjusted for looking at "
            f"all of them (* below {LEVEL:g}). A mixture is fitted to means and sds, so those "
            "hardly ever surprise."
        )


def _name(label: str | tuple[str, str]) -> str:
    if isinstance(label, str):
        return f"correlation[{label}]"
    feature, statistic = label
    return f"{statistic}[{feature}]"
