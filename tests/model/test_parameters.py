"""Parameters accept a mixture and nothing else, and are the K functions that a pass evaluates."""

import dataclasses

import numpy as np
import pytest
from helpers import joint_by_scipy, random_parameters, refuses

from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import LogQuadratic, Parameters

GOOD = {
    "weights": [0.4, 0.6],
    "means": [[0.0, 1.0], [2.0, 3.0]],
    "covariances": [[[1.0, 0.5], [0.5, 2.0]], [[3.0, 0.0], [0.0, 1.0]]],
}
EYE = [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("weights", [0.4, 0.5], ["weights", "0.9"]),
        ("weights", [1.4, -0.4], ["weights[1]", "-0.4"]),
        ("weights", [0.4, np.nan], ["weights[1]", "nan"]),
        ("weights", [1.0], ["means", "K = 1"]),
        ("weights", [[0.4, 0.6]], ["weights", "(K,)"]),
        ("weights", ["a", "b"], ["weights"]),
        ("means", [0.0, 1.0], ["means", "(K, D)"]),
        ("means", [[0.0, 1.0]], ["means", "K = 2", "(1, 2)"]),
        ("means", [[0.0, 1.0], [2.0, np.nan]], ["means[1, 1]", "not finite"]),
        ("means", [[-np.inf, 1.0], [2.0, 3.0]], ["means[0, 0]", "not finite"]),
        ("means", [["a", "b"], ["c", "d"]], ["means"]),
        ("means", [[0.0, 1.0], [2.0]], ["means"]),
        ("covariances", EYE, ["covariances", "(K, D, D)", "(2, 2, 2)"]),
        ("covariances", [EYE], ["covariances", "(2, 2, 2)", "(1, 2, 2)"]),
        ("covariances", [[[1.0]], [[1.0]]], ["covariances", "(2, 2, 2)", "(2, 1, 1)"]),
        ("covariances", [EYE, [[1.0, 0.0], [0.0, np.inf]]], ["covariances[1, 1, 1]", "finite"]),
        ("covariances", [EYE, [[1.0, 0.1], [0.2, 1.0]]], ["covariances[1]", "symmetric", "(0, 1)"]),
        ("covariances", [EYE, [[1.0, 2.0], [2.0, 1.0]]], ["covariances[1]", "positive definite"]),
        ("covariances", [EYE, [[1.0, 1.0], [1.0, 1.0]]], ["covariances[1]", "positive definite"]),
        ("covariances", [[[0.0, 0.0], [0.0, 1.0]], EYE], ["covariances[0]", "positive definite"]),
        ("covariances", [[[-1.0, 0.0], [0.0, 1.0]], EYE], ["covariances[0]", "positive definite"]),
        ("covariances", [EYE, [["a", "b"], ["b", "c"]]], ["covariances"]),
    ],
)
def test_what_is_not_a_mixture_is_refused(name, value, words):
    with refuses(*words):
        Parameters(**{**GOOD, name: value})


def test_asymmetry_is_judged_in_the_units_of_each_feature():
    """The covariance of features of size 1e-8 and 1e8 is itself of size one."""
    for unit in (np.ones(2), np.full(2, 1e-8), np.array([1e-8, 1e8])):
        units = np.outer(unit, unit)
        rounded = Parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5 + 1e-13, 1.0]] * units])
        np.testing.assert_array_equal(rounded.covariances, rounded.covariances.swapaxes(1, 2))
        with refuses("covariances[0]", "symmetric"):
            Parameters([1.0], [[0.0, 0.0]], [[[1.0, 0.5], [0.5 + 1e-9, 1.0]] * units])


