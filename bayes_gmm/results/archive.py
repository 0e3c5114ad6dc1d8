"""One file for a whole analysis: NetCDF that ArviZ opens, with the draws where it looks for them.

The posterior's own groups are at the top, so that ``az.summary(az.from_netcdf(path))`` works; the
point estimates are `/mle` and `/map`; the comparison, the checks, the sensitivity to the prior and
leave-one-out cross-validation are `/comparison`, `/checks`, `/sensitivity` and `/loo`.
"""

from pathlib import Path
from typing import Any

import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from bayes_gmm.data.writing import replace
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.draws import feature_names
from bayes_gmm.results.tree import point_parameters

POINTS = ("map", "mle")


def save(results: Any, path: str | Path) -> Path:
    """Write results to one NetCDF file, which is replaced only when the new one is complete.

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
        If results holds no such thing, or the folder doesn't exist.
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
    """Read results that `save` wrote, in a form that every verb takes.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataTree
        What was saved: a result of `fit` or `sample`, or a whole analysis, whose top is the
        posterior; `report` takes it whole, and its point estimates are ``["mle"]`` and
        ``["map"]``.

    Raises
    ------
    InputError
        If there is no such file, or it is no result of ours.

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
