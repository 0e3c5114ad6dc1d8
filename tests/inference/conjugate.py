"""One component: the posterior of its mean and covariance is known exactly."""

import arviz as az
import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics

SHIFT, SCALE = np.array([1e8, -2e3]), np.array([1.0, 1e-5])


class Conjugate:
    """Correlated rows at 1e8 sds from zero and in odd units."""

    def __init__(self):
        rng = np.random.default_rng(5)
        x = SHIFT + SCALE * rng.multivariate_normal([0, 0], [[1.0, 0.8], [0.8, 1.0]], size=40)
        self.observations = Observations.of(x)
        self.prior = ConjugatePrior.default(x, 1)
        statistics = SufficientStatistics.of(
            x, np.ones((40, 1)), self.observations.origin[None], log_normalizer=0.0
        )
        self.posterior = self.prior.posterior(statistics)
        # The mode itself: there every entry of the gradient is zero, or nearly.
        self.start = Parameters([1.0], self.posterior.mean, self.posterior.scale / (40 + 2 * 2 + 4))

    def z_scores(self, draws):
        """How many Monte Carlo errors the first and second moments of draws are off."""
        means = (draws["means"].to_numpy()[..., 0, :] - SHIFT) / SCALE
        covariances = draws["covariances"].to_numpy()[..., 0, :, :] / np.outer(SCALE, SCALE)
        scale = self.posterior.scale[0] / np.outer(SCALE, SCALE)
        degrees, precision = self.posterior.degrees_of_freedom[0], self.posterior.mean_precision[0]
        expected_covariance = scale / (degrees - 3)  # E Sigma = Psi / (nu - D - 1)
        expected_square = expected_covariance / precision  # Cov mu = E Sigma / kappa
        gap = means - (self.posterior.mean[0] - SHIFT) / SCALE
        checks = {
            "mean of mu": (gap, np.zeros(2)),
            "covariance of mu": (gap[..., :, None] * gap[..., None, :], expected_square),
            "mean of Sigma": (covariances, expected_covariance),
            "mean of Sigma^-1": (np.linalg.inv(covariances), degrees * np.linalg.inv(scale)),
        }
        return {
            what: (values.mean(axis=(0, 1)) - expected) / standard_error_of_mean(values)
            for what, (values, expected) in checks.items()
        }


def standard_error_of_mean(draws):
    """Monte Carlo standard error of the mean of draws (chain, draw, ...)."""
    flat = draws.reshape(*draws.shape[:2], -1)
    errors = [az.mcse(flat[..., i], method="mean") for i in range(flat.shape[-1])]
    return np.reshape(errors, draws.shape[2:])
