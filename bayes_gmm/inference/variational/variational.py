r"""Variational Bayes as an engine: independent draws of the best q of the conjugate family.

    theta_s ~ q(theta) = argmax ELBO(q)

q is about one mode and one order of the components, and takes the labels for independent of the
parameters. So it is narrower than the posterior, the more so the more components overlap. The log
density of q at every draw is kept: `posterior.importance` says by it how far q is from the
posterior.
"""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference.gibbs.gibbs import labelled
from bayes_gmm.inference.settings import require_settings, sequences_of_chains
from bayes_gmm.inference.variational.approximation import Approximation
from bayes_gmm.kernels.gibbs import Prior, Record, State, Sums, draw_conjugate
from bayes_gmm.model.marginal_likelihood import TOO_SMALL
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.importance import log_densities
from bayes_gmm.progress import progress


def sample(
    observations: Observations,
    prior: ConjugatePrior,
    starts: Sequence[Parameters],
    optima: Sequence[Parameters],
    *,
    draws: int,
    cores: int | None,
    seed: int | None,
    progressbar: bool,
    structure: Structure = UNCONSTRAINED,
) -> xr.DataTree:
    """Find q from all optima and starts, and draw as many chains as there are starts.

    Returned: groups posterior and sample_stats as those of Gibbs, the counts being expected ones;
    sample_stats also has log_q (chain, draw), the log density of q. Group variational: the fields
    of q, and by what search it was found. All in the user's units, and in one order of components.
    """
    require_settings(draws, 0, len(starts), cores, seed, least_tune=0)
    found = Approximation.of(observations, prior, [*optima, *starts], structure, threads=cores)
    record, n_kept = drawn(found, len(starts), draws, seed, progressbar=progressbar)
    kept = Record(*(field[:, :n_kept] for field in record))
    tree = labelled(kept, found.view, partial=n_kept < draws, thin=1)
    own = Draws(*(tree["posterior"][name].to_numpy() for name in Draws._fields))
    q = found.in_units()
    tree["sample_stats/log_q"] = xr.DataArray(
        log_densities(q, own, exchangeable=prior.is_exchangeable), dims=("chain", "draw")
    )
    tree["variational"] = xr.DataTree(_described(q, found))
    return tree


def drawn(
    found: Approximation, n_chains: int, n_draws: int, seed: int | None, *, progressbar: bool
) -> tuple[Record, int]:
    """Draw from q, and look at the rows with each draw; an interrupt leaves fewer per chain.

    Returned: draws in the coordinates of the pass, and how many of each chain were made.
    """
    rngs = [np.random.default_rng(child) for child in sequences_of_chains(seed, n_chains)]
    sampler, look = Sampler(found.q), found.log_likelihood()
    record = Record.empty((n_chains, n_draws), *found.q.counted.mean.shape)
    record = record._replace(counts=record.counts.astype(float))
    with progress(n_chains * n_draws, "draws", shown=progressbar) as done:
        for place in range(n_draws):
            try:
                for chain, rng in enumerate(rngs):
                    state = sampler.draw(rng)
                    functions = LogQuadratic(state.offset, state.means, state.whitener)
                    values = (state.weights, state.means, state.covariances, *look(functions))
                    for field, value in zip(record, values, strict=True):
                        field[chain, place] = value
                    done()
            except KeyboardInterrupt:
                if place == 0:
                    raise
                return record, place
    return record, n_draws


class Sampler:
    """Independent draws of q, by the compiled draw of Gibbs with no rows added."""

    def __init__(self, q: StructuredPrior) -> None:
        n_components, n_features = q.counted.mean.shape
        weights, units = np.full(n_components, 1 / n_components), np.eye(n_features)
        begun = Parameters.trusted(weights, q.counted.mean, np.stack([units] * n_components))
        self._q, self._no_rows = Prior.structured(q), Sums.zeros(n_components, n_features)
        self._state = State.of(begun)

    def draw(self, rng: np.random.Generator) -> State:
        """Draw parameters, which the next draw overwrites."""
        state = self._state
        if draw_conjugate(rng, self._q, state, self._no_rows) >= 0:
            raise InputError(TOO_SMALL)
        return state


def _described(q: StructuredPrior, found: Approximation) -> xr.Dataset:
    """Label the fields of q, and the search."""
    counted, run, to_units = q.counted, found.found.run, -found.view.log_volume
    return xr.Dataset(
        {
            "concentration": ("cluster", counted.concentration),
            "mean": (("cluster", "feature"), counted.mean),
            "mean_precision": ("cluster", counted.mean_precision),
            "degrees_of_freedom": ("cluster", counted.degrees_of_freedom),
            "scale": (("cluster", "feature", "feature_bis"), counted.scale),
            "elbo": ("iteration", np.array(run.objectives) + to_units),
            "optimum_log_mass": ("optimum", found.found.log_mass + to_units),
            "start_elbo": ("start", found.found.start_elbo + to_units),
            "converged": run.converged,
        }
    )
