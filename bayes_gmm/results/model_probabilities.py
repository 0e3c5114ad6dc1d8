"""The evidence of models as results: one, or several side by side with their probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data.wording import listing
from bayes_gmm.errors import InputError
from bayes_gmm.results.reading import require_posterior, row_weights
from bayes_gmm.results.tables import Printed, counted, number

LEAST_ERROR = 0.001


@dataclass(frozen=True, eq=False, repr=False)
class Evidence(Printed):
    """The evidence log p(x | K) of one model, in nats.

    Attributes
    ----------
    log_evidence, standard_error : float
        For densities in the units of the data, and its Monte Carlo standard error.
    n_components : int
        K.
    covariance : str
        The covariance structure.
    prior : str
        The class of the prior.
    effective_draws, effective_proposals : float
        How many independent draws the two sides of the bridge are worth.
    concerns : tuple of str
        Why the estimate or its error may be wrong; empty if it is reliable.
    """

    log_evidence: float
    standard_error: float
    n_components: int
    covariance: str
    prior: str
    effective_draws: float
    effective_proposals: float
    concerns: tuple[str, ...] = ()

    @property
    def is_reliable(self) -> bool:
        """Whether there are no concerns."""
        return not self.concerns

    _heading = "Evidence"

    def _parts(self, *, html: bool) -> list[Any]:
        said = (
            f"Log evidence of {counted(self.n_components, 'component')} ({self.covariance}, "
            f"{self.prior}): {_nats(self.log_evidence, self.standard_error)} nats, standard error "
            f"{_error(self.standard_error)}, from {self.effective_draws:.0f} effective draws and "
            f"{self.effective_proposals:.0f} effective proposals."
        )
        return [said, list(self.concerns)]


@dataclass(frozen=True, eq=False, repr=False)
class ModelProbabilities(Printed):
    """Evidence and posterior probability of several models of the same data.

    Attributes
    ----------
    evidences : dict of str to Evidence
    table : pandas.DataFrame
        One row per model: n_components, covariance, prior, log_evidence and standard_error in
        nats, prior_probability, probability and its Monte Carlo standard error probability_error,
        and whether the evidence is reliable.
    """

    evidences: dict[str, Evidence]
    table: pd.DataFrame

    @classmethod
    def of(cls, evidences: dict[str, Evidence], prior: np.ndarray) -> "ModelProbabilities":
        """Weigh models by their evidence and prior probabilities (M,)."""
        return cls(evidences, _table(evidences, prior))

    @property
    def best(self) -> str:
        """The model with the largest posterior probability."""
        return str(self.table["probability"].idxmax())

    _heading = "Posterior probabilities of models"

    def _parts(self, *, html: bool) -> list[Any]:
        table = self.table
        first = table.loc[self.best]
        equal = np.ptp(table["prior_probability"]) < np.finfo(float).eps
        error = _error(first["probability_error"])
        said = [
            f"Most probable of {counted(len(table), 'model')}: {self.best}, posterior probability "
            f"{first['probability']:.3f} (standard error {error}), with "
            f"{'equal' if equal else 'the given'} prior probabilities."
        ]
        doubtful = [str(name) for name in table.index[~table["reliable"]]]
        if doubtful:
            said.append(f"Not reliable: {listing(doubtful)}; see `evidences` for the reasons.")
        return [said, self._written()]

    def _written(self) -> pd.DataFrame:
        errors = self.table["standard_error"]
        return pd.DataFrame(
            {
                "log evidence": [*map(_nats, self.table["log_evidence"], errors)],
                "standard error": errors.map(_error),
                "prior probability": self.table["prior_probability"].map("{:.3g}".format),
                "probability": self.table["probability"].map("{:.3f}".format),
                "its error": self.table["probability_error"].map(_error),
                "reliable": np.where(self.table["reliable"], "yes", "no"),
            },
            index=self.table.index,
        )


def _nats(value: float, error: float) -> str:
    """Write a log evidence with as many digits as its error supports."""
    return number(value, max(error, LEAST_ERROR))


def _error(error: float) -> str:
    """Write a standard error; a smaller one than `LEAST_ERROR` is of no interest."""
    return f"{error:.2g}" if error >= LEAST_ERROR else f"< {LEAST_ERROR:g}"


def named(posterior: Any) -> dict[str, xr.DataTree]:
    """Name several results; those of a sequence by what they differ in."""
    if not len(posterior):
        raise InputError("posterior is empty: give at least one result of bg.sample")
    if isinstance(posterior, Mapping):
        return {str(name): require_posterior(one) for name, one in posterior.items()}
    results = [require_posterior(one) for one in posterior]
    structures = [str(one.attrs.get("covariance", "")) for one in results]
    several = len(set(structures)) > 1
    names = [
        f"{f'{structure}, ' * several}K = {one['posterior'].sizes['cluster']}"
        for one, structure in zip(results, structures, strict=True)
    ]
    if len(set(names)) < len(names):
        raise InputError(
            f"several results are called {listing(sorted(names))}: give a dict with a name for each"
        )
    return dict(zip(names, results, strict=True))


def require_same_data(models: Mapping[str, xr.DataTree]) -> None:
    """Raise if results that keep their rows keep different ones."""
    kept = {name: one["observed_data"] for name, one in models.items() if "observed_data" in one}
    for name, one in kept.items():
        first_name, first = next(iter(kept.items()))
        same = np.array_equal(one["x"].to_numpy(), first["x"].to_numpy(), equal_nan=True)
        own, others = (
            np.ones(1) if weights is None else weights
            for weights in (row_weights(models[name]), row_weights(models[first_name]))
        )
        if not same or not np.array_equal(own, others):
            raise InputError(
                f"{name} and {first_name} are posteriors of different data, so that their evidence "
                "cannot be compared: sample both from the same rows"
            )


def probabilities(given: Any, names: list[str]) -> np.ndarray:
    """Prior probabilities in the order of the models, (M,)."""
    if given is None:
        return np.full(len(names), 1 / len(names))
    if isinstance(given, Mapping):
        if set(given) != set(names):
            raise InputError(
                f"prior_probabilities names {listing(sorted(map(str, given)))}, but the models are "
                f"{listing(names)}"
            )
        given = [given[name] for name in names]
    try:
        values = np.array(given, dtype=float)
    except (TypeError, ValueError):
        values = np.empty(0)
    bad = values.shape != (len(names),) or not (np.isfinite(values) & (values >= 0)).all()
    if bad or not values.any():
        raise InputError(
            f"prior_probabilities must be {len(names)} numbers >= 0, one per model and not all 0; "
            f"got {given!r}"
        )
    return values / values.sum()


def _table(evidences: Mapping[str, Evidence], prior: np.ndarray) -> pd.DataFrame:
    r"""Posterior probabilities, and by the delta method their errors.

    .. math:: \mathrm{se}(P_i)^2 = P_i^2 \sum_j (\delta_{ij} - P_j)^2 \mathrm{se}_j^2
    """
    found = list(evidences.values())
    log_evidences = np.array([one.log_evidence for one in found])
    errors = np.array([one.standard_error for one in found])
    with np.errstate(divide="ignore"):
        log_joint = np.log(prior) + log_evidences
    probability = np.exp(log_joint - np.logaddexp.reduce(log_joint))
    slopes = np.eye(len(found)) - probability
    return pd.DataFrame(
        {
            "n_components": [one.n_components for one in found],
            "covariance": [one.covariance for one in found],
            "prior": [one.prior for one in found],
            "log_evidence": log_evidences,
            "standard_error": errors,
            "prior_probability": prior,
            "probability": probability,
            "probability_error": probability * np.sqrt(slopes**2 @ errors**2),
            "reliable": [one.is_reliable for one in found],
        },
        index=pd.Index(list(evidences), name="model"),
    )
