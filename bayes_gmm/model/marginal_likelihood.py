r"""The marginal likelihood near one optimum: how much of the posterior a mode holds.

    log p(x) ~ log p(x, r | prior) + H(r)

Rows whose labels are known have a marginal likelihood in closed form, with a conjugate prior.
Taking the responsibilities r at an optimum for the labels, and adding the entropy of what they
leave open, gives the mass of one mode and one order of the labels (Cheeseman & Stutz). It is a
lower bound of that mass, and it does not depend on the coordinates of the parameters, as the
height of a density does.
"""

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.prior_family import log_dirichlet
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics, entropy
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.model.structures.structure import Project

TOO_SMALL = (
    "the prior's scale is so small compared with the data that the covariance of a component "
    "became numerically singular: give a larger scale"
)


def complete_data(
    prior: ConjugatePrior,
    statistics: SufficientStatistics,
    structure: Structure = UNCONSTRAINED,
    *,
    equal_weights: bool = False,
    project: Project | None = None,
) -> float:
    r"""Log marginal likelihood of rows with labels, the parameters integrated out.

    .. math:: \log p(x, r) = \log Z(\mathrm{posterior}) - \log Z(\mathrm{prior})
        - \tfrac{N D}{2} \log 2\pi

    The prior is proper, and `project` a compiled twin of `structure.covariances`, if there is one.
    Murphy (2012), eq. 4.221 for one component; Dirichlet-multinomial for the weights.
    """
    prior.require_proper()
    project = project or structure.covariances
    own = StructuredPrior.of(prior, structure)
    before, after = (
        log_volume(one, equal_weights=equal_weights, project=project)
        for one in (own, own.posterior(statistics))
    )
    n_rows, n_features = statistics.count.sum(), statistics.center.shape[1]
    constant = 0.5 * n_features * LOG_2PI + (np.log(len(statistics.count)) if equal_weights else 0)
    return after - before - float(n_rows * constant)


def log_volume(
    own: StructuredPrior, *, equal_weights: bool = False, project: Project | None = None
) -> float:
    r"""Log of the integral of the unnormalized conjugate density over the parameters.

    .. math::
        \log Z = \log \frac{\prod_k \Gamma(\alpha_k)}{\Gamma(\sum_k \alpha_k)}
        + \sum_k \frac D2 \log \frac{2 \pi}{\kappa_k} + \log Z_\Sigma

    with the integral over the covariances as the structure knows it (`Structure.log_volume`):
    exact where it is drawn, an approximation elsewhere. Of a proper prior.
    """
    prior, structure = own.counted, own.structure
    try:
        result = structure.log_volume(own.power, prior.scale, project or structure.covariances)
    except InputError as error:
        raise InputError(TOO_SMALL) from error
    result += 0.5 * prior.n_features * (LOG_2PI - np.log(prior.mean_precision)).sum()
    if not equal_weights:
        result -= log_dirichlet(prior.concentration)
    return float(result)


def cheeseman_stutz(
    prior: ConjugatePrior,
    log_quadratic: LogQuadratic,
    statistics: SufficientStatistics,
    structure: Structure = UNCONSTRAINED,
    *,
    equal_weights: bool = False,
    project: Project | None = None,
) -> float:
    r"""Log marginal likelihood of the rows that one mode accounts for.

    .. math:: \log p(x) \approx \log p(x, \hat r) - \sum_{nk} \hat r_{nk} \log \hat r_{nk}

    Cheeseman & Stutz (1996), Bayesian classification (AutoClass); Chickering & Heckerman (1997),
    Machine Learning 29, sec. 2; Beal (2003), thesis, ch. 6, that it is a lower bound.
    """
    labelled = complete_data(
        prior, statistics, structure, equal_weights=equal_weights, project=project
    )
    return labelled + entropy(log_quadratic, statistics)
