"""The search: fast where EM creeps, honest about what it found, not fooled by a few rows."""

import numpy as np
import pytest

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em, initialize, ranking
from bayes_gmm.inference.em.anderson import Anderson
from bayes_gmm.inference.em.runner import Runner
from bayes_gmm.inference.em.search import Effort
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.kernels.runs import State
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure


def slow_problem() -> np.ndarray:
    """Two heavily overlapping clusters: plain EM takes thousands of iterations."""
    rng = np.random.default_rng(4)
    return np.concatenate([rng.normal(0, 1, (400, 1)), rng.normal(1.2, 1.5, (200, 1))])


def test_acceleration_reaches_the_limit_of_plain_em_in_a_fraction_of_the_passes():
    observations = Observations.of(slow_problem())
    passes = []
    expect = expectation(observations)

    def counted(log_quadratic):
        passes.append(1)
        return expect(log_quadratic)

    rule = Rule(ConjugatePrior.flat(2, 1), Structure.of("V", 1), np.ones(1))
    seed = next(initialize.seeds(initialize.sketch(observations), 2, 1, np.random.default_rng(1)))
    start = em.evaluate(counted, rule.maximize(seed, seed.second))
    ends, counts = [], []
    for accelerate in (False, True):
        passes.clear()
        run = em.run(counted, rule, start, max_iter=100_000, tol=1e-9, accelerate=accelerate)
        assert run.converged
        assert min(np.diff(run.objectives)) > -1e-9 * abs(run.objectives[-1])
        ends.append(run.state.objective)
        counts.append(len(passes))
    assert ends[1] == pytest.approx(ends[0], abs=1e-7)
    assert counts[1] < counts[0] / 3


def test_converged_means_that_nothing_is_left_to_gain():
    """After a converged run, ten thousand plain steps gain no more than the tolerance said."""
    observations = Observations.of(slow_problem())
    expect = expectation(observations)
    rule = Rule(ConjugatePrior.flat(2, 1), Structure.of("V", 1), np.ones(1))
    for seed in initialize.seeds(initialize.sketch(observations), 2, 3, np.random.default_rng(2)):
        run = em.run(expect, rule, rule.maximize(seed, seed.second), max_iter=10_000, tol=1e-6)
        assert run.converged
        state = run.state
        for _ in range(10_000):
            state = em.step(expect, rule, state)
        assert state.objective - run.state.objective < 1e-5


def test_anderson_finds_the_fixed_point_of_a_linear_map_in_as_many_steps_as_dimensions():
    rng = np.random.default_rng(1)
    matrix = 0.99 * np.linalg.qr(rng.normal(size=(4, 4)))[0]
    target = rng.normal(size=4)
    history, x = Anderson(), np.zeros(4)
    for _ in range(6):
        y = target + matrix @ (x - target)
        history.push(x, y)
        guess = history.extrapolate()
        x = y if guess is None else guess
    assert np.abs(x - target).max() < 1e-6
    history.forget()
    assert history.extrapolate() is None


def climbed(rows: np.ndarray, mean: float, sd: float) -> State:
    """Where EM ends that starts with a component of this mean and sd beside one of all rows."""
    observations = Observations.of(rows)
    rule = Rule(ConjugatePrior.flat(2, 1), Structure.of("V", 1), np.ones(1))
    theta = bg.Parameters(
        [0.5, 0.5], [[observations.origin[0]], [mean]], [[[rows.var()]], [[sd**2]]]
    ).rescale(-observations.origin / observations.scale, 1 / observations.scale)
    expect = expectation(observations)
    return em.run(expect, rule, rule.at(theta), max_iter=1000, tol=1e-8).state


@pytest.mark.parametrize(("n_close", "is_real"), [(2, False), (3, False), (50, True), (100, True)])
def test_a_component_on_a_handful_of_rows_is_worth_less_and_one_on_a_cluster_is_not(
    n_close, is_real
):
    """Each has the higher likelihood; only where many rows lie close does it say something."""
    rng = np.random.default_rng(n_close)
    rows = np.concatenate([rng.normal(size=(400, 1)), rng.normal(0.5, 1e-4, size=(n_close, 1))])
    tight, plain = climbed(rows, 0.5, 1e-4), climbed(rows, -1.0, 0.5)
    assert tight.statistics.count[1] == pytest.approx(n_close, abs=2)
    assert tight.objective > plain.objective
    worth = ranking.predicted(
        ConjugatePrior.flat(2, 1), Structure.of("V", 1), np.ones((1, 1)), len(rows)
    )
    assert (worth(tight) > worth(plain)) == is_real


