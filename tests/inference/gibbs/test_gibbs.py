"""The Gibbs engine: exact on problems that can be enumerated, the same however it is run."""

import _thread
import threading
from contextlib import contextmanager

import numpy as np
import pytest
from exact_enumeration import enumerate_posterior, problems, sampled_quantities, worst, z_scores
from helpers import complete_statistics, random_prior, refuses
from helpers import z_scores as independent_z_scores

from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs import chain as gibbs_chain
from bayes_gmm.inference.gibbs import gibbs
from bayes_gmm.inference.gibbs.chain import Chain, Data
from bayes_gmm.inference.gibbs.gibbs import sample
from bayes_gmm.inference.settings import sequences_of_chains, standardized
from bayes_gmm.kernels.gibbs import Prior, Record
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

PROBLEMS = {problem.name: problem for problem in problems()}
QUICK = [
    "two rows, K = 3",
    "overlapping, K = 3, sparse",
    "plane, separated, K = 2",
    "components told apart, K = 3",
]
POSTERIOR = ("weights", "means", "covariances")
OPTIONS = {"draws": 20, "tune": 5, "cores": 2, "seed": 3, "progressbar": False}


class Case:
    """Two clouds in a plane, three components, and two starts."""

    def __init__(self, n_rows=150):
        rng = np.random.default_rng(8)
        self.x = rng.normal(size=(n_rows, 2)) + 3 * (np.arange(n_rows) % 3 == 0)[:, None]
        self.prior = ConjugatePrior.default(self.x, 3)
        self.starts = [self.prior.sample(rng) for _ in range(2)]

    def sample(self, x=None, **options):
        observations = Observations.of(self.x if x is None else x)
        return sample(observations, self.prior, self.starts, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def case():
    return Case()


def variables(tree):
    for group in ("posterior", "sample_stats"):
        for name, values in tree[group].to_dataset().items():
            yield name, values.to_numpy()


def assert_same_draws(found, expected, chains=slice(None), draws=slice(None)):
    values = dict(variables(expected))
    assert set(values) == {*POSTERIOR, "log_likelihood", "component_counts"}
    for name, array in variables(found):
        np.testing.assert_array_equal(array, values[name][chains, draws], err_msg=name)


def scores_of(problem, n_draws):
    """z-scores of a run that starts at draws from the prior, with the engine's own counts too."""
    rng = np.random.default_rng(1)
    tree = sample(
        Observations.of(problem.x),
        problem.prior,
        [problem.prior.sample(rng) for _ in range(4)],
        draws=n_draws // 4,
        tune=200,
        cores=2,
        seed=11,
        progressbar=False,
    )
    exact = enumerate_posterior(problem.x, problem.prior)
    draws = (tree["posterior"][name].to_numpy() for name in POSTERIOR)
    found = sampled_quantities(exact, *draws)
    occupied = tree["sample_stats"]["component_counts"].to_numpy() > 0
    place = np.arange(occupied.shape[-1] + 1)
    counted = found._replace(
        occupied=occupied, n_occupied=occupied.sum(axis=-1)[..., None] == place
    )
    return worst(z_scores(found, exact)), worst(z_scores(counted, exact))


@pytest.mark.parametrize(("n_rows", "draws"), [(150, 21), (1200, 8)])
def test_a_longer_run_is_one_with_twice_the_thinning(monkeypatch, n_rows, draws):
    monkeypatch.setattr(gibbs_chain, "BLOCK_ROWS", 1024)  # the larger case comes in two blocks
    case = Case(n_rows)
    options = {**OPTIONS, "draws": draws}
    runs = gibbs.longer_runs(Observations.of(case.x), case.prior, case.starts, thin=1, **options)
    for _, thin in zip(range(3), (1, 2, 4), strict=True):
        longer = next(runs)
        assert longer.attrs["thin"] == thin
        assert_same_draws(longer, case.sample(thin=thin, draws=draws))


def test_an_interrupt_of_a_longer_run_leaves_what_was_asked_for(case, monkeypatch):
    runs = gibbs.longer_runs(
        Observations.of(case.x), case.prior, case.starts, thin=1, **{**OPTIONS, "draws": 100}
    )
    assert next(runs).attrs["partial"] == 0
    expected = case.sample(draws=100)
    monkeypatch.setattr(gibbs, "run", lambda *arguments: True)
    (left,) = runs
    assert left.attrs == {"partial": 1, "thin": 1}
    assert_same_draws(left, expected)


@pytest.mark.parametrize(("draws", "thins"), [(100, [1, 2, 4, 8]), (2000, [1]), (4000, [1])])
def test_a_run_is_not_made_longer_than_it_may_take(case, monkeypatch, draws, thins):
    monkeypatch.setattr(gibbs, "LONGEST", 4e7)
    options = {**OPTIONS, "draws": draws}
    runs = gibbs.longer_runs(Observations.of(case.x), case.prior, case.starts, thin=1, **options)
    # 2 chains x (5 + draws x thin) sweeps x about 18,000 operations
    assert [run.attrs["thin"] for run in runs] == thins


def test_more_draws_may_take_as_much_longer(case, monkeypatch):
    monkeypatch.setattr(gibbs, "LONGEST", 2e8)
    most = []
    for draws in (1000, 2000, 3000):
        options = {**OPTIONS, "tune": 0, "draws": draws}
        runs = gibbs.longer_runs(
            Observations.of(case.x), case.prior, case.starts, thin=1, **options
        )
        most.append(max(run.attrs["thin"] for run in runs))
    assert most == [4, 4, 4]


def test_a_stream_that_is_read_anew_for_each_sweep_is_not_read_longer(monkeypatch):
    monkeypatch.setattr(gibbs_chain, "BLOCK_ROWS", 1024)
    case = Case(1200)
    runs = gibbs.longer_runs(
        Observations.of(lambda: iter([case.x])), case.prior, case.starts, thin=1, **OPTIONS
    )
    assert len(list(runs)) == 1


@pytest.mark.parametrize("name", QUICK)
def test_the_posterior_is_the_sum_over_all_labellings(name):
    for score, what in scores_of(PROBLEMS[name], 20_000):
        assert score < 5, what


def test_many_features_have_the_conjugate_posterior_where_the_labels_are_certain():
    rng = np.random.default_rng(2)
    z = np.arange(90) % 3 > 0
    x = rng.normal(size=(90, 16)) + 50 * z[:, None]
    prior = random_prior(rng, 2, 16)
    start = Parameters([0.5, 0.5], [x[~z].mean(axis=0), x[z].mean(axis=0)], [np.eye(16)] * 2)
    tree = sample(Observations.of(x), prior, [start] * 2, **{**OPTIONS, "draws": 1000})
    exact = prior.posterior(complete_statistics(x, z.astype(int), 2))
    weights, means, covariances = (
        tree["posterior"][name].to_numpy().reshape(2000, 2, *rest)
        for name, rest in zip(POSTERIOR, [(), (16,), (16, 16)], strict=True)
    )
    assert (tree["sample_stats"]["component_counts"] == [30, 60]).all()
    precisions = exact.degrees_of_freedom[:, None, None] * np.linalg.inv(exact.scale)
    share = exact.concentration / exact.concentration.sum()
    # Given the labels draws are independent.
    assert np.abs(independent_z_scores(weights, share)).max() < 5
    assert np.abs(independent_z_scores(means, exact.mean)).max() < 5
    assert np.abs(independent_z_scores(np.linalg.inv(covariances), precisions)).max() < 5


@pytest.mark.validate
@pytest.mark.parametrize("name", PROBLEMS)
def test_200_000_draws_are_the_sum_over_all_labellings(name):
    for score, what in scores_of(PROBLEMS[name], 200_000):
        assert score < 5, what


def test_the_result_has_the_shape_of_every_engine(case):
    tree = case.sample()
    posterior, stats = tree["posterior"], tree["sample_stats"]
    assert posterior["weights"].dims == ("chain", "draw", "cluster")
    assert posterior["means"].dims == ("chain", "draw", "cluster", "feature")
    assert posterior["covariances"].dims == ("chain", "draw", "cluster", "feature", "feature_bis")
    assert posterior["covariances"].shape == (2, 20, 3, 2, 2)
    assert list(posterior["feature"].to_numpy()) == ["x0", "x1"]
    assert stats["log_likelihood"].dims == ("chain", "draw")
    assert stats["component_counts"].dims == ("chain", "draw", "cluster")
    assert tree.attrs["partial"] == 0


def test_statistics_belong_to_their_draw(case):
    tree = case.sample()
    draws = [tree["posterior"][name].to_numpy() for name in POSTERIOR]
    for place in [(0, 0), (1, 7), (1, 19)]:
        theta = Parameters(*(values[place] for values in draws))
        expected = mixture.log_likelihood(case.x, theta)
        found = tree["sample_stats"]["log_likelihood"].to_numpy()[place]
        assert found == pytest.approx(expected, rel=1e-10)
    counts = tree["sample_stats"]["component_counts"].to_numpy()
    assert (counts.sum(axis=-1) == len(case.x)).all()


def test_cores_and_other_chains_change_no_draw(case):
    expected = case.sample()
    assert_same_draws(case.sample(cores=1), expected)
    assert_same_draws(case.sample(cores=None), expected)
    alone = Case()
    alone.starts = alone.starts[:1]
    assert_same_draws(alone.sample(), expected, chains=slice(1))


def test_slabs_change_no_draw(case, monkeypatch):
    expected = case.sample()
    monkeypatch.setattr(gibbs, "SLAB", 1.0)
    assert_same_draws(case.sample(), expected)


def test_seeds_and_chains_differ(case):
    one, other = case.sample(), case.sample(seed=4)
    means = one["posterior"]["means"].to_numpy()
    assert (means != other["posterior"]["means"].to_numpy()).all()
    same = Case()
    same.starts = [same.starts[0]] * 2
    means = same.sample()["posterior"]["means"].to_numpy()
    assert (means[0] != means[1]).all()


def test_chains_differ_in_their_labels_and_not_only_in_their_generators(case):
    observations, record = Observations.of(case.x), Record.empty((2, 1), 3, 2)
    prior = Prior.conjugate(standardized(case.prior, observations))
    start = standardized(case.starts[0], observations)
    for place, sequence in enumerate(sequences_of_chains(3, 2)):
        own = Record(*(field[place] for field in record))
        chain = Chain(Data(observations), prior, start, own, 0, 1, sequence)
        chain._rng = np.random.default_rng(0)
        chain.advance(2, threading.Event())
        assert chain.is_done
    assert (record.means[0] != record.means[1]).any()


def test_blocks_maps_and_streams_change_no_draw(monkeypatch, tmp_path):
    case = Case(n_rows=1500)
    expected = case.sample()
    monkeypatch.setattr(gibbs_chain, "BLOCK_ROWS", 512)
    assert_same_draws(case.sample(), expected)
    assert_same_draws(case.sample(cores=1), expected)
    path = tmp_path / "x.npy"
    np.save(path, case.x)
    assert_same_draws(case.sample(np.load(path, mmap_mode="r")), expected)
    streamed = case.sample(lambda: iter(np.array_split(case.x, 7)))
    for name, values in variables(streamed):  # its origin may differ by rounding
        np.testing.assert_allclose(values, dict(variables(expected))[name], rtol=1e-8, atol=1e-10)


def test_a_mapped_file_of_single_precision_is_read_as_it_is(tmp_path):
    case = Case()
    path = tmp_path / "x.npy"
    np.save(path, case.x.astype(np.float32))
    expected = case.sample(case.x.astype(np.float32).astype(float))
    mapped = case.sample(np.load(path, mmap_mode="r"))
    for name, values in variables(mapped):
        np.testing.assert_allclose(values, dict(variables(expected))[name], rtol=1e-8, atol=1e-10)


def test_thinning_leaves_draws_out(case):
    every = case.sample(draws=30, thin=1)
    assert_same_draws(case.sample(draws=10, thin=3), every, draws=slice(2, None, 3))


def test_tuning_leaves_the_first_sweeps_out(case):
    every = case.sample(draws=25, tune=0)
    assert_same_draws(case.sample(draws=20, tune=5), every, draws=slice(5, None))


@pytest.mark.parametrize(
    ("shift", "scale"),
    [([0.0, 0.0], [1e-8, 1e8]), ([1e8, -3e5], [1.0, 1e-2])],
    ids=["units", "shift"],
)
def test_draws_follow_the_units_of_the_data(case, shift, scale):
    shift, scale = np.array(shift), np.array(scale)
    moved = Case()
    moved.x = shift + scale * case.x
    moved.prior = case.prior.rescale(shift, scale)
    moved.starts = [start.rescale(shift, scale) for start in case.starts]
    one, other = (dict(variables(c.sample(draws=40))) for c in (case, moved))
    np.testing.assert_array_equal(other["component_counts"], one["component_counts"])
    np.testing.assert_allclose(other["weights"], one["weights"], rtol=1e-6)
    np.testing.assert_allclose((other["means"] - shift) / scale, one["means"], atol=1e-6)
    covariances = other["covariances"] / np.outer(scale, scale)
    np.testing.assert_allclose(covariances, one["covariances"], rtol=1e-6, atol=1e-8)
    jacobian = len(case.x) * np.log(scale).sum()
    np.testing.assert_allclose(
        other["log_likelihood"] + jacobian, one["log_likelihood"], rtol=0, atol=1e-4
    )


def test_a_start_may_have_no_weight_or_no_rows(case):
    empty = Case()
    empty.starts = [
        Parameters([1.0, 0.0, 0.0], case.starts[0].means, case.starts[0].covariances),
        Parameters([0.4, 0.3, 0.3], [[0, 0], [1e6, 0], [1, 1]], np.stack([np.eye(2)] * 3)),
    ]
    tree = empty.sample(draws=300, tune=0)
    for name, values in variables(tree):
        assert np.isfinite(values).all(), name
    counts = tree["sample_stats"]["component_counts"].to_numpy()
    assert (counts.max(axis=1) > 0).all()


def test_progress_is_shown_when_asked_for(case, capfd):
    case.sample(progressbar=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "50/50" in shown.err
    case.sample()
    assert capfd.readouterr() == ("", "")


@contextmanager
def interrupting(after):
    """A progress bar at whose step the user presses Ctrl-C."""
    steps = []

    def done(_):
        steps.append(1)
        if len(steps) == after:
            raise KeyboardInterrupt

    yield done


@pytest.mark.parametrize("block_rows", [100, 1 << 16])
def test_an_interrupted_run_keeps_what_was_drawn(case, monkeypatch, block_rows):
    expected = case.sample(draws=5000)
    monkeypatch.setattr(gibbs, "SLAB", 1.0)  # one sweep at a time
    monkeypatch.setattr(gibbs, "progress", lambda *_, **__: interrupting(after=40))
    monkeypatch.setattr(gibbs_chain, "BLOCK_ROWS", block_rows)
    tree = case.sample(draws=5000, cores=1)
    assert tree.attrs["partial"] == 1
    n_draws = tree["posterior"].sizes["draw"]
    assert 10 <= n_draws <= 20
    for name, values in variables(tree):
        whole = dict(variables(expected))[name][:, :n_draws]
        np.testing.assert_allclose(values, whole, rtol=1e-8, atol=1e-10)


def test_ctrl_c_stops_chains_that_are_running(case):
    threading.Timer(0.3, _thread.interrupt_main).start()
    tree = case.sample(draws=100_000, thin=500)
    assert tree.attrs["partial"] == 1
    assert 0 < tree["posterior"].sizes["draw"] < 100_000
    assert all(np.isfinite(values).all() for _, values in variables(tree))


def test_an_interrupt_before_the_first_draw_goes_on(case, monkeypatch):
    monkeypatch.setattr(gibbs, "SLAB", 1.0)
    monkeypatch.setattr(gibbs, "progress", lambda *_, **__: interrupting(after=3))
    with pytest.raises(KeyboardInterrupt):
        case.sample(cores=1)


def test_a_stream_that_fails_stops_the_run(monkeypatch):
    case = Case(n_rows=1500)
    monkeypatch.setattr(gibbs_chain, "BLOCK_ROWS", 512)
    reads = []

    def shrinking():
        reads.append(1)
        return iter([case.x if len(reads) < 8 else case.x[:-1]])

    with refuses("1500 rows", "1499 rows"):
        case.sample(shrinking)


@pytest.mark.parametrize(
    ("name", "value"),
    [("draws", 0), ("tune", -1), ("thin", 0), ("cores", 0), ("seed", -1), ("draws", 2.5)],
)
def test_a_number_out_of_range_is_refused(case, name, value):
    with refuses(name, repr(value)):
        case.sample(**{name: value})


def test_what_cannot_be_sampled_is_refused(case):
    observations = Observations.of(case.x)
    rng = np.random.default_rng(0)
    with refuses("row_weights is 0.5 in row 1", "whole numbers", "nuts", "pymc"):
        sample(observations.weighted(np.arange(150.0) / 2), case.prior, case.starts, **OPTIONS)
    with refuses("prior", "improper"):
        sample(observations, ConjugatePrior.flat(3, 2), case.starts, **OPTIONS)
    with refuses("prior", "1 features"):
        sample(observations, random_prior(rng, 3, 1), case.starts, **OPTIONS)
    with refuses("starts[1]", "(2, 2)"):
        small = random_prior(rng, 2, 2).sample(rng)
        sample(observations, case.prior, [case.starts[0], small], **OPTIONS)
    with refuses("chains", "0"):
        sample(observations, case.prior, [], **OPTIONS)


def test_a_prior_without_room_is_refused(case):
    tiny = ConjugatePrior([1e-3] * 3, [0.0, 0.0], 1.0, 3.0, 1e-30 * np.eye(2))
    x = np.repeat([[0.0, 0.0], [1.0, 1.0]], 40, axis=0)
    start = Parameters([0.4, 0.3, 0.3], [[0, 0], [1, 1], [2, 0]], np.stack([np.eye(2)] * 3))
    with refuses("scale", "component"):
        sample(Observations.of(x), tiny, [start], **{**OPTIONS, "draws": 500})
