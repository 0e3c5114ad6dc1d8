"""One node for value and gradient: equal to the formula, under every linker, in every graph."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import random_parameters
from pytensor.compile.mode import Mode
from pytensor.gradient import verify_grad
from pytensor.graph.replace import vectorize_graph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery

from bayes_gmm.inference.pymc.fused_op import (
    MixtureGradient,
    MixtureLogDensity,
    MixtureLogDensityAndGradient,
    formula,
    pointwise_log_density,
)
from bayes_gmm.model import mixture

PYTHON = Mode(linker="py", optimizer="fast_run")
OURS = MixtureLogDensity, MixtureGradient, MixtureLogDensityAndGradient


@pytest.fixture(scope="module", autouse=True)
def no_c_compiler():
    """PyTensor would compile parts of a Python function in C, for longer than they run."""
    with pytensor.config.change_flags(cxx=""):
        yield


def symbols():
    return pt.matrix("x"), pt.vector("offset"), pt.matrix("center"), pt.tensor3("whitener")


def point(n_components=3, n_features=2, n_rows=30, seed=0):
    rng = np.random.default_rng([seed, n_components, n_features])
    theta = random_parameters(rng, n_components, n_features)
    return rng.normal(size=(n_rows, n_features)), *theta.log_quadratic()


def nodes(function):
    return [type(n.op) for n in function.maker.fgraph.toposort() if isinstance(n.op, OURS)]


def value_and_gradient(log_density, mode, weigh=lambda values: values.sum()):
    """Compile the log densities with the gradient of a function of them."""
    x, *theta = symbols()
    values = log_density(x, *theta)
    gradient = pt.grad(weigh(values), theta)
    return pytensor.function([x, *theta], [values, *gradient], mode=mode, on_unused_input="ignore")


def skewed(values):
    """A function of the log densities with cotangents of both signs."""
    return (pt.cos(pt.arange(values.shape[0])) * values).sum()


@pytest.mark.parametrize("n_features", [1, 2, 13])
@pytest.mark.parametrize("n_components", [1, 3])
def test_the_operation_is_the_formula(n_components, n_features):
    at = point(n_components, n_features)
    fused = value_and_gradient(pointwise_log_density, PYTHON, skewed)
    written_out = value_and_gradient(formula, PYTHON, skewed)
    assert nodes(written_out) == []
    for ours, exact in zip(fused(*at), written_out(*at), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    x, *theta = point(2, 3, 12)
    verify_grad(
        lambda *parts: pointwise_log_density(pt.as_tensor(x), *parts),
        [np.array(part) for part in theta],
        rng=np.random.default_rng(0),
        mode=PYTHON,
    )


def test_value_and_gradient_are_one_node():
    fused = value_and_gradient(pointwise_log_density, PYTHON, skewed)
    assert nodes(fused) == [MixtureLogDensityAndGradient]


def test_a_gradient_that_waits_for_the_value_is_not_merged():
    weigh = lambda values: pt.exp(values).sum()  # noqa: E731
    fused = value_and_gradient(pointwise_log_density, PYTHON, weigh)
    assert sorted(op.__name__ for op in nodes(fused)) == ["MixtureGradient", "MixtureLogDensity"]
    written_out = value_and_gradient(formula, PYTHON, weigh)
    for ours, exact in zip(fused(*point()), written_out(*point()), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("place", [0, 1])
def test_values_at_two_points_stay_apart(place):
    x, offset, center, whitener = symbols()

    def compiled(log_density):
        values = [log_density(x, offset, factor * center, whitener) for factor in (1, 2)]
        slope = pt.grad(values[place].sum(), center)
        return pytensor.function([x, offset, center, whitener], [*values, slope], mode=PYTHON)

    fused = compiled(pointwise_log_density)
    assert set(nodes(fused)) == {MixtureLogDensity, MixtureLogDensityAndGradient}
    for ours, exact in zip(fused(*point()), compiled(formula)(*point()), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-12)


def test_numba_runs_the_same_kernels_without_falling_back_to_python():
    fused = value_and_gradient(pointwise_log_density, "NUMBA", skewed)
    assert nodes(fused) == [MixtureLogDensityAndGradient]
    by_python = value_and_gradient(pointwise_log_density, PYTHON, skewed)
    for ours, exact in zip(fused(*point()), by_python(*point()), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-13, atol=1e-13)


def test_a_backend_without_the_kernel_gets_the_formula():
    rewrites = RewriteDatabaseQuery(include=["fast_run", "jax"], exclude=["fusion"])
    written_out = Mode(linker="py", optimizer=rewrites)
    function = value_and_gradient(pointwise_log_density, written_out, skewed)
    by_node = value_and_gradient(pointwise_log_density, PYTHON, skewed)
    assert nodes(function) == []
    for ours, exact in zip(function(*point()), by_node(*point()), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-12)


def test_jax_computes_the_same():
    pytest.importorskip("jax")
    function = value_and_gradient(pointwise_log_density, "JAX", skewed)
    by_python = value_and_gradient(pointwise_log_density, PYTHON, skewed)
    for ours, exact in zip(function(*point()), by_python(*point()), strict=True):
        np.testing.assert_allclose(ours, exact, rtol=1e-10, atol=1e-12)


def test_the_shape_is_known_without_computing_anything():
    x, *theta = symbols()
    values = pointwise_log_density(x, *theta)
    shape = pytensor.function([x, *theta], values.shape, mode=PYTHON, on_unused_input="ignore")
    assert nodes(shape) == []
    assert shape(*point(n_rows=17)) == (17,)


def test_many_draws_at_once_are_computed_one_by_one():
    x, *theta = symbols()
    values = pointwise_log_density(x, *theta)
    batch = [pt.matrix(), pt.tensor3(), pt.tensor4()]
    vectorized = vectorize_graph(values, dict(zip(theta, batch, strict=True)))
    rng = np.random.default_rng(5)
    draws = [random_parameters(rng, 2, 3) for _ in range(4)]
    stacked = [np.stack(parts) for parts in zip(*(d.log_quadratic() for d in draws), strict=True)]
    rows = rng.normal(size=(11, 3))
    found = pytensor.function([x, *batch], vectorized, mode=PYTHON)(rows, *stacked)
    expected = [mixture.marginal_log_density(rows, theta) for theta in draws]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_rows_that_are_no_data_have_their_derivative():
    """Rows that a model draws, such as values that are missing, take part in the gradient."""
    x, *theta = point(2, 3, 5)
    verify_grad(
        lambda rows: pointwise_log_density(rows, *map(pt.as_tensor, theta)),
        [x],
        rng=np.random.default_rng(0),
        mode=PYTHON,
    )
