"""Point estimates by EM."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from bayes_gmm.arguments import as_observations, as_prior, require_tolerance
from bayes_gmm.errors import CollapseError, ConvergenceWarning, InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import xarray as xr

    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.seeds import Seed


def fit(
    X: Any,
    n_components: int,
    *,
    covariance: str = "VVV",
    prior: ConjugatePrior | str | None = None,
    equal_weights: bool = False,
    row_weights: Any = None,
    missing: str = "refuse",
    n_starts: int = 30,
    max_iter: int = 10_000,
    tol: float = 1e-10,
    seed: Seed = None,
) -> xr.DataTree:
    r"""Fit a mixture by EM: maximum likelihood, or the MAP estimate under a prior.

    .. math:: \hat\theta = \arg\max_\theta \sum_n \log \sum_k \phi_k N(x_n; \mu_k, \Sigma_k)
        + \log p(\theta)

    Parameters
    ----------
    X : array, DataFrame, DataArray or memmap (N, D)
        One row per observation; (N,) is taken as one feature. Data too large for memory can be the
        path of a CSV or Parquet file, an iterable of tables, or a function that returns a new
        iterator of tables; they are read block by block in every pass.
    n_components : int
        K, the number of components.
    covariance : str
        Covariance structure: one of the 14 codes EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV
        EVV VVV, or spherical, diag, tied, full; E or V for one feature.
    prior : None, "default" or ConjugatePrior
        None is maximum likelihood; "default" is `ConjugatePrior.default(X, n_components)`. Under a
        proper prior the estimate exists for any number of rows; under a `ConjugatePrior` of your
        own also for a single row and for constant columns.
    equal_weights : bool
        Fix every weight at 1 / K, so that K - 1 fewer parameters are estimated.
    row_weights : array_like (N,), optional
        How often each observation was seen, :math:`w_n \ge 0`: the log-likelihood is
        :math:`\sum_n w_n \log p(x_n)`, so a whole number has the same effect as repeating the row.
        The sum of the weights is the number of observations for BIC, standard errors and priors;
        it does not affect where the likelihood is maximal. Rows of weight 0 are ignored. The
        result keeps the weights as the coordinate `row_weights` of `observed_data`, and later
        functions use them. X must be in memory.
    missing : "refuse" or "mar"
        With "refuse", nan in X is an error. With "mar" it marks an entry that is missing at
        random: whether it is missing may depend on the observed entries of its row, but not on the
        missing values. The likelihood is then that of the observed entries; nothing is imputed.
    n_starts : int
        Number of starting points, of which fewer are used where an EM step is expensive. The first
        two come from k-means. With more than 30, the search from the best of them is longer too.
    max_iter : int
        Largest number of iterations of one EM run.
    tol : float
        An EM run has converged when its objective is estimated to be within `tol` nats of its
        limit.
    seed : int, SeedSequence or Generator, optional
        Fixes the starting points.

    Returns
    -------
    xarray.DataTree
        Group `point_estimate` has weights (cluster), means (cluster, feature) and covariances
        (cluster, feature, feature_bis) in the units of X, ordered by the mean of the first
        feature. Group `optimizer_result` describes the search:

        * the log-likelihood, the objective per iteration, and the final objective of every start;
        * for every optimum its objective, its score (`optimum_score`, an estimate of how well it
          predicts new rows, by which the best is chosen), its log posterior mass, and the number
          of starts that led to it;
        * how thorough the search was: `swaps_in_vain`, the number of attempts to move a component
          since one last led to a better optimum, and `still_improving`, whether the search was
          still finding better optima when it ended;
        * where EM runs collapsed (`pole_...`), rows that determine a component on their own
          (`deciding_...`), and `component_spurious`, whether a component has too few rows for a
          covariance of its own.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If a component collapsed in every EM run.

    Warns
    -----
    ConvergenceWarning
        If the best EM run had not converged after max_iter iterations, or the search ended while
        it was still finding better optima.
    CollapseWarning
        If many EM runs collapsed where the likelihood is unbounded; the result is the best of the
        others.
    OutlierWarning
        If one row, or a few rows, far from all others determine a component.

    References
    ----------
    Dempster, Laird & Rubin (1977), J. R. Statist. Soc. B 39; Fraley & Raftery (2007).

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> result = bg.fit(bg.datasets.load("faithful"), 2, seed=1)
    >>> round(float(result["optimizer_result"]["log_likelihood"]), 3)
    -1130.264
    """
    from bayes_gmm.inference.em import point
    from bayes_gmm.model.structures import Structure
    from bayes_gmm.posterior.poles import Pole, poles
    from bayes_gmm.results.labels import record_columns
    from bayes_gmm.results.remarks import search_warnings, worded
    from bayes_gmm.results.tree import point_tree

    require_whole("n_components", n_components, 1)
    require_whole("n_starts", n_starts, 1)
    require_whole("max_iter", max_iter, 1)
    seed = as_seed(seed)
    require_tolerance(tol)
    observations = as_observations(X, prior, row_weights, missing)
    structure = Structure.of(covariance, observations.n_features)
    chosen = as_prior(prior, observations, n_components)
    if chosen is not None and (chosen.concentration < 1).any():
        raise InputError(
            f"prior has a concentration of {chosen.concentration.min():g}, and below 1 its density "
            "is infinite where a weight is zero, so there is no MAP estimate: use a concentration "
            "of 1 or more, or sample the posterior"
        )
    try:
        estimate = point.estimate(
            observations,
            n_components,
            chosen,
            structure,
            n_starts=n_starts,
            max_iter=max_iter,
            tol=tol,
            seed=seed,
            equal_weights=equal_weights,
        )
    except CollapseError as error:
        raise worded(error, observations) from None
    result = point_tree(
        estimate.parameters,
        observations,
        chosen,
        estimate.optimizer | record_columns("pole", Pole, poles(estimate.collapses, observations)),
        estimator="MLE" if chosen is None else "MAP",
        covariance=structure.label(observations.n_features),
        equal_weights=int(equal_weights),
        missing=missing,
        seed=seed,
    )
    search = result["optimizer_result"].to_dataset()
    for warning in search_warnings(search, observations.n_seen, observations.n_features):
        warnings.warn(warning, stacklevel=2)
    if not search["converged"]:
        warnings.warn(
            f"EM had not converged after {max_iter} iterations. Raise max_iter of bg.fit.",
            ConvergenceWarning,
            stacklevel=2,
        )
    elif search["still_improving"]:
        more = max(2 * n_starts, 60)
        warnings.warn(
            "The search for the best optimum ended while it was still finding better ones. Use "
            f"n_starts={more} (on the command line --starts {more}) for a longer search.",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result
