import numpy as np
import pytest
from helpers import random_parameters
from scipy.special import entr

from bayes_gmm.kernels.membership import TILE, Ensemble
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters


@pytest.mark.parametrize(
    ("n_components", "n_features", "n_mixtures"),
    [(1, 1, 1), (2, 1, 5), (3, 2, TILE + 3), (5, 8, 2), (2, 20, 40), (40, 2, 3)],
)
def test_each_draw_is_the_book_s_mixture(n_components, n_features, n_mixtures):
    rng = np.random.default_rng(0)
    thetas = [random_parameters(rng, n_components, n_features) for _ in range(n_mixtures)]
    x = 3 * rng.normal(size=(6, n_features))
    shares, entropy = Ensemble.of(thetas).membership(x)
    density = Ensemble.of(thetas).log_density(x)
    truth = np.stack([mixture.responsibilities(x, theta) for theta in thetas], axis=-1)
    log_truth = np.stack([mixture.marginal_log_density(x, theta) for theta in thetas], axis=-1)
    assert shares.shape == (6, n_components, n_mixtures)
    np.testing.assert_allclose(shares, truth, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(density, log_truth, rtol=1e-11)
    np.testing.assert_allclose(entropy, entr(truth).sum(axis=1).mean(axis=1), atol=1e-12)


def test_a_weight_of_zero_gives_no_share():
    theta = Parameters([0.0, 1.0], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    ensemble = Ensemble.of([theta] * 3)
    shares, entropy = ensemble.membership(np.zeros((2, 1)))
    assert (shares[:, 0] < 1e-300).all()
    assert (shares[:, 1] == 1).all()
    assert np.abs(entropy).max() < 1e-290
    assert np.isfinite(ensemble.log_density(np.zeros((2, 1)))).all()


def test_rows_are_computed_by_themselves_to_the_last_bit():
    rng = np.random.default_rng(1)
    ensemble = Ensemble.of([random_parameters(rng, 3, 4) for _ in range(TILE + 70)])
    x = rng.normal(size=(9, 4))
    whole, entropy = ensemble.membership(x)
    for i in range(len(x)):
        alone, own = ensemble.membership(x[i : i + 1])
        assert (alone[0] == whole[i]).all()
        assert own[0] == entropy[i]
        assert (ensemble.log_density(x[i : i + 1])[0] == ensemble.log_density(x)[i]).all()


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_membership_has_no_units_and_no_origin(scale):
    rng = np.random.default_rng(2)
    thetas = [random_parameters(rng, 3, 2) for _ in range(4)]
    x = 2 * rng.normal(size=(5, 2))
    shift = np.array([3e7, -1e7])
    moved = [theta.rescale(scale * shift, np.full(2, scale)) for theta in thetas]
    before, _ = Ensemble.of(thetas).membership(x)
    after, _ = Ensemble.of(moved).membership(scale * (x + shift))
    np.testing.assert_allclose(after, before, atol=1e-6)
