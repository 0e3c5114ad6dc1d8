r"""Unconstrained, dimensionless coordinates in which the parameters of the model are sampled.

The whitener of a covariance Sigma = L L' is W = L^-1: whitened residuals W (x - mu) are standard
normal, and Sigma^-1 = W'W. The coordinates of Sigma are the entries of Bartlett's triangle S, where
W = S A and A is the whitener of a scale matrix of the prior; the coordinates of a mean are in
standard deviations of the data.

The variables of the model are covariances, and its densities need W again. Both conversions are
separate operations, so that a rewrite can apply whitener(covariance(W)) = W: the gradient then
needs neither a Cholesky factorization nor an inverse.
"""

from typing import Any

import numpy as np
import pytensor.tensor as pt
from pymc.logprob.transforms import Transform
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.tensor.rewriting.basic import register_canonicalize
from pytensor.tensor.variable import TensorVariable

LOG_2 = float(np.log(2))


class Whitener(OpFromGraph):
    """Sigma (..., D, D) to the lower triangular W with W'W = Sigma^-1."""


class Covariance(OpFromGraph):
    """Lower triangular W (..., D, D) to Sigma = (W'W)^-1."""


class CovarianceOfFactor(OpFromGraph):
    """Lower triangular L (..., D, D) to Sigma = L L'."""


def whitener(covariance: TensorVariable) -> TensorVariable:
    """Inverse of the lower Cholesky factor of each covariance (..., D, D), lower triangular."""
    sigma = covariance.type()
    to_whitener = Whitener([sigma], [inverse_of_triangle(pt.linalg.cholesky(sigma))])
    return pt.as_tensor_variable(to_whitener(covariance))


def covariance(whitener: TensorVariable) -> TensorVariable:
    """Covariances (..., D, D) of these whiteners."""
    w = whitener.type()
    factor = inverse_of_triangle(w)
    to_covariance = Covariance([w], [product(factor, factor.mT)])
    return pt.as_tensor_variable(to_covariance(whitener))


def covariance_of_factor(factor: TensorVariable) -> TensorVariable:
    """Covariances (..., D, D) with these Cholesky factors, L L'."""
    lower = factor.type()
    to_covariance = CovarianceOfFactor([lower], [product(lower, lower.mT)])
    return pt.as_tensor_variable(to_covariance(factor))


def product(left: TensorVariable, right: TensorVariable) -> TensorVariable:
    """Multiply stacks of small matrices.

    As one elementwise product with a sum, which takes a second to compile; the general matrix
    product takes five, and is no faster for matrices of this size.

    Shapes: left, right (..., D, D) -> (..., D, D).
    """
    return (left[..., :, :, None] * right[..., None, :, :]).sum(axis=-2)


def diagonal(triangle: TensorVariable) -> TensorVariable:
    """Diagonals (..., D) of triangles; unlike of a view, the gradient needs no assignment."""
    return (triangle * pt.eye(triangle.shape[-1])).sum(axis=-1)


def inverse_of_triangle(factor: TensorVariable) -> TensorVariable:
    """Inverses of lower triangular matrices (..., D, D)."""
    identity = pt.broadcast_to(pt.eye(factor.shape[-1]), factor.shape)
    return pt.linalg.solve_triangular(factor, identity, lower=True, b_ndim=2)


@register_canonicalize
@node_rewriter([Whitener])
def whitener_of_covariance(fgraph: FunctionGraph, node: Apply) -> list[Variable] | None:
    """Replace whitener(covariance(W)) by W, and the whitener of L L' by the inverse of L."""
    source = node.inputs[0].owner
    if source is None:
        return None
    if isinstance(source.op, Covariance):
        return [source.inputs[0]]
    if isinstance(source.op, CovarianceOfFactor):
        return [inverse_of_triangle(source.inputs[0])]
    return None


class BartlettCoordinates(Transform):
    r"""Free coordinates of covariances: log S_ii, then S_ij below the diagonal, row by row.

    Under the prior they are independent, and S_ij is standard normal. The Jacobian of the chain
    coordinates -> S -> W = S A -> W'W -> Sigma is a product of powers of diagonals:

    .. math:: \left|\frac{\partial\Sigma}{\partial u}\right| = 2^D \prod_{i=1}^D
        S_{ii} \, A_{ii}^{D - i + 1} \, W_{ii}^{i - 2 (D + 1)}

    Shapes: scale_whitener (K, D, D).
    """

    name = "bartlett"
    ndim_supp = 2

    def __init__(self, scale_whitener: np.ndarray):
        self.scale_whitener = scale_whitener
        self.n_features = scale_whitener.shape[-1]
        self.below = np.tril_indices(self.n_features, -1)

    def forward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Covariances (K, D, D) to free coordinates (K, D (D + 1) / 2)."""
        triangle = product(whitener(value), pt.as_tensor(np.linalg.inv(self.scale_whitener)))
        diagonal = pt.log(pt.diagonal(triangle, axis1=-2, axis2=-1))
        return pt.concatenate([diagonal, triangle[..., *self.below]], axis=-1)

    def backward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Free coordinates (K, D (D + 1) / 2) to covariances (K, D, D)."""
        n_features, n_below = self.n_features, len(self.below[0])
        diagonal, entries = value[..., :n_features], value[..., n_features:]
        triangle = np.eye(n_features) * pt.exp(diagonal)[..., None]
        if n_below:
            # A sum over one-hot matrices: cheaper to compile than writing into an array.
            places = np.zeros((n_below, n_features, n_features))
            places[np.arange(n_below), *self.below] = 1
            triangle += (entries[..., None, None] * places).sum(axis=-3)
        return covariance(product(triangle, pt.as_tensor(self.scale_whitener)))

    def log_jac_det(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Log Jacobian determinant of `backward`, (K,)."""
        n_features = self.n_features
        row = np.arange(1, n_features + 1)
        power = row - 2 * (n_features + 1)
        log_scale = np.log(np.einsum("kii->ki", self.scale_whitener))
        constant = n_features * LOG_2 + log_scale @ (n_features - row + 1 + power)
        return constant + (value[..., :n_features] * (power + 1)).sum(axis=-1)


class JointBartlettCoordinates(BartlettCoordinates):
    """The same for covariances with one joint density: the log Jacobians are summed."""

    name = "jointbartlett"  # PyMC cuts the name of a value at its last underscore
    ndim_supp = 3

    def log_jac_det(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Log Jacobian determinant of `backward`, ()."""
        return super().log_jac_det(value, *inputs).sum()


class Standardized(Transform):
    """Free coordinates of means: (mu - origin) / scale, origin and scale (D,)."""

    name = "standardized"
    ndim_supp = 1

    def __init__(self, origin: np.ndarray, scale: np.ndarray):
        self.origin, self.scale = origin, scale

    def forward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Means (K, D) to free coordinates (K, D)."""
        return (value - self.origin) / self.scale

    def backward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Free coordinates (K, D) to means (K, D)."""
        return self.origin + self.scale * value

    def log_jac_det(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Log Jacobian determinant of `backward`, (K,)."""
        return pt.zeros(value.shape[:-1]) + np.log(self.scale).sum()
