r"""The groups that ArviZ's functions look for, under the names that it gives them.

    log_likelihood         log p(x_n | theta_s)            theta_s ~ p(theta | x)
    posterior_predictive   x_rep ~ p(x | theta_s)
    prior                  theta_s ~ p(theta)
    prior_predictive       x_rep ~ p(x | theta_s)          theta_s ~ p(theta)
    log_prior              log p(theta_s), part by part    theta_s ~ p(theta | x)

Components of prior draws keep the order in which they are drawn. Under a prior that says the same
of all components, no order of them means anything before there are rows.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data.row_labels import stored
from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.prior_family import LogPrior, PriorFamily
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.predictive import NUMBER, pointwise, replicates, require_memory
from bayes_gmm.results.labels import DIMS, follow, labelled
from bayes_gmm.results.reading import (
    VARIABLES,
    draws_of,
    feature_names,
    permutation,
    raw_draws,
    require_posterior,
)

Drawable = ConjugatePrior | StructuredPrior | PriorFamily
LEADING = ("chain", "draw")
NAMES = ("log_likelihood", "posterior_predictive", "prior", "prior_predictive", "log_prior")
OF_ROWS = ("log_likelihood", "posterior_predictive", "prior_predictive")
OF_PRIOR = ("prior", "log_prior")
THIN = "thin the posterior by posterior.isel(draw=slice(None, None, 10))"
FEWER = "take fewer draws of the prior"
ADVICE = {
    "log_likelihood": "bg.loo does without log_likelihood",
    "posterior_predictive": THIN,
    "prior": FEWER,
    "prior_predictive": FEWER,
    "log_prior": THIN,
}


OF_FEATURES = ("observed_data", "posterior_predictive", "prior_predictive")


def require_groups(groups: str | Sequence[str], there: Collection[str] = ()) -> tuple[str, ...]:
    """Check names of groups, and say which have to be made, in the order in which they can be."""
    available = f"choose of {', '.join(NAMES)}"
    if not isinstance(groups, str | Iterable):
        raise InputError(f"groups is {groups!r}; {available}")
    asked = set()
    for name in [groups] if isinstance(groups, str) else groups:
        if name not in NAMES:
            raise InputError(f"groups has {name!r}; {available}")
        asked.add(name)
    if "prior_predictive" in asked and "prior" not in there:
        asked.add("prior")
    if "prior" in asked and "prior_predictive" in there:
        asked.add("prior_predictive")
    return tuple(name for name in NAMES if name in asked)


def require_room(
    names: Sequence[str],
    n_samples: int,
    n_draws: int,
    shape: tuple[int, int, int],
    memory: float,
    advice: str = "",
) -> None:
    """Refuse groups that together are larger than the user has agreed to."""
    n_rows, n_features, n_components = shape
    numbers = {
        "log_likelihood": (n_samples, n_rows),
        "posterior_predictive": (n_samples, n_rows * n_features),
        "prior": (n_draws, n_components * (1 + n_features + n_features**2)),
        "prior_predictive": (n_draws, n_rows * n_features),
        "log_prior": (n_samples, 1 + 2 * n_components),
    }
    asked = {name: numbers[name] for name in names}
    what = " and ".join(f"{name} in {draws:,} draws" for name, (draws, _) in asked.items())
    require_memory(
        float(NUMBER * sum(draws * size for draws, size in asked.values())),
        memory,
        f"adding {what} of {n_rows:,} rows",
        advice or ", ".join(dict.fromkeys(ADVICE[name] for name in asked)),
    )


def log_likelihood(posterior: xr.DataTree, rows: np.ndarray, index: pd.Index) -> xr.Dataset:
    """Log-likelihood of each row (N, D) under each draw, the label summed out."""
    values = pointwise(draws_of(posterior), rows)
    return labelled({"x": values}, dims={"x": (*LEADING, "obs_id")}).assign_coords(
        stored(index) | _draws_of(posterior["posterior"].to_dataset())
    )


def predictive(drawn: xr.Dataset, index: pd.Index, rng: np.random.Generator) -> xr.Dataset:
    """Draw as many rows as the data have from the mixture of each draw."""
    draws = Draws(*(drawn[name].transpose(*LEADING, *DIMS[name]).to_numpy() for name in VARIABLES))
    return labelled(
        {"x": replicates(draws, len(index), rng)},
        feature_names=[str(name) for name in drawn["feature"].to_numpy()],
        leading=LEADING,
    ).assign_coords(stored(index) | _draws_of(drawn))


def prior(
    of: Drawable,
    n_draws: int,
    features: tuple[str, ...],
    rng: np.random.Generator,
) -> xr.Dataset:
    """Draw from a prior."""
    drawn = [of.sample(rng) for _ in range(n_draws)]
    arrays = {name: np.stack([getattr(one, name) for one in drawn])[None] for name in VARIABLES}
    return labelled(arrays, feature_names=features, leading=LEADING)


def log_prior(posterior: xr.DataTree, of: Drawable) -> xr.Dataset:
    """Evaluate the log density of the prior at each draw, part by part."""
    # A prior may distinguish components, in the order in which the sampler had them.
    raw = raw_draws(posterior)
    parts = of.log_density_by_part(raw.weights, raw.means, cholesky(raw.covariances, "covariances"))
    return relabelled(_dataset(parts), posterior)


def as_drawn(posterior: xr.DataTree) -> xr.Dataset:
    """Return all variables of a posterior with their components as the sampler had them."""
    return follow(posterior["posterior"].to_dataset(), np.argsort(permutation(posterior), axis=-1))


def relabelled(raw: xr.Dataset, posterior: xr.DataTree) -> xr.Dataset:
    """Let what was computed from the sampler's own draws follow their relabelling."""
    named = follow(raw, permutation(posterior))
    return named.assign_coords(_draws_of(posterior["posterior"].to_dataset()))


