"""What `compare` says where a draw has a higher likelihood than the MLE: EM from there decides."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from results.synthetic import conjugate_posterior, exact_draws, posterior_result

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import point
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.posterior.poles import Pole
from bayes_gmm.results.labels import record_columns
from bayes_gmm.results.tree import point_tree

NAMES = ["x0"]


def three_groups():
    """Groups at -8, 0 and 6, of which two components have to take two together: 0 and 6."""
    rng = np.random.default_rng(0)
    return (np.repeat([-8.0, 0.0, 6.0], 60) + rng.normal(size=180))[:, None]


def drawn(x, z):
    """Exact draws of the posterior given these labels, laid out as `sample` does."""
    exact = conjugate_posterior(x, z, z.max() + 1)
    draws = exact_draws(exact, 2, 100, np.random.default_rng(1))
    return posterior_result(draws, x, ConjugatePrior.default(x, int(z.max()) + 1), names=NAMES)


def em_from(x, z, **settings):
    """The result of EM from the components of these labels, and no search."""
    observations = Observations.of(pd.DataFrame(x, columns=NAMES))
    parts = [x[z == k] for k in range(z.max() + 1)]
    start = Parameters(
        [len(part) / len(x) for part in parts],
        [part.mean(axis=0) for part in parts],
        [np.atleast_2d(np.cov(part.T, ddof=0)) for part in parts],
    )
    view = UNCONSTRAINED.standardized(observations)
    found = point.estimate(
        observations,
        len(parts),
        None,
        UNCONSTRAINED,
        seed=0,
        starts=lambda rule, data, rng: [
            rule.at(start.rescale(-view.origin / view.scale, 1 / view.scale))
        ],
        **settings,
    )
    return point_tree(
        found.parameters,
        observations,
        None,
        found.optimizer | record_columns("pole", Pole, []),
        estimator="MLE",
        covariance="V",
        seed=0,
    )


GROUP = np.repeat([0, 1, 2], 60)


def of_draws(compared):
    (said,) = [one for one in compared.sentences if one.startswith("A draw reaches")]
    return said


def test_a_better_optimum_that_the_fit_does_not_know_is_missed_and_more_starts_find_it(tmp_path):
    x = three_groups()
    local = em_from(x, (GROUP == 2).astype(int))  # takes -8 and 0 together
    posterior = drawn(x, (GROUP > 0).astype(int))
    compared = bg.compare(local, posterior)
    said = of_draws(compared)
    assert "The fit missed this better optimum" in said
    n_starts = int(said.partition("n_starts=")[2].split()[0])
    assert f"--starts {n_starts}" in said
    again = bg.fit(pd.DataFrame(x, columns=NAMES), 2, n_starts=n_starts, seed=0)
    height = float(again["optimizer_result"]["log_likelihood"])
    assert f"EM from there ends at {height:.2f}" in said
    assert height > float(local["optimizer_result"]["log_likelihood"]) + 1
    assert not bg.compare(again, posterior).surpassed
    with xr.open_datatree(bg.save({"comparison": compared}, tmp_path / "kept.nc")) as kept:
        assert kept["comparison"]["em_from_draw"].to_numpy().tolist() == ["missed"]


def test_an_optimum_that_was_set_aside_is_no_miss():
    # Two rows side by side: the highest optimum gives them a component of their own.
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=60), [4.0, 4.001, 4.0021, 4.0032]])[:, None]
    fitted = bg.fit(pd.DataFrame(x, columns=NAMES), 2, n_starts=30, seed=0)
    z = np.r_[np.zeros(60, int), np.ones(4, int)]
    higher = em_from(x, z)
    heights = [float(one["optimizer_result"]["log_likelihood"]) for one in (fitted, higher)]
    assert heights[1] > heights[0] + 1, "the data are such that the highest optimum is set aside"
    theta = bg.point_estimate(higher)
    arrays = (theta.weights, theta.means, theta.covariances)
    draws = tuple(np.tile(array, (2, 8, *[1] * array.ndim)) for array in arrays)
    compared = bg.compare(
        fitted, posterior_result(draws, x, ConjugatePrior.default(x, 2), names=NAMES)
    )
    assert "was rejected because" in of_draws(compared)
    assert "starts" not in str(compared)


def test_an_estimate_that_had_not_converged_is_said_to_be_that():
    x = three_groups()
    z = (GROUP > 0).astype(int)
    early = em_from(x, np.where(np.arange(180) % 3 == 0, 1 - z, z), max_iter=1)
    said = of_draws(bg.compare(early, drawn(x, z)))
    assert "had not converged" in said
    assert "starts" not in said


def test_where_the_likelihood_is_unbounded_that_is_said():
    x = np.concatenate([np.random.default_rng(0).normal(size=60), np.full(5, 2.0)])[:, None]
    fitted = em_from(x, np.r_[np.arange(60) % 2, np.zeros(5, int)])
    draws = (
        np.tile([0.92, 0.08], (2, 8, 1)),
        np.tile([0.0, 2.0], (2, 8, 1))[..., None],
        np.tile([1.0, 1e-8], (2, 8, 1))[..., None, None],
    )
    compared = bg.compare(
        fitted, posterior_result(draws, x, ConjugatePrior.default(x, 2), names=NAMES)
    )
    assert "the likelihood is unbounded there" in of_draws(compared)
    assert "starts" not in str(compared)


def test_of_an_estimate_under_a_constraint_nothing_is_missed_and_the_two_models_are_named():
    x = three_groups()
    frame, posterior = pd.DataFrame(x, columns=NAMES), drawn(x, (GROUP > 0).astype(int))
    equal = bg.fit(frame, 2, covariance="E", seed=0)
    halves = bg.fit(frame, 2, equal_weights=True, seed=0)
    compared = bg.compare({"one": equal, "two": halves}, posterior)
    best = float(compared.dataset["draws_log_likelihood_max"])
    assert best > float(equal["optimizer_result"]["log_likelihood"])
    assert compared.surpassed == []
    assert "A draw reaches" not in str(compared)
    assert "half the number" not in str(compared), "which holds of a maximum of the same model"
    text = " ".join(str(compared).split())
    assert "one: covariance structure E, while the draws have V" in text
    assert "two: equal weights, while those of the draws vary" in text
    assert compared.dataset["constraint"].to_numpy().tolist() == [
        "covariance structure E, while the draws have V",
        "equal weights, while those of the draws vary",
    ]


@pytest.mark.parametrize("covariance", ["V", "VVV"])
def test_an_unconstrained_estimate_has_no_constraint(covariance):
    x = three_groups()
    fitted = bg.fit(pd.DataFrame(x, columns=NAMES), 2, covariance=covariance, seed=0)
    compared = bg.compare(fitted, drawn(x, (GROUP > 0).astype(int)))
    assert compared.dataset["constraint"].to_numpy().tolist() == [""]
    assert mixture.log_likelihood(x, bg.point_estimate(fitted)) == pytest.approx(
        float(compared.dataset["log_likelihood"][0])
    )
