import numpy as np
import pytest

from bayes_gmm.kernels import reference
from bayes_gmm.model.free_coordinates import FreeCoordinates
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from tests.helpers import gradient, random_parameters, random_prior, refuses

SIZES = [(n_components, n_features) for n_components in (1, 2, 3, 4) for n_features in (1, 2, 3)]


class Problem:
    """A prior unlike the default and rows, fewer than components in some cases."""

    def __init__(self, n_components, n_features, n_rows=8):
        self.rng = np.random.default_rng([n_components, n_features, n_rows])
        self.prior = random_prior(self.rng, n_components, n_features)
        self.x = 2 * self.rng.normal(size=(n_rows, n_features))
        self.coordinates = FreeCoordinates(self.prior)

    def point(self):
        return self.rng.normal(size=self.coordinates.size)

    def statistics(self, free):
        n_features = self.x.shape[1]
        where = self.coordinates.log_quadratic(free)
        return reference.accumulate(self.x, np.zeros(n_features), np.ones(n_features), where)

    def log_density(self, free):
        return self.statistics(free).log_normalizer + self.coordinates.log_prior(free)


@pytest.fixture(params=SIZES, ids=lambda size: f"K{size[0]}-D{size[1]}")
def problem(request):
    return Problem(*request.param)


def entries(theta):
    """As many numbers as there are free coordinates."""
    below = np.tril_indices(theta.n_features)
    covariances = theta.covariances[:, *below]
    return np.concatenate([theta.weights[:-1], covariances.ravel(), theta.means.ravel()])


def test_parameters_go_there_and_back(problem):
    theta = random_parameters(problem.rng, *problem.prior.mean.shape)
    free = problem.coordinates.of(theta)
    back = Parameters(*problem.coordinates.parameters(free))
    np.testing.assert_allclose(entries(back), entries(theta), rtol=1e-10)
    np.testing.assert_allclose(problem.coordinates.of(back), free, rtol=1e-9, atol=1e-12)


def test_log_quadratic_functions_are_those_of_the_parameters(problem):
    free = problem.point()
    theta = Parameters(*problem.coordinates.parameters(free))
    ours, expected = problem.coordinates.log_quadratic(free), theta.log_quadratic()
    for own, part in zip(ours, expected, strict=True):
        np.testing.assert_allclose(own, part, rtol=1e-9, atol=1e-12)


def test_the_log_prior_is_that_of_the_parameters_times_the_jacobian(problem):
    coordinates = problem.coordinates
    for _ in range(3):
        free = problem.point()

        def of_parameters(point):
            return entries(Parameters(*coordinates.parameters(point)))

        columns = []
        for direction in np.eye(coordinates.size):
            moved = [of_parameters(free + h * direction) for h in (-2e-3, -1e-3, 1e-3, 2e-3)]
            columns.append((moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / 12e-3)
        log_jacobian = np.linalg.slogdet(np.array(columns))[1]
        theta = Parameters(*coordinates.parameters(free))
        expected = problem.prior.log_density(theta) + log_jacobian
        assert coordinates.log_prior(free) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_rows", [1, 2, 30])
def test_the_gradient_is_that_of_the_log_density(n_rows):
    for size in SIZES:
        problem = Problem(*size, n_rows)
        free = problem.point()
        ours = problem.coordinates.gradient(free, problem.statistics(free))
        numeric = gradient(problem.log_density, free)
        np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-6)


def test_the_gradient_says_how_many_rows_each_component_has(problem):
    points = [problem.point() for _ in range(4)]
    statistics = [problem.statistics(free) for free in points]
    slopes = [problem.coordinates.gradient(*pair) for pair in zip(points, statistics, strict=True)]
    counts = problem.coordinates.counts(np.array(points), np.array(slopes), len(problem.x))
    expected = [one.count for one in statistics]
    np.testing.assert_allclose(counts, expected, rtol=1e-10, atol=1e-10)


def test_many_points_are_as_one_at_a_time(problem):
    coordinates = problem.coordinates
    free = np.array([[problem.point() for _ in range(3)] for _ in range(2)])
    many = (coordinates.log_prior(free), *coordinates.parameters(free), *coordinates.split(free))
    for place in np.ndindex(2, 3):
        point = free[place]
        one = (
            coordinates.log_prior(point),
            *coordinates.parameters(point),
            *coordinates.split(point),
        )
        for some, own in zip(many, one, strict=True):
            np.testing.assert_allclose(some[place], own, rtol=1e-12)


def test_an_improper_prior_is_refused():
    with refuses("prior", "improper", "mean_precision"):
        FreeCoordinates(ConjugatePrior.flat(2, 2))
