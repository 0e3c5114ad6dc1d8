"""Chains start in every mode that may matter, apart from each other, in any order of labels."""

import numpy as np
import pytest

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference import dispersed, settings
from bayes_gmm.inference.em import point
from bayes_gmm.kernels.rule import Candidate
from bayes_gmm.kernels.runs import State
from bayes_gmm.model.marginal_likelihood import cheeseman_stutz
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic
from bayes_gmm.model.structures import UNCONSTRAINED
from bayes_gmm.posterior.pivot import match


def found_in(frame, n_components):
    observations = Observations.of(frame)
    prior = bg.ConjugatePrior.default(observations, n_components)
    found = point.estimate(observations, n_components, prior, UNCONSTRAINED, seed=1)
    return found, prior


@pytest.fixture(scope="module")
def faithful():
    return found_in(bg.datasets.load("faithful"), 2)


def stacked(starts):
    return [
        np.array([getattr(start, name) for start in starts])
        for name in ("weights", "means", "covariances")
    ]


def test_starts_spread_about_the_estimate_as_wide_as_they_say(faithful):
    """Their weights spread as those of a Dirichlet with a quarter of the rows."""
    found, prior = faithful
    starts = dispersed.starts(found, prior, 400, seed=3)
    weights, means, covariances = stacked(starts)
    order = match(weights[None], means[None], covariances[None], found.parameters).permutation[0]
    named = np.take_along_axis(weights, order, axis=1)[:, 0]
    share = found.parameters.weights[0]
    rows = 272 * dispersed.OVERDISPERSED**-2
    sd = np.sqrt(share * (1 - share) / (rows + 3))
    assert abs(named.mean() - share) < 5 * sd / np.sqrt(400)
    assert named.std() == pytest.approx(sd, rel=5 / np.sqrt(2 * 400))


def test_labels_come_in_every_order_unless_their_order_means_something(faithful):
    found, prior = faithful
    first = [start.means[0, 0] < 3 for start in dispersed.starts(found, prior, 40, seed=1)]
    assert 8 < sum(first) < 32
    fixed = bg.ConjugatePrior(
        [1.0, 2.0], prior.mean, prior.mean_precision, prior.degrees_of_freedom, prior.scale
    )
    kept = [start.means[0, 0] < 3 for start in dispersed.starts(found, fixed, 40, seed=1)]
    first, second = found.optima[0].candidate.parameters.means[:, 0]  # as the search named them
    assert kept == [first < second] * 40


def test_a_chain_keeps_its_start_when_there_are_more_of_them(faithful):
    found, prior = faithful
    few, many = (dispersed.starts(found, prior, n, seed=5) for n in (2, 6))
    for one, other in zip(few, many[:2], strict=True):
        np.testing.assert_array_equal(one.means, other.means)
    again = dispersed.starts(found, prior, 2, seed=6)
    assert (again[0].means != few[0].means).all()


def test_no_chain_draws_the_numbers_that_a_start_was_made_of():
    used = {
        tuple(sequence.generate_state(4))
        for sequences in (settings.sequences_of_starts(7, 5), settings.sequences_of_chains(7, 5))
        for chain in sequences
        for sequence in (chain, *chain.spawn(2))
    }
    assert len(used) == 2 * 5 * 3


def test_the_randomness_of_starts_is_their_own(faithful, monkeypatch):
    found, prior = faithful
    generators = []
    monkeypatch.setattr(
        dispersed, "_start", lambda mode, prior, rng: generators.append(rng) or found.parameters
    )
    dispersed.starts(found, prior, 2, seed=5)
    numbers = [rng.standard_normal() for rng in generators]
    chains = map(np.random.default_rng, settings.sequences_of_chains(5, 2))
    assert not set(numbers) & {rng.standard_normal() for rng in chains}


def test_chains_take_turns_in_the_modes_that_hold_an_appreciable_share(monkeypatch):
    found, prior = found_in(bg.datasets.load("faithful"), 3)
    standard = prior.rescale(-found.origin / found.scale, 1 / found.scale)
    modes = dispersed.appreciable(found.optima, standard)
    assert 2 <= len(modes) < len(found.optima)
    used = []
    draw = dispersed._start
    monkeypatch.setattr(
        dispersed,
        "_start",
        lambda statistics, *more: used.append(statistics) or draw(statistics, *more),
    )
    dispersed.starts(found, prior, len(modes) + 1, seed=2)
    assert [*(mode.statistics for mode in modes), modes[0].statistics] == used


def test_no_chain_starts_in_a_mode_of_a_smaller_mixture():
    """A component of two rows costs next to nothing, and its mode holds more mass."""
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(size=(60, 4)), rng.normal(size=(60, 4)) + 1.2])
    prior = bg.ConjugatePrior.default(x, 2)

    def optimum(labels):
        theta = prior.posterior(
            SufficientStatistics.of(x, np.eye(2)[labels], np.zeros((2, 4)), 0.0)
        ).mode()
        functions = theta.log_quadratic()
        return State(Candidate(theta, functions, 0.0, -1), from_log_quadratic(x, functions), 0.0)

    used, smaller = optimum(np.repeat([0, 1], 60)), optimum(np.repeat([0, 1], [118, 2]))
    assert smaller.statistics.count.min() < 14 < used.statistics.count.min()
    mass = [
        cheeseman_stutz(prior, o.candidate.log_quadratic, o.statistics) for o in (used, smaller)
    ]
    assert mass[1] > mass[0] + 5
    assert dispersed.appreciable([used, smaller], prior) == [used]
    assert dispersed.appreciable([smaller, used], prior) == [smaller]
