r"""Exact posteriors of tiny mixtures whose components share their covariances, or parts of them.

As in `exact_enumeration`, a sum over all K^N labellings. Given the labels means integrate out, and
what is left are rows about m_k with scatter R_k = sum d d' - (sum d)(sum d)' / kappa_k'; then
covariances do, by the constants of the inverse-Wishart and of inverse-gamma densities.

    VVV, EEE    IW(nu, Psi), Psi + R, nu + n               for each k, or of all together
    VVI, EEI    IG(a, b_j), b_j + R_jj / 2, a + n / 2      a = (nu - D + 1) / 2, b = Psi / 2
    VII, EII    IG(a, mean of b), b + tr R / 2, a + n D / 2

Nothing here is shared with the package but the container of the prior.
"""

from itertools import product

import numpy as np
from exact_enumeration import _z_score, normal_density, points_of
from scipy.special import gammaln, logsumexp, multigammaln

from bayes_gmm.model.priors import ConjugatePrior


class StructuredExact:
    """Posterior expectations of rows (N, D) under a prior and one of the six structures.

    Attributes
    ----------
    co_clustering : ndarray (N, N)
    weights : ndarray (K,)
    predictive : ndarray (M,)
        Density of a new row at points (M, D), by default `points_of(x)`.
    log_evidence : float
        log p(x).
    within : ndarray (D, D)
        E sum_k w_k Sigma_k.
    """

    def __init__(
        self, x: np.ndarray, prior: ConjugatePrior, code: str, points: np.ndarray | None = None
    ):
        self.x, self.prior, self.code = np.asarray(x, float), prior, code
        n_rows, n_components = len(x), prior.n_components
        labellings = [np.array(z) for z in product(range(n_components), repeat=n_rows)]
        alpha = prior.concentration
        counts = np.array([np.bincount(z, minlength=n_components) for z in labellings])
        log_labels = (gammaln(alpha + counts) - gammaln(alpha)).sum(axis=1)
        log_rows = np.array([self.log_marginal(self.x, z) for z in labellings])
        log_joint = log_labels + log_rows
        self.log_evidence = float(
            logsumexp(log_joint) + gammaln(alpha.sum()) - gammaln(alpha.sum() + n_rows)
        )
        chance = np.exp(log_joint - logsumexp(log_joint))
        same = [z[:, None] == z for z in labellings]
        self.co_clustering = np.tensordot(chance, same, 1)
        share = (alpha + counts) / (alpha.sum() + n_rows)
        self.weights = chance @ share
        self.within = sum(
            p * np.einsum("k,kij->ij", w, self.mean_covariances(z))
            for p, w, z in zip(chance, share, labellings, strict=True)
        )
        # p(y | x) = sum_z p(z | x) sum_k w_k p(x, y | z, y in k) / p(x | z)
        points = points_of(self.x) if points is None else points
        self.predictive = np.zeros(len(points))
        for place, point in enumerate(points):
            more = np.vstack([self.x, point])
            self.predictive[place] = sum(
                p * w[k] * np.exp(self.log_marginal(more, np.append(z, k)) - log_row)
                for p, w, z, log_row in zip(chance, share, labellings, log_rows, strict=True)
                for k in range(n_components)
            )

    def _left(self, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Counts (K,) and scatters R_k (K, D, D)."""
        counts, scatters = [], []
        for k in range(self.prior.n_components):
            d = x[z == k] - self.prior.mean[k]
            total = d.sum(axis=0)
            counts.append(len(d))
            kappa = self.prior.mean_precision[k] + len(d)
            scatters.append(d.T @ d - np.outer(total, total) / kappa)
        return np.array(counts), np.array(scatters)

    def _numbers(self, x: np.ndarray, z: np.ndarray):
        """Parameters of the densities: before and after the rows, one for each that is drawn."""
        count, scatter = self._left(x, z)
        nu, psi, common = self.prior.degrees_of_freedom, self.prior.scale, self.code[0] == "E"
        if common:
            nu, psi = nu.mean(keepdims=True), psi.mean(axis=0, keepdims=True)
            count, scatter = count.sum(keepdims=True), scatter.sum(axis=0, keepdims=True)
        if self.code in ("VVV", "EEE"):
            return (nu, psi), (nu + count, psi + scatter)
        n_features = x.shape[1]
        a = np.repeat((nu - n_features + 1)[:, None] / 2, n_features, axis=1)
        b, r = np.einsum("kjj->kj", psi) / 2, np.einsum("kjj->kj", scatter) / 2
        n = np.repeat(count[:, None] / 2, n_features, axis=1)
        if self.code in ("VII", "EII"):
            a, b = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
            r, n = r.sum(axis=1, keepdims=True), n.sum(axis=1, keepdims=True)
        return (a, b), (a + n, b + r)

    def log_marginal(self, x: np.ndarray, z: np.ndarray) -> float:
        """log p(x | z)."""
        n_features = x.shape[1]
        kappa = self.prior.mean_precision
        count = np.bincount(z, minlength=self.prior.n_components)
        result = 0.5 * n_features * np.log(kappa / (kappa + count)).sum()
        before, after = self._numbers(x, z)
        if self.code in ("VVV", "EEE"):

            def constant(nu, psi):
                log_det = np.linalg.slogdet(psi)[1]
                gamma = np.array([multigammaln(n / 2, n_features) for n in nu])
                return (gamma - nu / 2 * log_det + nu * n_features / 2 * np.log(2)).sum()

        else:

            def constant(a, b):
                return (gammaln(a) - a * np.log(b)).sum()

        rest = constant(*after) - constant(*before)
        return float(result + rest - 0.5 * len(x) * n_features * np.log(2 * np.pi))

    def mean_covariances(self, z: np.ndarray) -> np.ndarray:
        """E Sigma_k given the labels, (K, D, D)."""
        n_components, n_features = self.prior.mean.shape
        _, (one, other) = self._numbers(self.x, z)
        if self.code in ("VVV", "EEE"):
            found = other / (one - n_features - 1)[:, None, None]
        else:
            found = (other / (one - 1))[..., None] * np.eye(n_features)
        return np.broadcast_to(found, (n_components, n_features, n_features))

    def z_scores(self, weights, means, covariances) -> dict[str, np.ndarray]:
        """Monte Carlo standard errors between the means of draws (chain, draw, ...) and these."""
        joint = weights[..., None, :] * normal_density(self.x, means, covariances)
        shares = joint / joint.sum(axis=-1, keepdims=True)
        at = normal_density(points_of(self.x), means, covariances)
        # Given the parameters two rows are labelled apart from each other.
        together = np.einsum("cdik,cdjk->cdij", shares, shares)
        together[..., np.arange(len(self.x)), np.arange(len(self.x))] = 1.0
        found = {
            "co_clustering": (together, self.co_clustering),
            "weights": (weights, self.weights),
            "predictive": (np.einsum("cdk,cdmk->cdm", weights, at), self.predictive),
            "within": (np.einsum("cdk,cdkij->cdij", weights, covariances), self.within),
        }
        return {
            name: np.array(
                [
                    _z_score(draws[:, :, *place], expected[place], False)
                    for place in np.ndindex(expected.shape)
                ]
            )
            for name, (draws, expected) in found.items()
        }
