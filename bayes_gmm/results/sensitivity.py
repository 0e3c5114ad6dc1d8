r"""How much the posterior would change if the prior, or the likelihood, counted less or more.

    p_alpha(theta | x) ~ p(theta)^alpha p(x | theta)        or        p(theta) p(x | theta)^alpha

Draws are reweighted to alpha = 0.99 and 1.01, with Pareto smoothing. The sensitivity of a quantity
is how fast its distribution then moves, the cumulative Jensen-Shannon distance per doubling of
alpha (Kallioinen et al., 2024), as ArviZ computes it. At 0.05 a mean moves by a quarter of its sd.

Every proper prior moves some of the many quantities of a mixture, so the verdict speaks of effects.
The prior matters where a quantity is sensitive to it and

* an end of its 95% interval would move by a posterior sd if the prior counted half as much. To
  first order, with covariances over the draws and z the normal scores of the quantity, the interval
  -2 < z < 2 moves by -cov(z, log p(theta)) / 2, and each end by -cov(z^2, log p(theta)) / 2 more;
* or the prior contradicts the data: the draws of a weight or a mean lie where the prior has less
  than 1% of its probability;
* or it is not sensitive to the likelihood, and its interval would grow by an eighth, as it does
  under a prior that knows as much as the data.

What is reported are weights, means, standard deviations and correlations of components that are
identified, the mean and the density of the whole mixture, and how many components hold rows.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.errors import InputError
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures.prior import within
from bayes_gmm.posterior.convergence import FEWEST_DRAWS, convergence
from bayes_gmm.posterior.draws import Scalar, catalogue, flatten
from bayes_gmm.posterior.identification import identify
from bayes_gmm.posterior.power_scaling import (
    COVARIANCES,
    MEANS,
    WEIGHTS,
    Conflict,
    conflicts,
    effects,
    log_prior_parts,
)
from bayes_gmm.results.labels import read_prior
from bayes_gmm.results.reading import (
    draws_of,
    feature_names,
    invariants,
    n_observed,
    point_parameters,
    raw_draws,
    read_number,
    require_posterior,
    structure_of,
)
from bayes_gmm.results.tables import Printed, number, some
from bayes_gmm.results.verdict_inputs import LABEL_INVARIANT, RELABELLED

THRESHOLD = 0.05
NOTICED = 1.0  # posterior sds by which an end of an interval moves if the prior counts half
AS_MUCH = 1 / 8  # growth of an interval if a prior counts half that knows as much as the data
CONTRADICTED = 0.01  # probability, under the prior, of the tail in which the draws lie
CONFLICT = "prior-data conflict"
STRONG_PRIOR = "strong prior or weak likelihood"
SCALED = ("log_likelihood", "log_posterior")
# A covariance says what the sds and the correlation say; pairs of rows, the sum of the squared
# weights and the log determinant of the covariance of all are there to judge convergence by, and
# the two logs are what is scaled.
OF_CONVERGENCE = ("co_clustering", "sum_squared_weights", "mixture_covariance_logdet")
LEFT_OUT = ("covariance", *OF_CONVERGENCE, *SCALED)


HOW = {
    WEIGHTS: "change its concentration",
    MEANS: "move its mean, or lower its mean_precision",
    COVARIANCES: "change its scale, or lower its degrees_of_freedom and its scale together",
}
MOST = 3  # quantities named


@dataclass(frozen=True, eq=False, repr=False)
class Sensitivity(Printed):
    """Sensitivity of a posterior to the prior.

    Attributes
    ----------
    verdict : str
        In a few sentences.
    table : pandas.DataFrame
        By group and quantity: its mean and sd in the original units, its sensitivity to the prior
        and to the likelihood, the shift of its mean, the part of the prior with the largest effect,
        and a diagnosis in words.
    conflicts : tuple of Conflict
        Weights and means for which the prior contradicts the data, the worst first.
    """

    verdict: str
    table: pd.DataFrame
    conflicts: tuple[Conflict, ...] = ()

    def _parts(self, *, html: bool) -> list[Any]:
        return [self.verdict, self.written()]

    def written(self) -> pd.DataFrame:
        """Write the numbers down, one line per quantity."""
        return pd.DataFrame(
            {
                "mean": [number(m, s) for m, s in zip(*self._columns("mean", "sd"), strict=True)],
                "sd": [f"{s:.2g}" for s in self.table["sd"]],
                "prior": [f"{s:.3f}" for s in self.table["prior"]],
                "likelihood": [f"{s:.3f}" for s in self.table["likelihood"]],
                "shift by half prior": [f"{s:+.2g}" for s in self.table["prior_shift"]],
                "interval's end, sds": [f"{s:.1f}" for s in self.table["prior_effect"]],
                "part of prior": self.table["part"].to_list(),
                "diagnosis": self.table["diagnosis"].to_list(),
            },
            index=pd.Index(self.table.index.get_level_values("quantity"), name="sensitivity"),
        )

    def _columns(self, *names: str) -> tuple[np.ndarray, ...]:
        return tuple(self.table[name].to_numpy() for name in names)


def sensitivity(posterior: xr.DataTree, *, threshold: float = THRESHOLD) -> Sensitivity:
    r"""Measure how much the posterior depends on the prior, by power-scaling.

    .. math:: p_\alpha(\theta \mid x) \propto p(\theta)^\alpha \, p(x \mid \theta), \qquad
        p_\alpha(\theta \mid x) \propto p(\theta) \, p(x \mid \theta)^\alpha

    Parameters
    ----------
    posterior : DataTree
        From `sample`.
    threshold : float
        Threshold of the sensitivity. A normal quantity whose mean moves by a quarter of its sd when
        alpha doubles has sensitivity 0.05.

    Returns
    -------
    Sensitivity
        Its `table` has the label-invariant quantities and the relabelled parameters, with columns
        mean, sd, prior, likelihood, prior_shift, likelihood_shift, prior_effect, part and
        diagnosis.
        The shifts are how far the mean would move, in the original units and to first order, if the
        prior or the likelihood counted half as much: minus half the covariance of the quantity with
        its logarithm. The effect is how far an end of the 95% interval would move then, in
        posterior sds. The part of the prior with the largest shift is weights, means or
        covariances, or empty if the result does not keep the prior. The diagnosis is "-" if the
        prior does not matter: if the sensitivity is below the threshold, the component is not
        identified, or an end of the 95% interval would move by less than a posterior sd and the
        prior contradicts neither weights nor means. Otherwise it is "prior-data conflict" if the
        quantity is sensitive to the likelihood too, and "strong prior or weak likelihood" if it is
        sensitive to the prior only. Both are possible explanations, not proofs.

    Raises
    ------
    InputError
        If `posterior` is not a posterior, has too few draws, or has no log posterior of its draws.

    Notes
    -----
    The prior is scaled as a density of weights, means and covariances, as a whole for the
    sensitivity. Shifts are additive over its parts.

    In a simulation of 100 data sets, from mixtures three or more sds apart with 50 rows or more per
    component, the verdict was for all of them that the default prior hardly matters; and it spoke
    of all 100 priors whose means lay five prior sds off (tests/results/test_sensitivity_rates.py).

    References
    ----------
    Kallioinen, Paananen, Bürkner & Vehtari (2024), Statistics and Computing 34, 57, sec. 2; Evans &
    Moshonov (2006), Bayesian Analysis 1, on priors that contradict the data.

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
    if read_number(require_posterior(posterior)) is not None:
        raise InputError(
            "posterior has an unknown number of components, of which a draw has no density of a "
            "fixed dimension: sample with a known number to see what the prior does"
        )
    names, label_invariant = invariants(posterior)
    if label_invariant.shape[1] < FEWEST_DRAWS:
        raise InputError(
            f"posterior has chains of {label_invariant.shape[1]} draws: sample {FEWEST_DRAWS} "
            "or more"
        )
    missing = [name for name in SCALED if name not in names]
    if missing:
        raise InputError(
            f"posterior has no {missing[0]!r} in its group invariants: use a result of bg.sample "
            "whose prior is not a function, or of bg.from_trace(..., prior=)"
        )
    log_likelihood, log_posterior = (label_invariant[..., names.index(name)] for name in SCALED)
    draws = draws_of(posterior)
    scalars = catalogue(draws.weights.shape[2], feature_names(posterior))
    parameters, log_prior = flatten(*draws), log_posterior - log_likelihood
    parts, found = _of_prior(posterior, scalars)
    why_not = identify(
        draws,
        scalars,
        convergence(parameters, ["rhat"]).rhat,
        n_observed(posterior),
        point_parameters(posterior),
    ).reasons
    index = pd.MultiIndex.from_tuples(
        [
            *((LABEL_INVARIANT, name) for name in names),
            *((RELABELLED, scalar.name) for scalar in scalars),
        ],
        names=["group", "quantity"],
    )
    values = np.concatenate([label_invariant, parameters], axis=2)
    varies, columns = effects(values, log_prior, log_likelihood, parts)
    table = pd.DataFrame(columns, index=index[varies])
    kinds = [name.partition("[")[0] for name in table.index.get_level_values("quantity")]
    table = table[[kind not in LEFT_OUT for kind in kinds]]
    unknown = {scalar.name for scalar in scalars if why_not[scalar.cluster]}
    contradicted = bool(found) and found[0].p_value < CONTRADICTED
    table["diagnosis"] = [
        "-" if name in unknown else _diagnosis(row, threshold, contradicted=contradicted)
        for (_, name), row in table.iterrows()
    ]
    wrong = tuple(one for one in found if one.p_value < CONTRADICTED)
    table = table.drop(columns="widening")
    return Sensitivity(verdict(table, wrong, unknown), table, wrong)


