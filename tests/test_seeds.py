"""A seed is a whole number, a SeedSequence or a Generator, wherever there is one."""

import numpy as np
import pytest
import xarray as xr

import bayes_gmm as bg
from bayes_gmm.seeds import as_seed

ROWS = bg.datasets.load("faithful").iloc[:60]
THETA = bg.Parameters([0.4, 0.6], [[2.0, 55.0], [4.0, 80.0]], [np.diag([4.0, 300.0])] * 2)
SHORT = {"draws": 20, "tune": 5, "chains": 2, "progressbar": False}
POSTERIOR = bg.sample(ROWS, 2, seed=0, **SHORT)
VERBS = {
    "simulate": lambda seed: bg.simulate(THETA, 10, seed=seed)["x"],
    "fit": lambda seed: bg.fit(ROWS, 2, seed=seed)["optimizer_result"]["start_objective"],
    "sample": lambda seed: bg.sample(ROWS, 2, seed=seed, **SHORT)["posterior"]["means"],
    "add_groups": lambda seed: bg.add_groups(POSTERIOR, "prior", draws=5, seed=seed)["prior"][
        "means"
    ],
    "sample_labels": lambda seed: bg.sample_labels(THETA, ROWS.to_numpy(), n_draws=9, seed=seed),
}


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_a_sequence_repeats_and_a_generator_moves_on(verb):
    of_sequence = verb(np.random.SeedSequence(7))
    xr.testing.assert_equal(verb(np.random.SeedSequence(7)), of_sequence)
    one, other = np.random.default_rng(7), np.random.default_rng(7)
    first = verb(one)
    xr.testing.assert_equal(verb(other), first)
    assert not verb(one).equals(first)
    assert not verb(np.random.SeedSequence(8)).equals(of_sequence)
    xr.testing.assert_equal(verb(np.int64(3)), verb(3))


def test_a_result_keeps_a_seed_that_gives_it_again(tmp_path):
    result = bg.fit(ROWS, 2, seed=np.random.default_rng(5))
    path = bg.save(result, tmp_path / "fit.nc")
    seed = int(bg.load(path).attrs["seed"])
    again = bg.fit(ROWS, 2, seed=seed)
    xr.testing.assert_equal(
        again["optimizer_result"]["start_objective"], result["optimizer_result"]["start_objective"]
    )


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1", [1, 2], np.array([1])])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(bg.InputError, match="seed must be a whole number"):
        as_seed(seed)
    with pytest.raises(bg.InputError, match="seed"):
        bg.simulate(THETA, 3, seed=seed)
