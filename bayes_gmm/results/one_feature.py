"""A posterior whose rows have one feature, for functions of ArviZ that take one number per row."""

import xarray as xr

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.results.draws import feature_names, require_posterior

OF_ROWS = ("observed_data", "posterior_predictive", "prior_predictive")


def one_feature(posterior: xr.DataTree, feature: str | None = None) -> xr.DataTree:
    r"""Take one feature of the rows, and of their replicates, out of a posterior.

    .. math:: (x_{n1}, \ldots, x_{nD}) \to x_{nj}

    Functions of ArviZ such as ``az.loo_pit`` compare a variable with its log-likelihood entry by
    entry. A row is one observation with D numbers and one log-likelihood, so they need a row with
    one number.

    Parameters
    ----------
    posterior : DataTree
        From `sample`, with the groups that `add_groups` adds.
    feature : str, optional
        Which one; needed if there are several.

    Returns
    -------
    xarray.DataTree
        In observed_data, posterior_predictive and prior_predictive x has lost the dim feature. All
        other groups are as they were.

    Raises
    ------
    InputError
        If it is no posterior, or has no such feature.

    Notes
    -----
    The log-likelihood stays that of the whole row. So "leaving out" row n leaves out all its
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
    for group in OF_ROWS:
        if group in posterior.children:
            rows = posterior[group].to_dataset()
            result[group] = xr.DataTree(rows.sel(feature=feature, drop=True))
    return result
