r"""Criteria that weigh fit against size, to choose how many components and which structure.

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

    Parameters
    ----------
    log_likelihood : float
        L.
    n_parameters : float
        p, free parameters.
    n_rows : float
        N.
    entropy : float
        H, of the responsibilities, in nats; zero where every row's label is certain.

    Returns
    -------
    dict of str to float

    References
    ----------
    Schwarz (1978); Akaike (1974); Biernacki, Celeux & Govaert (2000), IEEE PAMI 22, for ICL.

    Examples
    --------
    >>> criteria(-100.0, 5, 50, 0.0)["aic"]
    210.0
    """
    bic = -2 * log_likelihood + n_parameters * np.log(n_rows)
    return {
        "bic": float(bic),
        "icl": float(bic + 2 * entropy),
        "aic": float(-2 * log_likelihood + 2 * n_parameters),
    }
