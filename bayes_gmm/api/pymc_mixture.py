"""The mixture as part of any PyMC model: its log density and its distribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytensor.tensor.variable import TensorVariable


def mixture_logp(x: Any, weights: Any, means: Any, choleskys: Any) -> TensorVariable:
    r"""Log density of each row under a mixture, with the label summed out, in a PyTensor graph.

    .. math:: \log p(x_n) = \log \sum_k \phi_{nk} N(x_n; \mu_{nk}, L_k L_k^\top)

    If no argument varies between rows, it is a single operation that computes value and gradient in
    one pass over the rows. Otherwise it is a graph of elementary operations, which needs memory for
    N x K x D numbers.

    Parameters
    ----------
    x : array_like or TensorVariable (N, D)
    weights : array_like or TensorVariable (K,) or (N, K)
        Nonnegative; the weights of one mixture sum to one.
    means : array_like or TensorVariable (K, D) or (N, K, D)
    choleskys : array_like or TensorVariable (K, D, D) or (N, K, D, D)
        Lower Cholesky factors of the covariances, with positive diagonals.

    Returns
    -------
    TensorVariable (N,)
        Differentiable with respect to all four arguments.

    Raises
    ------
    InputError
        If the shapes do not agree.

    Notes
    -----
    Use it in a `pymc.Potential` or in a density of your own. For an observed variable use
    `pymc_mixture`.

    Examples
    --------
    >>> import numpy as np
    >>> import bayes_gmm as bg
    >>> values = bg.mixture_logp([[0.0], [1.0]], [0.5, 0.5], [[0.0], [1.0]], np.ones((2, 1, 1)))
    >>> values.eval(mode="FAST_COMPILE").round(3)
    array([-1.138, -1.138])
    """
    from bayes_gmm.inference.pymc.mixture import (
        as_numbers,
        as_parts,
        log_density_of_factors,
        require_rows,
    )

    parts = as_parts(weights, means, choleskys)
    rows = as_numbers(x, "x")
    require_rows(rows, parts[1], "x")
    return log_density_of_factors(rows, *parts)


def pymc_mixture(
    name: str,
    weights: Any,
    means: Any,
    choleskys: Any,
    *,
    observed: Any = None,
    dims: Any = None,
    **options: Any,
) -> TensorVariable:
    r"""Add a Gaussian mixture, with its labels summed out, to the PyMC model of this context.

    .. math:: x_n \sim \sum_k \phi_{nk} N(\mu_{nk}, L_k L_k^\top)

    Parameters
    ----------
    name : str
        Name of the variable.
    weights, means, choleskys : array_like or TensorVariable
        As for `mixture_logp`: the same for all rows, or with a leading axis for the rows.
    observed : array, DataFrame or `pymc.Data` (N, D), optional
        The rows.
    dims : tuple of str, optional
        Names of the two dims, such as ``("obs_id", "feature")``.
    **options : object
        Passed to `pymc.CustomDist`, such as `shape`.

    Returns
    -------
    TensorVariable (N, D)
        An ordinary random variable: `pymc.sample`, `pymc.compute_log_likelihood`, prior and
        posterior predictive draws and `pymc.set_data` work with it.

    Raises
    ------
    InputError
        If the shapes do not agree.

    Examples
    --------
    Two groups of rows with the same components and different weights:

    >>> import numpy as np
    >>> import pymc as pm
    >>> import bayes_gmm as bg
    >>> x, group = np.array([[0.1], [4.2], [3.9]]), np.array([0, 0, 1])
    >>> with pm.Model() as model:
    ...     weights = pm.Dirichlet("weights", np.ones(2), shape=(2, 2))
    ...     means = pm.Normal("means", 0, 5, shape=(2, 1))
    ...     rows = bg.pymc_mixture("x", weights[group], means, np.ones((2, 1, 1)), observed=x)
    >>> rows in model.observed_RVs
    True
    """
    from bayes_gmm.inference.pymc.mixture import as_numbers, as_parts, distribution, require_rows

    parts = as_parts(weights, means, choleskys)
    if observed is not None:
        require_rows(as_numbers(observed, "observed"), parts[1], "observed")
        options["observed"] = observed
    return distribution(name, parts, dims=dims, **options)
