import numpy as np
import pytest

from bayes_gmm.data import Observations
from bayes_gmm.kernels import reference
from bayes_gmm.kernels.cpu import FEW_FEATURES
from bayes_gmm.kernels.log_posterior import NOT_FINITE, LogPosterior, no_expansion
from bayes_gmm.model.free_coordinates import FreeCoordinates
from tests.helpers import gradient, random_prior

SIZES = [
    (n_rows, n_features, n_components)
    for n_rows in (2, 40, 1300)
    for n_features in (1, 2, 3, FEW_FEATURES, FEW_FEATURES + 3)
    for n_components in (1, 2, 4)
]


class Problem:
    """Rows far from zero in awkward units, and both twins of the density."""

    def __init__(self, n_rows, n_features, n_components, weighted=False, missing=False):
        self.rng = np.random.default_rng([n_rows, n_features, n_components])
        scale = 10.0 ** self.rng.uniform(-5, 5, n_features)
        x = scale * (1000 + self.rng.standard_t(4, size=(n_rows, n_features)))
        if missing:
            x[self.rng.random(x.shape) < 0.3] = np.nan
            x[np.isnan(x).all(axis=1), 0] = scale[0] * 1000
        self.observations = Observations.of(x, missing="mar")
        if weighted:
            self.observations = self.observations.weighted(self.rng.exponential(size=n_rows))
        self.coordinates = FreeCoordinates(random_prior(self.rng, n_components, n_features))
        self.compiled = LogPosterior(self.observations, self.coordinates)

    def point(self):
        return 0.5 * self.rng.normal(size=self.coordinates.size)

    def specified(self, free):
        data, where = self.observations, self.coordinates.log_quadratic(free)
        statistics = reference.accumulate(data.values, data.origin, data.scale, where, data.weights)
        value = statistics.log_normalizer + self.coordinates.log_prior(free)
        return value, self.coordinates.gradient(free, statistics)


def assert_twins(problem, n_points):
    for _ in range(n_points):
        free = problem.point()
        value, slope = problem.compiled(free)
        expected, expected_slope = problem.specified(free)
        assert value == pytest.approx(expected, rel=1e-10)
        size = np.abs(expected_slope).max()
        np.testing.assert_allclose(slope, expected_slope, rtol=1e-9, atol=1e-12 * size)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "N{}-D{}-K{}".format(*size))
def test_the_compiled_twin_is_the_specification(size):
    assert_twins(Problem(*size), 3)


@pytest.mark.parametrize("n_features", [2, FEW_FEATURES + 1])
def test_row_weights_count(n_features):
    assert_twins(Problem(600, n_features, 3, weighted=True), 3)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_features", [2, FEW_FEATURES + 1])
def test_missing_entries_are_integrated_out(n_features, weighted):
    problem = Problem(600, n_features, 3, weighted, missing=True)
    assert not problem.observations.is_complete
    assert_twins(problem, 3)
    free = problem.point()
    numeric = gradient(lambda u: problem.compiled(u)[0], free)
    size = np.abs(numeric).max()
    np.testing.assert_allclose(problem.compiled(free)[1], numeric, rtol=1e-5, atol=1e-7 * size)


@pytest.mark.parametrize("n_features", [1, 2, 3])
@pytest.mark.parametrize("n_components", [1, 2, 4])
def test_the_gradient_is_that_of_the_value(n_features, n_components):
    for n_rows in (2, 30):
        problem = Problem(n_rows, n_features, n_components)
        free = problem.point()
        numeric = gradient(lambda u, f=problem.compiled: f(u)[0], free)
        np.testing.assert_allclose(problem.compiled(free)[1], numeric, rtol=1e-6, atol=1e-5)


def test_where_the_density_or_its_gradient_has_no_value_the_status_says_so():
    problem = Problem(40, 2, 2)
    size, call = problem.coordinates.size, problem.compiled.function.ctypes

    def evaluate(place, entry):
        """Status, and whether value and gradient are numbers, with one coordinate not zero."""
        free, slope, value = (
            np.where(np.arange(size) == place, entry, 0.0),
            np.empty(size),
            np.empty(1),
        )
        pointers = [array.ctypes.data_as(call.argtypes[1]) for array in (free, slope, value)]
        status = call(size, *pointers, problem.compiled.block.ctypes.data)
        return status, np.isfinite(value[0]), np.isfinite(slope).all()

    assert evaluate(0, 0.0) == (0, True, True)
    assert evaluate(1, 1e4)[0] == NOT_FINITE  # the exponential of a diagonal entry overflows
    # A mean far out: the gradient overflows a little before the value.
    seen = {evaluate(size - 1, mean) for mean in np.geomspace(1e145, 1e157, 300)}
    assert seen == {(0, True, True), (NOT_FINITE, True, False), (NOT_FINITE, False, False)}


def test_evaluating_changes_neither_the_point_nor_later_values():
    problem = Problem(40, 3, 2)
    points = [problem.point() for _ in range(3)]
    copies = [point.copy() for point in points]
    first = [problem.compiled(point) for point in points]
    again = [problem.compiled(point) for point in points]
    for point, copy, one, other in zip(points, copies, first, again, strict=True):
        np.testing.assert_array_equal(point, copy)
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])


def test_nothing_is_expanded():
    call = no_expansion().ctypes
    numbers = np.zeros(1).ctypes.data_as(call.argtypes[2])
    assert call(1, 0, numbers, numbers, None) == 0
