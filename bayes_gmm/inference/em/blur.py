r"""Rows that are blurred: each stands for a small normal cloud about it, x_n + e with e ~ N(0, R).

The likelihood of a mixture is unbounded because a component may shrink onto a row. It cannot shrink
onto a cloud. A log-quadratic function averaged over the cloud is the same function with another
offset, and moments averaged over it gain its variance,

    E log rho_k(x + e) = log rho_k(x) - 1/2 tr(whitener_k R whitener_k'),    E d d' = d d' + R,

so that EM on clouds is EM on rows with two small changes to the pass. Its M-step adds R to every
covariance, as a ridge does, and its objective, sum_n log sum_k exp E log rho_k(x_n + e), never
falls; by Jensen's inequality it is a lower bound of the expected log-likelihood of the cloud.
"""

from dataclasses import replace

import numpy as np

from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics


def blurred(expect: Expect, variances: np.ndarray) -> Expect:
    """Turn a pass over rows into one over clouds about them.

    Parameters
    ----------
    expect : callable
    variances : ndarray (D,)
        Diagonal of R, in the coordinates of the pass.

    Returns
    -------
    callable
        LogQuadratic -> SufficientStatistics.
    """

    def expect_clouds(log_quadratic: LogQuadratic) -> SufficientStatistics:
        whitener = log_quadratic.whitener
        loss = 0.5 * (whitener**2 * variances).sum(axis=(1, 2))
        statistics = expect(log_quadratic._replace(offset=log_quadratic.offset - loss))
        spread = statistics.count[:, None, None] * np.diag(variances)
        return replace(statistics, second=statistics.second + spread)

    return expect_clouds
