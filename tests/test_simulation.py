import numpy as np
import pytest

from bayes_gmm.errors import InputError
from bayes_gmm.simulation import random_mixture


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("k", [1, 2, 6])
@pytest.mark.parametrize("separation", [0.0, 2.0, 8.0])
def test_means_keep_their_distance(k, d, separation):
    drawn = random_mixture(k, d, separation, seed=3)
    assert drawn.means.shape == (k, d)
    assert (np.diff(drawn.means[:, 0]) >= 0).all()
    for one in range(k):
        for other in range(one):
            gap = drawn.means[one] - drawn.means[other]
            common = (drawn.covariances[one] + drawn.covariances[other]) / 2
            assert gap @ np.linalg.inv(common) @ gap >= 0.999 * separation**2


def test_a_seed_fixes_the_mixture():
    one, same, other = (random_mixture(3, 2, 3.0, seed).means for seed in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()


def test_components_have_about_unit_spread():
    variances = [random_mixture(2, 3, 1.0, seed).covariances for seed in range(200)]
    mean = np.mean(variances, axis=(0, 1))
    assert mean == pytest.approx(np.eye(3), abs=0.1)


@pytest.mark.parametrize(
    ("sizes", "message"), [((0, 2, 1.0), "at least one"), ((2, 2, -1.0), "separation")]
)
def test_sizes_that_make_no_sense_are_named(sizes, message):
    with pytest.raises(InputError, match=message):
        random_mixture(*sizes)
