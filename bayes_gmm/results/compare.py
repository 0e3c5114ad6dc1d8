"""EM against the posterior: where each estimate lies among the draws, and what the draws add to it.

Every scalar of the mixture is one row: the estimates with their standard errors, the posterior
mean, sd and equal-tailed interval, and how far each estimate is from the posterior mean. The
log-likelihood at each estimate is held against its posterior distribution: at a maximum it exceeds
every draw, on average by half the number of parameters (a chi-squared over two), because draws are
never at the peak.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.convergence import Convergence, convergence
from bayes_gmm.posterior.draws import Scalar, catalogue, flatten
from bayes_gmm.posterior.identification import identify
from bayes_gmm.posterior.pivot import match
from bayes_gmm.posterior.predictive import log_likelihood, tails
from bayes_gmm.results.comparison import NOT_RUN, Comparison, constraint
from bayes_gmm.results.given import known_number
from bayes_gmm.results.reading import (
    draws_of,
    feature_names,
    invariants,
    is_point,
    is_posterior,
    keeps_rows,
    n_observed,
    observed_rows,
    point_parameters,
    raw_draws,
    require_posterior,
    row_weights,
    structure_of,
    total_weight,
)
from bayes_gmm.results.remarks import by_component, rows_that_decide, stated
from bayes_gmm.results.standard_errors import quick_errors

Point = xr.DataTree | Parameters


def compare(
    point: Point | Sequence[Point] | Mapping[str, Point],
    posterior: xr.DataTree,
    *,
    ci_prob: float = 0.95,
) -> Comparison:
    """Lay point estimates beside a posterior, parameter by parameter; see `bayes_gmm.compare`."""
    lower, upper = tails(ci_prob)
    posterior = known_number(posterior)
    draws = draws_of(posterior)
    features = feature_names(posterior)
    pivot, structure = point_parameters(posterior), structure_of(posterior)
    scalars = catalogue(pivot.n_components, features)
    given = named(point)
    points, errors, heights, deciding = {}, [], [], []
    for name, result in given.items():
        theta = _checked(name, result, posterior)
        order = _matching(theta, pivot)
        points[name] = theta.reorder(order)
        heights.append(_log_likelihood(result, theta, posterior))
        errors.append(_standard_errors(result, order, scalars))
        rows = by_component(rows_that_decide(posterior, points[name]))
        deciding.append(" ".join(part for group in rows for part in stated(group)))
    values = flatten(*draws)
    estimates = np.stack(
        [flatten(theta.weights, theta.means, theta.covariances) for theta in points.values()]
    )
    mean, sd = values.mean(axis=(0, 1)), values.std(axis=(0, 1), ddof=1)
    interval = np.quantile(values, (lower, upper), axis=(0, 1))
    with np.errstate(divide="ignore", invalid="ignore"):  # a posterior of one draw has no sd
        z = (estimates - mean) / sd
    dataset = xr.Dataset(
        {
            "estimate": (("estimator", "parameter"), estimates),
            "standard_error": (("estimator", "parameter"), np.stack(errors)),
            "mean": ("parameter", mean),
            "sd": ("parameter", sd),
            "lower": ("parameter", interval[0]),
            "upper": ("parameter", interval[1]),
            "z": (("estimator", "parameter"), z),
            "quantile": (("estimator", "parameter"), _quantile(estimates, values)),
            "covered": (
                ("estimator", "parameter"),
                (interval[0] <= estimates) & (estimates <= interval[1]),
            ),
            "log_likelihood": ("estimator", heights),
            "rows_decide": ("estimator", deciding),
            "n_starts": ("estimator", [_n_starts(one) for one in given.values()]),
            "em_from_draw": ("estimator", [NOT_RUN for _ in points]),
            "em_from_draw_log_likelihood": ("estimator", np.full(len(points), np.nan)),
        },
        coords={
            "estimator": list(points),
            "maximizes_likelihood": (
                "estimator",
                [_estimator(one) == "MLE" for one in given.values()],
            ),
            "constraint": ("estimator", [constraint(one, structure) for one in given.values()]),
            "parameter": [scalar.name for scalar in scalars],
            **{
                name: ("parameter", [getattr(scalar, name) for scalar in scalars])
                for name in Scalar._fields
            },
        },
        attrs={
            "ci_prob": ci_prob,
            "n_chains": draws.n_chains,
            "n_draws": draws.n_draws,
            "n_observations": n_observed(posterior),
            "n_features": pivot.n_features,
            "n_components": pivot.n_components,
            "n_parameters": structure.n_free(pivot.n_components, pivot.n_features),
        },
    )
    dataset = _with_likelihood_of_draws(dataset, posterior, (lower, upper))
    dataset = _with_convergence(dataset, posterior, values)
    rhat = dataset["rhat"].sel(labelling="relabelled").to_numpy()
    n_rows = total_weight(posterior)
    why_not = identify(draws, scalars, rhat, n_rows, pivot, structure).reasons
    return Comparison(
        dataset.assign_coords(why_not=("parameter", [why_not[s.cluster] for s in scalars]))
    )


def named(point: Any) -> dict[str, Point]:
    """Give each point estimate its name."""
    if isinstance(point, Mapping) and not isinstance(point, xr.DataTree):
        by_name = {str(name): result for name, result in point.items()}
    else:
        several = list(point) if isinstance(point, list | tuple) else [point]
        by_name = {_estimator(result): result for result in several}
        if len(by_name) < len(several):
            raise InputError(
                "point holds two estimates of the same name: give a dict, such as "
                "{'first': first, 'second': second}"
            )
    if not by_name:
        raise InputError("point is empty: give at least one result of bg.fit")
    return by_name


def _estimator(result: Any) -> str:
    return str(result.attrs.get("estimator", "point")) if is_point(result) else "point"


def _n_starts(result: Any) -> int:
    """From how many starts an estimate was searched; 0 if that is not known."""
    known = is_point(result) and "optimizer_result" in result.children
    return result["optimizer_result"].sizes.get("start", 0) if known else 0


def _checked(name: str, result: Any, posterior: xr.DataTree) -> Parameters:
    """Read the parameters of a point estimate that belongs to the posterior."""
    if is_posterior(result):
        raise InputError(
            f"point {name!r} is a posterior: the point estimate comes first, as in "
            "compare(fit, posterior)"
        )
    theta = point_parameters(result)
    pivot = point_parameters(posterior)
    if theta.means.shape != pivot.means.shape:
        raise InputError(
            f"point {name!r} has {theta.n_components} components and {theta.n_features} features, "
            f"the posterior {pivot.n_components} and {pivot.n_features}: fit both alike"
        )
    if isinstance(result, Parameters):
        return theta
    if feature_names(result) != feature_names(posterior):
        raise InputError(
            f"point {name!r} has features {', '.join(feature_names(result))}, the posterior "
            f"{', '.join(feature_names(posterior))}: fit both to the same columns"
        )
    both_keep = keeps_rows(result) and keeps_rows(posterior)
    rows = [observed_rows(one) for one in (result, posterior) if both_keep]
    same = not both_keep or np.array_equal(rows[0], rows[1], equal_nan=True)
    same = same and np.array_equal(_weights(result), _weights(posterior))
    if not same or n_observed(result) != n_observed(posterior):
        raise InputError(
            f"point {name!r} was fitted to other data than the posterior, or to other row "
            "weights: fit both to the same rows, or compare bg.point_estimate(point)"
        )
    return theta


def _weights(result: xr.DataTree) -> np.ndarray:
    """How often each row counts."""
    weights = row_weights(result)
    return np.ones(n_observed(result)) if weights is None else weights


def _log_likelihood(result: Any, theta: Parameters, posterior: xr.DataTree) -> float:
    """Log-likelihood of a point estimate: as its fit has it, or by a pass over the rows."""
    if is_point(result) and not keeps_rows(posterior):
        return float(result["optimizer_result"]["log_likelihood"])
    return log_likelihood(theta, observed_rows(posterior), row_weights(posterior))


def _matching(theta: Parameters, pivot: Parameters) -> np.ndarray:
    """Which component of a point estimate is which of the posterior."""
    weights, means, covariances = theta.weights, theta.means, theta.covariances
    own = (weights[None, None], means[None, None], covariances[None, None])
    return match(*own, pivot).permutation[0, 0]


def _standard_errors(result: Any, order: np.ndarray, scalars: list[Scalar]) -> np.ndarray:
    """Standard errors from the observed information; not numbers where that takes long."""
    errors = quick_errors(result)
    if errors is None:
        return np.full(len(scalars), np.nan)
    place = {scalar: i for i, scalar in enumerate(scalars)}
    own = [scalar._replace(cluster=int(order[scalar.cluster])) for scalar in scalars]
    return errors[[place[scalar] for scalar in own]]


def _quantile(estimates: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Share of the draws below each estimate; a draw that equals it counts by half."""
    below = (values[None] < estimates[:, None, None]).mean(axis=(1, 2))
    return below + 0.5 * (values[None] == estimates[:, None, None]).mean(axis=(1, 2))


