"""All results about one data set together, in the report and in one file.

Any part may be missing. A part that is there must be what its name says. The file is NetCDF that
ArviZ opens: the posterior's own groups are at the top, so that ``az.summary(az.from_netcdf(path))``
works; the point estimates are `/mle` and `/map`; the comparison, the checks, the sensitivity to the
prior and leave-one-out cross-validation are `/comparison`, `/checks`, `/sensitivity` and `/loo`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from bayes_gmm.data.writing import replace
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.checks import Check
from bayes_gmm.results.comparison import Comparison
from bayes_gmm.results.diagnosis import Diagnosis
from bayes_gmm.results.reading import (
    feature_names,
    is_point,
    is_posterior,
    n_observed,
    point_parameters,
)
from bayes_gmm.results.selection import Selection
from bayes_gmm.results.sensitivity import Sensitivity

MOST_POINTWISE = 20_000_000  # rows x draws of leave-one-out, some ten seconds
POINTS = ("map", "mle")


@dataclass(frozen=True, eq=False)
class Analysis:
    """Results for the same data; those that are missing are None.

    Attributes
    ----------
    mle, map : DataTree
        From `fit`.
    posterior : DataTree
        From `sample`.
    comparison : Comparison
    diagnosis : Diagnosis
    checks : Check
    sensitivity : Sensitivity
    loo : ELPDDataLOO
    selection : Selection
    """

    mle: xr.DataTree | None = None
    map: xr.DataTree | None = None
    posterior: xr.DataTree | None = None
    comparison: Comparison | None = None
    diagnosis: Diagnosis | None = None
    checks: Check | None = None
    sensitivity: Sensitivity | None = None
    loo: ELPDDataLOO | None = None
    selection: Selection | None = None

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
    "selection": "not a result of bg.select",
}
CLASSES = {
    "comparison": Comparison,
    "diagnosis": Diagnosis,
    "checks": Check,
    "sensitivity": Sensitivity,
    "loo": ELPDDataLOO,
    "selection": Selection,
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


def save(results: Any, path: str | Path) -> Path:
    """Write results to one NetCDF file; an existing file is replaced only by a complete one.

    `load` reads it again, as do ``xr.open_datatree`` and ``az.from_netcdf``.

    Parameters
    ----------
    results : mapping or object
        With any of mle, map, posterior, comparison, checks, sensitivity, loo; or one result alone.
    path : str or Path

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If `results` has none of these, or the folder does not exist.
    """
    analysis = Analysis.of(results)
    if isinstance(results, xr.DataTree):
        return replace(path, results.to_netcdf)
    groups: dict[str, Any] = {}
    if analysis.posterior is not None:
        groups["/"] = analysis.posterior
    for name, tree in (("mle", analysis.mle), ("map", analysis.map)):
        if tree is not None:
            groups[f"/{name}"] = tree
    if analysis.comparison is not None:
        groups["/comparison"] = _plain(analysis.comparison.dataset)
    if analysis.checks is not None:
        groups["/checks"] = analysis.checks.tree
    if analysis.sensitivity is not None:
        groups["/sensitivity"] = _numbered(analysis.sensitivity.table.reset_index().to_xarray())
    if analysis.loo is not None:
        groups["/loo"] = _of_loo(analysis.loo)
    if not groups:
        raise InputError("results holds nothing to save: give a result of bg.fit or bg.sample")
    tree = xr.DataTree.from_dict(groups)
    return replace(path, tree.to_netcdf)


def load(path: str | Path) -> xr.DataTree:
    """Read results that `save` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataTree
        A result of `fit` or `sample`, or a whole analysis. The top of an analysis is the posterior,
        and its point estimates are ``["mle"]`` and ``["map"]``; `report` accepts it as it is.

    Raises
    ------
    InputError
        If there is no such file, or it was not written by `save`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import bayes_gmm as bg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "fit.nc"
    >>> faithful = bg.datasets.load("faithful")
    >>> _ = bg.save(bg.fit(faithful, 2, seed=1), path)
    >>> bg.predict(bg.load(path), [[1.8, 54.0]])["label"].item()
    0
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        tree = xr.open_datatree(path)
    except (OSError, ValueError):
        raise InputError(f"{path} is no NetCDF file: give one that bg.save wrote") from None
    with tree:
        tree.load()
    if not any("point_estimate" in node.children for node in (tree, *tree.children.values())):
        raise InputError(f"{path} holds no point estimate: give a file that bg.save wrote")
    return tree


def read_point(path: str | Path) -> tuple[Parameters, list[str]]:
    """Read the point estimate that a file of results holds."""
    tree = load(path)
    found = [tree, *(tree.children[name] for name in POINTS if name in tree.children)]
    result = next(node for node in found if "point_estimate" in node.children)
    return point_parameters(result), list(feature_names(result))


def _of_loo(loo: ELPDDataLOO) -> xr.Dataset:
    """Lay out what each row adds, and the sums as attributes."""
    by_row = {name: loo[name] for name in ("elpd_i", "p_loo_i", "pareto_k")}
    numbers = ("elpd", "se", "p", "good_k", "n_samples")
    return xr.Dataset(by_row, attrs={name: float(loo[name]) for name in numbers})


def _numbered(dataset: xr.Dataset) -> xr.Dataset:
    """Name the rows of a table by their place alone."""
    return dataset.rename(index="row").drop_vars("row")


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Turn True and False into 1 and 0, which every reader of NetCDF knows."""
    flags = {
        name: array.astype("int8")
        for name, array in dataset.variables.items()
        if array.dtype == bool
    }
    return dataset.assign({str(name): array for name, array in flags.items()})
