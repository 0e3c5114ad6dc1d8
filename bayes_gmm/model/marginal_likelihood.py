r"""The marginal likelihood near one optimum: how much of the posterior a mode holds.

    log p(x) ~ log p(x, r | prior) + H(r)

Rows whose labels are known have a marginal likelihood in closed form, with a conjugate prior.
Taking the responsibilities r at an optimum for the labels, and adding the entropy of what they
leave open, gives the mass of one mode and one order of the labels (Cheeseman & Stutz). It is a
lower bound of that mass, and it does not depend on the coordinates of the parameters, as the
height of a density does.
"""

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln, multigammaln

from bayes_gmm.errors import InputError
from bayes_gmm.model.covariance import UNCONSTRAINED, Structure
from bayes_gmm.model.log_prior import log_dirichlet
from bayes_gmm.model.normal import LOG_2PI, cholesky
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import SufficientStatistics, entropy
from bayes_gmm.model.structured_prior import StructuredPrior

Project = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def complete_data(
    prior: Prior,
    statistics: SufficientStatistics,
    structure: Structure = UNCONSTRAINED,
    *,
    equal_weights: bool = False,
    project: Project | None = None,
) -> float:
    r"""Log marginal likelihood of rows with labels, the parameters integrated out.

    .. math:: \log p(x, r) = \log Z(\mathrm{posterior}) - \log Z(\mathrm{prior})
        - \tfrac{N D}{2} \log 2\pi

    Parameters
    ----------
    prior : Prior
        Proper; Z is its `log_volume`.
    statistics : SufficientStatistics
        Of the labels, which may be shares of rows.
    structure : Structure
    equal_weights : bool
        Whether every weight is 1 / K.
    project : callable, optional
        A compiled twin of `structure.covariances`.

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
    own: StructuredPrior,
    *,
    equal_weights: bool = False,
    project: Project | None = None,
) -> float:
    r"""Log of the integral of the unnormalized conjugate density over the parameters.

    .. math::
        \log Z = \log \frac{\prod_k \Gamma(\alpha_k)}{\Gamma(\sum_k \alpha_k)}
        + \sum_k \frac D2 \log \frac{2 \pi}{\kappa_k}
        - \tfrac12 \sum_k \nu_k \{\log |\hat\Sigma_k| + D\} + \sum g(\nu)

    with nu the `degrees_in_logs` of the prior and :math:`\hat\Sigma` the covariances of the
    structure at which the density of their logarithms is highest. What lies about that peak, g, is
    a sum over volume, shape and orientation of the covariances, each of them once for all
    components together if they share it. For volume, volume and shape, and all three it is

    .. math:: g(\nu) = \log \Gamma(\nu D / 2) - h, \quad D \log \Gamma(\nu / 2) - h,
        \quad \log \Gamma_D(\nu / 2) - h', \qquad h = \tfrac{\nu D}{2} (\log \nu^* - 1)

    which is exact for EII, VII, EEI, VVI, EEE and VVV, and an approximation for the others.

    Parameters
    ----------
    own : StructuredPrior
        Proper.
    equal_weights : bool
    project : callable, optional
        A compiled twin of `structure.covariances`.

    Returns
    -------
    float
    """
    prior, structure, degrees = own.counted, own.structure, own.degrees_in_logs
    n_features = prior.n_features
    covariances = (project or structure.covariances)(prior.scale, degrees, prior.scale)
    try:
        factors = cholesky(covariances, "covariances")
    except InputError as error:
        raise InputError(
            "the prior's scale is so small beside the data that rounding left a component without "
            "a covariance; give a larger scale"
        ) from error
    log_det = 2 * np.log(np.einsum("kii->ki", factors)).sum(axis=1)
    result = 0.5 * n_features * (LOG_2PI - np.log(prior.mean_precision)).sum()
    result -= 0.5 * degrees @ (log_det + n_features)
    for letter, part in zip(structure, _parts(n_features), strict=True):
        if letter != "I":
            result += part(degrees if letter == "V" else degrees.sum(keepdims=True)).sum()
    if not equal_weights:
        alpha = prior.concentration
        result -= log_dirichlet(alpha)
    return float(result)


def _parts(n_features: int) -> tuple[Callable[[np.ndarray], np.ndarray], ...]:
    """Log volume about the peak of log variances: of the volume, the shape, the orientation."""

    def one(nu: np.ndarray) -> np.ndarray:
        half = 0.5 * nu * n_features
        return gammaln(half) - half * (np.log(half) - 1)

    def axes(nu: np.ndarray) -> np.ndarray:
        half = 0.5 * nu
        return n_features * (gammaln(half) - half * (np.log(half) - 1))

    def matrix(nu: np.ndarray) -> np.ndarray:
        half = 0.5 * nu
        log_gamma = np.array([multigammaln(h, n_features) for h in half])
        return log_gamma - n_features * half * (np.log(half) - 1)

    return one, lambda nu: axes(nu) - one(nu), lambda nu: matrix(nu) - axes(nu)


def cheeseman_stutz(
    prior: Prior,
    log_quadratic: LogQuadratic,
    statistics: SufficientStatistics,
    structure: Structure = UNCONSTRAINED,
    *,
    equal_weights: bool = False,
    project: Project | None = None,
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
    structure : Structure
    equal_weights : bool
    project : callable, optional
        As in `complete_data`.

    Returns
    -------
    float
        In nats. A mode counts K! times, once for every order of its labels.

    References
    ----------
    Cheeseman & Stutz (1996), Bayesian classification (AutoClass); Chickering & Heckerman (1997),
    Machine Learning 29, sec. 2; Beal (2003), thesis, ch. 6, that it is a lower bound.
    """
    labelled = complete_data(
        prior, statistics, structure, equal_weights=equal_weights, project=project
    )
    return labelled + entropy(log_quadratic, statistics)
