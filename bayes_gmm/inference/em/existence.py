"""Existence of the estimate, checked before EM starts.

The likelihood is unbounded if every solution has a component with a singular covariance. This is so
with fewer distinct rows than components and, unless covariances are diagonal, if the data lie on a
hyperplane, as fewer than D + 1 rows always do. Under a proper prior the estimate exists for any
number of rows.
"""

import numpy as np

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.model.default_moments import dependent
from bayes_gmm.model.normal import cholesky


def require_components(n_components: int, n_rows: int, n_distinct: int) -> None:
    """Check that there are enough rows for maximum likelihood with so many components."""
    if n_components > n_rows:
        raise InputError(
            f"n_components is {n_components}, but X has only {n_rows} rows; "
            "use at most one component per row, or a prior"
        )
    if n_components > n_distinct:
        raise InputError(
            f"n_components is {n_components}, but X has only {n_distinct} distinct rows; "
            "use fewer components, or a prior"
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
            f"X has {n_rows} rows{distinct}, too few to estimate a covariance of {n_features} "
            "features; use a diagonal structure (EII to VVI), a prior, or fewer features"
        )
    raise InputError(
        f"X has linearly dependent columns ({listing(names[j] for j in involved)}), so their "
        "covariance is singular; drop one of them"
    )


def conditional_variances(covariance: np.ndarray) -> np.ndarray:
    """Variance of each feature given those before it; a reference for detecting a collapse.

    Shapes: covariance (D, D) -> (D,).
    """
    try:
        return np.diagonal(cholesky(covariance)) ** 2
    except InputError:
        return np.zeros(len(covariance))
