r"""A prior with separate statements about means, standard deviations and correlations.

    Sigma_k = diag(sigma_k) R_k diag(sigma_k)
    log sigma_kj ~ N(log tau_j, omega^2)        R_k ~ LKJ(eta)

In the conjugate prior the spread of the means depends on the size of the components, and one number
sets the certainty about variances and correlations. Here each has its own distribution. LKJ is the
density p(R) proportional to |R|^(eta - 1) of a correlation matrix: uniform with eta = 1, and the
larger eta, the more concentrated at the identity.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import ArrayOrLike
from bayes_gmm.model.prior_family import PriorFamily, rows_for

LOG_2, LOG_PI = float(np.log(2)), float(np.log(np.pi))
# The default: means within four standard deviations of the data, standard deviations within a
# factor of four of their median, correlations almost uniform.
MEAN_SPREAD = 2.0
SD_SPREAD = 0.7
ETA = 2.0


@dataclass(frozen=True, eq=False)
class IndependentPrior(PriorFamily):
    r"""Independent priors of means, standard deviations and correlations.

    .. math:: \phi \sim \mathrm{Dirichlet}(\alpha), \quad \mu_{kj} \sim N(m_j, s_j^2), \quad
        \Sigma_k = \mathrm{diag}(\sigma_k) R_k \mathrm{diag}(\sigma_k), \quad
        \log\sigma_{kj} \sim N(\log \tau_j, \omega^2), \quad R_k \sim \mathrm{LKJ}(\eta)

    Use it if you know how large a component may be in each feature, or to check whether the
    dependence of means on covariances in the conjugate prior matters. The standard deviations are
    log-normal instead of half-normal, because under a density that is positive at zero the
    posterior is improper as soon as rows coincide. The prior bounds correlations less strongly:
    with 2 eta + D or more rows on one hyperplane that is not parallel to an axis, as can happen in
    rounded data, the posterior is improper. `ConjugatePrior` has neither problem.

    Parameters
    ----------
    concentration : array_like (K,)
        alpha, one per component; 1 is uniform over the weights.
    mean : array_like (D,)
        m, in the units of the data.
    mean_sd : float or array_like (D,)
        s, in the units of the data.
    sd : float or array_like (D,)
        tau, the median of a component's standard deviation, in the units of the data.
    sd_spread : float
        omega: 95% of standard deviations lie within a factor exp(2 omega) of the median.
    eta : float
        1 is uniform over correlation matrices; larger values favor small correlations.

    Raises
    ------
    InputError
        If a shape is wrong or a value is out of range.

    References
    ----------
    Barnard, McCulloch & Meng (2000), Statistica Sinica 10, sec. 2; Lewandowski, Kurowicka & Joe
    (2009), J. Multivariate Anal. 100.

    Examples
    --------
    >>> import numpy as np
    >>> prior = IndependentPrior([1.0, 1.0], [0.0], 10.0, 1.0)
    >>> prior.sample(np.random.default_rng(0)).n_components
    2
    """

    sd: ArrayOrLike
    sd_spread: ArrayOrLike = SD_SPREAD
    eta: ArrayOrLike = ETA

    def check(self) -> None:
        """Check the fields of the covariances."""
        self.broadcast("sd", (self.n_features,))
        self.broadcast("sd_spread", ())
        self.broadcast("eta", ())
        for name in ("sd", "sd_spread", "eta"):
            self.require(name, getattr(self, name) > 0, "positive")

    @classmethod
    def default(cls, x: ArrayOrLike, n_components: int) -> "IndependentPrior":
        r"""Return a weakly informative prior on the scale of the data.

        .. math:: \alpha = 1, \quad m = \bar x, \quad s = 2\,\mathrm{sd}(x), \quad
            \tau = \mathrm{sd}(x) / K^{1/D}, \quad \omega = 0.7, \quad \eta = 2

        Parameters
        ----------
        x : array_like (N, D)
        n_components : int
            K.

        Returns
        -------
        IndependentPrior
        """
        rows = rows_for(x, n_components)
        sd = rows.std(axis=0, ddof=1)
        return cls(
            concentration=np.ones(n_components),
            mean=rows.mean(axis=0),
            mean_sd=MEAN_SPREAD * sd,
            sd=sd / n_components ** (1 / rows.shape[1]),
        )

    @property
    def typical_covariance(self) -> np.ndarray:
        """Median variances, no correlation, (D, D)."""
        return np.diag(self.sd**2)

    def log_density_of_covariances(self, factors: np.ndarray) -> np.ndarray:
        r"""Log density of each covariance.

        .. math:: \log p(\Sigma_k) = \sum_j \left[\log p(\sigma_{kj}) - D \log \sigma_{kj}
            - \log 2\right] + (\eta - 1) \log|R_k| + \log c_\eta

        The subtracted terms are the Jacobian of (sigma, R) -> Sigma.

        factors (..., K, D, D) -> (..., K).
        """
        n_features = factors.shape[-1]
        log_sd = 0.5 * np.log((factors**2).sum(axis=-1))
        log_diagonal = np.log(np.einsum("...ii->...i", factors))
        standard = (log_sd - np.log(self.sd)) / self.sd_spread
        log_normal = -0.5 * (standard**2 + LOG_2PI) - np.log(self.sd_spread) - log_sd
        log_jacobian = n_features * log_sd + LOG_2
        log_determinant = 2 * (log_diagonal - log_sd).sum(axis=-1)
        return (
            (log_normal - log_jacobian).sum(axis=-1)
            + (self.eta - 1) * log_determinant
            + lkj_log_constant(self.eta, n_features)
        )

    def sample_covariances(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the covariances (K, D, D)."""
        shape = self.n_components, self.n_features
        sd = self.sd * np.exp(self.sd_spread * rng.standard_normal(shape))
        correlations = [
            lkj_factor(self.eta, self.n_features, rng) for _ in range(self.n_components)
        ]
        factors = sd[..., None] * np.stack(correlations)
        return factors @ factors.swapaxes(1, 2)

    def rescaled(self, scale: np.ndarray) -> dict[str, np.ndarray]:
        """Fields of the covariances in other units."""
        return {"sd": scale * self.sd}


