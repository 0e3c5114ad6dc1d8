r"""The mixture with the labels summed out, as a distribution of PyMC: its log density and draws.

    log p(x_n) = log sum_k phi_k N(x_n; mu_k, L_k L_k')

Weights, means and Cholesky factors may each be the same for all rows, or vary from row to row, with
the rows in front: (N, K), (N, K, D), (N, K, D, D). If all are the same the log density is the fused
operation; otherwise it is written out in the graph, with arrays of N x K x D numbers.
"""

from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.shape_utils import rv_size_is_none
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.errors import InputError
from bayes_gmm.inference.pymc.coordinates import diagonal, inverse_of_triangle, whitener
from bayes_gmm.inference.pymc.fused_op import formula, pointwise_log_density
from bayes_gmm.model.normal import LOG_2PI

SIGNATURE = "(k),(k,d),(k,d,d)->(d)"
SIGNATURE_OF_ROWS = "(k),(k,d),(k,d,d),()->(d)"
PARTS = ("weights", "means", "choleskys")


def log_density(
    value: TensorVariable, weights: TensorVariable, means: TensorVariable, sigma: TensorVariable
) -> TensorVariable:
    """Log density of the mixture with these covariances; see `log_density_of_factors`."""
    return _of_whiteners(value, weights, means, whitener(sigma))


def log_density_of_factors(
    value: TensorVariable, weights: TensorVariable, means: TensorVariable, factors: TensorVariable
) -> TensorVariable:
    r"""Log density of the mixture, log sum_k phi_k N(x; mu_k, L_k L_k').

    Shapes: value (..., D), weights (K,), means (K, D), factors (K, D, D) -> (...).
    """
    return _of_whiteners(value, weights, means, inverse_of_triangle(factors))


def _of_whiteners(
    value: TensorVariable, weights: TensorVariable, means: TensorVariable, w: TensorVariable
) -> TensorVariable:
    offset = pt.log(weights) + (pt.log(diagonal(w)) - 0.5 * LOG_2PI).sum(axis=-1)
    if offset.type.ndim > 1 or means.type.ndim > 2 or w.type.ndim > 3:
        return formula(value, offset, means, w)
    if value.type.ndim == 2:
        return pointwise_log_density(value, offset, means, w)
    rows = value.reshape((-1, means.shape[-1]))
    return pointwise_log_density(rows, offset, means, w).reshape(value.shape[:-1])


def draws(
    weights: TensorVariable, means: TensorVariable, sigma: TensorVariable, size: Any
) -> TensorVariable:
    """Draws of the mixture with these covariances; see `draws_of_factors`."""
    return draws_of_factors(weights, means, pt.linalg.cholesky(sigma), size)


def weighted_log_density(
    value: TensorVariable,
    weights: TensorVariable,
    means: TensorVariable,
    sigma: TensorVariable,
    times: TensorVariable,
) -> TensorVariable:
    """Log density of each row, as often as it was seen."""
    return times * log_density(value, weights, means, sigma)


def draws_of_rows(
    weights: TensorVariable,
    means: TensorVariable,
    sigma: TensorVariable,
    times: TensorVariable,
    size: Any,
) -> TensorVariable:
    """Draws of the mixture, one for each row however often that was seen."""
    return draws(weights, means, sigma, times.shape if rv_size_is_none(size) else size)


def draws_of_factors(
    weights: TensorVariable, means: TensorVariable, factors: TensorVariable, size: Any
) -> TensorVariable:
    """Draws of the mixture: a label for each row, and a draw from its component only."""
    rows = weights[..., 0], means[..., 0, 0], factors[..., 0, 0, 0]
    batch = pt.broadcast_shape(*rows) if rv_size_is_none(size) else tuple(size)
    labels = pm.Categorical.dist(weights, size=batch)
    noise = pm.Normal.dist(0.0, 1.0, size=(*batch, means.shape[-1]))
    factor = _of_component(factors, labels, 3)
    return _of_component(means, labels, 2) + (factor * noise[..., None, :]).sum(axis=-1)


def _of_component(part: TensorVariable, labels: TensorVariable, ndim: int) -> TensorVariable:
    """Choose the part of each row's component, from (K, ...) or from (rows, K, ...)."""
    if part.type.ndim == ndim:
        return part[labels]
    chosen = pt.eq(labels[..., None], pt.arange(part.shape[-ndim]))
    chosen = chosen.reshape((*chosen.shape, *(1,) * (ndim - 1)), ndim=labels.type.ndim + ndim)
    return pt.switch(chosen, part, 0.0).sum(axis=-ndim)


def distribution(name: str, parts: list[TensorVariable], **options: Any) -> TensorVariable:
    """Add the mixture of weights, means and Cholesky factors to the model around this call."""
    return pm.CustomDist(
        name,
        *parts,
        logp=log_density_of_factors,
        dist=draws_of_factors,
        signature=SIGNATURE,
        class_name="GaussianMixtureOfFactors",
        **options,
    )


def as_parts(weights: Any, means: Any, choleskys: Any) -> list[TensorVariable]:
    """Turn what the user gives into symbolic parts of one mixture."""
    given = zip(PARTS, (weights, means, choleskys), strict=True)
    parts = {name: as_numbers(part, name) for name, part in given}
    wanted = {"weights": "(K,)", "means": "(K, D)", "choleskys": "(K, D, D)"}
    for ndim, (name, part) in enumerate(parts.items(), start=1):
        if part.type.ndim not in (ndim, ndim + 1):
            raise InputError(
                f"{name} have {part.type.ndim} dims; they must have shape {wanted[name]}, or in "
                "addition a leading axis for the rows"
            )
    axes = {
        "components": [("weights", -1), ("means", -2), ("choleskys", -3)],
        "features": [("means", -1), ("choleskys", -2), ("choleskys", -1)],
    }
    for what, places in axes.items():
        sizes = {name: parts[name].type.shape[axis] for name, axis in places}
        if len({size for size in sizes.values() if size is not None}) > 1:
            counts = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise InputError(
                f"weights, means and choleskys differ in the number of {what} ({counts}): they "
                "must agree"
            )
    return list(parts.values())


def as_numbers(given: Any, name: str) -> TensorVariable:
    """Turn what the user gives into a symbolic array of floats."""
    try:
        return pt.as_tensor_variable(given).astype("float64")
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{name} cannot be read as an array of numbers: got an object of type "
            f"{type(given).__name__}"
        ) from error


def require_rows(rows: TensorVariable, means: TensorVariable, name: str) -> None:
    """Check that rows are a table with the mixture's features."""
    expected, found = means.type.shape[-1], rows.type.shape[-1:]
    if rows.type.ndim != 2:
        raise InputError(
            f"{name} has {rows.type.ndim} dims, but must be (N, D); for one feature pass "
            f"{name}[:, None]"
        )
    if None not in (expected, *found) and found != (expected,):
        raise InputError(
            f"{name} has {found[0]} columns, but the means have {expected} features: they must "
            "agree"
        )
