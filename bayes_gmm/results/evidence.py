"""The evidence of a posterior result, and whether its estimate is reliable."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import ConvergenceWarning, InputError, require_whole
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.evidence import Estimate, log_evidence, log_likelihood_at
from bayes_gmm.posterior.length import ESS_PER_CHAIN
from bayes_gmm.results.labels import read_prior
from bayes_gmm.results.model_probabilities import (
    Evidence,
    ModelProbabilities,
    named,
    probabilities,
    require_same_data,
)
from bayes_gmm.results.predictive import fitted_rows
from bayes_gmm.results.reading import (
    raw_draws,
    read_number,
    require_posterior,
    row_weights,
    structure_of,
)
from bayes_gmm.seeds import Seed, as_seed

FEWEST_DRAWS = 100
LABELLINGS = 200
LARGE_ERROR = 0.1  # nats: above, the error of a Bayes factor exceeds a tenth of it
APART = 4  # standard errors between the two halves
OTHER_ROWS = 1e-6  # relative difference of the log-likelihood that rounding cannot explain


def evidence(
    posterior: Any,
    X: Any = None,
    *,
    prior_probabilities: Any = None,
    labellings: int = LABELLINGS,
    seed: Seed = None,
) -> Evidence | ModelProbabilities:
    r"""Estimate the evidence log p(x | K), or the posterior probabilities of several models.

    .. math:: p(x \mid K) = \int p(x \mid \theta) \, p(\theta \mid K) \, d\theta, \qquad
        P(M_i \mid x) = \frac{P(M_i) \, p(x \mid M_i)}{\sum_j P(M_j) \, p(x \mid M_j)}

    By bridge sampling. The proposal is the mean of the densities of the parameters given sampled
    labellings, averaged over all K! orders of the components, so that label switching, empty and
    overlapping components cause no bias. It is made from one half of the draws and compared with
    the other half, then the other way round.

    Parameters
    ----------
    posterior : DataTree, or dict or sequence of DataTree
        From `sample`, with a converged chain (see `diagnose`). Several results must be of the same
        data; a dict names the models.
    X : table, optional
        The rows from which the posterior was computed, if the result does not keep them.
    prior_probabilities : sequence or dict of float, optional
        Of several models, up to a factor; by default all are equal.
    labellings : int
        How many labellings the proposal is made of. More make the standard error smaller where
        components overlap, and take proportionally more time.
    seed : int, SeedSequence or Generator

    Returns
    -------
    Evidence or ModelProbabilities
        Of one posterior, or of several.

    Raises
    ------
    InputError
        If the prior of a result has no known density, its number of components is unknown, there
        are fewer than 100 draws, or results are of different data.

    Warns
    -----
    ConvergenceWarning
        If an estimate is not reliable: its standard error exceeds 0.1, the draws are worth fewer
        than 100 independent ones per chain, or the two halves disagree.

    Notes
    -----
    The standard error takes the autocorrelation of the draws into account, but not modes that no
    chain has found. The evidence depends on the prior of the parameters, also where the posterior
    hardly does: a prior of the means that is 10 times as wide lowers it by about log 10 per
    mean. Default priors are scaled to the data and to K.

    It takes about as many passes over the rows as there are draws, and K 2^K operations for each
    draw and labelling. With more than 10 components the integral is taken over one order of the
    components, which is less precise where they overlap.

    References
    ----------
    Meng & Wong (1996), Statistica Sinica 6; Frühwirth-Schnatter (2004), Econometrics J. 7; Lee
    & Robert (2016), Bayesian Anal. 11; Frühwirth-Schnatter (2019), Braz. J. Probab. Stat. 33.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> x = bg.datasets.load("galaxies")
    >>> results = [bg.sample(x, k, draws=250, seed=1, progressbar=False) for k in (1, 3)]
    >>> found = bg.evidence(results, seed=1)
    >>> found.best
    'K = 3'
    """
    require_whole("labellings", labellings, 1)
    key = as_seed(seed)
    if isinstance(posterior, xr.DataTree) or not isinstance(posterior, Mapping | Sequence):
        if prior_probabilities is not None:
            raise InputError("prior_probabilities needs several posteriors, in a dict or a list")
        found = _one(posterior, X, labellings, key)
        _warn(found.concerns)
        return found
    models = named(posterior)
    require_same_data(models)
    prior = probabilities(prior_probabilities, list(models))
    evidences = {name: _one(model, X, labellings, key) for name, model in models.items()}
    _warn([f"{name}: {why}" for name, one in evidences.items() for why in one.concerns])
    return ModelProbabilities.of(evidences, prior)


def _one(posterior: Any, X: Any, labellings: int, seed: int | None) -> Evidence:
    """Estimate the evidence of one result."""
    draws = raw_draws(require_posterior(posterior))
    prior, n_components = _require_density(posterior), draws.weights.shape[2]
    if draws.n_chains * draws.n_draws < FEWEST_DRAWS:
        raise InputError(
            f"posterior has {draws.n_chains * draws.n_draws} draws, too few for an estimate of the "
            f"evidence: sample {FEWEST_DRAWS} or more"
        )
    observations, structure = _observations(posterior, X), structure_of(posterior)
    stored = posterior["invariants"]["log_likelihood"].transpose("chain", "draw").to_numpy()
    again = log_likelihood_at(draws.thinned(1)[0], observations)
    if abs(again - stored[0, 0]) > OTHER_ROWS * max(1.0, abs(again)):
        raise InputError(
            f"{'posterior' if X is None else 'X'} does not fit: the log-likelihood of the first "
            f"draw is {again:.6g} at these rows, but {stored[0, 0]:.6g} in the posterior; give the "
            "rows from which it was computed"
        )
    found = log_evidence(
        draws, stored, observations, prior, structure, n_labellings=labellings, seed=seed
    )
    return Evidence(
        found.log_evidence,
        found.standard_error,
        n_components,
        structure.label(draws.means.shape[3]),
        type(prior).__name__,
        found.effective_draws,
        found.effective_proposals,
        tuple(_concerns(found, draws.n_chains)),
    )


def _require_density(posterior: xr.DataTree) -> ConjugatePrior | PriorFamily:
    """Read the prior of a result, if its draws and its prior allow an estimate."""
    if read_number(posterior) is not None or "given_n_clusters" in posterior.attrs:
        raise InputError(
            "posterior comes from a run with an unknown number of components, which estimates the "
            "posterior probability of each number itself: give results of fixed numbers"
        )
    if posterior.attrs.get("engine") == "vb":
        raise InputError(
            'the draws of engine="vb" are those of an approximation, from which the evidence '
            "cannot be estimated: sample with another engine, or use the lower bound of the result"
        )
    prior, structure = read_prior(posterior), structure_of(posterior)
    if prior is None:
        raise InputError(
            "the posterior has no prior with a known density, as of a prior given as a function: "
            "use a ConjugatePrior, IndependentPrior, HierarchicalPrior or SemiconjugatePrior"
        )
    if not prior.is_proper:
        raise InputError("the prior is improper, so that the evidence is not defined")
    if not structure.is_drawn:
        raise InputError(
            f"the constant of the prior of the structure {structure.name} is unknown, so that the "
            "evidence is too: use EII, VII, EEI, VVI, EEE or VVV"
        )
    return prior


def _observations(posterior: xr.DataTree, X: Any) -> Observations:
    """Rows of the result, each as often as it counts."""
    rows, _ = fitted_rows(posterior, X)
    spread = np.ones(rows.shape[1])
    observations = Observations.of(np.ascontiguousarray(rows), spread=spread, missing="mar")
    weights = row_weights(posterior)
    return observations if weights is None else observations.weighted(weights, spread=spread)


def _concerns(found: Estimate, n_chains: int) -> list[str]:
    """Say why an estimate or its error may be wrong, and what to do."""
    said = []
    if not found.standard_error <= LARGE_ERROR:
        said.append(
            f"The standard error is {found.standard_error:.2g}, above {LARGE_ERROR:g}: use more "
            "draws, or more labellings where the proposals are worth less than the draws "
            f"({found.effective_proposals:.0f} and {found.effective_draws:.0f} effective)."
        )
    if found.effective_draws < ESS_PER_CHAIN * n_chains:
        said.append(
            f"The draws are worth {found.effective_draws:.0f} independent ones, fewer than "
            f"{ESS_PER_CHAIN} per chain: chains are too short or disagree; see bg.diagnose."
        )
    # Each half has half of the draws; the standard error is that of their mean.
    apart = abs(found.halves[0] - found.halves[1]) / (2 * found.standard_error + 1e-9)
    if apart > APART:
        said.append(
            f"The two halves of the draws give {found.halves[0]:.3f} and {found.halves[1]:.3f}, "
            f"{apart:.1f} standard errors apart (at most {APART}): draw more."
        )
    return said


def _warn(concerns: Sequence[str]) -> None:
    if concerns:
        warnings.warn(
            f"The evidence is not reliable. {' '.join(concerns)}", ConvergenceWarning, stacklevel=3
        )
