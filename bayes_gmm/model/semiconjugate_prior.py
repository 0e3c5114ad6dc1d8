r"""The conjugate prior with means that do not depend on the covariances.

    Sigma_k ~ InverseWishart(nu, Psi)        mu_kj ~ N(m_j, s_j^2)

Given the labels, means and covariances are conjugate each given the other, but not together: hence
the name. It is the usual prior in work on the number of components, where the spread of the means
must not shrink with the size of a component.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import multigammaln

from bayes_gmm.model.independent_prior import MEAN_SPREAD
from bayes_gmm.model.normal import cholesky, inverse_factors, wishart_root
from bayes_gmm.model.parameters import ArrayOrLike
from bayes_gmm.model.prior_family import PriorFamily, rows_for
from bayes_gmm.model.priors import ConjugatePrior

LOG_2 = float(np.log(2))


@dataclass(frozen=True, eq=False)
class SemiconjugatePrior(PriorFamily):
    r"""Inverse-Wishart covariances and, independent of them, normal means.

    .. math:: \phi \sim \mathrm{Dirichlet}(\alpha), \quad \mu_{kj} \sim N(m_j, s_j^2), \quad
        \Sigma_k \sim \mathrm{IW}(\nu, \Psi)

    Use it to compare with published results, or if the spread of the means should not depend on the
    size of components, as it does in `ConjugatePrior`. With one feature a variance is inverse gamma
    with shape nu / 2 and scale Psi / 2.

    Parameters
    ----------
    concentration : array_like (K,)
        alpha, one per component; 1 is uniform over the weights.
    mean : array_like (D,)
        m, in the units of the data.
    mean_sd : float or array_like (D,)
        s, in the units of the data.
    degrees_of_freedom : float
        nu > D - 1; the larger, the more similar the components are to Psi / nu.
    scale : array_like (D, D)
        Psi, in squared units of the data.

    Raises
    ------
    InputError
        If a shape is wrong or a value is out of range.

    References
    ----------
    Frühwirth-Schnatter (2006), Finite Mixture and Markov Switching Models, ch. 6, the independence
    prior; Carlin & Chib (1995), J. R. Stat. Soc. B 57, for the galaxy data.

    Examples
    --------
    >>> prior = SemiconjugatePrior([1.0, 1.0, 1.0], [20.0], 10.0, 6.0, [[40.0]])
    >>> prior.typical_covariance  # variances are IG(3, 20)
    array([[6.66666667]])
    """

    degrees_of_freedom: ArrayOrLike
    scale: ArrayOrLike

    def check(self) -> None:
        """Check the fields of the covariances."""
        self.check_scale("degrees_of_freedom")

    @classmethod
    def default(cls, x: ArrayOrLike, n_components: int) -> "SemiconjugatePrior":
        r"""Return a weakly informative prior on the scale of the data.

        .. math:: \alpha = 1, \quad m = \bar x, \quad s = 2\,\mathrm{sd}(x), \quad \nu = D + 2,
            \quad \Psi = S^* / K^{2/D}

        with the covariances of `ConjugatePrior.default`.

        Parameters
        ----------
        x : array_like (N, D)
        n_components : int
            K.

        Returns
        -------
        SemiconjugatePrior
        """
        rows = rows_for(x, n_components)
        conjugate = ConjugatePrior.default(rows, n_components)
        return cls(
            concentration=conjugate.concentration,
            mean=rows.mean(axis=0),
            mean_sd=MEAN_SPREAD * rows.std(axis=0, ddof=1),
            degrees_of_freedom=conjugate.degrees_of_freedom[0],
            scale=conjugate.scale[0],
        )

    @property
    def typical_covariance(self) -> np.ndarray:
        """Psi / nu, (D, D)."""
        return self.scale / self.degrees_of_freedom

    def log_density_of_covariances(self, factors: np.ndarray) -> np.ndarray:
        r"""Log density of each covariance.

        .. math:: \tfrac\nu2 \log|\Psi| - \tfrac{\nu D}2 \log 2 - \log \Gamma_D(\tfrac\nu2)
            - \tfrac12 \left[(\nu + D + 1) \log|\Sigma_k| + \mathrm{tr}(\Psi \Sigma_k^{-1})\right]

        factors (..., K, D, D) -> (..., K).
        """
        n_features, nu, factor = self.n_features, self.degrees_of_freedom, cholesky(self.scale)
        log_constant = nu * (np.log(np.diagonal(factor)).sum() - 0.5 * n_features * LOG_2)
        log_constant -= multigammaln(0.5 * nu, n_features)
        log_det = 2 * np.log(np.einsum("...ii->...i", factors)).sum(axis=-1)
        whitener = inverse_factors(factors.reshape(-1, n_features, n_features))
        whitened = whitener.reshape(factors.shape) @ factor
        trace = np.einsum("...ij,...ij->...", whitened, whitened)
        return log_constant - 0.5 * ((nu + n_features + 1) * log_det + trace)

    def sample_covariances(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the covariances (K, D, D)."""
        (whitener,) = inverse_factors(cholesky(self.scale[None], "scale"))
        roots = np.stack(
            [wishart_root(self.degrees_of_freedom, whitener, rng) for _ in range(self.n_components)]
        )
        return roots @ roots.swapaxes(1, 2)

    def rescaled(self, scale: np.ndarray) -> dict[str, np.ndarray]:
        """Fields of the covariances in other units."""
        return {"scale": self.scale * np.outer(scale, scale)}
