"""One file for a whole analysis: NetCDF that ArviZ opens, with the draws where it looks for them.

The posterior's own groups are at the top, so that ``az.summary(az.from_netcdf(path))`` works; the
point estimates are `/mle` and `/map`; the comparison, the checks, the sensitivity to the prior and
leave-one-out cross-validation are `/comparison`, `/checks`, `/sensitivity` and `/loo`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.analysis import Analysis
from bayes_gmm.results.tree import point_parameters


def save(results: Any, path: str | Path) -> Path:
    """Write results to one NetCDF file, which is replaced only when the new one is complete.

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


def replace(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Write to a new file in the same folder, then put it in the place of the old one.

    Parameters
    ----------
    path : str or Path
    write : callable
        Takes the path of the new file.

    Returns
    -------
    Path
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {str(path.parent)!r}; make it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def read_point(path: str | Path) -> tuple[Parameters, list[str]]:
    """Read the point estimate that a file of results holds.

    Parameters
    ----------
    path : str or Path
        Written by `save`.

    Returns
    -------
    theta : Parameters
        That of the posterior, which names its components, or else the MAP estimate or the MLE.
    features : list of str

    Raises
    ------
    InputError
        If there is no such file, or no point estimate in it.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        tree = xr.open_datatree(path).load()
    except (OSError, ValueError):
        raise InputError(f"{path} is no NetCDF file: give one that bg.save wrote") from None
    tree.close()
    for place in (".", "map", "mle"):
        result = tree if place == "." else tree.children.get(place)
        if result is not None and "point_estimate" in result.children:
            names = result["point_estimate"]["feature"].to_numpy()
            return point_parameters(result), [str(name) for name in names]
    raise InputError(f"{path} holds no point estimate: give a file that bg.save wrote")


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
