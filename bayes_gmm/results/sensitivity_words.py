"""Whether the prior matters, in words: what it moves, which part of it does, how to change it."""

from collections.abc import Sequence, Set

import pandas as pd

from bayes_gmm.posterior.prior_parts import COVARIANCES, MEANS, WEIGHTS, Conflict
from bayes_gmm.results.tables import number, some

HOW = {
    WEIGHTS: "change its concentration",
    MEANS: "move its mean, or lower its mean_precision",
    COVARIANCES: "change its scale, or lower its degrees_of_freedom and its scale together",
}
MOST = 3  # quantities named


def verdict(table: pd.DataFrame, wrong: Sequence[Conflict], unknown: Set[str]) -> str:
    """Say whether the prior matters.

    Parameters
    ----------
    table : DataFrame
        Of a `Sensitivity`.
    wrong : sequence of Conflict
        Where the prior contradicts the data.
    unknown : set of str
        Quantities of components that are not identified.

    Returns
    -------
    str
    """
    moved = table["prior_effect"].droplevel("group")
    diagnosis = table["diagnosis"].droplevel("group")
    matters = diagnosis != "-"
    if not matters.any():
        counted = moved[[name not in unknown for name in moved.index]]
        most = counted.idxmax()
        return (
            "The prior hardly matters: if it counted half as much, no end of a 95% interval would "
            f"move by more than {counted[most]:.1g} posterior sd ({most})."
        )
    order = moved[matters].sort_values(ascending=False, kind="stable").index
    shifts = table["prior_shift"].droplevel("group")
    names = [
        f"{name} (mean by {shifts[name]:+.2g}, an end of its interval by {moved[name]:.1f} sd)"
        for name in order
    ]
    parts = table["part"].droplevel("group")[order]
    part = wrong[0].part if wrong else str(parts.mode().iloc[0])
    said = [_contradiction(wrong)] if wrong else []
    said.append(
        f"{'It' if wrong else 'The prior'} matters: if it counted half as much, this would move: "
        f"{some(names, 'in the table of the report, or .table', MOST)}."
    )
    few = diagnosis[matters].str.startswith("strong")
    if few.any():
        weak = [name for name in order if few[name]]
        said.append(f"The data say little about {some(weak, 'in the table', MOST)}.")
    if part:
        said.append(
            f"Most of that comes from the prior of the {part}: {HOW[part]}, as in bg.sample(..., "
            "prior=bg.Prior(...)). On the command line, --prior independent tries another prior."
        )
    else:
        said.append("Change the prior, or justify it.")
    return " ".join(said)


def _contradiction(wrong: Sequence[Conflict]) -> str:
    """Say where the prior expects a parameter, and where it is."""
    first = wrong[0]
    distance = abs(first.found - first.expected) / first.prior_sd
    also = [one.quantity for one in wrong[1:]]
    more = f"; so it does of {some(also, 'in .conflicts', MOST)}" if also else ""
    found, expected = (number(one, first.prior_sd) for one in (first.found, first.expected))
    return (
        f"The prior contradicts the data: it expects {first.quantity} at {expected} with an sd of "
        f"{number(first.prior_sd, first.prior_sd)}, and the draws have it at {found}, "
        f"{distance:.1f} prior sds away{more}."
    )
