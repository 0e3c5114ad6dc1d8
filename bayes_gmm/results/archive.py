"""One file for a whole analysis: NetCDF that ArviZ opens, with the draws where it looks for them.

The posterior's own groups are at the top, so that ``az.summary(az.from_netcdf(path))`` works; the
point estimates are `/mle` and `/map`, the comparison and the checks `/comparison` and `/checks`.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr

from bayes_gmm.errors import InputError
from bayes_gmm.results.analysis import Analysis


def save(results: Any, path: str | Path) -> Path:
    """Write results to one NetCDF file, which is replaced only when the new one is complete.

    Parameters
    ----------
    results : mapping or object
        With any of mle, map, posterior, comparison, checks; or one result alone.
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


def _plain(dataset: xr.Dataset) -> xr.Dataset:
    """Turn True and False into 1 and 0, which every reader of NetCDF knows."""
    flags = {
        name: array.astype("int8")
        for name, array in dataset.variables.items()
        if array.dtype == bool
    }
    return dataset.assign({str(name): array for name, array in flags.items()})
