"""Whether there is an estimate at all: what is refused before any start is made.

A likelihood has no maximum where a component can have a row, or a direction without spread, to
itself. That is certain with fewer distinct rows than components, and, unless covariances are
diagonal, where the data have no spread in some direction, as fewer than D + 1 rows never have.
A proper prior is spread enough: under it there is an estimate for any number of rows.
"""

import numpy as np

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.model.default_moments import dependent
from bayes_gmm.model.normal import cholesky


def require_components(n_components: int, n_rows: int, n_distinct: int) -> None:
    """Check that maximum likelihood can have so many components."""
    if n_components > n_rows:
        raise InputError(
            f"n_components is {n_components}, but X has only {n_rows} rows; "
            "ask for at most one component per row, or give a prior"
        )
    if n_components > n_distinct:
        raise InputError(
            f"n_components is {n_components}, but X has only {n_distinct} distinct rows; "
            "ask for fewer components, or give a prior"
        )


def require_spread(
    covariance: np.ndarray, names: tuple[str, ...], n_rows: int, n_distinct: int
) -> None:
    """Check that maximum likelihood can estimate covariances that are not diagonal.

    Shapes: covariance (D, D).
    """
    involved = dependent(covariance)
    if not involved:
        return
    n_features = len(covariance)
    if n_distinct <= n_features:
        distinct = "" if n_distinct == n_rows else f", {n_distinct} of them distinct"
        raise InputError(
            f"X has {n_rows} rows{distinct}, which cannot determine a covariance of {n_features} "
            "features; fit a diagonal structure (EII to VVI), give a prior, or use fewer features"
        )
    raise InputError(
        "X has columns that determine each other exactly "
        f"({listing(names[j] for j in involved)}), so no covariance can be estimated; "
        "drop one of them"
    )


def conditional_variances(covariance: np.ndarray) -> np.ndarray:
    """Variance of each feature given those before it, to judge a collapse by; zero if none is left.

    Shapes: covariance (D, D) -> (D,).
    """
    try:
        return np.diagonal(cholesky(covariance)) ** 2
    except InputError:
        return np.zeros(len(covariance))
