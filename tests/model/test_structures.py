"""What every covariance structure must answer, held for all of them and for one that is new."""

import numpy as np
import pytest
from compound_symmetry import CompoundSymmetry
from curvature_truths import jacobian
from helpers import gradient, random_covariances, z_scores

from bayes_gmm import cli
from bayes_gmm.kernels.gibbs import DRAW_ONE
from bayes_gmm.kernels.kernel import c_order, twin
from bayes_gmm.kernels.rule import project
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import CODES, DRAWN, Structure, structure
from bayes_gmm.model.structures.prior import StructuredPrior

NEW = CompoundSymmetry()
ALL = [*(Structure.of(code, 2) for code in CODES), NEW]
ARE_DRAWN = [*(Structure.of(code, 2) for code in DRAWN), NEW]
K, D = 2, 3


def name_of(one):
    return one.name if isinstance(one, Structure) else str(one)


def some_of(one, rng, n_components=K, n_features=D):
    """Random covariances that have the structure."""
    scatter = random_covariances(rng, n_components, n_features)
    return one.covariances(scatter, rng.uniform(1, 2, n_components), scatter)


def cost(covariances, scatter, weight):
    log_det = np.linalg.slogdet(covariances)[1]
    return float(weight @ log_det + np.einsum("kij,kji->", scatter, np.linalg.inv(covariances)))


def numbers(one, covariance):
    """What the prior of a covariance is a density of, by what the structure is said to be."""
    if one is NEW:
        return np.linalg.eigvalsh(covariance)[[0, -1]]
    if one.name[2] != "I":
        return covariance[np.tril_indices(len(covariance))]
    return np.diagonal(covariance)[: 1 if one.name[1] == "I" else None]


def slopes_of(function, point):
    return jacobian(function, point, np.full(len(point), 1e-3))


