import itertools

import numpy as np
import pandas as pd
import pytest
from helpers import random_parameters
from results.synthetic import point_result, posterior_result, two_components

from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior import predictive
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.clustering import co_clustering


def random_posterior(seed, n_rows=5, n_components=3, shape=(2, 4)):
    """Rows and unrelated mixtures: nothing about the draws is tidy."""
    rng = np.random.default_rng(seed)
    thetas = [random_parameters(rng, n_components, 2, 1.0) for _ in range(np.prod(shape))]
    x = 2 * rng.normal(size=(n_rows, 2))
    arrays = (
        np.stack([getattr(theta, name) for theta in thetas])
        for name in ("weights", "means", "covariances")
    )
    draws = Draws(*(array.reshape(*shape, *array.shape[1:]) for array in arrays))
    return x, thetas, draws, posterior_result(draws, x, ConjugatePrior.default(x, n_components))


def test_co_clustering_is_the_sum_over_all_labellings():
    x, thetas, _, posterior = random_posterior(0)
    truth = np.zeros((5, 5))
    for theta in thetas:
        shares = mixture.responsibilities(x, theta)
        for labels in itertools.product(range(3), repeat=5):
            z = np.array(labels)
            truth += shares[np.arange(5), z].prod() * (z[:, None] == z) / len(thetas)
    found = co_clustering(posterior)
    np.testing.assert_allclose(found, truth, rtol=1e-10)
    assert found.dims == ("obs_id", "obs_id_bis")
    assert (np.diag(found) == 1).all()


def test_it_does_not_know_names():
    x, _, draws, posterior = random_posterior(1)
    order = np.random.default_rng(0).permuted(np.broadcast_to(np.arange(3), (2, 4, 3)), axis=2)
    shuffled = posterior_result(draws.reorder(order), x, ConjugatePrior.default(x, 3))
    assert (order != np.arange(3)).any()
    np.testing.assert_allclose(co_clustering(shuffled), co_clustering(posterior), rtol=1e-12)


def test_draws_are_summed_in_passes(monkeypatch):
    posterior = random_posterior(2)[3]
    whole = co_clustering(posterior)
    monkeypatch.setattr(predictive, "PASS_NUMBERS", 5 * 3 * 3)
    np.testing.assert_allclose(co_clustering(posterior), whole, rtol=1e-12)


def test_a_point_plugs_its_estimate_in():
    x, thetas, _, _ = random_posterior(3)
    shares = mixture.responsibilities(x, thetas[0])
    truth = np.where(np.eye(5, dtype=bool), 1, shares @ shares.T)
    np.testing.assert_allclose(co_clustering(thetas[0], x), truth, rtol=1e-10)
    np.testing.assert_allclose(co_clustering(point_result(thetas[0], x)), truth, rtol=1e-10)


def test_chosen_rows_are_a_part_of_the_whole():
    posterior = random_posterior(4)[3]
    whole = co_clustering(posterior)
    part = co_clustering(posterior, rows=[3, 0])
    np.testing.assert_allclose(part, whole[[3, 0], [3, 0]], rtol=1e-12)
    assert part["obs_id"].to_numpy().tolist() == [3, 0]
    assert co_clustering(posterior, rows=3)["obs_id"].to_numpy().tolist() == [0, 2, 4]
    assert co_clustering(posterior, rows=99).shape == (5, 5)


def test_rows_keep_their_names():
    x, z, _, posterior = two_components(1, n=30, n_draws=10)
    frame = pd.DataFrame(x[:4], columns=["x0", "x1"], index=list("abcd"))
    found = co_clustering(posterior, frame)
    assert found["obs_id_bis"].to_numpy().tolist() == list("abcd")
    np.testing.assert_allclose(found, z[:4, None] == z[:4], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows must be at least 1"),
        ({"rows": [0, 5]}, "rows has 5, the first of 1 positions out of range"),
        ({"rows": [-1]}, "give numbers from 0 to 4"),
        ({"rows": [1, 1]}, "has a row twice"),
        ({"rows": []}, "rows must be a whole number, or a list"),
        ({"rows": [0.5]}, "rows must be a whole number, or a list"),
        ({"memory": 1e-7}, r"5 rows needs 3.73e-07 GiB of memory, more than memory=1e-07.*rows=2"),
        ({"memory": -1}, "memory must be a positive"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        co_clustering(random_posterior(0)[3], **options)