def test_parameters_are_frozen_copies():
    means = np.array(GOOD["means"])
    theta = Parameters(GOOD["weights"], means, GOOD["covariances"])
    means[0, 0] = 99
    assert theta.means[0, 0] == 0
    assert (theta.n_components, theta.n_features) == (2, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        theta.weights = np.ones(2)
    for array in (theta.weights, theta.means, theta.covariances):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_choleskys_multiply_to_the_covariances():
    theta = random_parameters(np.random.default_rng(1), 4, 3)
    assert theta.choleskys.shape == (4, 3, 3)
    assert (np.triu(theta.choleskys, 1) == 0).all()
    product = theta.choleskys @ theta.choleskys.swapaxes(1, 2)
    np.testing.assert_allclose(product, theta.covariances, rtol=1e-13)


@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (2, 3), (4, 2), (3, 5)])
def test_the_log_quadratic_is_the_joint_log_density(n_components, n_features):
    rng = np.random.default_rng(10 * n_components + n_features)
    theta = random_parameters(rng, n_components, n_features)
    x = 3 * rng.normal(size=(25, n_features))
    found = theta.log_quadratic()(x)
    assert found.shape == (25, n_components)
    np.testing.assert_allclose(found, joint_by_scipy(x, theta), rtol=1e-12)
    np.testing.assert_allclose(found, mixture.joint_log_density(x, theta), rtol=1e-12)


def test_a_log_quadratic_is_its_formula():
    rng = np.random.default_rng(2)
    offset, center = rng.normal(size=2), rng.normal(size=(2, 3))
    whitener = rng.normal(size=(2, 3, 3))  # any matrix, not only a triangle
    x = rng.normal(size=(4, 3))
    found = LogQuadratic(offset, center, whitener)(x)
    for n in range(4):
        for k in range(2):
            whitened = whitener[k] @ (x[n] - center[k])
            assert found[n, k] == pytest.approx(offset[k] - 0.5 * whitened @ whitened, rel=1e-13)


def test_a_component_of_weight_zero_has_density_zero():
    theta = Parameters([1.0, 0.0], GOOD["means"], GOOD["covariances"])
    log_joint = theta.log_quadratic()(np.zeros((1, 2)))
    assert np.isfinite(log_joint[0, 0])
    assert log_joint[0, 1] == -np.inf


def test_reordered_components_are_the_same_mixture():
    rng = np.random.default_rng(3)
    theta = random_parameters(rng, 3, 2)
    x = rng.normal(size=(10, 2))
    turned = theta.reorder([2, 0, 1])
    np.testing.assert_array_equal(turned.weights, theta.weights[[2, 0, 1]])
    np.testing.assert_allclose(
        mixture.joint_log_density(x, turned),
        mixture.joint_log_density(x, theta)[:, [2, 0, 1]],
        rtol=1e-14,
    )


def test_a_rescaled_mixture_is_the_distribution_of_the_rescaled_rows():
    rng = np.random.default_rng(4)
    theta = random_parameters(rng, 3, 2)
    x = rng.normal(size=(10, 2))
    shift, scale = np.array([-3.0, 1e4]), np.array([1e-8, 1e8])
    moved = theta.rescale(shift, scale)
    # the rows' own rounding, of 1e4 beside 1e8 and of 3 beside 1e-8, is kept out by moving back
    back = moved.rescale(-shift / scale, 1 / scale)
    np.testing.assert_allclose(back.means, theta.means, atol=1e-6)
    np.testing.assert_allclose(back.covariances, theta.covariances, rtol=1e-13)
    units = theta.rescale(np.zeros(2), scale)
    np.testing.assert_allclose(
        mixture.marginal_log_density(scale * x, units),
        mixture.marginal_log_density(x, theta) - np.log(scale).sum(),
        rtol=1e-12,
    )
    near = theta.rescale(np.array([-3.0, 2.0]), np.array([0.5, 4.0]))
    np.testing.assert_allclose(
        mixture.marginal_log_density(np.array([-3.0, 2.0]) + np.array([0.5, 4.0]) * x, near),
        mixture.marginal_log_density(x, theta) - np.log(2.0),
        rtol=1e-12,
    )
