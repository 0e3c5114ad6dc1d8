"""What stands out in a selection, in words: the best fit, how sure it is, and what failed."""

import re
from collections.abc import Iterable

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.results.tables import counted

CONVENTION = (
    "BIC = -2 log-likelihood + parameters x log rows: smaller is better (mclust's is -BIC)."
)
MANY_STARTS = 100  # to advise, where the best optimum rests on one start
# Numbers that differ from fit to fit where the reason is the same.
OWN_NUMBERS = (
    (r"^n_components is \d+, but X", "X"),
    (r"^all \d+ starts", "all starts"),
)


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
        said = "Its optimum rests on the only start"
    elif reached == 0:
        said = (
            f"None of {n_starts} starts led to its optimum, which was found by moving components "
            "of another one"
        )
    elif reached == 1:
        said = f"Its optimum rests on 1 of {n_starts} starts"
    else:
        said = "The search for its optimum ended while it still found better ones"
    more = max(MANY_STARTS, 2 * n_starts)
    return [f"{said}: see whether n_starts={more} (--starts {more}) finds a better one."]


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
        f"{counted(len(failed), 'fit')} of {len(table)} could not be made:",
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
