"""Groups that functions of ArviZ read beside the posterior, added on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.arguments import as_observations, prior_of_posterior
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.seeds import as_seed

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from bayes_gmm.arguments import AnyPrior
    from bayes_gmm.data import Observations
    from bayes_gmm.model.prior_family import PriorFamily
    from bayes_gmm.model.priors import ConjugatePrior
    from bayes_gmm.model.structures.prior import StructuredPrior
    from bayes_gmm.seeds import Seed

PRIOR_DRAWS = 1000
MEMORY = 1.0  # GiB
OF_GROUPS = 2**32 - 2  # in a spawn key where the number of a chain would be


def add_groups(
    posterior: xr.DataTree,
    groups: str | Sequence[str],
    X: Any = None,
    *,
    prior: ConjugatePrior | PriorFamily | Callable[[], Any] | str | None = None,
    draws: int = PRIOR_DRAWS,
    seed: Seed = None,
    memory: float = MEMORY,
) -> xr.DataTree:
    r"""Add the groups that functions of ArviZ read, under ArviZ's names.

    .. math::
        \theta_s \sim p(\theta \mid x) &: \quad \log p(x_n \mid \theta_s), \quad
        x^\mathrm{rep} \sim p(x \mid \theta_s), \quad \log p(\theta_s) \\
        \theta_s \sim p(\theta) &: \quad \theta_s, \quad x^\mathrm{rep} \sim p(x \mid \theta_s)

    Parameters
    ----------
    posterior : DataTree
        From `sample`; it is not changed.
    groups : str or sequence of str
        * "log_likelihood": x (chain, draw, obs_id), the log density of each row with its label
          summed out, for ``az.loo``, ``az.compare``, ``az.psense_summary``.
        * "posterior_predictive": x (chain, draw, obs_id, feature), a replicate of the data for each
          draw, for ``az.plot_ppc_dist``, ``az.loo_pit``.
        * "prior": the variables of `posterior`, drawn from the prior, for
          ``az.plot_prior_posterior``.
        * "prior_predictive": x (chain, draw, obs_id, feature), a replicate for each draw of the
          group prior, which is added too if it is missing.
        * "log_prior": the log density of the prior at each draw of the posterior, for
          ``az.psense_summary``. It has the variables weights, means and covariances or, if the
          prior is a function, the free variables that the function creates.
    X : table, optional
        The rows from which the posterior was computed, if the result does not keep them.
    prior : callable or prior, optional
        The prior that was passed to `sample`, if the result does not keep it, as with a function.
    draws : int
        Number of prior draws. The other groups have the draws of the posterior.
    seed : int, SeedSequence or Generator, optional
        Fixes the random draws; those of one group do not depend on which others are added.
    memory : float
        Largest total size of the groups, in GiB.

    Returns
    -------
    xarray.DataTree
        The same result with the groups. A group that already exists is replaced, and replacing
        prior also replaces a prior_predictive drawn from it. X becomes observed_data if the result
        has none, because functions of ArviZ read it together with groups that have one value per
        row.

    Raises
    ------
    InputError
        If `posterior` is not a posterior, if there is no such group, if X or prior is needed and
        missing or does not match the result, or if the groups would be larger than `memory`.

    See Also
    --------
    one_feature : For functions of ArviZ that take one number per row.
    loo : Leave-one-out cross-validation without storing the array of all rows and draws.

    Notes
    -----
    The parts of the log prior are densities of the parameters themselves: of the weights, of each
    mean given its covariance, and of the covariances. Their sum is what `sensitivity` scales.

    These groups ignore row weights: log_likelihood is that of one copy of a row, and a replicate
    has one row per observation, whatever its weight.

    Prior draws keep the components in the order in which they were drawn, because under a prior
    that is the same for all components no order has a meaning. Cluster 0 of the posterior is a
    component found in the data; cluster 0 of the prior is any component. If the prior differs
    between components, its draws have the order of the prior.

    Examples
    --------
    >>> import arviz as az
    >>> import bayes_gmm as bg
    >>> x = bg.datasets.load("faithful")
    >>> posterior = bg.sample(x, 2, draws=250, seed=1, progressbar=False)
    >>> more = bg.add_groups(posterior, ["log_likelihood", "log_prior"], seed=1)
    >>> table = az.psense_summary(more, var_names="weights", prior_var_names="covariances")
    >>> table["prior"].shape
    (2,)
    """
    import pandas as pd
    import xarray as xr

    from bayes_gmm.data.row_labels import stored
    from bayes_gmm.model.structures.prior import within
    from bayes_gmm.results.groups import OF_PRIOR, OF_ROWS, require_groups, require_room
    from bayes_gmm.results.labels import labelled, read_prior
    from bayes_gmm.results.predictive import fitted_rows
    from bayes_gmm.results.reading import (
        feature_names,
        keeps_rows,
        n_observed,
        read_number,
        require_posterior,
        row_weights,
        structure_of,
    )
    from bayes_gmm.results.tree import with_weights

    names = require_groups(groups, require_posterior(posterior).children)
    if read_number(posterior) is not None and not {*OF_PRIOR}.isdisjoint(names):
        raise InputError(
            f"groups is {groups!r}, but a prior of an unknown number of components has no draws of "
            f"a fixed shape: leave out {', '.join(OF_PRIOR)}; bg.plots.prior draws it"
        )
    sizes = posterior["posterior"].sizes
    require_whole("draws", draws, 1)
    seed = as_seed(seed)
    if "prior" in posterior.children and "prior" not in names:
        draws = posterior["prior"].sizes["chain"] * posterior["prior"].sizes["draw"]
    known = read_prior(posterior)
    structure = structure_of(posterior)
    if known is not None and prior is not None:
        raise InputError("prior is given, but the result already has its own: omit prior")
    unknown = known is None and not {*OF_PRIOR}.isdisjoint(names)
    if unknown and prior is None:
        raise InputError(
            "prior is needed, because the result does not keep it: pass the same prior as to "
            "bg.sample or bg.from_trace"
        )
    rows, index = np.empty(0), pd.RangeIndex(0)
    if unknown or not {*OF_ROWS}.isdisjoint(names):
        rows, index = fitted_rows(posterior, X)
    n_rows = len(rows) or n_observed(posterior)
    shape = n_rows, sizes["feature"], sizes["cluster"]
    require_room(names, sizes["chain"] * sizes["draw"], draws, shape, memory)
    chosen = within(known, structure)
    observations = None
    features = feature_names(posterior)
    if unknown and prior is not None:
        table = pd.DataFrame(rows, columns=list(features), index=index)
        observations = as_observations(table, prior, row_weights(posterior))
        chosen = prior_of_posterior(prior, observations, sizes["cluster"])
    result = added(posterior, names, (rows, index), chosen, observations, draws=draws, seed=seed)
    if len(rows) and not keeps_rows(posterior):
        kept = labelled({"x": rows}, feature_names=features).assign_coords(stored(index))
        result["observed_data"] = xr.DataTree(with_weights(kept, row_weights(posterior)))
    return result


def add_log_likelihood(
    posterior: xr.DataTree, X: Any = None, *, memory: float = MEMORY
) -> xr.DataTree:
    r"""Add the group log_likelihood, as `add_groups` does.

    .. math:: \log p(x_n \mid \theta_s) = \log \sum_k \phi_k^s N(x_n; \mu_k^s, \Sigma_k^s)

    One number per row and draw is a large array: 3 GiB for 10^5 rows and 4000 draws. If it would be
    larger than `memory`, an error gives its size; `loo` does not need this array.

    Parameters
    ----------
    posterior : DataTree
        From `sample`; it is not changed.
    X : table, optional
        As in `loo`.
    memory : float
        Largest size of the group, in GiB.

    Returns
    -------
    xarray.DataTree
        The same result with a group `log_likelihood`, which has x (chain, draw, obs_id).

    Raises
    ------
    InputError
        As in `add_groups`.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> x = bg.datasets.load("faithful")
    >>> posterior = bg.sample(x, 2, draws=250, seed=1, progressbar=False)
    >>> "log_likelihood" in bg.add_log_likelihood(posterior).children
    True
    """
    return add_groups(posterior, "log_likelihood", X, memory=memory)


def added(
    posterior: xr.DataTree,
    names: tuple[str, ...],
    rows: tuple[Any, pd.Index],
    prior: AnyPrior | StructuredPrior | None,
    observations: Observations | None,
    *,
    draws: int = PRIOR_DRAWS,
    seed: int | None,
) -> xr.DataTree:
    """Compute groups and add them; the arguments have been checked."""
    import xarray as xr

    from bayes_gmm.results import groups

    children = np.random.SeedSequence(seed, spawn_key=(OF_GROUPS,)).spawn(len(groups.NAMES))
    sequences = dict(zip(groups.NAMES, children, strict=True))
    result = posterior.copy()
    values, index = rows
    for name in names:
        if name == "log_likelihood":
            made = groups.log_likelihood(posterior, values, index)
        elif name == "prior":
            made = _prior(posterior, prior, observations, draws, sequences[name])
        elif name == "log_prior":
            made = _log_prior(posterior, prior, observations)
        else:
            drawn = result[name.removesuffix("_predictive")].to_dataset()
            made = groups.predictive(drawn, index, np.random.default_rng(sequences[name]))
        result[name] = xr.DataTree(made)
    return result


def _prior(
    posterior: xr.DataTree,
    prior: Any,
    observations: Observations | None,
    n_draws: int,
    seed: np.random.SeedSequence,
) -> xr.Dataset:
    """Draw the variables of a posterior from the prior."""
    from bayes_gmm.results import groups
    from bayes_gmm.results.reading import feature_names

    if not callable(prior):
        features = feature_names(posterior)
        return groups.prior(prior, n_draws, features, np.random.default_rng(seed))
    from bayes_gmm.inference.pymc.model import prior_draws

    drawn = prior_draws(_model(posterior, prior, observations), n_draws, seed)
    return drawn[list(posterior["posterior"].data_vars)]


def _log_prior(posterior: xr.DataTree, prior: Any, observations: Observations | None) -> xr.Dataset:
    """Evaluate the prior, part by part, at the draws of a posterior."""
    from bayes_gmm.results import groups

    if not callable(prior):
        return groups.log_prior(posterior, prior)
    from bayes_gmm.inference.pymc.model import log_prior

    raw = log_prior(_model(posterior, prior, observations), groups.as_drawn(posterior))
    return groups.relabelled(raw, posterior)


def _model(posterior: xr.DataTree, prior: Any, observations: Any) -> Any:
    from bayes_gmm.inference.pymc.model import pymc_model

    return pymc_model(observations, prior, n_components=posterior["posterior"].sizes["cluster"])
