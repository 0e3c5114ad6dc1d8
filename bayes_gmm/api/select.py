"""Selection of a covariance structure and a number of components."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from bayes_gmm.arguments import as_observations, as_prior, require_tolerance
from bayes_gmm.errors import CollapseError, InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    from bayes_gmm.data import Observations
    from bayes_gmm.inference.em.grid import Cell
    from bayes_gmm.results.selection import Fitted, Selection
    from bayes_gmm.seeds import Seed


def select(
    X: Any,
    n_components: Iterable[int] = range(1, 10),
    *,
    covariance: str | Sequence[str] = "all",
    prior: str | None = None,
    criterion: str = "bic",
    row_weights: Any = None,
    missing: str = "refuse",
    n_starts: int = 30,
    max_iter: int = 10_000,
    tol: float = 1e-10,
    seed: Seed = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> Selection:
    r"""Fit a grid of covariance structures and numbers of components, and choose among them.

    .. math:: \mathrm{BIC} = -2 L + p \log N

    Smaller is better; mclust prints the negative.

    Parameters
    ----------
    X : array, DataFrame, DataArray (N, D)
    n_components : iterable of int
    covariance : "all", str or sequence of str
        Covariance structures; "all" means all 14, or E and V for one feature.
    prior : None or "default"
        As for `fit`; the default prior is built for each number of components.
    criterion : str
        "bic", "icl" or "aic".
    row_weights : array_like (N,), optional
        As for `fit`; N is their sum.
    missing : "refuse" or "mar"
        As for `fit`; the entropy in ICL is that of the labels, without that of missing entries.
    n_starts, max_iter, tol, seed
        As for `fit`, which gives the same result for each structure and number of components.
    cores : int, optional
        Number of parallel fits; one per core by default. It does not change the results.
    progressbar : bool

    Returns
    -------
    Selection
        Prints as a table; ``.dataset`` (covariance, n_components), ``.best`` (a result of `fit`).

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If every fit failed. If only some failed, `status` in ``.dataset`` gives the reasons.

    References
    ----------
    Schwarz (1978); Fraley & Raftery (2002), J. Amer. Statist. Assoc. 97.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> found = bg.select(bg.datasets.load("faithful"), [2, 3], covariance=["EEE", "VVV"],
    ...                   seed=1, progressbar=False)
    >>> found.best.attrs["covariance"], found.best.attrs["n_components"]
    ('EEE', 3)
    """
    from bayes_gmm.inference.em.grid import Cell
    from bayes_gmm.model.structures import Structure, names
    from bayes_gmm.posterior.criteria import NAMES
    from bayes_gmm.progress import progress
    from bayes_gmm.results.selection import selection

    seed = as_seed(seed)
    require_tolerance(tol)
    require_whole("n_starts", n_starts, 1)
    require_whole("max_iter", max_iter, 1)
    sizes = as_sizes(n_components)
    if criterion not in NAMES:
        raise InputError(f"criterion is {criterion!r}; choose one of {', '.join(NAMES)}")
    observations = as_observations(X, prior, row_weights, missing)
    if isinstance(covariance, str):
        covariance = names() if covariance == "all" else [covariance]
    structures = list(
        dict.fromkeys(Structure.of(name, observations.n_features) for name in covariance)
    )
    priors = {size: as_prior(prior, observations, size) for size in sizes}
    cells = [Cell(structure, size, priors[size]) for structure in structures for size in sizes]
    with progress(len(cells), "fits", shown=progressbar) as done:
        fits = fitted(
            observations,
            cells,
            n_starts=n_starts,
            max_iter=max_iter,
            tol=tol,
            seed=seed,
            cores=cores,
            done=done,
        )
    return selection(observations, fits, criterion, seed, missing)


def as_sizes(n_components: Iterable[int]) -> list[int]:
    """Check numbers of components to try."""
    sizes = list(n_components)
    for size in sizes:
        require_whole("n_components", size, 1)
    if not sizes:
        raise InputError("n_components is empty: pass at least one number, such as range(1, 10)")
    return sizes


def fitted(observations: Observations, cells: Sequence[Cell], **settings: Any) -> list[Fitted]:
    """Fit every cell of a grid, and say of each what came of it; settings of `fit_grid`."""
    from bayes_gmm.inference.em.grid import fit_grid
    from bayes_gmm.posterior.poles import Pole, poles
    from bayes_gmm.results.labels import record_columns
    from bayes_gmm.results.remarks import frequent, of_error, place
    from bayes_gmm.results.selection import Fitted

    fits = []
    for cell in fit_grid(observations, cells, **settings):
        what = cell.structure.label(observations.n_features), cell.n_components, cell.prior
        outcome = cell.outcome
        if isinstance(outcome, InputError):
            fits.append(Fitted(*what, None, {}, str(outcome)))
        elif isinstance(outcome, CollapseError):
            at = of_error(outcome, observations)
            on = " and ".join(sorted(map(place, at)))
            fits.append(
                Fitted(*what, None, {}, f"starts collapsed on {on}" if at else str(outcome), at)
            )
        else:
            found = poles(outcome.collapses, observations)
            optimizer = outcome.optimizer | record_columns("pole", Pole, found)
            at = frequent(found, len(optimizer["start_collapsed"]))
            fits.append(Fitted(*what, outcome.parameters, optimizer, "ok", at))
    return fits
