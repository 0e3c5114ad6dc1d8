"""The parameters of a point estimate, and their standard errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayes_gmm.arguments import in_memory
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.results.standard_errors import StandardErrors
    from bayes_gmm.seeds import Seed


def point_estimate(result: Any) -> Parameters:
    """Return the point estimate of a result as `Parameters`.

    Parameters
    ----------
    result : DataTree or Parameters
        From `fit`; from `sample` it is the point that determines the labels of the draws.

    Returns
    -------
    theta : Parameters

    Raises
    ------
    InputError
        If the result has no point estimate.
    """
    from bayes_gmm.results.reading import point_parameters

    return point_parameters(result)


def standard_errors(
    result: Any,
    X: Any = None,
    *,
    method: str = "observed",
    n_bootstrap: int = 200,
    ci_prob: float = 0.95,
    seed: Seed = None,
    cores: int | None = None,
    progressbar: bool = True,
) -> StandardErrors:
    r"""Compute standard errors of a point estimate, without sampling the posterior.

    .. math:: \mathrm{cov}(\hat\theta) \approx H^{-1}, \qquad H^{-1} J H^{-1}, \qquad
        H = -\nabla^2 \log p(x, \hat\theta), \quad J = \sum_n s_n s_n^\top

    Parameters
    ----------
    result : DataTree
        A result of `fit`, or the best of `select`.
    X : table, optional
        The data of the fit, if the result does not keep them.
    method : str
        "observed": from the observed information, which is the exact Hessian of the log-likelihood,
        or of the log posterior for a MAP estimate. "sandwich": robust, valid also if the model is
        misspecified. "bootstrap": refits to rows drawn with replacement. "weighted": refits to
        rows with Dirichlet weights.
    n_bootstrap : int
        Number of refits for the last two methods.
    ci_prob : float
        Probability of the equal-tailed intervals: percentiles of the refits, or normal intervals
        on an unbounded scale (such as the logarithm of a variance).
    seed : int, SeedSequence or Generator, optional
        Fixes the refits.
    cores : int, optional
        Number of parallel refits; one per core by default. It does not change the results.
    progressbar : bool

    Returns
    -------
    StandardErrors
        Prints as a table; ``.table``, ``.dataset`` (parameter). All are in the units of X.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If fewer than two refits ended without a collapsed component.

    Warns
    -----
    IdentificationWarning
        If the objective is flat in some direction at the estimate, or the estimate is a saddle
        point. Parameters that depend on such a direction have no standard error.
    ConvergenceWarning
        If the estimate is not a maximum for these data.
    CollapseWarning
        If a component collapsed in some refits.

    References
    ----------
    Louis (1982), J. R. Statist. Soc. B 44; White (1982), Econometrica 50; Efron (1979), Ann.
    Statist. 7; Newton & Raftery (1994), J. R. Statist. Soc. B 56.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> fit = bg.fit(bg.datasets.load("faithful"), 2, seed=1)
    >>> errors = bg.standard_errors(fit)
    >>> round(float(errors.table.loc["mean[0, eruptions]", "standard error"]), 3)
    0.027
    """
    from bayes_gmm.inference.em.bootstrap import SCHEMES, bootstrap
    from bayes_gmm.posterior.predictive import tails
    from bayes_gmm.progress import progress
    from bayes_gmm.results.reading import Fitted
    from bayes_gmm.results.standard_errors import SOURCES, errors_from_curvature, errors_from_refits

    if method not in SOURCES:
        raise InputError(f"method is {method!r}; choose one of {', '.join(SOURCES)}")
    require_whole("n_bootstrap", n_bootstrap, 1)
    if n_bootstrap == 1:
        raise InputError("n_bootstrap is 1, and one refit has no spread: use at least 2")
    tails(ci_prob)
    fitted = Fitted.of(result, X)
    if method not in SCHEMES:
        return errors_from_curvature(fitted, method=method, ci_prob=ci_prob)
    with progress(n_bootstrap, "refits", shown=progressbar) as done:
        found = bootstrap(
            in_memory(fitted.observations, "the bootstrap needs all rows in memory"),
            fitted.parameters,
            fitted.prior,
            fitted.structure,
            equal_weights=fitted.equal_weights,
            scheme=method,
            n_replicates=n_bootstrap,
            seed=as_seed(seed),
            cores=cores,
            done=done,
        )
    return errors_from_refits(
        fitted,
        found.weights,
        found.means,
        found.covariances,
        method=method,
        ci_prob=ci_prob,
        replicate=found.replicate,
        n_bootstrap=n_bootstrap,
        n_made=found.n_made,
        n_collapsed=found.n_collapsed,
        n_unconverged=int((~found.converged).sum()),
        seed=as_seed(seed),
    )
