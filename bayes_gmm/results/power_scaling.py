r"""How far quantities move if the prior, or the likelihood, is raised to another power.

    d E_alpha q / d alpha = cov(q, log p(theta)),        at alpha = 1

so that to first order E q moves by -cov / 2 if the prior counts half as much. Normal scores of q in
its place say the same of the quantiles, whatever the tails of q are.
"""

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats import psense
from scipy.stats import norm, rankdata

ROUNDING = 1e-12


def effects(
    index: pd.MultiIndex,
    values: np.ndarray,
    log_prior: np.ndarray,
    log_likelihood: np.ndarray,
    parts: dict[str, np.ndarray],
) -> pd.DataFrame:
    """Tabulate how quantities move if the prior, or the likelihood, is power-scaled.

    One row per quantity that varies: mean and sd; sensitivities to prior and likelihood;
    prior_shift and likelihood_shift of the mean in the user's units; widening of the 95% interval
    as a share; prior_effect on an end of it in sds; the part of the prior that shifts the mean
    most.

    Shapes: values (chain, draw, Q), log_prior, log_likelihood (chain, draw), parts (chain, draw).
    """
    mean, sd = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    # The spread of what is constant, such as the weight of a single component, is rounding.
    varies = np.isfinite(sd) & (sd > ROUNDING * np.abs(values).max(axis=(0, 1)))
    # The distance has no unit, and standardized values keep it from underflow.
    standardized = (values[..., varies] - mean[varies]) / sd[varies]
    sample = ("chain", "draw")
    tree = xr.DataTree.from_dict(
        {
            "/posterior": xr.Dataset({"value": ((*sample, "quantity"), standardized)}),
            "/log_prior": xr.Dataset({"theta": (sample, log_prior)}),
            "/log_likelihood": xr.Dataset({"x": (sample, log_likelihood)}),
        }
    )
    columns = {
        group: psense(tree, group=group)["value"].to_numpy() for group in ("prior", "likelihood")
    }
    for group, scaled in (("prior", log_prior), ("likelihood", log_likelihood)):
        columns[f"{group}_shift"] = sd[varies] * _shift_if_halved(standardized, scaled)
    scores = _normal_scores(values[..., varies])
    columns["widening"] = _shift_if_halved(scores**2, log_prior) / 2
    wider = np.maximum(columns["widening"], 0)
    columns["prior_effect"] = np.abs(_shift_if_halved(scores, log_prior)) + 2 * wider
    by_part = {part: np.abs(_shift_if_halved(standardized, one)) for part, one in parts.items()}
    largest = np.argmax([*by_part.values(), np.zeros(varies.sum())], axis=0)
    columns["part"] = np.array([*by_part, ""], dtype=object)[largest]
    return pd.DataFrame({"mean": mean[varies], "sd": sd[varies], **columns}, index=index[varies])


def _shift_if_halved(standardized: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    r"""How far the means move if a log density counts half as much, to first order, in sds (Q,).

    The derivative of :math:`\mathrm{E}_\alpha q` by alpha is the covariance with the log density.
    """
    centered = log_density - log_density.mean()
    return -0.5 * np.einsum("cdq,cd->q", standardized, centered) / log_density.size


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Put the normal quantiles of their ranks in the place of values (chain, draw, Q)."""
    flat = values.reshape(-1, values.shape[-1])
    ranks = rankdata(flat, axis=0)
    return norm.ppf((ranks - 0.375) / (len(flat) + 0.25)).reshape(values.shape)
