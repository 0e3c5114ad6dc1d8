r"""The marginal likelihood near one optimum: how much of the posterior a mode holds.

    log p(x) ~ log p(x, r | prior) + H(r)

Rows whose labels are known have a marginal likelihood in closed form, with a conjugate prior.
Taking the responsibilities r at an optimum for the labels, and adding the entropy of what they
leave open, gives the share of one mode and one order of the labels (Cheeseman & Stutz).
"""

from bayes_gmm.errors import InputError
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import SufficientStatistics, entropy


def complete_data(prior: Prior, statistics: SufficientStatistics) -> float:
    r"""Log marginal likelihood of rows with labels, the parameters integrated out.

    .. math:: \log p(x, r) = c(\mathrm{prior}) - c(\mathrm{posterior}) - \tfrac{N D}{2} \log 2\pi

    Parameters
    ----------
    prior : Prior
        Proper; c is its `log_normalizer`.
    statistics : SufficientStatistics
        Of the labels, which may be shares of rows.

    Returns
    -------
    float

    Raises
    ------
    InputError
        If the prior is improper, or its scale is lost to rounding.

    References
    ----------
    Murphy (2012), eq. 4.221 for one component; Dirichlet-multinomial for the weights.
    """
    prior.require_proper()
    posterior = prior.posterior(statistics)
    if not posterior.is_proper:
        raise InputError(
            "the prior's scale is so small beside the data that rounding left a component without "
            "a covariance; give a larger scale"
        )
    n_features = statistics.center.shape[1]
    constant = 0.5 * statistics.count.sum() * n_features * LOG_2PI
    return prior.log_normalizer - posterior.log_normalizer - float(constant)


def cheeseman_stutz(
    prior: Prior, log_quadratic: LogQuadratic, statistics: SufficientStatistics
) -> float:
    r"""Log marginal likelihood of the rows that one mode accounts for.

    .. math:: \log p(x) \approx \log p(x, \hat r) - \sum_{nk} \hat r_{nk} \log \hat r_{nk}

    Parameters
    ----------
    prior : Prior
    log_quadratic : LogQuadratic
        At the mode.
    statistics : SufficientStatistics
        The pass at the mode.

    Returns
    -------
    float
        In nats. A mode counts K! times, once for every order of its labels.

    References
    ----------
    Cheeseman & Stutz (1996), Bayesian classification (AutoClass); Chickering & Heckerman (1997),
    Machine Learning 29, sec. 2.
    """
    return complete_data(prior, statistics) + entropy(log_quadratic, statistics)
