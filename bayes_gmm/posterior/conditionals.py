r"""Conditional densities of the parameters under priors whose means are independent of covariances.

Given the labels, p(mu, Sigma | x, z) has no closed form, but both conditionals have one where
Sigma_k ~ IW(nu, Psi) and mu_k ~ N(m, diag(s^2)):

    Sigma_k | mu_k    IW(nu + n_k, Psi + sum d d')            d = x_n - mu_k over rows labelled k
    mu_k | Sigma_k    N(m_k', P_k^-1)                         P_k = diag(s^-2) + n_k Sigma_k^-1

Their product, each given one draw of the other, stands for the joint density. A hierarchical prior
has this form given Psi, which is drawn. Log-normal standard deviations with LKJ correlations have
an inverse Wishart of about the same spread in their place.
"""

from functools import singledispatch
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import brentq
from scipy.special import polygamma

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.normal import bartlett, cholesky, inverse_factors, wishart_root
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics


class Conditionals(NamedTuple):
    """A product over components of conditional densities of weights, means and covariances."""

    concentration: np.ndarray  # (K,)
    mean: np.ndarray  # (K, D)
    mean_whitener: np.ndarray  # (K, D, D), B_k with P_k = B_k' B_k, upper triangular
    degrees_of_freedom: np.ndarray  # (K,)
    scale: np.ndarray  # (K, D, D)

    @classmethod
    def of(
        cls,
        prior: PriorFamily,
        draw: Parameters,
        statistics: SufficientStatistics,
        rng: np.random.Generator,
    ) -> Self:
        """Condition on a draw and on statistics of its labels about its means."""
        degrees, scale = inverse_wishart(prior, draw, rng)
        whitener = inverse_factors(draw.choleskys)
        precision = whitener.swapaxes(1, 2) @ whitener
        of_prior = prior.mean_sd**-2.0
        total = np.diag(of_prior) + statistics.count[:, None, None] * precision
        pull = of_prior * (prior.mean - draw.means)
        pull += (precision @ statistics.first[..., None])[..., 0]
        return cls(
            prior.concentration + statistics.count,
            draw.means + np.linalg.solve(total, pull[..., None])[..., 0],
            cholesky(total, "precisions").swapaxes(1, 2),
            degrees + statistics.count,
            scale + statistics.second,
        )

    def sample(self, rng: np.random.Generator) -> Parameters:
        """Return one draw of (phi, mu, Sigma)."""
        noise = rng.standard_normal((*self.mean.shape, 1))
        means = self.mean + np.linalg.solve(self.mean_whitener, noise)[..., 0]
        whiteners = inverse_factors(cholesky(self.scale, "scales"))
        pairs = zip(self.degrees_of_freedom, whiteners, strict=True)
        roots = np.stack([wishart_root(*pair, rng) for pair in pairs])
        weights = rng.dirichlet(self.concentration)
        return Parameters(weights, means, roots @ roots.swapaxes(1, 2))


@singledispatch
def inverse_wishart(
    prior: PriorFamily, draw: Parameters, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Degrees of freedom and scale (D, D) of the covariances, given a draw."""
    raise NotImplementedError


@inverse_wishart.register
def _(
    prior: SemiconjugatePrior, draw: Parameters, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Those of the prior."""
    return float(prior.degrees_of_freedom), prior.scale


@inverse_wishart.register
def _(
    prior: HierarchicalPrior, draw: Parameters, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Draw Psi | Sigma_1..K ~ Wishart(q + K nu, (V^-1 + sum_k Sigma_k^-1)^-1)."""
    whitener = inverse_factors(np.concatenate([cholesky(prior.scale)[None], draw.choleskys]))
    precision = np.einsum("kij,kil->jl", whitener, whitener)
    degrees = float(prior.degrees_of_freedom)
    total = float(prior.scale_degrees_of_freedom) + prior.n_components * degrees
    # precision = L L', so that its inverse is R R' with R = L^-T.
    root = np.linalg.inv(cholesky(precision)).T @ bartlett(total, prior.n_features, rng)
    return degrees, root @ root.T


@inverse_wishart.register
def _(
    prior: IndependentPrior, draw: Parameters, rng: np.random.Generator
) -> tuple[float, np.ndarray]:
    r"""Match the spread and the median of a log standard deviation.

    A variance is inverse gamma with shape a = (nu - D + 1) / 2, so var log sigma = psi'(a) / 4.
    """
    spread = 4 * float(prior.sd_spread) ** 2
    shape = np.exp(brentq(lambda log_a: polygamma(1, np.exp(log_a)) - spread, -20, 20))
    # exp of the mean of log sigma^2 is b exp(-psi(a)), with b = Psi_jj / 2.
    scale = 2 * np.exp(polygamma(0, shape)) * prior.sd**2
    return 2 * float(shape) + prior.n_features - 1, np.diag(scale)
