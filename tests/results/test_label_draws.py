import numpy as np
import pytest
import xarray as xr
from results.synthetic import FAR_APART, point_result, two_components

from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.posterior import predictive as in_blocks
from bayes_gmm.results.clustering import co_clustering, sample_labels
from bayes_gmm.results.reading import draws_of

BETWEEN = np.array([[-2.0, 62.0], [0.0, 65.0], [1.0, 66.0], [8.0, 80.0]])


@pytest.fixture(scope="module")
def world():
    return two_components(2)


def many_labels(result):
    """Labels of `BETWEEN`, drawn 20 times for each of 1000 draws: (20, draw, obs_id)."""
    drawn = sample_labels(result, np.tile(BETWEEN, (20, 1)), seed=0).to_numpy()
    return drawn.reshape(1000, 20, 4).swapaxes(0, 1)


def test_labels_are_drawn_from_the_responsibilities_of_their_own_draw(world):
    result = world[3]
    shares = np.stack(
        [mixture.responsibilities(BETWEEN, theta) for theta in draws_of(result).thinned(10**6)]
    )
    drawn = many_labels(result)
    # The mean of each row's labels, and their covariance with the share that they are drawn from.
    doubtful = shares[:, :3, 1]
    variance = (doubtful * (1 - doubtful)).sum(axis=0) * 20
    excess = drawn[..., :3] - doubtful
    assert np.abs(excess.sum(axis=(0, 1)) / np.sqrt(variance)).max() < 5
    centered = doubtful - doubtful.mean(axis=0)
    variance = (doubtful * (1 - doubtful) * centered**2).sum(axis=0) * 20
    assert np.abs((excess * centered).sum(axis=(0, 1)) / np.sqrt(variance)).max() < 5
    assert (drawn[..., 3] == 1).all()


def test_a_shared_cluster_is_as_frequent_among_drawn_labels_as_on_average(world):
    drawn = many_labels(world[3])
    together = (drawn[..., 0] == drawn[..., 1]).mean()
    expected = co_clustering(world[3], BETWEEN)[0, 1].item()
    assert 0.02 < expected < 0.98
    assert abs(together - expected) < 5 * np.sqrt(expected * (1 - expected) / 1000)


def test_the_seed_fixes_the_labels_and_blocks_do_not_matter(world, monkeypatch):
    result = world[3]
    before = sample_labels(result, BETWEEN, seed=3)
    monkeypatch.setattr(in_blocks, "BLOCK_NUMBERS", 1)
    xr.testing.assert_identical(sample_labels(result, BETWEEN, seed=3), before)
    monkeypatch.setattr(in_blocks, "THREADS", 1)
    xr.testing.assert_identical(sample_labels(result, BETWEEN, seed=3), before)
    assert (sample_labels(result, BETWEEN, seed=4) != before).any()


def test_draws_are_spaced_over_the_chains_and_rows_keep_their_names(world):
    x, z, _, result = world
    drawn = sample_labels(result, n_draws=8, seed=0)
    assert drawn.name == "z"
    assert drawn.sizes == {"draw": 8, "obs_id": len(x)}
    assert (drawn == z).all()
    np.testing.assert_array_equal(drawn["obs_id"], result["observed_data"]["obs_id"])


def test_a_point_draws_every_label_under_its_estimate(world):
    x = world[0]
    for result in (FAR_APART, point_result(FAR_APART, x)):
        drawn = sample_labels(result, BETWEEN, n_draws=5000, seed=1)
        share = mixture.responsibilities(BETWEEN, FAR_APART)[:, 1]
        error = np.sqrt(share * (1 - share) / 5000)
        assert (np.abs(drawn.mean("draw") - share) <= 5 * error + 1e-12).all()
    assert sample_labels(FAR_APART, BETWEEN, seed=1).sizes["draw"] == 1000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_draws": 1001}, "n_draws is 1001, but the posterior has only 1000"),
        ({"n_draws": 0}, "n_draws must be a whole number >= 1"),
        ({"n_draws": 2.5}, "n_draws must be a whole number >= 1"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"memory": 1e-6}, r"labels of 200 rows in 1,000 draws needs 0.000373 GiB"),
        ({"memory": 0}, "memory must be a positive number of GiB"),
    ],
)
def test_what_cannot_be_is_refused(world, options, message):
    with pytest.raises(InputError, match=message):
        sample_labels(world[3], **options)
