r"""The log density of a mixture as one PyTensor operation, with its gradient in the same pass.

    log p(x_n) = log sum_k exp(offset_k - 1/2 |whitener_k (x_n - center_k)|^2)

Written out in PyTensor this is a dozen operations on arrays of N x K x D numbers, and as many again
for the gradient. Here it is one node that calls one compiled loop. Where a graph holds both the log
density and its gradient, as that of every gradient-based sampler does, a rewrite merges the two
nodes into one, so that the rows are read once.

For a backend that cannot call the loop (JAX), a rewrite that only this backend runs replaces the
node by the formula.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytensor.tensor as pt
from pytensor.compile.mode import optdb
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.op import Op
from pytensor.graph.rewriting.basic import dfs_rewriter, node_rewriter
from pytensor.graph.traversal import ancestors
from pytensor.link.numba.dispatch.basic import (
    numba_njit,
    register_funcify_default_op_cache_key,
)
from pytensor.tensor.rewriting.basic import register_specialize
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.kernels.kernel import c_order, inlined
from bayes_gmm.kernels.pointwise import NO_COTANGENT, sweep

# Part of the key under which PyTensor keeps compiled code: raise it when a kernel changes.
KERNEL_VERSION = 2


class MixtureOp(Op):
    """What the three operations share: inputs x (N, D), offset (K,), center and whitener."""

    __props__ = ()
    part: ClassVar[slice]  # of the log densities and the three arrays of the gradient

    def make_node(self, *inputs: Any) -> Apply:
        """Apply to symbolic inputs."""
        x, *parameters = (pt.as_tensor(each, dtype="float64") for each in inputs)
        rows = pt.vector(dtype="float64", shape=(x.type.shape[0],))
        outputs = [rows, *(parameter.type() for parameter in parameters[:3])]
        return Apply(self, [x, *parameters], outputs[self.part])

    def infer_shape(self, *arguments: Any) -> list:
        """Shapes of the outputs from those of the inputs."""
        shapes = arguments[-1]  # after the graph, which newer versions leave out, and the node
        return [(shapes[0][0],), *shapes[1:4]][self.part]

    def perform(self, node: Apply, inputs: Sequence[Any], outputs: Any) -> None:
        """Compute, for linkers that call Python."""
        point, cotangent = inputs[:4], inputs[4:] or [NO_COTANGENT]
        results = sweep(*c_order(*point, *cotangent))[self.part]
        for place, result in zip(outputs, results, strict=True):
            place[0] = result


class MixtureLogDensity(MixtureOp):
    """(x, offset, center, whitener) to the log density of every row."""

    gufunc_signature = "(n,d),(k),(k,d),(k,d,d)->(n)"
    part = slice(0, 1)

    def pullback(self, inputs: Any, outputs: Any, cotangents: Any) -> list:
        """Gradient of the sum of log densities times cotangents.

        Rows are data, as a rule; what is written out for them is computed only if it is asked for.
        """
        x, *point = inputs
        of_rows: Any = pt.grad(None, x, known_grads={formula(x, *point): cotangents[0]})
        return [of_rows, *MixtureGradient().make_node(*inputs, cotangents[0]).outputs]


class MixtureGradient(MixtureOp):
    """(x, offset, center, whitener, cotangent) to the gradient of the weighted sum."""

    gufunc_signature = "(n,d),(k),(k,d),(k,d,d),(n)->(k),(k,d),(k,d,d)"
    part = slice(1, 4)


class MixtureLogDensityAndGradient(MixtureOp):
    """(x, offset, center, whitener, cotangent) to the log densities and the gradient."""

    gufunc_signature = "(n,d),(k),(k,d),(k,d,d),(n)->(n),(k),(k,d),(k,d,d)"
    part = slice(0, 4)


def pointwise_log_density(
    x: TensorVariable, offset: TensorVariable, center: TensorVariable, whitener: TensorVariable
) -> TensorVariable:
    """Log density of every row, as one node.

    Shapes: x (N, D), offset (K,), center (K, D), whitener (K, D, D) -> (N,).
    """
    return pt.as_tensor_variable(MixtureLogDensity()(x, offset, center, whitener))


def formula(
    x: TensorVariable, offset: TensorVariable, center: TensorVariable, whitener: TensorVariable
) -> TensorVariable:
    """Log density of every row, written out in PyTensor; see `pointwise_log_density`.

    Offsets, centers and whiteners may each vary from row to row, with the rows in front.
    """
    residual = x[..., None, :] - center
    whitened = (pt.tril(whitener) * residual[..., None, :]).sum(axis=-1)
    return pt.logsumexp(offset - 0.5 * (whitened**2).sum(axis=-1), axis=-1)


@inlined
def _swept(x, offset, center, whitener, cotangent):
    """Call the kernel with arrays of any layout."""
    return sweep(
        np.ascontiguousarray(x),
        np.ascontiguousarray(offset),
        np.ascontiguousarray(center),
        np.ascontiguousarray(whitener),
        np.ascontiguousarray(cotangent),
    )


@register_funcify_default_op_cache_key(MixtureLogDensity)
def _value_by_numba(op: Op, **options: Any) -> tuple:
    sweep.compiled()  # PyTensor keeps code of its own, which calls it by its address

    @numba_njit
    def value(x, offset, center, whitener):
        return _swept(x, offset, center, whitener, np.empty(0))[0]

    return value, KERNEL_VERSION


@register_funcify_default_op_cache_key(MixtureGradient)
def _gradient_by_numba(op: Op, **options: Any) -> tuple:
    sweep.compiled()

    @numba_njit
    def gradient(x, offset, center, whitener, cotangent):
        results = _swept(x, offset, center, whitener, cotangent)
        return results[1], results[2], results[3]

    return gradient, KERNEL_VERSION


@register_funcify_default_op_cache_key(MixtureLogDensityAndGradient)
def _both_by_numba(op: Op, **options: Any) -> tuple:
    sweep.compiled()

    @numba_njit
    def value_and_gradient(x, offset, center, whitener, cotangent):
        return _swept(x, offset, center, whitener, cotangent)

    return value_and_gradient, KERNEL_VERSION


@register_specialize
@node_rewriter([MixtureGradient])
def merge_value_and_gradient(fgraph: FunctionGraph, node: Apply) -> dict[Variable, Variable] | None:
    """Replace a log density and its gradient at the same point by one node."""
    *point, cotangent = node.inputs
    values = [
        client.outputs[0]
        for client, _ in fgraph.clients[point[1]]
        if isinstance(client.op, MixtureLogDensity) and client.inputs == point
    ]
    # A cotangent computed from the log density must wait for it.
    if not values or values[0] in ancestors([cotangent]):
        return None
    value, *gradient = MixtureLogDensityAndGradient().make_node(*node.inputs).outputs
    return {values[0]: value, **dict(zip(node.outputs, gradient, strict=True))}


@node_rewriter([MixtureLogDensity, MixtureGradient])
def write_out(fgraph: FunctionGraph, node: Apply) -> list[Variable]:
    """Replace a node by its formula."""
    x, *point = (pt.as_tensor_variable(each) for each in node.inputs[:4])
    value = formula(x, *point)
    if isinstance(node.op, MixtureLogDensity):
        return [value]
    gradient: Any = pt.grad(None, point, known_grads={value: node.inputs[4]})
    return gradient


# Before everything else, so that the formula is simplified like any other graph.
optdb.register("mixture_formula", dfs_rewriter(write_out), "jax", "mlx", position=0.1)