def test_the_optima_are_distinct_and_the_starts_are_counted():
    fit = bg.fit(bg.datasets.load("iris"), 3, seed=1)["optimizer_result"]
    heights = np.sort(fit["optimum_objective"].to_numpy())
    assert (np.diff(heights) > 1e-3).all()
    starts = fit["optimum_starts"].to_numpy()
    assert (starts >= 0).all()
    assert 1 <= starts.sum() <= 30
    assert fit.sizes["start"] == 30


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_the_rows_does_not_matter(order):
    frame = bg.datasets.load("iris")
    shuffled = frame.sample(frac=1, random_state=order)
    one, other = (bg.fit(x, 3, seed=5)["point_estimate"] for x in (frame, shuffled))
    for name in ("weights", "means", "covariances"):
        np.testing.assert_allclose(one[name].to_numpy(), other[name].to_numpy(), rtol=1e-9)


def test_weights_are_repetitions():
    frame = bg.datasets.load("faithful")
    times = np.random.default_rng(0).integers(0, 4, len(frame))
    from bayes_gmm.inference.em import point

    structure = Structure.of("VVV", 2)
    weighted = point.estimate(Observations.of(frame).weighted(times), 3, None, structure, seed=3)
    repeated = point.estimate(
        Observations.of(frame.loc[frame.index.repeat(times)]), 3, None, structure, seed=3
    )
    np.testing.assert_allclose(weighted.parameters.means, repeated.parameters.means, rtol=1e-9)
    assert weighted.optimizer["log_likelihood"] == pytest.approx(
        repeated.optimizer["log_likelihood"], rel=1e-12
    )


def planted(n_groups: int, n_rows: int, n_features: int, spread: float) -> np.ndarray:
    """Round groups of equal size, several standard deviations apart, one after the other."""
    rng = np.random.default_rng(n_groups)
    means = spread * rng.normal(size=(n_groups, n_features))
    return np.repeat(means, n_rows, axis=0) + rng.normal(size=(n_groups * n_rows, n_features))


@pytest.mark.parametrize(
    ("n_groups", "n_rows", "n_features", "covariance"),
    [(60, 40, 4, "VVV"), (8, 250, 30, "VVV"), (8, 250, 30, "EII"), (8, 250, 30, "VVI")],
)
def test_many_groups_or_features_are_found_by_every_seed(n_groups, n_rows, n_features, covariance):
    """As high as the groups themselves, each with its own mean and covariance."""
    x = planted(n_groups, n_rows, n_features, 12.0 if n_groups > 50 else 1.5)
    residual = x.reshape(n_groups, n_rows, -1)
    residual = residual - residual.mean(axis=1, keepdims=True)
    scatter = residual.swapaxes(1, 2) @ residual / n_rows
    if covariance == "EII":
        log_det = np.array(n_features * np.log(residual.var()))
    elif covariance == "VVI":
        log_det = np.log(np.einsum("kii->ki", scatter)).sum(axis=1)
    else:
        log_det = np.linalg.slogdet(scatter)[1]
    per_row = -0.5 * (n_features * (np.log(2 * np.pi) + 1) + log_det.mean()) - np.log(n_groups)
    for seed in range(2):
        found = bg.fit(x, n_groups, covariance=covariance, seed=seed, tol=1e-6)
        assert float(found["optimizer_result"]["log_likelihood"]) > len(x) * per_row - 0.1


def test_expensive_steps_mean_fewer_starts_and_swaps_and_more_starts_are_had_for_asking():
    cheap, dear = Effort.of(30, 10, 1e4), Effort.of(30, 10, 1e9)
    assert cheap.n_starts == 30
    assert dear.n_starts < 5
    assert dear.patience < cheap.patience
    assert Effort.of(300, 10, 1e7).n_starts > 5 * Effort.of(30, 10, 1e7).n_starts
    assert Effort.of(10, 10, 1e4).n_starts == 10


def test_fewer_starts_do_not_mean_a_lower_optimum_on_plain_groups():
    x = planted(8, 250, 30, 1.5)
    heights = [
        float(bg.fit(x, 8, n_starts=n, seed=3)["optimizer_result"]["log_likelihood"])
        for n in (2, 10, 30)
    ]
    assert np.ptp(heights) < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_more_starts_never_turn_a_result_into_an_error(seed):
    """A code for missing entries draws most starts to a pole, and some are left beside it."""
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal([10, 100], 1, (60, 2)), rng.normal([16, 106], 1, (40, 2))])
    x[::17, 0] = -9999
    for n_starts in (30, 100):
        with pytest.warns(bg.CollapseWarning, match="-9999"):
            bg.fit(x, 2, n_starts=n_starts, seed=seed)


def test_a_search_that_still_improved_at_its_end_says_so(monkeypatch):
    faithful = bg.datasets.load("faithful")
    plain = bg.fit(faithful, 3, seed=1)["optimizer_result"]
    assert not plain["still_improving"]
    assert plain["swaps_in_vain"] >= 5
    monkeypatch.setattr(Runner, "swap", lambda runner, best, patience, limit: ([best], 0))
    with pytest.warns(bg.ConvergenceWarning, match="n_starts=60"):
        bg.fit(faithful, 3, seed=1)
