r"""EM on one page, as the lecture notes have it. `bayes_gmm.inference.em` does the same, fast.

    E-step    r_nk = phi_k N(x_n; mu_k, Sigma_k) / sum_j phi_j N(x_n; mu_j, Sigma_j)
    M-step    N_k = sum_n r_nk     xbar_k = sum_n r_nk x_n / N_k
              W_k = sum_n r_nk (x_n - xbar_k)(x_n - xbar_k)'

              phi_k   = (N_k + alpha_k - 1) / sum_j (N_j + alpha_j - 1)
              mu_k    = (kappa_k m_k + N_k xbar_k) / (kappa_k + N_k)
              Sigma_k = (Psi_k + W_k + kappa_k N_k / (kappa_k + N_k) (xbar_k - m_k)(xbar_k - m_k)')
                        / (nu_k + N_k + D + 2)

With `ConjugatePrior.flat`, alpha = 1, kappa = 0, nu = -(D + 2) and Psi = 0, that is maximum
likelihood, and Sigma_k = W_k / N_k. No step lowers the objective, log p(x | theta) + log p(theta).
"""

import numpy as np
from scipy.special import logsumexp

from bayes_gmm.model import normal
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior


def em(
    x: np.ndarray, theta: Parameters, prior: ConjugatePrior, n_steps: int
) -> tuple[Parameters, list]:
    """Take steps of EM with rows x (N, D); return where they end, and the objective all the way."""
    objective = []
    for step in range(n_steps + 1):
        # E-step: how probable each label is given the row, r (N, K), by Bayes' rule.
        components = zip(theta.weights, theta.means, theta.covariances, strict=True)
        log_joint = np.column_stack(
            [np.log(phi) + normal.log_density(x, mu, sigma) for phi, mu, sigma in components]
        )
        log_density = logsumexp(log_joint, axis=1)
        r = np.exp(log_joint - log_density[:, None])
        objective.append(float(log_density.sum() + prior.log_density(theta)))
        if step == n_steps:
            break

        # M-step: counts, means and scatters as if r were shares of rows, then the posterior mode.
        n = r.sum(axis=0)
        mean = r.T @ x / n[:, None]
        scatter = [(r[:, k] * (x - mean[k]).T) @ (x - mean[k]) for k in range(len(n))]
        alpha, kappa, m = prior.concentration, prior.mean_precision, prior.mean
        pull = [k * np.outer(d, d) for k, d in zip(kappa * n / (kappa + n), mean - m, strict=True)]
        divisor = prior.degrees_of_freedom + n + x.shape[1] + 2
        theta = Parameters(
            (n + alpha - 1) / (n + alpha - 1).sum(),
            (kappa[:, None] * m + n[:, None] * mean) / (kappa + n)[:, None],
            (prior.scale + scatter + pull) / divisor[:, None, None],
        )
    return theta, objective
