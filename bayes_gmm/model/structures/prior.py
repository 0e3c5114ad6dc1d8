r"""The prior of components that share parts of their covariances, made of the conjugate prior.

    log p(Sigma_1..K) = -1/2 sum_k { c_k log|Sigma_k| + tr(P_k Sigma_k^-1) } + constant

    c_k = s power(nu_k)     P_k = s Psi_k     s = parameters of the structure / (K q)

`power` is what Sigma_k ~ IW(nu_k, Psi_k) says in the structure: nu_k + D + 1 of a matrix, nu_k - D
+ 3 of a variance. A number that stands for several has a prior once, the geometric mean of theirs,
made to integrate to one. Hence the share s: of all that K covariances with q parameters each would
have to say, q = D of diagonals and D (D + 1) / 2 of matrices, it is as much as there are parameters
in the structure, 1 where nothing is shared, 1 / K where all is, 1 / D of spheres. With nu and Psi
the means over the components of nu_k and Psi_k, which are usually all the same,

    VVV   Sigma_k ~ IW(nu_k, Psi_k)               EEE   Sigma ~ IW(nu, Psi)
    VVI   s_kj ~ IG(a_k, Psi_kjj / 2)             EEI   s_j ~ IG(a, Psi_jj / 2)
    VII   s_k ~ IG(a_k, tr Psi_k / 2D)            EII   s ~ IG(a, tr Psi / 2D)

where a = (nu - D + 1) / 2, as a variance Sigma_jj has it under an inverse-Wishart density.
Where only parts are shared, in VEI, EVI, VEE, EVE, VVE, EEV, VEV and EVV, the prior is a density of
log volumes, contrasts of log variances and, with the uniform (Haar) measure, orientations,

    p(Sigma_1..K) prod_k |Sigma_k|^(s m / 2)  d log lambda  d log A  dHaar(D)       each part once

with m = 2 of diagonals and D + 1 of matrices. It is proper if the conjugate prior is: in the
logarithms l_kj of variances its exponent is -s / 2 sum_kj {(power - m) l_kj + p_kj exp(-l_kj)},
where power - m, which is nu_k - D + 1 or nu_k, is positive, and so are the diagonals p_kj of Psi_k
in any frame. Its constant is not known, and left out.

Rows add to c_k and P_k as they add to the fields of a conjugate prior. So all of it is kept as one,
`counted`, with degrees of freedom c_k - D - 1 and scale P_k: for VVV the prior itself.
"""

from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.prior_family import LogPrior, log_dirichlet
from bayes_gmm.model.priors import ConjugatePrior, log_normals, weights_at_the_mode
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import Structure


