"""How often the verdict on the prior errs: data made by the model, and planted priors.

Data are those of `simulate`: random mixtures three or more sds apart, and 50 rows or more for each
component. They are sampled under the default prior; and under one whose means lie five prior sds
(a component's sd over the root of the mean precision) from where the rows of the component are.
"""

import numpy as np
import pytest

import bayes_gmm as bg
from bayes_gmm.model import mixture
from bayes_gmm.results.sensitivity import CONFLICT
from bayes_gmm.simulation import random_mixture

SILENT = "The prior hardly matters"
FEWEST, OFF = 50, 5


def made_by_the_model(rng):
    """Rows of a random mixture, and their labels."""
    n_components, n_features = (int(n) for n in rng.integers(1, 4, size=2))
    theta = random_mixture(n_components, n_features, 3.0, int(rng.integers(2**31)))
    n_rows = int(np.ceil(rng.choice([1, 2, 4]) * FEWEST / theta.weights.min()))
    while True:
        x, z = mixture.sample(theta, n_rows, rng)
        if np.bincount(z, minlength=n_components).min() >= FEWEST:
            return x, z
        n_rows += FEWEST


def planted(rng, x, z):
    """The default prior, its means five prior sds off in one feature, for each or for all."""
    n_components, feature = int(z.max()) + 1, int(rng.integers(x.shape[1]))
    precision = float(rng.choice([0.1, 1.0, 10.0]))
    means = np.array([x[z == k].mean(axis=0) for k in range(n_components)])
    away = OFF * np.array([x[z == k, feature].std() for k in range(n_components)])
    moved = means.copy()
    moved[:, feature] += away / np.sqrt(precision)
    if rng.random() < 0.5:  # the same for all, five prior sds from the nearest
        moved = np.tile(means.mean(axis=0), (n_components, 1))
        moved[:, feature] = means[:, feature].max() + away.max() / np.sqrt(precision)
    usual = bg.ConjugatePrior.default(x, n_components)
    return bg.ConjugatePrior(
        usual.concentration, moved, precision, usual.degrees_of_freedom, usual.scale
    )


def judged(place, *, off):
    """The verdict on one data set."""
    rng = np.random.default_rng([1, place])
    x, z = made_by_the_model(rng)
    posterior = bg.sample(
        x,
        int(z.max()) + 1,
        prior=planted(rng, x, z) if off else "default",
        engine="gibbs",
        draws=250,
        tune=200,
        seed=place,
        progressbar=False,
    )
    return bg.sensitivity(posterior)


@pytest.mark.parametrize("place", [1, 3])
def test_the_verdict_is_silent_on_data_of_the_model_and_speaks_of_a_planted_prior(place):
    clean, wrong = judged(place, off=False), judged(place, off=True)
    assert clean.verdict.startswith(SILENT)
    assert set(clean.table["diagnosis"]) == {"-"}
    assert clean.conflicts == ()
    assert wrong.verdict.startswith("The prior contradicts the data: it expects mean[")
    assert "prior of the means: move its mean, or lower its mean_precision" in wrong.verdict
    assert wrong.conflicts[0].part == "means"
    assert CONFLICT in set(wrong.table["diagnosis"])


@pytest.mark.validate
def test_ninety_five_of_a_hundred_data_sets_of_the_model_are_met_with_silence():
    spoken = {}
    for place in range(100):
        verdict = judged(place, off=False).verdict
        if not verdict.startswith(SILENT):
            spoken[place] = verdict
    print(f"spoken of: {len(spoken)} of 100, {spoken}")
    assert len(spoken) <= 5


@pytest.mark.validate
def test_ninety_five_of_a_hundred_planted_priors_are_spoken_of():
    silent = {}
    for place in range(100):
        verdict = judged(place, off=True).verdict
        if verdict.startswith(SILENT):
            silent[place] = verdict
    print(f"silent about: {len(silent)} of 100, {silent}")
    assert len(silent) <= 5
