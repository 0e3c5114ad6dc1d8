r"""A prior for components of similar but unknown size.

    Sigma_k | Psi ~ InverseWishart(nu, Psi)        Psi ~ Wishart(q, V)

Psi is integrated out, which makes the covariances dependent, so that the prior is a density of
(phi, mu, Sigma) like the others.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import multigammaln

from bayes_gmm.model.normal import bartlett, cholesky, inverse_factors
from bayes_gmm.model.parameters import ArrayOrLike
from bayes_gmm.model.prior_family import PriorFamily, rows_for

# The default: a component's standard deviation is about a tenth of the range, and q is that of
# Richardson & Green (1997), sec. 2.3, where there is one feature.
SHARE_OF_RANGE = 0.1
SCALE_DEGREES_IN_1D = 0.4


@dataclass(frozen=True, eq=False)
class HierarchicalPrior(PriorFamily):
    r"""Inverse-Wishart covariances with a common unknown scale, and independent normal means.

    .. math:: \phi \sim \mathrm{Dirichlet}(\alpha), \quad \mu_{kj} \sim N(m_j, s_j^2), \quad
        \Sigma_k \mid \Psi \sim \mathrm{IW}(\nu, \Psi), \quad \Psi \sim \mathrm{Wishart}(q, V)

    Use it if components should be of similar size and you know only the rough order of magnitude
    of that size. In the notation of the references nu = 2 alpha, Psi = 2 beta, q = 2 g, V = h^-1.

    Psi is integrated out, so that the prior is a density of the parameters alone. Because Psi may
    be small, this prior prevents a component from collapsing onto coinciding rows less strongly
    than `ConjugatePrior` does: if more than `most_tied_rows` rows have the same value of a feature,
    as can happen in rounded data, the posterior is improper.

    Parameters
    ----------
    concentration : array_like (K,)
        alpha, one per component; 1 is uniform over the weights.
    mean : array_like (D,)
        m, in the units of the data.
    mean_sd : float or array_like (D,)
        s, in the units of the data.
    degrees_of_freedom : float
        nu > D - 1; the larger, the more similar the components.
    scale_degrees_of_freedom : float
        q > D - 1; the smaller, the less informative the prior about the size of components.
    scale : array_like (D, D)
        V, in squared units of the data; E Psi = q V.

    Raises
    ------
    InputError
        If a shape is wrong or a value is out of range.

    References
    ----------
    Richardson & Green (1997), J. R. Stat. Soc. B 59, sec. 2.3; Stephens (2000), Ann. Stat. 28, for
    more than one feature.

    Examples
    --------
    >>> import numpy as np
    >>> prior = HierarchicalPrior.default(np.arange(10.0), 2)
    >>> prior.scale  # 1 / h, where h = 10 / range^2
    array([[8.1]])
    """

    degrees_of_freedom: ArrayOrLike
    scale_degrees_of_freedom: ArrayOrLike
    scale: ArrayOrLike

    def check(self) -> None:
        """Check the fields of the covariances."""
        self.check_scale("degrees_of_freedom", "scale_degrees_of_freedom")

    @classmethod
    def default(cls, x: ArrayOrLike, n_components: int) -> "HierarchicalPrior":
        r"""Return the prior of Richardson & Green (1997), based on the range R of each feature.

        .. math:: \alpha = 1, \quad m = \text{midrange}, \quad s = R, \quad \nu = 2 (D + 1), \quad
            V = \frac{\nu}{100\,q}\,\mathrm{diag}(R^2)

        with q = 0.4 for one feature, which is the published prior, and q = D + 1 for more features,
        where 0.4 would be improper. Standard deviations of components are typically a tenth of the
        range.

        Parameters
        ----------
        x : array_like (N, D)
        n_components : int
            K.

        Returns
        -------
        HierarchicalPrior
        """
        rows = rows_for(x, n_components)
        low, high = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
        span, n_features = high - low, rows.shape[1]
        nu = 2.0 * (n_features + 1)
        q = SCALE_DEGREES_IN_1D if n_features == 1 else n_features + 1.0
        return cls(
            concentration=np.ones(n_components),
            mean=low + 0.5 * span,
            mean_sd=span,
            degrees_of_freedom=nu,
            scale_degrees_of_freedom=q,
            scale=np.diag((SHARE_OF_RANGE * span) ** 2) * nu / q,
        )

    @property
    def typical_covariance(self) -> np.ndarray:
        """E Psi / nu, (D, D)."""
        return self.scale_degrees_of_freedom * self.scale / self.degrees_of_freedom

    @property
    def most_tied_rows(self) -> int:
        r"""How many rows may share the value of a feature before the posterior is improper.

        A component that shrinks onto m rows of a hyperplane has a precision that grows without end.
        The posterior can be integrated there as long as

        .. math:: m < 1 + q + (K - 1) \nu
        """
        return int(
            np.ceil(
                self.scale_degrees_of_freedom + (self.n_components - 1) * self.degrees_of_freedom
            )
        )

    def log_density_of_covariances(self, factors: np.ndarray) -> np.ndarray:
        r"""Log density of all covariances together, Psi integrated out.

        .. math:: \log \frac{\Gamma_D(\frac{q + K\nu}{2})}{\Gamma_D(\frac q2) \Gamma_D(\frac\nu2)^K}
            + \tfrac{K\nu}{2} \log|V| - \tfrac{\nu + D + 1}{2} \sum_k \log|\Sigma_k|
            - \tfrac{q + K\nu}{2} \log\left|I + V \textstyle\sum_k \Sigma_k^{-1}\right|

        factors (..., K, D, D) -> (...).
        """
        n_components, n_features = factors.shape[-3:-1]
        nu, q, factor = self.degrees_of_freedom, self.scale_degrees_of_freedom, cholesky(self.scale)
        total = q + n_components * nu
        log_constant = (
            multigammaln(0.5 * total, n_features)
            - multigammaln(0.5 * q, n_features)
            - n_components * multigammaln(0.5 * nu, n_features)
            + n_components * nu * np.log(np.diagonal(factor)).sum()
        )
        log_det = 2 * np.log(np.einsum("...kii->...ki", factors)).sum(axis=(-2, -1))
        whitener = inverse_factors(factors.reshape(-1, n_features, n_features))
        whitened = whitener.reshape(factors.shape) @ factor
        precision = np.eye(n_features) + np.einsum("...kij,...kil->...jl", whitened, whitened)
        log_diagonal = np.log(np.einsum("...ii->...i", cholesky(precision)))
        return (
            log_constant - 0.5 * (nu + n_features + 1) * log_det - total * log_diagonal.sum(axis=-1)
        )

    def sample_covariances(self, rng: np.random.Generator) -> np.ndarray:
        """Draw Psi, then the covariances (K, D, D) given it."""
        nu, q = self.degrees_of_freedom, self.scale_degrees_of_freedom
        root_of_scale = cholesky(self.scale) @ bartlett(q, self.n_features, rng)
        factors = np.stack(
            [
                root_of_scale @ np.linalg.inv(bartlett(nu, self.n_features, rng)).T
                for _ in range(self.n_components)
            ]
        )
        return factors @ factors.swapaxes(1, 2)

    def rescaled(self, scale: np.ndarray) -> dict[str, np.ndarray]:
        """Fields of the covariances in other units."""
        return {"scale": self.scale * np.outer(scale, scale)}
