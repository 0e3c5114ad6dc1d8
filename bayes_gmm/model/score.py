r"""The score: the gradient of the log-likelihood, by Fisher's identity.

    grad log p(x) = E[ grad log p(x, z) | x ]

The gradient of the log of a sum is an expectation of gradients that are easy, and the expectation
needs only the sufficient statistics that EM computes already. Setting it to zero couples all
parameters through the responsibilities, which is why there is no closed form.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.model.normal import inverse_factors
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import SufficientStatistics


class Score(NamedTuple):
    """Gradient of the log-likelihood in free coordinates."""

    log_weights: np.ndarray  # (K,), with respect to log phi_k, each taken as free of the others
    means: np.ndarray  # (K, D), with respect to mu_k
    # (K, D, D), with respect to the lower triangle of L_k, Sigma_k = L_k L_k'
    choleskys: np.ndarray


def score(parameters: Parameters, statistics: SufficientStatistics) -> Score:
    r"""Gradient of the log-likelihood, from statistics centered at the current means.

    .. math::
        \partial/\partial\log\phi_k = N_k, \qquad
        \partial/\partial\mu_k = A_k^\top A_k F_k, \qquad
        \partial/\partial L_k = \mathrm{tril}\{A_k^\top (A_k S_k A_k^\top - N_k I)\}

    with A_k = L_k^-1 and N_k, F_k, S_k the count, first and second moment about mu_k.

    Fisher's identity: Dempster, Laird & Rubin (1977); Cappe, Moulines & Ryden (2005), Prop. 10.1.6.
    """
    whitener = inverse_factors(parameters.choleskys)
    transposed = whitener.swapaxes(1, 2)
    first = np.einsum("kij,kj->ki", whitener, statistics.first)
    second = whitener @ statistics.second @ transposed
    excess = second - statistics.count[:, None, None] * np.eye(parameters.n_features)
    return Score(
        log_weights=statistics.count,
        means=np.einsum("kij,kj->ki", transposed, first),
        choleskys=np.tril(transposed @ excess),
    )
