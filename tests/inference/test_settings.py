import numpy as np
import pytest

from bayes_gmm.inference.settings import nudged, seeds_of_chains, with_weights
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.chains import longest_together


@pytest.mark.parametrize(
    ("lengths", "kept", "length"),
    [
        ([10, 10, 10], [0, 1, 2], 10),
        ([10, 9, 8], [0, 1, 2], 8),
        ([1000, 1000, 5, 0], [0, 1], 1000),
        ([5, 1000, 0, 990], [1, 3], 990),
        ([4, 2], [0, 1], 2),  # as many draws either way: more chains
        ([7], [0], 7),
        ([0, 3], [1], 3),
        ([0, 0], [0, 1], 0),
    ],
)
def test_as_many_draws_as_can_be_are_kept(lengths, kept, length):
    chosen, common = longest_together(lengths)
    assert list(chosen) == kept
    assert common == length


def test_the_seed_of_a_chain_does_not_depend_on_how_many_there_are():
    many = seeds_of_chains(7, 50)
    assert seeds_of_chains(7, 3) == many[:3]
    assert len({*many, *seeds_of_chains(8, 50)}) == 100
    assert all(0 <= seed < 2**64 for seed in many)
    assert seeds_of_chains(None, 2) != seeds_of_chains(None, 2)


def test_a_component_without_weight_still_has_a_place_to_start():
    theta = Parameters([1.0, 0.0], [[0.0], [1.0]], np.ones((2, 1, 1)))
    weights = with_weights(theta).weights
    assert 0 < weights.min() < 1e-5
    assert weights.sum() == pytest.approx(1)


def test_every_coordinate_of_a_start_moves_a_little_and_none_by_the_same():
    free = np.linspace(-1, 1, 20)
    moves = nudged(free) - free
    assert (np.abs(moves) > 1e-5).all()
    assert (np.abs(moves) < 1e-3).all()
    assert (np.diff(moves) > 0).all()