def _dataset(parts: LogPrior) -> xr.Dataset:
    dims = {name: ("cluster",)[: np.ndim(part) - 2] for name, part in parts._asdict().items()}
    return labelled(parts._asdict(), leading=LEADING, dims=dims)


def _draws_of(drawn: xr.Dataset) -> dict[str, Any]:
    return {dim: drawn[dim] for dim in LEADING}


def one_feature(posterior: xr.DataTree, feature: str | None = None) -> xr.DataTree:
    r"""Select one feature of the rows, and of their replicates, from a posterior.

    .. math:: (x_{n1}, \ldots, x_{nD}) \to x_{nj}

    Functions of ArviZ such as ``az.loo_pit`` compare a variable with its log-likelihood entry by
    entry. A row is one observation with D numbers and one log-likelihood, so they need a row with
    one number.

    Parameters
    ----------
    posterior : DataTree
        From `sample`, with the groups that `add_groups` adds.
    feature : str, optional
        Name of the feature; required if there are several.

    Returns
    -------
    xarray.DataTree
        In observed_data, posterior_predictive and prior_predictive, x no longer has the dim
        feature. All other groups are unchanged.

    Raises
    ------
    InputError
        If `posterior` is not a posterior, or has no such feature.

    Notes
    -----
    The log-likelihood remains that of the whole row. So "leaving out" row n leaves out all its
    features, and ``az.loo_pit`` says where :math:`x_{nj}` lies in the marginal distribution of
    feature j that the other rows predict. It does not use the other features of the row.

    Examples
    --------
    >>> import arviz as az
    >>> import bayes_gmm as bg
    >>> x = bg.datasets.load("faithful")
    >>> posterior = bg.sample(
    ...     x, 2, draws=250, seed=1, progressbar=False,
    ...     groups=["log_likelihood", "posterior_predictive"],
    ... )
    >>> az.loo_pit(bg.one_feature(posterior, "waiting"))["x"].shape
    (272,)
    """
    features = feature_names(require_posterior(posterior))
    if feature is None and len(features) == 1:
        feature = features[0]
    if feature not in features:
        raise InputError(f"feature is {feature!r}; choose one of {listing(features)}")
    result = posterior.copy()
    for group in OF_FEATURES:
        if group in posterior.children:
            rows = posterior[group].to_dataset()
            result[group] = xr.DataTree(rows.sel(feature=feature, drop=True))
    return result