@pytest.mark.parametrize("n_features", [2, 3])
@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_there_are_as_many_coordinates_as_parameters_and_none_is_idle(one, n_features):
    rng = np.random.default_rng(1)
    size = one.n_parameters(K, n_features)
    free = one.coordinates(some_of(one, rng, K, n_features))
    assert free.shape == (size,)
    slopes = slopes_of(lambda u: one.covariances_at(u, K, n_features).ravel(), free)
    assert np.linalg.matrix_rank(slopes, tol=1e-5) == size
    assert one.n_free(K, n_features) == size + 1 + 2 * n_features
    more = one.n_parameters(K + 1, n_features) - size
    assert one.own_parameters(n_features) == more


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_covariances_have_coordinates_and_come_back_from_them(one):
    rng = np.random.default_rng(2)
    many = np.array([[some_of(one, rng) for _ in range(3)] for _ in range(2)])
    back = one.covariances_at(one.coordinates(many), K, D)
    np.testing.assert_allclose(back, many, rtol=1e-9, atol=1e-10)
    there = one.covariances_at(one.coordinates(many[0, 0]) + 0.3 * rng.normal(size=(5, 1)), K, D)
    for covariances in there:  # of the structure: each its own best approximation in it
        again = one.covariances(covariances, np.ones(K), covariances)
        np.testing.assert_allclose(again, covariances, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_a_gradient_is_pulled_back_as_finite_differences_have_it(one):
    rng = np.random.default_rng(3)
    covariances, scatter = some_of(one, rng), random_covariances(rng, K, D)
    weight, inverse = rng.uniform(1, 5, K), np.linalg.inv(covariances)
    slope = weight[:, None, None] * inverse - inverse @ scatter @ inverse
    expected = gradient(
        lambda u: cost(one.covariances_at(u, K, D), scatter, weight), one.coordinates(covariances)
    )
    np.testing.assert_allclose(one.pull_back(covariances, slope), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("n_features", [2, 3])
@pytest.mark.parametrize("one", ARE_DRAWN, ids=name_of)
def test_the_log_jacobian_is_that_of_finite_differences(one, n_features):
    covariances = some_of(one, np.random.default_rng(4), K, n_features)

    def of_all(u):
        found = one.covariances_at(u, K, n_features)
        return np.concatenate([numbers(one, c) for c in found[: 1 if one.is_common else K]])

    slopes = slopes_of(of_all, one.coordinates(covariances))
    expected = np.linalg.slogdet(slopes)[1]
    assert one.log_jacobian(covariances) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_the_m_step_beats_all_others_near_it_and_has_a_compiled_twin(one):
    rng = np.random.default_rng(5)
    weight = rng.uniform(5, 30, K)
    scatter = random_covariances(rng, K, D) * weight[:, None, None]
    best = one.covariances(scatter, weight, scatter)
    least, free = cost(best, scatter, weight), one.coordinates(best)
    for _ in range(50):
        moved = free + 10 ** rng.uniform(-4, 0) * rng.normal(size=free.size)
        assert cost(one.covariances_at(moved, K, D), scatter, weight) >= least - 1e-9 * abs(least)
    compiled = project(one)(*c_order(scatter, weight, scatter, one.constants))
    np.testing.assert_allclose(compiled, best, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("one", ARE_DRAWN, ids=name_of)
def test_draws_compiled_or_not_have_the_integrals_of_the_density(one):
    """E exp(-tr(E W) / 2) and E |W|^(1/2), W = Sigma^-1, are ratios of two such integrals."""
    rng = np.random.default_rng(6)
    power, scale, more = 16.0, *random_covariances(rng, 2, D)
    expected = np.exp(
        np.array([one.log_integral(power, scale + more), one.log_integral(power + 1, scale)])
        - one.log_integral(power, scale)
    )
    compiled = twin(one.draw_one, DRAW_ONE)

    def by_kernel(degrees, scale, rng):
        root, whitener, covariance = np.zeros((3, D, D))
        log_det = compiled(rng, degrees, scale.copy(), one.constants, root, whitener, covariance)
        np.testing.assert_allclose(root @ root.T, covariance, atol=1e-9)
        np.testing.assert_allclose(whitener @ root, np.eye(D), atol=1e-9)
        assert log_det == pytest.approx(np.linalg.slogdet(whitener)[1], abs=1e-9)
        return root

    for draw in (one.draw, by_kernel):
        roots = np.array([draw(power - D - 1, scale, rng) for _ in range(2000)])
        inverse = np.linalg.inv(roots @ roots.swapaxes(1, 2))
        found = (
            np.exp(-0.5 * np.einsum("ij,nji->n", more, inverse)),
            np.sqrt(np.linalg.det(inverse)),
        )
        assert np.abs(z_scores(np.column_stack(found), expected)).max() < 5


@pytest.mark.parametrize("one", ARE_DRAWN, ids=name_of)
def test_what_is_expected_of_a_covariance_are_slopes_of_the_integral(one):
    """E log|Sigma^-1| = 2 d log Z / dc, and E tr(A Sigma^-1) = -2 d log Z / d(P along A)."""
    rng = np.random.default_rng(9)
    power, scale, along = 16.0, *random_covariances(rng, 2, D)
    by_power, by_scale = (
        gradient(lambda at: one.log_integral(power + at[0], scale), np.zeros(1)),
        gradient(lambda at: one.log_integral(power, scale + at[0] * along), np.zeros(1)),
    )
    log_det, covariance = one.expectations(power, scale)
    assert log_det == pytest.approx(2 * by_power[0], rel=1e-7)
    assert np.trace(np.linalg.solve(covariance, along)) == pytest.approx(-2 * by_scale[0], rel=1e-7)


@pytest.mark.parametrize("one", ARE_DRAWN, ids=name_of)
def test_the_prior_of_covariances_integrates_to_one(one):
    """In coordinates, over all covariances of one component and of two features."""
    rng = np.random.default_rng(7)
    prior = ConjugatePrior([1.0], [0.0, 0.0], 1.0, 24.0, 10 * random_covariances(rng, 1, 2))
    own = StructuredPrior.of(prior, one)
    center = one.coordinates(prior.scale / 27)
    axis = np.linspace(-1, 1, 49) * 2.6
    free = np.stack(np.meshgrid(*[axis] * center.size, indexing="ij"), axis=-1) + center
    covariances = one.covariances_at(free.reshape(-1, center.size), 1, 2)
    parts = own.log_density_by_part(
        np.ones((len(covariances), 1)),
        np.zeros((len(covariances), 1, 2)),
        np.linalg.cholesky(covariances),
    )
    heights = np.reshape(parts.covariances, -1) + one.log_jacobian(covariances)
    total = np.exp(heights).sum() * (axis[1] - axis[0]) ** center.size
    assert total == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("one", ALL, ids=name_of)
def test_what_is_said_of_a_structure_is_so(one):
    rng = np.random.default_rng(8)
    covariances = some_of(one, rng)
    wider = Structure.of(one.wider, D)
    assert wider.is_drawn
    again = wider.covariances(covariances, np.ones(K), covariances)
    np.testing.assert_allclose(again, covariances, atol=1e-9)
    assert one.is_diagonal == (not np.count_nonzero(covariances * (1 - np.eye(D))))
    assert one.is_common == np.allclose(covariances[0], covariances[1], rtol=1e-12)
    if one.whiteners == "one":
        assert one.is_common
    roots, variances = one.frames(covariances)
    np.testing.assert_allclose(roots @ roots.swapaxes(1, 2), covariances, atol=1e-9)
    assert variances is None or np.allclose((roots**2).sum(axis=1), variances)
    words, sds = one.describe_prior(D + 2.0, np.eye(D))
    assert words
    assert (sds > 0).all()


def test_a_structure_is_known_by_its_name_once_it_is_registered(monkeypatch):
    monkeypatch.setattr(structure, "_REGISTERED", dict(structure._REGISTERED))
    structure.register(NEW)
    assert Structure.of("CS", 2) is NEW
    assert Structure.of("CS", 1) is Structure.of("V", 1)
    assert "CS" in structure.names(drawn=True)


def test_the_help_of_the_command_lists_the_structures_that_are_drawn():
    assert cli.DRAWN == ", ".join(DRAWN)
