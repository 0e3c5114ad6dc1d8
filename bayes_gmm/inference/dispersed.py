r"""Starting points of chains: overdispersed, and in every mode with appreciable posterior mass.

Chains that start at the same point agree as long as they stay near it, even if there are other
modes. So each chain starts around one of the optima with appreciable posterior mass, in order of
their mass and cyclically: at a draw from the conjugate posterior given the labels at that optimum,
`OVERDISPERSED` times as wide, and with its components in random order if they are exchangeable.
Optima with an estimated mass below `NEGLIGIBLE` of the largest are not used: a chain that stays in
one would not represent the posterior.

Optima with fewer components in use than the best one are not used either. A component with fewer
rows than parameters costs little, so that with many features such a mode may hold most of the
posterior mass, although K components fit and predict better. With few features chains reach it from
any start. With many features chains that start in it never leave, and sample the posterior of a
mixture with fewer than K components.
"""

import numpy as np

from bayes_gmm.inference.em.point import PointEstimate
from bayes_gmm.inference.em.ranking import n_used
from bayes_gmm.inference.settings import sequences_of_starts, standardized
from bayes_gmm.kernels.runs import State
from bayes_gmm.model.marginal_likelihood import cheeseman_stutz
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior

OVERDISPERSED = 2.0  # standard deviations of a start, in those of the posterior
NEGLIGIBLE = 1e-2


def starts(
    found: PointEstimate,
    prior: ConjugatePrior,
    n_chains: int,
    seed: int | None,
    structure: Structure = UNCONSTRAINED,
) -> list[Parameters]:
    """Choose a start for every chain.

    Returned: in the user's units.
    """
    standard = standardized(prior, found)
    modes = appreciable(found.optima, standard, structure)
    own = StructuredPrior.of(standard, structure)
    return [
        _start(
            modes[chain % len(modes)].statistics,
            own,
            np.random.default_rng(child),
        ).rescale(found.origin, found.scale)
        for chain, child in enumerate(sequences_of_starts(seed, n_chains))
    ]


def appreciable(
    optima: list[State], prior: ConjugatePrior, structure: Structure = UNCONSTRAINED
) -> list[State]:
    """Optima that hold an appreciable share of the posterior, the largest share first.

    Returned: of those that use as many components as the best one.
    """
    most = n_used(optima[0], structure)
    full = [optimum for optimum in optima if n_used(optimum, structure) >= most]
    log_mass = np.array(
        [cheeseman_stutz(prior, o.candidate.log_quadratic, o.statistics, structure) for o in full]
    )
    order = np.argsort(-log_mass, kind="stable")
    return [full[i] for i in order if log_mass[i] >= log_mass.max() + np.log(NEGLIGIBLE)]


def _start(
    statistics: SufficientStatistics, prior: StructuredPrior, rng: np.random.Generator
) -> Parameters:
    """Draw around a mode, as if there were fewer rows by the square of the dispersion."""
    share = OVERDISPERSED**-2
    fewer = SufficientStatistics(
        0.0,
        share * statistics.count,
        share * statistics.first,
        share * statistics.second,
        statistics.center,
    )
    draw = prior.posterior(fewer).sample(rng)
    if not prior.counted.is_exchangeable:
        return draw
    return draw.reorder(rng.permutation(draw.n_components))
