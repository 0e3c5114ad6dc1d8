"""The lower bound of variational Bayes written out once more, term by term, for q of any fields.

    ELBO = sum_n log sum_k exp E log{phi_k N(x_n; mu_k, Lambda_k^-1)}
           + E log p(phi) + H q(phi) + sum_k {E log p(mu_k, Lambda_k) + H q(mu_k, Lambda_k)}

with the precisions Wishart, as in Bishop (2006), eqs. 10.64 to 10.77. Entropies are SciPy's, and
nothing is shared with the package.
"""

import numpy as np
from scipy import stats
from scipy.special import digamma, gammaln, logsumexp, multigammaln


class Fields:
    """The fields of q, alpha (K,), m (K, D), kappa (K,), nu (K,), Psi (K, D, D)."""

    def __init__(self, alpha, m, kappa, nu, psi):
        self.alpha, self.m, self.kappa, self.nu, self.psi = alpha, m, kappa, nu, psi

    @classmethod
    def of(cls, q):
        """Take the fields of a ConjugatePrior."""
        return cls(
            q.concentration, q.mean, q.mean_precision, q.degrees_of_freedom, np.array(q.scale)
        )

    def pack(self):
        """Numbers without bounds, one for each free one."""
        d = self.m.shape[1]
        factors = np.linalg.cholesky(self.psi)
        log_diagonal = np.log(np.einsum("kii->ki", factors))
        below = factors[:, *np.tril_indices(d, -1)]
        numbers = (np.log(self.alpha), self.m, np.log(self.kappa), np.log(self.nu - d + 1))
        return np.concatenate([np.ravel(part) for part in (*numbers, log_diagonal, below)])

    @classmethod
    def unpack(cls, numbers, k, d):
        sizes = np.cumsum([k, k * d, k, k, k * d])
        alpha, m, kappa, nu, diagonal, below = np.split(numbers, sizes)
        factors = np.zeros((k, d, d))
        factors[:, np.arange(d), np.arange(d)] = np.exp(diagonal).reshape(k, d)
        factors[:, *np.tril_indices(d, -1)] = below.reshape(k, -1)
        psi = factors @ factors.swapaxes(1, 2)
        return cls(np.exp(alpha), m.reshape(k, d), np.exp(kappa), np.exp(nu) + d - 1, psi)


def lower_bound(x, prior, q):
    """ELBO of rows (N, D), the labels as good as they can be; prior and q are `Fields`."""
    n_components, d = q.m.shape
    log_weights = digamma(q.alpha) - digamma(q.alpha.sum())
    log_rho, rest = np.empty((len(x), n_components)), 0.0
    for k in range(n_components):
        w, w0 = np.linalg.inv(q.psi[k]), np.linalg.inv(prior.psi[k])
        logs = digamma((q.nu[k] + 1 - np.arange(1, d + 1)) / 2).sum()
        log_det = logs + d * np.log(2) + np.linalg.slogdet(w)[1]
        gap, shift = x - q.m[k], q.m[k] - prior.m[k]
        squared = d / q.kappa[k] + q.nu[k] * np.einsum("ni,ij,nj->n", gap, w, gap)
        log_rho[:, k] = log_weights[k] + 0.5 * (log_det - d * np.log(2 * np.pi) - squared)
        away = d / q.kappa[k] + q.nu[k] * shift @ w @ shift
        log_mean = 0.5 * (
            d * np.log(prior.kappa[k] / (2 * np.pi)) + log_det - prior.kappa[k] * away
        )
        log_b = -prior.nu[k] / 2 * np.linalg.slogdet(w0)[1] - (
            prior.nu[k] * d / 2 * np.log(2) + multigammaln(prior.nu[k] / 2, d)
        )
        trace = q.nu[k] * np.trace(prior.psi[k] @ w)
        log_precision = log_b + 0.5 * (prior.nu[k] - d - 1) * log_det - 0.5 * trace
        of_mean = 0.5 * (d * (1 + np.log(2 * np.pi)) - d * np.log(q.kappa[k]) - log_det)
        rest += log_mean + log_precision + of_mean + stats.wishart(q.nu[k], w).entropy()
    if n_components > 1:
        rest += gammaln(prior.alpha.sum()) - gammaln(prior.alpha).sum()
        rest += (prior.alpha - 1) @ log_weights + stats.dirichlet(q.alpha).entropy()
    return float(logsumexp(log_rho, axis=1).sum() + rest)
