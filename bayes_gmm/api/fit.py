"""The point estimate, by EM."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from bayes_gmm.arguments import as_observations, as_prior, require_tolerance
from bayes_gmm.errors import CollapseError, ConvergenceWarning, InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import xarray as xr

    from bayes_gmm.model.priors import Prior
    from bayes_gmm.seeds import Seed


def fit(
    X: Any,
    n_components: int,
    *,
    covariance: str = "VVV",
    prior: Prior | str | None = None,
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
        One row per observation; (N,) is taken as one feature. Or rows that are read block by
        block, again for every pass: the path of a CSV or Parquet file, an iterable of tables, or a
        function that returns a new iterator of them.
    n_components : int
        K, the number of components.
    covariance : str
        Covariance structure: one of the 14 codes EII VII EEI VEI EVI VVI EEE VEE EVE VVE EEV VEV
        EVV VVV, or spherical, diag, tied, full; E or V for one feature.
    prior : None, "default" or Prior
        None is maximum likelihood; "default" is `Prior.default(X, n_components)`. Under a proper
        prior there is an estimate for any number of rows, and under a `Prior` of yours for one row
        and for columns that do not vary.
    equal_weights : bool
        Hold every weight at 1 / K, which leaves K - 1 parameters fewer to estimate.
    row_weights : array_like (N,), optional
        How often each observation was seen, :math:`w_n \ge 0`: the log-likelihood is
        :math:`\sum_n w_n \log p(x_n)`, and a whole number is the row written so often. Their sum
        is the number of observations for BIC, standard errors and priors; where the likelihood is
        highest does not depend on it. Rows of weight 0 count for nothing. The result keeps the
        weights, as the coordinate `row_weights` of `observed_data`, and later verbs use them. X
        has to be in memory.
    missing : "refuse" or "mar"
        Whether nan in X is an error, or marks an entry that is missing at random (MAR): whether it
        is missing may depend on what is observed of its row, and not on the value itself. Then the
        likelihood is that of the observed entries, and nothing is imputed.
    n_starts : int
        How many starting points are compared, fewer where a step of EM is expensive; the first two
        are k-means. With more than 30 the search also goes on longer from the best of them.
    max_iter : int
        Iterations allowed per start.
    tol : float
        A start has converged when its objective is within so many nats of its limit.
    seed : int, SeedSequence or Generator, optional
        Fixes the starting points.

    Returns
    -------
    xarray.DataTree
        Group `point_estimate` has weights (cluster), means (cluster, feature) and covariances
        (cluster, feature, feature_bis) in the units of X, ordered by the mean of the first
        feature; `optimizer_result` has the log-likelihood, the objective per iteration and the
        final objective of every start; of every optimum the height, what it is expected to predict
        (`optimum_score`, by which the best is chosen), its posterior mass and the number of starts
        that ended in it; how sure the search is: `swaps_in_vain`, how many components were moved
        since that last led to a better optimum, and `still_improving`, whether it still did at the
        end; where starts collapsed (pole), rows that decide a component alone (deciding), and
        `component_spurious`, components with too few rows for a covariance of their own.

    Raises
    ------
    InputError
        If the input cannot be used.
    CollapseError
        If every start lost a component.

    Warns
    -----
    ConvergenceWarning
        If the best start had not converged after max_iter iterations, or the search for the best
        optimum ended while it still found better ones.
    CollapseWarning
        If the likelihood is unbounded where many starts went, and what is returned is what is left
        beside that.
    OutlierWarning
        If one row, or a few, far from all others decide a component alone.

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
            f"prior has a concentration of {chosen.concentration.min():g}, under which the density "
            "is infinite where a component is empty, so there is no MAP estimate: give 1 or more, "
            "or sample the posterior"
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
            f"EM had not converged after {max_iter} iterations; raise max_iter of bg.fit",
            ConvergenceWarning,
            stacklevel=2,
        )
    elif search["still_improving"]:
        more = max(2 * n_starts, 60)
        warnings.warn(
            "the search for the best optimum ended while it still found better ones; "
            f"with n_starts={more} (on the command line --starts {more}) it goes on longer",
            ConvergenceWarning,
            stacklevel=2,
        )
    return result