def _with_likelihood_of_draws(
    dataset: xr.Dataset, posterior: xr.DataTree, probabilities: tuple[float, float]
) -> xr.Dataset:
    """Add the posterior of the log-likelihood, and where the estimates lie in it."""
    draws = require_posterior(posterior)["invariants"]["log_likelihood"].to_numpy()
    lower, upper = np.quantile(draws, probabilities)
    at_points = dataset["log_likelihood"].to_numpy()
    below = _quantile(at_points[:, None], draws[..., None])[:, 0]
    return dataset.assign(
        log_likelihood_quantile=("estimator", below),
        log_likelihood_excess=("estimator", at_points - draws.mean()),
        draws_log_likelihood_mean=draws.mean(),
        draws_log_likelihood_sd=draws.std(ddof=1),
        draws_log_likelihood_lower=lower,
        draws_log_likelihood_upper=upper,
        draws_log_likelihood_max=draws.max(),
    )


def _with_convergence(
    dataset: xr.Dataset, posterior: xr.DataTree, relabelled: np.ndarray
) -> xr.Dataset:
    """Add R-hat and ESS with the sampler's labels, with the matched ones, and label-invariant."""
    raw = flatten(*raw_draws(posterior))
    names, label_invariant = invariants(posterior)
    per_parameter = [convergence(raw), convergence(relabelled)]
    per_invariant = convergence(label_invariant)
    return dataset.assign(
        {
            name: (
                ("labelling", "parameter"),
                np.stack([getattr(one, name) for one in per_parameter]),
            )
            for name in Convergence._fields
        }
        | {
            f"invariant_{name}": ("invariant", getattr(per_invariant, name))
            for name in Convergence._fields
        }
    ).assign_coords(labelling=["raw", "relabelled"], invariant=names)
