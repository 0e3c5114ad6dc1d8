r"""Covariances and their whiteners in a PyTensor graph, as inverse operations.

The whitener of a covariance Sigma = L L' is W = L^-1: whitened residuals W (x - mu) are standard
normal, and Sigma^-1 = W'W. The variables of the model are covariances, its free coordinates are the
entries of W, and its densities need W again. Both conversions are separate operations, so that a
rewrite can apply whitener(covariance(W)) = W: the gradient then needs neither a Cholesky
factorization nor an inverse.
"""

import pytensor.tensor as pt
from pytensor.compile.builders import OpFromGraph
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.basic import node_rewriter
from pytensor.tensor.rewriting.basic import register_canonicalize
from pytensor.tensor.variable import TensorVariable


class Whitener(OpFromGraph):
    """Sigma (..., D, D) to the lower triangular W with W'W = Sigma^-1."""


class Covariance(OpFromGraph):
    """Lower triangular W (..., D, D) to Sigma = (W'W)^-1."""


class CovarianceOfFactor(OpFromGraph):
    """Lower triangular L (..., D, D) to Sigma = L L'."""


def whitener(covariance: TensorVariable) -> TensorVariable:
    """Inverse of the lower Cholesky factor of each covariance.

    Shapes: covariance (..., D, D) -> (..., D, D).

    Returned: lower triangular.
    """
    sigma = covariance.type()
    to_whitener = Whitener([sigma], [inverse_of_triangle(pt.linalg.cholesky(sigma))])
    return pt.as_tensor_variable(to_whitener(covariance))


def covariance(whitener: TensorVariable) -> TensorVariable:
    """Covariances that these whiteners belong to.

    Shapes: whitener (..., D, D) -> (..., D, D).
    """
    w = whitener.type()
    factor = inverse_of_triangle(w)
    to_covariance = Covariance([w], [product(factor, factor.mT)])
    return pt.as_tensor_variable(to_covariance(whitener))


def covariance_of_factor(factor: TensorVariable) -> TensorVariable:
    """Covariances with these Cholesky factors, L L'.

    Shapes: factor (..., D, D) -> (..., D, D).
    """
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
    """Diagonals of lower triangular matrices; unlike of a view, the gradient needs no assignment.

    Shapes: triangle (..., D, D) -> (..., D).
    """
    return (triangle * pt.eye(triangle.shape[-1])).sum(axis=-1)


def inverse_of_triangle(factor: TensorVariable) -> TensorVariable:
    """Inverses of lower triangular matrices.

    Shapes: factor (..., D, D) -> (..., D, D).
    """
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