def _of_prior(
    posterior: xr.DataTree, scalars: list[Scalar]
) -> tuple[dict[str, np.ndarray], list[Conflict]]:
    """Split the log prior, and hold it against the draws; nothing if the prior is not known."""
    prior = read_prior(posterior)
    if prior is None:
        return {}, []
    if not isinstance(prior, ConjugatePrior):
        return log_prior_parts(prior, draws_of(posterior)), []
    own = within(prior, structure_of(posterior))
    # A prior that tells components apart does so by the sampler's labels.
    draws = draws_of(posterior) if prior.is_exchangeable else raw_draws(posterior)
    return log_prior_parts(own, draws), conflicts(prior, draws, scalars)


def _diagnosis(row: pd.Series, threshold: float, *, contradicted: bool) -> str:
    """Say in what way the prior matters to a quantity, if it does."""
    weak = row["likelihood"] < threshold
    decides = weak and row["widening"] >= AS_MUCH
    noticed = row["prior_effect"] >= NOTICED or contradicted or decides
    if row["prior"] < threshold or not noticed:
        return "-"
    return STRONG_PRIOR if weak else CONFLICT


def verdict(table: pd.DataFrame, wrong: Sequence[Conflict], unknown: Set[str]) -> str:
    """Say whether the prior matters."""
    moved = table["prior_effect"].droplevel("group")
    diagnosis = table["diagnosis"].droplevel("group")
    matters = diagnosis != "-"
    if not matters.any():
        counted = moved[[name not in unknown for name in moved.index]]
        most = counted.idxmax()
        return (
            "The prior hardly matters: if it counted half as much, no end of a 95% interval would "
            f"move by more than {counted[most]:.1g} posterior sd ({most})."
        )
    order = moved[matters].sort_values(ascending=False, kind="stable").index
    shifts = table["prior_shift"].droplevel("group")
    names = [
        f"{name} (mean by {shifts[name]:+.2g}, an end of its interval by {moved[name]:.1f} sd)"
        for name in order
    ]
    parts = table["part"].droplevel("group")[order]
    part = wrong[0].part if wrong else str(parts.mode().iloc[0])
    said = [_contradiction(wrong)] if wrong else []
    said.append(
        f"{'It' if wrong else 'The prior'} matters: if it counted half as much, these would move: "
        f"{some(names, 'in the table of the report, or .table', MOST)}."
    )
    few = diagnosis[matters].str.startswith("strong")
    if few.any():
        weak = [name for name in order if few[name]]
        said.append(f"The data say little about {some(weak, 'in the table', MOST)}.")
    if part:
        said.append(
            f"Most of it comes from the prior of the {part}: {HOW[part]}, as in bg.sample(..., "
            "prior=bg.ConjugatePrior(...)). On the command line, --prior independent tries another "
            "prior."
        )
    else:
        said.append("Change the prior, or justify it.")
    return " ".join(said)


def _contradiction(wrong: Sequence[Conflict]) -> str:
    """Say where the prior expects a parameter, and where it is."""
    first = wrong[0]
    distance = abs(first.found - first.expected) / first.prior_sd
    also = [one.quantity for one in wrong[1:]]
    more = f"; likewise for {some(also, 'in .conflicts', MOST)}" if also else ""
    found, expected = (number(one, first.prior_sd) for one in (first.found, first.expected))
    return (
        f"The prior contradicts the data: it expects {first.quantity} at {expected} with an sd of "
        f"{number(first.prior_sd, first.prior_sd)}, but the draws are at {found}, "
        f"{distance:.1f} prior sds away{more}."
    )
