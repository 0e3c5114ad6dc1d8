r"""The conjugate prior of a Gaussian mixture: Dirichlet weights, normal-inverse-Wishart components.

    phi ~ Dirichlet(alpha)
    Sigma_k ~ InverseWishart(nu_k, Psi_k)        mu_k | Sigma_k ~ N(m_k, Sigma_k / kappa_k)

A conjugate prior acts like additional rows: `posterior` adds the sufficient statistics of the data
and returns a distribution of the same family. So one class serves as prior and posterior, the
M-step of EM is `posterior(statistics).mode()`, a Gibbs step is `posterior(statistics).sample(rng)`,
and maximum likelihood is the M-step under the flat prior.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import multigammaln

from bayes_gmm.data import Observations
from bayes_gmm.data.wording import shorten
from bayes_gmm.errors import InputError
from bayes_gmm.model.arrays import as_numbers, require_finite, symmetrized
from bayes_gmm.model.default_moments import DefaultMoments
from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors, wishart_root
from bayes_gmm.model.parameters import ArrayOrLike, Parameters
from bayes_gmm.model.prior_family import LogPrior, log_dirichlet, log_powers
from bayes_gmm.model.statistics import SufficientStatistics

DEFAULT_MEAN_PRECISION = 0.01
INDEFINITE = 1e-12  # an eigenvalue below minus this share of the largest is no rounding


@dataclass(frozen=True, eq=False)
class ConjugatePrior:
    r"""Conjugate prior of a Gaussian mixture: Dirichlet weights, normal-inverse-Wishart components.

    .. math:: \phi \sim \mathrm{Dirichlet}(\alpha), \quad
        \Sigma_k \sim \mathrm{IW}(\nu_0, \Psi_0), \quad
        \mu_k \mid \Sigma_k \sim N(m_0, \Sigma_k / \kappa_0)

    Parameters
    ----------
    concentration : array_like (K,)
        alpha, one per component; 1 is uniform over the weights.
    mean : array_like (D,) or (K, D)
        m0, in the units of the data.
    mean_precision : float or array_like (K,)
        kappa0, the number of observations that the prior mean counts as.
    degrees_of_freedom : float or array_like (K,)
        nu0; above D - 1 for a proper prior.
    scale : array_like (D, D) or (K, D, D)
        Psi0, in squared units of the data.

    Raises
    ------
    InputError
        If a shape is wrong or a value is out of range.

    References
    ----------
    Fraley & Raftery (2007), J. Classification 24; Murphy (2012), sec. 4.6.3.

    Examples
    --------
    >>> prior = ConjugatePrior([1.0, 1.0], [0.0], 0.01, 3.0, [[1.0]])
    >>> prior.n_components, prior.n_features, prior.is_proper
    (2, 1, True)
    """

    concentration: ArrayOrLike
    mean: ArrayOrLike
    mean_precision: ArrayOrLike
    degrees_of_freedom: ArrayOrLike
    scale: ArrayOrLike
    # Not a field: how a default prior differs from the sample moments of the data, in words.
    note = ""

    def __post_init__(self) -> None:
        concentration = as_numbers("concentration", self.concentration)
        positive = np.isfinite(concentration) & (concentration > 0)
        if concentration.ndim != 1 or not concentration.size or not positive.all():
            raise InputError(
                "concentration must be K positive numbers, one per component; "
                f"got {shorten(self.concentration)}"
            )
        n_components = concentration.size
        mean = as_numbers("mean", self.mean)
        if mean.ndim not in (1, 2):
            raise InputError(f"mean must have shape (D,) or (K, D); got {mean.shape}")
        n_features = mean.shape[-1]
        shapes = {
            "mean": (n_components, n_features),
            "mean_precision": (n_components,),
            "degrees_of_freedom": (n_components,),
            "scale": (n_components, n_features, n_features),
        }
        fields = {"concentration": concentration}
        for name, shape in shapes.items():
            value = as_numbers(name, getattr(self, name))
            require_finite(name, value)
            fits = value.shape == shape or value.shape == shape[1:]
            if not fits:
                raise InputError(
                    f"{name} must have the shape {shape} for {n_components} components and "
                    f"{n_features} features, or {shape[1:]} if it is the same for all components; "
                    f"got {value.shape}"
                )
            fields[name] = np.broadcast_to(value, shape).copy()
        if (fields["mean_precision"] < 0).any():
            raise InputError("mean_precision must be >= 0")
        fields["scale"] = symmetrized("scale", fields["scale"])
        lowest = np.linalg.eigvalsh(fields["scale"])[:, [0, -1]]
        if (lowest[:, 0] < -INDEFINITE * np.abs(lowest[:, 1])).any():
            raise InputError("scale has a negative eigenvalue; it must be positive semidefinite")
        for name, array in fields.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def trusted(cls, **fields: np.ndarray) -> "ConjugatePrior":
        """Build from computed arrays of full shape, without checks."""
        prior = object.__new__(cls)
        for name, array in fields.items():
            object.__setattr__(prior, name, array)
        return prior

    @classmethod
    def default(cls, x: ArrayOrLike | Observations, n_components: int) -> "ConjugatePrior":
        r"""Return the data-scaled default prior of Fraley & Raftery (2007).

        .. math:: \alpha = 1, \quad m_0 = \bar x, \quad \kappa_0 = 0.01, \quad \nu_0 = D + 2,
            \quad \Psi_0 = S^* / K^{2/D}

        The components divide the region of the data between them. The prior counts as a hundredth
        of an observation for each mean and as D + 2 observations for each covariance.

        The mean and the covariance S* are those of the data, with two exceptions. Entries more than
        12 robust standard deviations from the median of their column are moved to that distance, so
        that a few outliers do not widen every component. With N <= 2 D rows, or if columns are
        linearly dependent, the correlations are shrunk so that the prior is proper. The attribute
        `note` says which exceptions were applied.

        Parameters
        ----------
        x : array_like (N, D), or rows read block by block as for `fit`
            The data whose mean and covariance (divided by N - 1) set the scale.
        n_components : int
            K.

        Returns
        -------
        ConjugatePrior
        """
        if not isinstance(n_components, int | np.integer) or n_components < 1:
            raise InputError(f"n_components must be a whole number >= 1; got {n_components!r}")
        observations = Observations.of(x, what="x")
        moments = DefaultMoments.of(observations)
        prior = cls.from_moments(moments.mean, moments.covariance, n_components)
        object.__setattr__(prior, "note", moments.note(observations))
        return prior

    @classmethod
    def from_moments(
        cls, mean: np.ndarray, covariance: np.ndarray, n_components: int
    ) -> "ConjugatePrior":
        """Return the default prior for data with this mean and covariance.

        mean (D,), covariance (D, D).
        """
        n_features = len(mean)
        return cls(
            concentration=np.ones(n_components),
            mean=mean,
            mean_precision=DEFAULT_MEAN_PRECISION,
            degrees_of_freedom=n_features + 2.0,
            scale=covariance / n_components ** (2 / n_features),
        )

    @classmethod
    def flat(cls, n_components: int, n_features: int) -> "ConjugatePrior":
        """Return the flat prior, under which the posterior mode is the maximum-likelihood estimate.

        alpha = 1, kappa0 = 0, nu0 = -(D + 2) and Psi0 = 0 make the density constant in
        (phi, mu, Sigma).

        Parameters
        ----------
        n_components, n_features : int

        Returns
        -------
        ConjugatePrior
        """
        return cls(
            concentration=np.ones(n_components),
            mean=np.zeros(n_features),
            mean_precision=0.0,
            degrees_of_freedom=-(n_features + 2.0),
            scale=np.zeros((n_features, n_features)),
        )

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return self.mean.shape[0]

    @property
    def n_features(self) -> int:
        """Number of features, D."""
        return self.mean.shape[1]

    @property
    def is_exchangeable(self) -> bool:
        """Whether the prior is the same for all components, so that their order has no meaning."""
        fields = (
            self.concentration,
            self.mean,
            self.mean_precision,
            self.degrees_of_freedom,
            self.scale,
        )
        return all((array == array[0]).all() for array in fields)

    @property
    def is_proper(self) -> bool:
        """Whether the prior integrates to one, which sampling from it requires."""
        if not (self.mean_precision > 0).all():
            return False
        if not (self.degrees_of_freedom > self.n_features - 1).all():
            return False
        try:
            self._scale_factors()
        except InputError:
            return False
        return True

    @property
    def counts_no_rows(self) -> bool:
        """Whether it counts as no rows for means and covariances, like `flat`, with any scale."""
        return bool(
            not self.mean_precision.any()
            and (self.degrees_of_freedom == -(self.n_features + 2)).all()
        )

    @property
    def spread(self) -> np.ndarray | None:
        """Standard deviations (D,) that a proper prior expects of the rows of a component."""
        if not self.is_proper:
            return None
        variances = np.einsum("kjj->kj", self.scale) / self.degrees_of_freedom[:, None]
        return np.sqrt(variances.mean(axis=0))

    def require_proper(self) -> None:
        """Check that the prior is proper, as required to sample from it or from the posterior."""
        if not self.is_proper:
            raise InputError(
                "prior is improper, so the posterior may be improper too: give mean_precision > 0, "
                "degrees_of_freedom > D - 1 and a positive-definite scale"
            )

    def _scale_factors(self) -> np.ndarray:
        return cholesky(self.scale, "scale")

    def posterior(self, statistics: SufficientStatistics) -> "ConjugatePrior":
        r"""Return the conjugate posterior given sufficient statistics, of the same family.

        With n_k, the mean :math:`\bar x_k` and the scatter W_k of component k,

        .. math::
            \alpha_k' &= \alpha_k + n_k, \qquad \kappa_k' = \kappa_k + n_k, \qquad
            \nu_k' = \nu_k + n_k \\
            m_k' &= (\kappa_k m_k + n_k \bar x_k) / \kappa_k' \\
            \Psi_k' &= \Psi_k + W_k + \frac{\kappa_k n_k}{\kappa_k'}
                (\bar x_k - m_k)(\bar x_k - m_k)^\top

        Parameters
        ----------
        statistics : SufficientStatistics

        Returns
        -------
        ConjugatePrior

        References
        ----------
        Murphy (2012), eqs. 4.209 to 4.214.
        """
        count = statistics.count
        precision = self.mean_precision + count
        # An empty component under kappa0 = 0 has no mean; it keeps its prior mean, and the caller
        # sees the empty count.
        share = np.divide(count, precision, out=np.zeros_like(count), where=precision > 0)
        distance = statistics.mean - self.mean
        pull = (self.mean_precision * share)[:, None, None]
        return ConjugatePrior.trusted(
            concentration=self.concentration + count,
            mean=self.mean + share[:, None] * distance,
            mean_precision=precision,
            degrees_of_freedom=self.degrees_of_freedom + count,
            scale=self.scale
            + statistics.scatter
            + pull * distance[:, :, None] * distance[:, None, :],
        )

    def mode(self) -> Parameters:
        r"""Return the joint mode of (phi, mu, Sigma).

        .. math:: \phi_k = \frac{\alpha_k - 1}{\sum_j (\alpha_j - 1)}, \qquad \mu_k = m_k, \qquad
            \Sigma_k = \frac{\Psi_k}{\nu_k + D + 2}

        Returns
        -------
        theta : Parameters

        Raises
        ------
        InputError
            If the density has no mode inside the parameter space.

        See Also
        --------
        bayes_gmm.model.structures.prior.StructuredPrior.mode : For other covariance structures.
        """
        spread = self.degrees_of_freedom + self.n_features + 2
        weights = weights_at_the_mode(self.concentration, spread)
        return Parameters.trusted(weights, self.mean, self.scale / spread[:, None, None])

    def log_density(self, parameters: Parameters) -> float:
        r"""Log prior density of (phi, mu, Sigma).

        .. math::
            \log p(\theta) = \sum_k (\alpha_k - 1) \log \phi_k - \tfrac12 \sum_k \left[
            (\nu_k + D + 2) \log|\Sigma_k| + \mathrm{tr}(\Psi_k \Sigma_k^{-1})
            + \kappa_k \lVert L_k^{-1}(\mu_k - m_k) \rVert^2 \right] + c

        Parameters
        ----------
        parameters : Parameters

        Returns
        -------
        float
            Normalized if the prior is proper, and with c = 0 otherwise, so that the flat prior has
            log density zero everywhere.
        """
        theta = parameters
        return float(self.log_densities(theta.weights, theta.means, theta.choleskys))

    def log_densities(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> np.ndarray:
        """Log prior densities of many mixtures at once; see `log_density`.

        weights (..., K), means (..., K, D), factors (..., K, D, D) -> (...).
        """
        return self.log_density_by_part(weights, means, factors).total

    def log_density_by_part(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> LogPrior:
        r"""Log prior densities of many mixtures, part by part.

        .. math::
            \log p(\phi) &= \sum_k (\alpha_k - 1) \log \phi_k + c \\
            \log p(\mu_k \mid \Sigma_k) &= -\tfrac12 \left[ \log|\Sigma_k|
            + \kappa_k \lVert L_k^{-1}(\mu_k - m_k) \rVert^2 \right] + c \\
            \log p(\Sigma_k) &= -\tfrac12 \left[ (\nu_k + D + 1) \log|\Sigma_k|
            + \mathrm{tr}(\Psi_k \Sigma_k^{-1}) \right] + c

        weights (..., K), means (..., K, D), factors (..., K, D, D).
        """
        parts, constant = self.log_kernels(weights, means, factors), self.log_normalizers
        return LogPrior(*(a + b for a, b in zip(parts, constant, strict=True)))

    def log_kernels(self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray) -> LogPrior:
        """The terms of `log_density_by_part` that depend on the parameters."""
        n_features = self.n_features
        flat = factors.reshape(-1, n_features, n_features)
        whitener = inverse_factors(flat).reshape(factors.shape)
        log_det = 2 * np.log(np.einsum("...ii->...i", factors)).sum(axis=-1)
        whitened_scale = np.matmul(whitener, self.scale)
        trace = np.einsum("...ij,...ij->...", whitened_scale, whitener)
        distance = np.einsum("...ij,...j->...i", whitener, means - self.mean)
        squared = (distance**2).sum(axis=-1)
        return LogPrior(
            log_powers(weights, self.concentration),
            -0.5 * (log_det + self.mean_precision * squared),
            -0.5 * ((self.degrees_of_freedom + n_features + 1) * log_det + trace),
        )

    @property
    def log_normalizer(self) -> float:
        """Log of the normalizing constant; 0 if the prior is improper."""
        return float(self.log_normalizers.total)

    @cached_property
    def log_normalizers(self) -> LogPrior:
        """Logs of the normalizing constants of each part; 0 if the prior is improper."""
        if not self.is_proper:
            return LogPrior(0.0, np.zeros(self.n_components), np.zeros(self.n_components))
        n_features, nu = self.n_features, self.degrees_of_freedom
        log_wishart = (
            nu * np.log(np.einsum("kii->ki", self._scale_factors())).sum(axis=1)
            - 0.5 * nu * n_features * np.log(2)
            - np.array([multigammaln(half, n_features) for half in 0.5 * nu])
        )
        of_means = log_normals(self.mean_precision, n_features)
        return LogPrior(log_dirichlet(self.concentration), of_means, log_wishart)

    def sample(self, rng: np.random.Generator) -> Parameters:
        r"""Return one draw of (phi, mu, Sigma).

        The precision is drawn by Bartlett's decomposition: with C C' = Psi^-1 and T lower
        triangular, T_ii^2 ~ chi2(nu - i + 1), T_ij ~ N(0, 1), the precision is (C T)(C T)'.

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        theta : Parameters

        Raises
        ------
        InputError
            If the prior is improper.

        References
        ----------
        Bartlett (1933); Smith & Hocking (1972), Algorithm AS 53.
        """
        self.require_proper()
        n_components, n_features = self.mean.shape
        whitener_of_scale = inverse_factors(self._scale_factors())
        means = np.empty((n_components, n_features))
        covariances = np.empty((n_components, n_features, n_features))
        for k in range(n_components):
            root = wishart_root(self.degrees_of_freedom[k], whitener_of_scale[k], rng)
            covariances[k] = root @ root.T
            noise = rng.standard_normal(n_features)
            means[k] = self.mean[k] + root @ noise / np.sqrt(self.mean_precision[k])
        return Parameters(rng.dirichlet(self.concentration), means, covariances)

    def rescale(self, shift: np.ndarray, scale: np.ndarray) -> "ConjugatePrior":
        """Return the prior of the parameters of shift + scale * x.

        Parameters
        ----------
        shift, scale : array_like (D,)
            A change of origin and units per feature; scale must be positive.

        Returns
        -------
        ConjugatePrior
        """
        scale = np.asarray(scale, dtype=float)
        return ConjugatePrior(
            self.concentration,
            shift + scale * self.mean,
            self.mean_precision,
            self.degrees_of_freedom,
            self.scale * np.outer(scale, scale),
        )


def weights_at_the_mode(concentration: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the weights (K,) at a joint mode; `spread` (K,) divides the covariances."""
    excess = concentration - 1
    if not (excess >= 0).all() or excess.sum() <= 0 or not (spread > 0).all():
        raise InputError(
            "the prior has no joint mode: it needs concentration >= 1, not all equal to 1, and "
            "degrees_of_freedom > -(D + 2)"
        )
    return excess / excess.sum()


def log_normals(mean_precision: np.ndarray, n_features: int) -> np.ndarray:
    """Logs of the normalizing constants of the means, without the covariances, (K,)."""
    return 0.5 * n_features * (np.log(mean_precision) - LOG_2PI)
