"""What a point estimate is, and how uncertain it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bayes_gmm.arguments import in_memory
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.results.standard_errors import StandardErrors
    from bayes_gmm.seeds import Seed


def parameters(result: Any) -> Parameters:
    """Read the point estimate of a result as `Parameters`.

    Parameters
    ----------
    result : DataTree or Parameters
        From `fit`; from `sample` it is the point that the draws are labelled by.

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
    r"""Standard errors of a point estimate, without sampling.

    .. math:: \mathrm{cov}(\hat\theta) \approx H^{-1}, \qquad H^{-1} J H^{-1}, \qquad
        H = -\nabla^2 \log p(x, \hat\theta), \quad J = \sum_n s_n s_n^\top

    Parameters
    ----------
    result : DataTree
        A result of `fit`, or the best of `select`.
    X : table, optional
        The data of the fit, where the result does not keep them.
    method : str
        "observed": the exact curvature of the log-likelihood, and of the prior with a MAP estimate.
        "sandwich": the same, and valid too where the model is not quite right. "bootstrap": refits
        of rows drawn with replacement. "weighted": refits of rows with Dirichlet weights.
    n_bootstrap : int
        Refits of the last two.
    ci_prob : float
        Probability of the intervals, equal-tailed: percentiles of the refits, or by the normal
        distribution on a scale where the number has no bounds.
    seed : int, SeedSequence or Generator, optional
        Fixes the refits.
    cores : int, optional
        Refits worked on at a time; one per core by default. It changes no result.
    progressbar : bool

    Returns
    -------
    StandardErrors
        Prints as a table; `.table`, `.dataset` (parameter). All in the units of X.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If fewer than two refits kept their components.

    Warns
    -----
    IdentificationWarning
        If the objective is flat at the estimate, or a saddle; what depends on such a direction has
        no standard error.
    ConvergenceWarning
        If the estimate is not a maximum for these data.
    CollapseWarning
        If some refits lost a component.

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
        raise InputError("n_bootstrap is 1, and one refit has no spread; ask for two at least")
    tails(ci_prob)
    fitted = Fitted.of(result, X)
    if method not in SCHEMES:
        return errors_from_curvature(fitted, method=method, ci_prob=ci_prob)
    with progress(n_bootstrap, "refits", shown=progressbar) as done:
        found = bootstrap(
            in_memory(fitted.observations, "the bootstrap"),
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