def lkj_log_constant(eta: float, n_features: int) -> float:
    r"""Log of the constant c in p(R) = c |R|^(eta - 1).

    .. math:: \log c = \sum_{k=1}^{D-1} \log\Gamma\left(\eta + \tfrac{D-1}{2}\right)
        - \log\Gamma\left(\eta + \tfrac{D-1-k}{2}\right) - \tfrac{k}{2} \log\pi

    Lewandowski, Kurowicka & Joe (2009), J. Multivariate Anal. 100, theorem 5.
    """
    k = np.arange(1, n_features)
    most = eta + 0.5 * (n_features - 1)
    return float((gammaln(most) - gammaln(most - 0.5 * k) - 0.5 * k * LOG_PI).sum())


def lkj_factor(eta: float, n_features: int, rng: np.random.Generator) -> np.ndarray:
    r"""Draw the Cholesky factor of a correlation matrix, row by row.

    A row points in a uniform direction of the rows before it, and the square of its length there
    is r_i^2 ~ Beta(i/2, eta + (D - 1 - i)/2) for i = 1..D-1; its last entry makes its length one.

    Returns (D, D). Lewandowski, Kurowicka & Joe (2009), sec. 3.2, the onion method.
    """
    factor = np.tril(rng.standard_normal((n_features, n_features)), -1)
    i = np.arange(1, n_features)
    squared = np.append(0.0, rng.beta(0.5 * i, eta + 0.5 * (n_features - 1 - i)))
    factor[1:] *= np.sqrt(squared[1:] / (factor[1:] ** 2).sum(axis=1))[:, None]
    factor[np.diag_indices(n_features)] = np.sqrt(1 - squared)
    return factor
