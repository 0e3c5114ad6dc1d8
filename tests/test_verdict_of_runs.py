"""How often the verdict on real runs errs: sound ones accused, and bad ones that pass.

Data are simulated from two or three components, well or moderately separated. Every run is four
chains of a thousand draws, from the data to `diagnose`.
"""

from collections import Counter

import numpy as np
import pytest
from results.synthetic import sampled_tree

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.results.reading import raw_draws
from bayes_gmm.results.tree import posterior_tree
from tests.helpers import from_labels

SEPARATIONS = (4.0, 8.0)  # standard deviations between neighboring components
CHAINS = 4


def data(rng, n_components, apart):
    """Rows of components that lie `apart` of their standard deviations from one another."""
    n_features = int(rng.integers(1, 3))
    # Along a line, so that neighbors are as far apart as is said and others farther.
    direction = rng.normal(size=n_features)
    direction /= np.linalg.norm(direction)
    covariances = np.empty((n_components, n_features, n_features))
    for covariance in covariances:
        factor = rng.normal(size=(n_features, n_features + 2))
        covariance[:] = factor @ factor.T / (n_features + 2)
    spread = np.sqrt(np.einsum("i,kij,j->k", direction, covariances, direction))
    places = np.cumsum(np.append(0.0, apart * (spread[1:] + spread[:-1]) / 2))
    means = places[:, None] * direction + 10.0
    weights = 0.5 / n_components + 0.5 * rng.dirichlet(np.full(n_components, 5.0))
    theta = bg.Parameters(weights, means, covariances)
    n = int(rng.integers(60, 150)) * n_components
    drawn = bg.simulate(theta, n, seed=int(rng.integers(1 << 30)))
    return drawn["x"].to_numpy(), drawn["z"].to_numpy()


def run(rng, x, n_components):
    seed = int(rng.integers(1 << 30))
    posterior = bg.sample(x, n_components, seed=seed, cores=2, progressbar=False)
    assert posterior["posterior"].sizes["draw"] == 1000
    return posterior


def sound(rng, n_components, apart):
    """As many components as there are."""
    x, _ = data(rng, n_components, apart)
    return bg.diagnose(run(rng, x, n_components))


def one_too_many(rng, n_components, apart):
    x, _ = data(rng, n_components, apart)
    return bg.diagnose(run(rng, x, n_components + 1))


def one_stuck(rng, n_components, apart):
    """One chain stops at its first draw, or on its way, or moves once in a hundred draws."""
    x, _ = data(rng, n_components, apart)
    posterior = run(rng, x, n_components)
    last_moved = np.arange(1000)
    kind = rng.integers(3)
    if kind == 0:
        last_moved[:] = 0
    elif kind == 1:
        last_moved = np.minimum(last_moved, rng.integers(100, 500))
    else:
        last_moved -= last_moved % 100
    draws, chain = raw_draws(posterior), rng.integers(CHAINS)
    for array in draws:
        array[chain] = array[chain, last_moved]
    prior = bg.ConjugatePrior.default(x, n_components)
    pivot = bg.point_estimate(posterior)
    return bg.diagnose(posterior_tree(sampled_tree(draws), pivot, Observations.of(x), prior))


def two_modes(rng, n_components, apart):
    """Four clusters at the corners of a rectangle, two to a component: along one side or another.

    One or two of the chains set out from the second of these modes. A third component, if there is
    one, has a cluster of its own.
    """
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [4, 0]])[: 2 + n_components]
    label = np.repeat(np.arange(len(corners)), rng.integers(40, 100))
    sides = apart * rng.uniform(1.0, 1.2, size=2)
    x = sides * corners[label] + rng.normal(size=(len(label), 2))
    modes = [from_labels(x, np.where(label == 4, 2, corners[label, side])) for side in (0, 1)]
    n_other = rng.integers(1, 3)
    starts = [modes[int(chain < n_other)] for chain in range(CHAINS)]
    settings = {"draws": 1000, "tune": 1000, "cores": 2, "progressbar": False}
    seed = int(rng.integers(1 << 30))
    observations, prior = Observations.of(x), bg.ConjugatePrior.default(x, n_components)
    sampled = gibbs.sample(observations, prior, starts, seed=seed, **settings)
    return bg.diagnose(posterior_tree(sampled, modes[0], observations, prior))


def names(diagnosis):
    return {finding.name for finding in diagnosis.reasons if finding.kind != "note"}


OVERFITTED = {
    "nearly_empty",
    "not_told_apart",
    "ambiguous_labels",
    "labels_disagree",
    "dispensable_component",
}


def is_stuck(diagnosis):
    return not diagnosis.converged and bool(names(diagnosis) & {"stuck_chains", "short_chains"})


def has_modes(diagnosis):
    return not diagnosis.converged and "several_modes" in names(diagnosis)


def is_overfitted(diagnosis):
    said = (
        "A redundant component may be why",
        "not for every single component",
        "K may be too large",
    )
    found = names(diagnosis) & OVERFITTED and any(words in diagnosis.verdict for words in said)
    return not diagnosis.ok and bool(found)


BAD = [(one_stuck, is_stuck, (2, 3)), (two_modes, has_modes, (2, 3))]
BAD += [(one_too_many, is_overfitted, (1, 2, 3))]


def outcomes(case, sizes, n, seed):
    """Diagnose runs, well and moderately separated in turn, and print what was found how often."""
    found = [
        case(np.random.default_rng([seed, i]), sizes[i // 2 % len(sizes)], SEPARATIONS[i % 2])
        for i in range(n)
    ]
    for first, apart in enumerate(SEPARATIONS):
        said = [", ".join(sorted(names(one))) or "ok" for one in found[first::2]]
        print(f"{case.__name__}, {apart:g} sd apart, of {len(said)}: {dict(Counter(said))}")
    return found


def test_four_sound_runs_pass():
    assert all(found.ok for found in outcomes(sound, (2, 3), 4, seed=1))


@pytest.mark.parametrize(("case", "flags", "sizes"), BAD)
def test_two_bad_runs_are_flagged(case, flags, sizes):
    assert all(flags(found) for found in outcomes(case, sizes, 2, seed=2))


@pytest.mark.validate
def test_at_most_two_of_a_hundred_sound_runs_are_called_not_converged():
    found = outcomes(sound, (2, 3), 100, seed=3)
    accused = [one.verdict for one in found if not one.converged]
    assert len(accused) <= 2, accused


@pytest.mark.validate
@pytest.mark.parametrize(("case", "flags", "sizes"), BAD)
def test_ninety_nine_of_a_hundred_bad_runs_are_flagged(case, flags, sizes):
    missed = [one.verdict for one in outcomes(case, sizes, 100, seed=4) if not flags(one)]
    assert len(missed) <= 1, missed
