"""All results about one data set together: what the report shows and one file holds.

Any part may be missing. A part that is there must be what its name says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from bayes_gmm.errors import InputError
from bayes_gmm.results.checks import Check
from bayes_gmm.results.comparison import Comparison
from bayes_gmm.results.diagnosis import Diagnosis
from bayes_gmm.results.draws import is_point, is_posterior, n_observed
from bayes_gmm.results.sensitivity import Sensitivity

MOST_POINTWISE = 20_000_000  # rows x draws of leave-one-out, some ten seconds


@dataclass(frozen=True, eq=False)
class Analysis:
    """Results for the same data, each or None."""

    mle: xr.DataTree | None = None  # mle, map: From `fit`
    map: xr.DataTree | None = None
    posterior: xr.DataTree | None = None  # From `sample`
    comparison: Comparison | None = None
    diagnosis: Diagnosis | None = None
    checks: Check | None = None
    sensitivity: Sensitivity | None = None
    loo: ELPDDataLOO | None = None

    @classmethod
    def of(cls, results: Any) -> "Analysis":
        """Take in a mapping or an object with these names, or one result of `fit` or `sample`."""
        if isinstance(results, cls):
            return results
        if isinstance(results, xr.DataTree):
            points: dict[str, Any] = {
                name: results.children[name] for name in ("mle", "map") if name in results.children
            }
            if is_posterior(results):
                return cls(posterior=results, **points)
            if is_point(results):
                points = {_estimator(results): results}
                return cls(**points)
            results = points
        names = [field.name for field in fields(cls)]
        if isinstance(results, Mapping):
            for name in results:
                if name not in names:
                    raise InputError(f"results has an entry {name!r}; it may have {_listed(names)}")
            found = {name: results.get(name) for name in names}
        else:
            found = {name: getattr(results, name, None) for name in names}
        if all(part is None for part in found.values()):
            raise InputError(f"results is empty: give at least one of {_listed(names)}")
        for name, part in found.items():
            if part is not None and not _fits(name, part):
                raise InputError(f"results[{name!r}] is {type(part).__name__}, {EXPECTED[name]}")
        return cls(**found)

    @property
    def points(self) -> dict[str, xr.DataTree]:
        """The point estimates that there are, by name."""
        both = {"MLE": self.mle, "MAP": self.map}
        return {name: tree for name, tree in both.items() if tree is not None}

    @property
    def trees(self) -> dict[str, xr.DataTree]:
        """The results of `sample` and `fit` that there are, the richest first."""
        named = {"posterior": self.posterior, "map": self.map, "mle": self.mle}
        return {name: tree for name, tree in named.items() if tree is not None}


EXPECTED = {
    "mle": "not a result of bg.fit without a prior",
    "map": "not a result of bg.fit with a prior",
    "posterior": "not a result of bg.sample",
    "comparison": "not a result of bg.compare",
    "diagnosis": "not a result of bg.diagnose",
    "checks": "not a result of bg.check",
    "sensitivity": "not a result of bg.sensitivity",
    "loo": "not a result of bg.loo",
}
CLASSES = {
    "comparison": Comparison,
    "diagnosis": Diagnosis,
    "checks": Check,
    "sensitivity": Sensitivity,
    "loo": ELPDDataLOO,
}


def too_long_for_loo(posterior: xr.DataTree) -> str:
    """Say why leave-one-out is left out of an analysis, or nothing if it is quick."""
    sizes = posterior["posterior"].sizes
    n_rows, n_draws = n_observed(posterior), sizes["chain"] * sizes["draw"]
    if n_rows * n_draws <= MOST_POINTWISE:
        return ""
    return (
        f"Left out, because {n_rows:,} rows x {n_draws:,} draws take long; in Python "
        "bg.loo(posterior) does it in bounded memory."
    )


def _fits(name: str, part: Any) -> bool:
    if name == "posterior":
        return is_posterior(part)
    if name in ("mle", "map"):
        return is_point(part) and _estimator(part) == name
    return isinstance(part, CLASSES[name])


def _estimator(point: xr.DataTree) -> str:
    return str(point.attrs["estimator"]).lower()


def _listed(names: list[str]) -> str:
    return ", ".join(names)
