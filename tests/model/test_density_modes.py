"""Modes of a mixture density against brute force: grids, BFGS from many rows, and derivatives."""

import numpy as np
import pytest
from helpers import random_parameters
from scipy.optimize import minimize
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from bayes_gmm.model.density_modes import SADDLE, density_modes, precisions, ridgeline, slope
from bayes_gmm.model.mixture import sample
from bayes_gmm.model.parameters import Parameters


def overlapping(seed, k, d):
    """Components of any orientation that overlap more or less."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(k, d, d)) / np.sqrt(d)
    covariances = roots @ roots.swapaxes(1, 2) + 0.1 * np.eye(d)
    means = rng.normal(size=(k, d)) * rng.uniform(0.3, 3)
    return Parameters(rng.dirichlet(np.ones(k)), means, covariances)


def density(theta):
    """Log density by SciPy."""
    parts = [multivariate_normal(m, c) for m, c in zip(theta.means, theta.covariances, strict=True)]

    def at(x):
        logs = np.stack([np.atleast_1d(part.logpdf(x)) for part in parts], axis=-1)
        return logsumexp(logs + np.log(theta.weights), axis=-1)

    return at


@pytest.mark.parametrize("seed", range(40))
def test_in_one_dimension_they_are_the_maxima_of_a_fine_grid(seed):
    theta = overlapping(seed, 1 + seed % 6, 1)
    sd = np.sqrt(theta.covariances[:, 0, 0])
    own = [
        np.linspace(m - 6 * s, m + 6 * s, 3001) for m, s in zip(theta.means[:, 0], sd, strict=True)
    ]
    grid = np.unique(np.concatenate([*own, theta.means[:, 0] + 1e-5 * sd]))
    height = density(theta)(grid[:, None])
    top = (height[1:-1] > height[:-2]) & (height[1:-1] > height[2:])
    found = density_modes(theta)
    np.testing.assert_allclose(np.sort(found.points[:, 0]), grid[1:-1][top], atol=0.02)
    assert len(found.points) == top.sum()


@pytest.mark.parametrize(("d", "seed"), [(2, s) for s in range(12)] + [(5, s) for s in range(6)])
def test_bfgs_from_many_rows_finds_no_other(d, seed):
    theta = overlapping(100 + seed, 2 + seed % 4, d)
    found = density_modes(theta)
    functions = theta.log_quadratic()
    precision = precisions(functions)

    def downhill(x):
        here = functions(x[None])[0]
        total = logsumexp(here)
        pull = np.einsum("kij,kj->ki", precision, theta.means - x)
        return -total, -np.exp(here - total) @ pull

    for start in sample(theta, 25, np.random.default_rng(seed))[0]:
        end = minimize(downhill, start, jac=True, method="BFGS", options={"gtol": 1e-8}).x
        if np.abs(downhill(end)[1]).max() < 1e-5:
            assert np.linalg.norm(found.points - end, axis=1).min() < 1e-3


@pytest.mark.parametrize("seed", range(5))
def test_at_a_mode_the_gradient_vanishes_and_the_hessian_is_negative(seed):
    theta = overlapping(seed, 4, 5)
    at, step = density(theta), 1e-4
    for point in density_modes(theta).points:
        shift = step * np.eye(5)
        gradient = [(at(point + e) - at(point - e))[0] / (2 * step) for e in shift]
        np.testing.assert_allclose(gradient, 0, atol=1e-5)
        hessian = np.array(
            [
                [
                    at(point + e + f) - at(point + e - f) - at(point - e + f) + at(point - e - f)
                    for f in shift
                ]
                for e in shift
            ]
        )[..., 0] / (4 * step**2)
        assert np.linalg.eigvalsh(hessian).max() < 1e-4


def test_slope_is_the_gradient_and_the_curvature_in_local_coordinates():
    theta = random_parameters(np.random.default_rng(3), 3, 2)
    x = np.array([[0.3, -0.2], [1.0, 2.0]])
    functions = theta.log_quadratic()
    here = slope(x, functions, precisions(functions))
    at, step = density(theta), 1e-4
    np.testing.assert_allclose(here.log_density, at(x), rtol=1e-12)
    for n, axes in enumerate(here.axes):
        # Along each axis by finite differences.
        for j, axis in enumerate(axes.T):
            ahead, here_, behind = (at(x[n] + t * step * axis)[0] for t in (1, 0, -1))
            assert (ahead - behind) / (2 * step) == pytest.approx(here.gradient[n, j], abs=1e-5)
            second = (ahead - 2 * here_ + behind) / step**2
            assert -second == pytest.approx(here.curvature[n, j], abs=1e-5)


@pytest.mark.parametrize(("gap", "expected"), [(1.99, 1), (2.0, 1), (2.01, 2), (2.1, 2), (9, 2)])
def test_two_equal_normals_have_two_modes_from_two_standard_deviations_on(gap, expected):
    theta = Parameters([0.5, 0.5], [[0.0], [gap]], [[[1.0]], [[1.0]]])
    assert len(density_modes(theta).points) == expected


def test_a_mode_that_no_mean_leads_to_is_found():
    # Two crossed ellipses have a third mode where they cross (Ray & Lindsay, 2005).
    theta = Parameters(
        [0.5, 0.5], [[0.0, 0.0], [1.0, 1.0]], [np.diag([1, 0.05]), np.diag([0.05, 1])]
    )
    found = density_modes(theta)
    assert len(found.points) == 3
    np.testing.assert_allclose(found.points[0], [20 / 21, 1 / 21], atol=1e-9)
    assert sorted(found.of_component) == [1, 2]
    # Three spheres at distance 1 from the center of a triangle have a fourth mode there if their
    # variance is above 1 / 2, and only that one if it is much larger
    # (Carreira-Perpiñán & Williams, 2003).
    corners = np.array([[0, 1], [-np.sqrt(3) / 2, -0.5], [np.sqrt(3) / 2, -0.5]])
    numbers = [
        len(density_modes(Parameters(np.ones(3) / 3, corners, [np.eye(2) * sd**2] * 3)).points)
        for sd in (0.7, 0.72, 0.8)
    ]
    assert numbers == [3, 4, 1]


def test_a_mean_on_a_saddle_point_climbs_off_it():
    theta = Parameters(
        [0.2, 0.4, 0.4], [[0.0, 0], [-3.0, 0], [3, 0]], [np.eye(2) * 9, np.eye(2), np.eye(2)]
    )
    found = density_modes(theta)
    functions = theta.log_quadratic()
    assert len(found.points) == 2
    assert slope(np.zeros((1, 2)), functions, precisions(functions)).curvature[0, 0] < -SADDLE
    assert found.of_component[0] in found.of_component[1:]


def test_modes_do_not_depend_on_units_and_are_the_highest_first():
    theta = overlapping(4, 5, 3)
    found = density_modes(theta)
    assert (np.diff(found.log_density) <= 0).all()
    np.testing.assert_allclose(found.log_density, density(theta)(found.points), rtol=1e-12)
    scale, shift = np.array([1e-6, 1.0, 1e5]), np.array([1e3, 0.0, -1e7])
    other = density_modes(theta.rescale(shift, scale))
    np.testing.assert_allclose((other.points - shift) / scale, found.points, atol=1e-6)
    np.testing.assert_array_equal(other.of_component, found.of_component)
    np.testing.assert_allclose(other.log_density, found.log_density - np.log(scale).sum())


def test_equally_high_modes_are_in_the_order_of_their_components():
    corners = 9.0 * np.array([[0, 1], [-1, 0], [1, 0], [0, -1]])
    found = density_modes(Parameters(np.ones(4) / 4, corners, [np.eye(2)] * 4))
    assert found.of_component.tolist() == [0, 1, 2, 3]


def test_a_component_of_weight_zero_has_no_mode_and_changes_none():
    theta = Parameters([0.4, 0.6], [[0.0], [5.0]], [[[1.0]], [[1.0]]])
    padded = Parameters([0.4, 0.6, 0.0], [[0.0], [5.0], [40.0]], [[[1.0]]] * 3)
    found, other = density_modes(theta), density_modes(padded)
    np.testing.assert_allclose(other.points, found.points, atol=1e-12)
    assert other.of_component.tolist() == [*found.of_component, found.of_component[1]]


def test_every_critical_point_of_two_components_is_on_their_ridgeline():
    theta = overlapping(7, 2, 4)
    shares = np.linspace(0, 1, 20001)
    line = ridgeline(
        theta,
        precisions(theta.log_quadratic()),
        (0, 1),
        np.column_stack([1 - shares, shares]),
    )
    np.testing.assert_allclose(line[[0, -1]], theta.means, atol=1e-12)
    for point in density_modes(theta).points:
        assert np.linalg.norm(line - point, axis=1).min() < 1e-3
