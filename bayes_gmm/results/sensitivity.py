r"""How much the posterior would change if the prior, or the likelihood, counted a little more.

    p_alpha(theta | x) ~ p(theta)^alpha p(x | theta)        or        p(theta) p(x | theta)^alpha

Draws are reweighted to alpha = 0.99 and 1.01, with Pareto smoothing, so that nothing is sampled
again. The sensitivity of a quantity is how fast its distribution then moves, as the cumulative
Jensen-Shannon distance per doubling of alpha (Kallioinen et al., 2024). ArviZ computes it; the
log prior and the log-likelihood of each draw are kept with the posterior.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from arviz_stats import psense

from bayes_gmm.errors import InputError
from bayes_gmm.results.convergence import FEWEST_DRAWS
from bayes_gmm.results.draws import Draws, feature_names, invariants, require_posterior
from bayes_gmm.results.evidence import LABEL_FREE, RELABELLED
from bayes_gmm.results.scalars import catalogue, flatten
from bayes_gmm.results.tables import as_html, as_text, number, wrapped

THRESHOLD = 0.05
CONFLICT = "prior-data conflict"
STRONG_PRIOR = "strong prior or weak likelihood"
SCALED = ("log_likelihood", "log_posterior")
# A covariance says what the sds and the correlation say, pairs of rows are watched for convergence
# alone, and the two logs are what is scaled.
LEFT_OUT = ("covariance", "co_clustering", *SCALED)
ROUNDING = 1e-12


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity:
    """What in a posterior depends on the prior.

    Attributes
    ----------
    verdict : str
        In a few sentences.
    table : pandas.DataFrame
        By group and quantity: its mean and sd in the user's units, its sensitivity to the prior and
        to the likelihood, how far its mean would shift, and a diagnosis in words.
    """

    verdict: str
    table: pd.DataFrame

    def __str__(self) -> str:
        return f"{wrapped(self.verdict)}\n\n{as_text(self._written())}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return as_html(self.verdict, [self._written()])

    def _written(self) -> pd.DataFrame:
        """Write the numbers down, one line per quantity."""
        return pd.DataFrame(
            {
                "mean": [number(m, s) for m, s in zip(*self._columns("mean", "sd"), strict=True)],
                "sd": [f"{s:.2g}" for s in self.table["sd"]],
                "prior": [f"{s:.3f}" for s in self.table["prior"]],
                "likelihood": [f"{s:.3f}" for s in self.table["likelihood"]],
                "shift by prior": [f"{s:+.2g}" for s in self.table["prior_shift"]],
                "diagnosis": self.table["diagnosis"].to_list(),
            },
            index=pd.Index(self.table.index.get_level_values("quantity"), name="sensitivity"),
        )

    def _columns(self, *names: str) -> tuple[np.ndarray, ...]:
        return tuple(self.table[name].to_numpy() for name in names)


def sensitivity(posterior: xr.DataTree, *, threshold: float = THRESHOLD) -> Sensitivity:
    r"""Find what in a posterior depends on the prior, by power-scaling.

    .. math:: p_\alpha(\theta \mid x) \propto p(\theta)^\alpha \, p(x \mid \theta), \qquad
        p_\alpha(\theta \mid x) \propto p(\theta) \, p(x \mid \theta)^\alpha

    Parameters
    ----------
    posterior : DataTree
        From `sample`.
    threshold : float
        From which a sensitivity counts. 0.05 is what a normal quantity has whose mean moves by a
        quarter of its sd when alpha doubles.

    Returns
    -------
    Sensitivity
        Its `table` has the label-free quantities and the relabelled parameters, with columns mean,
        sd, prior, likelihood, prior_shift, likelihood_shift and diagnosis. The shifts say how far
        the mean would move, in the user's units, at the rate at which it begins to move, if alpha
        doubled: log(2) times the covariance of the quantity with the log prior, or with the
        log-likelihood. The diagnosis is "prior-data conflict" where both matter, so that prior and
        data may pull in different directions; "strong prior or weak likelihood" where the prior
        matters and the data do not; and "-" where the prior does not matter. Both are possible
        explanations and no proof.

    Raises
    ------
    InputError
        If it is no posterior, has too few draws, or does not hold the log posterior of its draws.

    Notes
    -----
    The prior is scaled as a density of weights, means and covariances, all of it at once. Rows of
    single components mean as much as their names do: see `diagnose`.

    References
    ----------
    Kallioinen, Paananen, Bürkner & Vehtari (2024), Statistics and Computing 34, 57, sec. 2.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1, progressbar=False)
    >>> table = bg.sensitivity(posterior).table
    >>> bool(table.loc[("relabelled parameters", "weight[0]"), "prior"] < 0.05)
    True
    """
    if not threshold > 0:
        raise InputError(f"threshold must be a positive number; got {threshold!r}")
    names, label_free = invariants(require_posterior(posterior))
    if label_free.shape[1] < FEWEST_DRAWS:
        raise InputError(
            f"posterior has chains of {label_free.shape[1]} draws: sample {FEWEST_DRAWS} or more"
        )
    missing = [name for name in SCALED if name not in names]
    if missing:
        raise InputError(
            f"posterior's invariants lack {missing[0]!r}: use a result of bg.sample under a prior "
            "with a log_density, which a function as prior is not"
        )
    log_likelihood, log_posterior = (label_free[..., names.index(name)] for name in SCALED)
    draws = Draws.of(posterior)
    scalars = catalogue(draws.weights.shape[2], feature_names(posterior))
    table = _table(
        pd.MultiIndex.from_tuples(
            [
                *((LABEL_FREE, name) for name in names),
                *((RELABELLED, scalar.name) for scalar in scalars),
            ],
            names=["group", "quantity"],
        ),
        np.concatenate([label_free, flatten(*draws)], axis=2),
        log_posterior - log_likelihood,
        log_likelihood,
    )
    kinds = [name.partition("[")[0] for name in table.index.get_level_values("quantity")]
    table = table[[kind not in LEFT_OUT for kind in kinds]]
    table["diagnosis"] = [
        _diagnosis(prior, likelihood, threshold)
        for prior, likelihood in zip(table["prior"], table["likelihood"], strict=True)
    ]
    return Sensitivity(_verdict(table, threshold), table)


def _table(
    index: pd.MultiIndex, values: np.ndarray, log_prior: np.ndarray, log_likelihood: np.ndarray
) -> pd.DataFrame:
    """Compute the sensitivities of quantities (chain, draw, Q) that vary."""
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
        covariance = np.einsum("cdq,cd->q", standardized, scaled - scaled.mean()) / scaled.size
        columns[f"{group}_shift"] = np.log(2) * covariance * sd[varies]
    return pd.DataFrame({"mean": mean[varies], "sd": sd[varies], **columns}, index=index[varies])


def _diagnosis(prior: float, likelihood: float, threshold: float) -> str:
    if prior < threshold:
        return "-"
    return CONFLICT if likelihood >= threshold else STRONG_PRIOR


def _verdict(table: pd.DataFrame, threshold: float) -> str:
    sensitive = table[table["prior"] >= threshold]
    most = table["prior"].idxmax()
    largest = f"{most[1]} ({table['prior'].max():.3f}, threshold {threshold:g})"
    if sensitive.empty:
        return f"The prior hardly matters. It matters most to {largest}."
    parts = [
        f"The prior matters to {len(sensitive)} of {len(table)} quantities, most to {largest}."
    ]
    for kind, advice in (
        (CONFLICT, "there prior and data may pull in different directions: look at the prior"),
        (STRONG_PRIOR, "there the data say little, and the prior decides: justify it"),
    ):
        names = sensitive.index.get_level_values("quantity")[sensitive["diagnosis"] == kind]
        if len(names):
            shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            parts.append(f"Potential {kind} in {shown}: {advice}.")
    return " ".join(parts)
