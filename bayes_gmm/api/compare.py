"""Comparison of point estimates with a posterior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.results.comparison import Comparison


def compare(
    point: xr.DataTree
    | Parameters
    | Sequence[xr.DataTree | Parameters]
    | Mapping[str, xr.DataTree | Parameters],
    posterior: xr.DataTree,
    *,
    ci_prob: float = 0.95,
) -> Comparison:
    """Compare point estimates with a posterior, parameter by parameter.

    Parameters
    ----------
    point : DataTree, Parameters, or a sequence or mapping of them
        Results of `fit`. Several are labelled by their estimator (MLE, MAP) or by the keys of the
        mapping. Their components are matched to those of the posterior. Standard errors from the
        observed information are included for comparison with the posterior sd, if they take less
        than about a second. An estimate under a constraint that the posterior does not have, such
        as a covariance structure, is compared too, and the comparison says so.
    posterior : DataTree
        A result of `sample` for the same data.
    ci_prob : float
        Probability of the credible intervals, equal-tailed.

    Returns
    -------
    Comparison
        Prints as a table. If a draw has a higher likelihood than a maximum-likelihood estimate, EM
        is run from that draw, and the comparison says whether the fit missed a better optimum.

    Raises
    ------
    InputError
        If the results belong to different data, or have different numbers of components.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> faithful = bg.datasets.load("faithful")
    >>> mle = bg.fit(faithful, 2, seed=1)
    >>> posterior = bg.sample(faithful, 2, seed=1, progressbar=False)
    >>> table = bg.compare(mle, posterior).table
    >>> bool((table["z MLE"].abs() < 2).all())
    True
    """
    from bayes_gmm.results.compare import compare as of_results
    from bayes_gmm.results.compare import named

    found = of_results(point, posterior, ci_prob=ci_prob)
    for name, result in named(point).items():
        if name in found.surpassed and _can_be_checked(result):
            found = found.with_em_from_draw(name, *_em_from_draw(result, posterior))
    return found


def _can_be_checked(result: Any) -> bool:
    """Whether a result of `fit` keeps its rows and the optima of its search."""
    from bayes_gmm.results.reading import keeps_rows

    if "optimizer_result" not in result.children or not keeps_rows(result):
        return False
    return "optimum_objective" in result["optimizer_result"]


def _em_from_draw(result: Any, posterior: xr.DataTree) -> tuple[str, float]:
    """Run EM from the draw with the highest likelihood; return the finding and the maximum."""
    from bayes_gmm.inference.em.missed import judge, reached
    from bayes_gmm.model.parameters import Parameters
    from bayes_gmm.results.reading import Fitted, draws_of

    fitted, search = Fitted.of(result), result["optimizer_result"]
    heights = posterior["invariants"]["log_likelihood"].to_numpy()
    best = np.unravel_index(heights.argmax(), heights.shape)
    draw = Parameters(*(array[best] for array in draws_of(posterior)))
    end, own = (
        reached(fitted.observations, start, fitted.structure) for start in (draw, fitted.parameters)
    )
    known = search["optimum_objective"].to_numpy()
    meaning = judge(end, own, float(search["log_likelihood"]), known)
    return meaning, np.nan if end is None else end.log_likelihood
