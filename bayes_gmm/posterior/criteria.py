r"""Information criteria, to choose a number of components and a covariance structure.

All are on the scale of -2 log-likelihood, where smaller is better. (mclust prints the negative of
BIC and ICL, where larger is better.)
"""

import numpy as np

NAMES = ("bic", "icl", "aic")


def criteria(
    log_likelihood: float, n_parameters: float, n_rows: float, entropy: float
) -> dict[str, float]:
    r"""Information criteria of a fit.

    .. math::
        \mathrm{BIC} = -2 L + p \log N, \qquad
        \mathrm{ICL} = \mathrm{BIC} + 2 H, \qquad
        \mathrm{AIC} = -2 L + 2 p

    Schwarz (1978); Akaike (1974); Biernacki, Celeux & Govaert (2000), IEEE PAMI 22, for ICL.

    L is the log-likelihood, p the number of free parameters, N of rows, H the entropy of the
    responsibilities in nats.
    """
    bic = -2 * log_likelihood + n_parameters * np.log(n_rows)
    return {
        "bic": float(bic),
        "icl": float(bic + 2 * entropy),
        "aic": float(-2 * log_likelihood + 2 * n_parameters),
    }