class StructuredPrior(NamedTuple):
    """A prior, or a posterior given the labels, of components with this structure.

    `counted` is described above; a prior that counts no rows, as the flat one, does so for every
    structure.
    """

    counted: ConjugatePrior
    structure: Structure
    is_proper: bool

    @classmethod
    def of(cls, prior: ConjugatePrior, structure: Structure) -> "StructuredPrior":
        """What a conjugate prior says of a structure."""
        if structure.is_unconstrained(prior.n_features):
            return cls(prior, structure, prior.is_proper)
        n_components, n_features = prior.mean.shape
        share = structure.share(n_components, n_features)
        power = share * structure.power(prior.degrees_of_freedom, n_features)
        counted = ConjugatePrior.trusted(
            concentration=prior.concentration,
            mean=prior.mean,
            mean_precision=prior.mean_precision,
            degrees_of_freedom=(
                prior.degrees_of_freedom if prior.counts_no_rows else power - n_features - 1
            ),
            scale=share * prior.scale,
        )
        return cls(counted, structure, prior.is_proper)

    @property
    def power(self) -> np.ndarray:
        """c_k, (K,)."""
        return self.counted.degrees_of_freedom + self.counted.n_features + 1

    def posterior(self, statistics: SufficientStatistics) -> "StructuredPrior":
        """Add rows with labels; see `ConjugatePrior.posterior`."""
        return self._replace(counted=self.counted.posterior(statistics))

    def mode(self, previous: np.ndarray | None = None) -> Parameters:
        r"""Return the joint mode of (phi, mu, Sigma).

        .. math:: \hat\Sigma = \arg\min \sum_k (c_k + 1) \log|\Sigma_k|
            + \mathrm{tr}(P_k \Sigma_k^{-1})

        The one is of the mean, whose prior is as wide as its covariance. For EEE the covariance is
        :math:`\sum_k P_k / (K + \sum_k c_k)`. A structure without a closed form sets out from
        `previous` (K, D, D). Raises InputError if there is no mode inside the parameter space.
        """
        counted, spread = self.counted, self.power + 1
        weights = weights_at_the_mode(counted.concentration, spread)
        start = counted.scale if previous is None else previous
        covariances = self.structure.covariances(counted.scale, spread, start)
        return Parameters.trusted(weights, counted.mean, covariances)

    def sample(self, rng: np.random.Generator) -> Parameters:
        """Return one draw of (phi, mu, Sigma); of structures that are drawn."""
        counted, n_features = self.counted, self.counted.n_features
        means, covariances = np.empty_like(counted.mean), np.empty_like(counted.scale)
        for k in range(counted.n_components):
            if k == 0 or not self.structure.is_common:
                power, scale = self._of(k)
                root = self.structure.draw(power - n_features - 1, scale, rng)
            covariances[k] = root @ root.T
            noise = rng.standard_normal(n_features) / np.sqrt(counted.mean_precision[k])
            means[k] = counted.mean[k] + root @ noise
        return Parameters(rng.dirichlet(counted.concentration), means, covariances)

    def expectations(self) -> tuple[np.ndarray, np.ndarray]:
        """E log|Sigma_k^-1| (K,) and the inverses of E Sigma_k^-1 (K, D, D), where it is drawn."""
        n_components = self.counted.n_components
        found = [
            self.structure.expectations(*self._of(k))
            for k in range(1 if self.structure.is_common else n_components)
        ]
        log_det, covariances = map(np.array, zip(*found, strict=True))
        return (
            np.broadcast_to(log_det, n_components),
            np.broadcast_to(covariances, self.counted.scale.shape),
        )

    def log_density(self, parameters: Parameters) -> float:
        """Log density of (phi, mu, Sigma), over the numbers that make up the covariances.

        Normalized where the prior is proper and the structure is drawn.
        """
        theta = parameters
        return float(self.log_densities(theta.weights, theta.means, theta.choleskys))

    def log_densities(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> np.ndarray:
        """Log densities of many mixtures at once; see `ConjugatePrior.log_densities`."""
        return self.log_density_by_part(weights, means, factors).total

    def log_density_by_part(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> LogPrior:
        """Log densities of many mixtures, part by part; see `ConjugatePrior.log_density_by_part`.

        Where all components share one covariance, that part is (...), without an axis for them.
        """
        parts = self.counted.log_kernels(weights, means, factors)
        covariances = parts.covariances
        if self.structure.is_common:
            covariances = np.sum(covariances, axis=-1)
        constant = self.log_normalizers
        return LogPrior(
            parts.weights + constant.weights,
            parts.means + constant.means,
            covariances + constant.covariances,
        )

    @property
    def log_normalizer(self) -> float:
        """Log of what makes the density integrate to one, as far as that is known; else 0."""
        return float(self.log_normalizers.total)

    @property
    def log_normalizers(self) -> LogPrior:
        """Logs of the constants of each part."""
        counted, structure = self.counted, self.structure
        n_components, n_features = counted.mean.shape
        of_covariances: Any = 0.0 if structure.is_common else np.zeros(n_components)
        if not self.is_proper:
            return LogPrior(0.0, np.zeros(n_components), of_covariances)
        if structure.is_drawn:
            parts = range(1 if structure.is_common else n_components)
            found = np.array([-structure.log_integral(*self._of(k)) for k in parts])
            of_covariances = found[0] if structure.is_common else found
        return LogPrior(
            log_dirichlet(counted.concentration),
            log_normals(counted.mean_precision, n_features),
            of_covariances,
        )

    def _of(self, k: int) -> tuple[float, np.ndarray]:
        """C and P of one component, or of all together if they share their covariance."""
        if self.structure.is_common:
            return float(self.power.sum()), self.counted.scale.sum(axis=0)
        return float(self.power[k]), self.counted.scale[k]


def within(prior: Any, structure: Structure) -> Any:
    """What a conjugate prior says of a structure; any other prior is of VVV, and stays as it is."""
    if not isinstance(prior, ConjugatePrior) or structure.is_unconstrained(prior.n_features):
        return prior
    return StructuredPrior.of(prior, structure)
