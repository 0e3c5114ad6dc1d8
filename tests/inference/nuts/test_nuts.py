"""The hand-made NUTS engine: PyMC's density, exact posteriors, the same however it is run."""

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytensor
import pytest
from exact_enumeration import enumerate_posterior, problems, sampled_quantities, worst, z_scores
from helpers import random_parameters, random_prior, refuses
from pytensor.compile.mode import Mode

from bayes_gmm.data import Observations
from bayes_gmm.inference.nuts import nutpie_chains, nuts
from bayes_gmm.inference.nuts.nuts import sample, standardized
from bayes_gmm.inference.pymc.model import pymc_model
from bayes_gmm.kernels.log_posterior import LogPosterior
from bayes_gmm.model import mixture
from bayes_gmm.model.free_coordinates import FreeCoordinates
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from tests.inference.conjugate import SHIFT, Conjugate

PROBLEMS = {problem.name: problem for problem in problems()}
QUICK = ["two rows, K = 3", "overlapping, K = 3, sparse", "components told apart, plane"]
POSTERIOR = ("weights", "means", "covariances")
OPTIONS = {"draws": 200, "tune": 100, "cores": 2, "seed": 3, "progressbar": False}
SIZES = [  # N, D, K, and whether the prior says the same of every component
    (30, 2, 2, True),
    (25, 2, 3, False),
    (2, 3, 4, False),
    (40, 1, 3, True),
]


def awkward(n_rows, n_features, n_components, exchangeable, seed=0):
    """Rows in awkward units and a prior."""
    rng = np.random.default_rng([seed, n_rows, n_features, n_components])
    scale = 10.0 ** rng.uniform(-5, 5, n_features)
    shift = 1000 * rng.normal(size=n_features) * scale
    x = shift + scale * rng.standard_t(4, size=(n_rows, n_features))
    if exchangeable:
        return Observations.of(x), ConjugatePrior.default(x, n_components)
    return Observations.of(x), random_prior(rng, n_components, n_features).rescale(shift, scale)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "N{}-D{}-K{}-{}".format(*size))
def test_value_and_gradient_are_those_of_the_pymc_model(size):
    observations, prior = awkward(*size)
    model = pymc_model(observations, prior, likelihood="mixture")
    with pytensor.config.change_flags(cxx=""):
        pymc_density = model.compile_fn(
            [model.logp(), model.dlogp()],
            inputs=model.value_vars,
            mode=Mode(linker="py", optimizer="fast_compile"),
            point_fn=False,
        )
    coordinates = FreeCoordinates(standardized(prior, observations))
    ours = LogPosterior(observations, coordinates)
    _, n_features, n_components, _ = size
    shapes = [
        (n_components - 1,),
        (n_components, n_features * (n_features + 1) // 2),
        (n_components, n_features),
    ]
    edges = np.cumsum([np.prod(shape) for shape in shapes])[:-1]
    log_units = observations.n_rows * np.log(observations.scale).sum()  # the only difference
    rng = np.random.default_rng(1)
    for _ in range(80 // len(SIZES)):
        free = rng.normal(size=coordinates.size)
        parts = [
            part.reshape(shape) for part, shape in zip(np.split(free, edges), shapes, strict=True)
        ]
        expected, expected_slope = pymc_density(*parts)
        value, slope = ours(free)
        assert value - log_units == pytest.approx(float(expected), rel=1e-9)
        size_of_slope = np.abs(expected_slope).max()
        np.testing.assert_allclose(slope, expected_slope, rtol=1e-9, atol=1e-9 * size_of_slope)


@pytest.fixture(scope="module")
def conjugate():
    return Conjugate()


def test_one_component_has_its_conjugate_posterior(conjugate):
    tree = sample(
        conjugate.observations,
        conjugate.prior,
        [conjugate.start] * 3,
        **{**OPTIONS, "draws": 1500, "tune": 500},
    )
    for what, z in conjugate.z_scores(tree["posterior"].to_dataset()).items():
        assert np.isfinite(z).all()
        assert (np.abs(z) < 5).all(), (what, z)


def scores_of(problem, n_draws):
    """Largest |z| among the quantities of a problem that is known exactly."""
    exact = enumerate_posterior(problem.x, problem.prior)
    names = np.arange(problem.prior.n_components)
    starts = [exact.theta.reorder(np.roll(names, chain)) for chain in range(4)]
    tree = sample(
        Observations.of(problem.x),
        problem.prior,
        starts,
        **{**OPTIONS, "draws": n_draws // 4, "tune": 1000},
    )
    draws = (tree["posterior"][name].to_numpy() for name in POSTERIOR)
    return worst(z_scores(sampled_quantities(exact, *draws), exact))


@pytest.mark.parametrize("name", QUICK)
def test_draws_agree_with_the_sum_over_all_labellings(name):
    score, what = scores_of(PROBLEMS[name], 6_000)
    assert score < 5, what


@pytest.mark.validate
@pytest.mark.parametrize("name", PROBLEMS)
def test_20_000_draws_are_the_sum_over_all_labellings(name):
    score, what = scores_of(PROBLEMS[name], 20_000)
    assert score < 5, what


class Case:
    """Two clouds that are far apart, and starts in either order of the names."""

    def __init__(self):
        rng = np.random.default_rng(8)
        self.x = rng.normal(size=(120, 2)) + 8 * (np.arange(120) % 3 == 0)[:, None]
        self.prior = ConjugatePrior.default(self.x, 2)
        theta = Parameters([1 / 3, 2 / 3], [[8.0, 8.0], [0.0, 0.0]], [np.eye(2)] * 2)
        self.starts = [theta, theta.reorder([1, 0]), theta]

    def sample(self, **options):
        starts = options.pop("starts", self.starts)
        return sample(Observations.of(self.x), self.prior, starts, **{**OPTIONS, **options})


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def tree(case):
    return case.sample()


def assert_same_draws(found, expected, chains=slice(None)):
    for group in ("posterior", "sample_stats"):
        ours, theirs = found[group].to_dataset(), expected[group].to_dataset()
        assert set(ours) == set(theirs)
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name].to_numpy()[chains], err_msg=name)


def test_the_result_has_the_shape_of_every_engine(tree):
    posterior, stats = tree["posterior"], tree["sample_stats"]
    assert set(posterior.data_vars) == set(POSTERIOR)
    assert posterior["weights"].dims == ("chain", "draw", "cluster")
    assert posterior["means"].dims == ("chain", "draw", "cluster", "feature")
    assert posterior["covariances"].dims == ("chain", "draw", "cluster", "feature", "feature_bis")
    assert posterior["covariances"].shape == (3, 200, 2, 2, 2)
    assert list(posterior["feature"].to_numpy()) == ["x0", "x1"]
    assert list(posterior["chain"].to_numpy()) == [0, 1, 2]
    assert stats["log_likelihood"].dims == ("chain", "draw")
    assert stats["component_counts"].dims == ("chain", "draw", "cluster")
    assert {"diverging", "lp", "energy", "tree_depth", "acceptance_rate"} <= set(stats.data_vars)
    assert all(values.dtype.kind in "biuf" for values in stats.data_vars.values())
    assert not stats["diverging"].any()
    assert tree.attrs["partial"] == 0


def test_statistics_belong_to_their_draw(case, tree):
    draws = [tree["posterior"][name].to_numpy() for name in POSTERIOR]
    observations = Observations.of(case.x)
    coordinates = FreeCoordinates(standardized(case.prior, observations))
    for place in [(0, 0), (1, 7), (2, 199)]:
        theta = Parameters(*(values[place] for values in draws))
        expected = mixture.log_likelihood(case.x, theta)
        assert tree["sample_stats"]["log_likelihood"][place] == pytest.approx(expected, rel=1e-9)
        free = coordinates.of(standardized(theta, observations))
        expected += coordinates.log_prior(free)
        assert tree["sample_stats"]["lp"][place] == pytest.approx(expected, rel=1e-9)
        counts = mixture.responsibilities(case.x, theta).sum(axis=0)
        found = tree["sample_stats"]["component_counts"][place]
        np.testing.assert_allclose(found, counts, rtol=1e-9)


def test_chains_start_where_they_are_told(case, tree, monkeypatch):
    # The clouds are so far apart that a chain never changes names: order and start are one.
    first_weight = tree["posterior"]["weights"].to_numpy()[..., 0]
    assert (first_weight[[0, 2]] < 0.5).all()
    assert (first_weight[1] > 0.5).all()
    # And to the digits, whatever the scale.
    seen = []

    def capture(models, *args, **options):
        seen.extend(model.initial_point_func(9) for model in models)
        raise KeyboardInterrupt

    monkeypatch.setattr(nuts, "run", capture)
    observations, prior = awkward(40, 2, 2, exchangeable=False)
    starts = [
        random_parameters(np.random.default_rng(i), 2, 2).rescale(
            observations.origin, observations.scale
        )
        for i in range(2)
    ]
    with pytest.raises(KeyboardInterrupt):
        sample(observations, prior, starts, **OPTIONS)
    coordinates = FreeCoordinates(standardized(prior, observations))
    for free, start in zip(seen, starts, strict=True):
        weights, means, covariances = coordinates.parameters(free)
        begun = standardized(start, observations)
        np.testing.assert_allclose(weights, begun.weights, atol=1e-3)
        np.testing.assert_allclose(means, begun.means, atol=1e-3)
        np.testing.assert_allclose(covariances, begun.covariances, atol=1e-2)


def test_a_start_without_weight_and_a_symmetric_one_are_taken():
    x = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    start = Parameters([1.0, 0.0], np.zeros((2, 2)), [np.eye(2)] * 2)
    found = sample(
        Observations.of(x), ConjugatePrior.default(x, 2), [start], **{**OPTIONS, "draws": 5}
    )
    assert np.isfinite(found["posterior"]["means"]).all()


def test_cores_and_other_chains_do_not_change_the_draws(case, tree):
    assert_same_draws(case.sample(cores=1), tree)
    assert_same_draws(case.sample(cores=None), tree)
    assert_same_draws(case.sample(starts=case.starts[:2]), tree, slice(2))


def test_the_seed_decides(case, tree):
    other = case.sample(seed=4)
    for chain in range(3):
        assert (other["posterior"]["means"][chain] != tree["posterior"]["means"][chain]).all()
    assert (tree["posterior"]["means"][0] != tree["posterior"]["means"][2]).any()


def test_units_that_are_powers_of_two_do_not_change_a_digit(case, tree):
    factor = np.array([2.0**20, 2.0**-13])
    found = sample(
        Observations.of(case.x * factor),
        case.prior.rescale(np.zeros(2), factor),
        [start.rescale(np.zeros(2), factor) for start in case.starts],
        **OPTIONS,
    )
    for name, by in (("weights", 1), ("means", factor), ("covariances", np.outer(factor, factor))):
        np.testing.assert_array_equal(found["posterior"][name], tree["posterior"][name] * by)


def test_a_quiet_run_prints_nothing_and_another_shows_its_progress(case, capfd):
    case.sample()
    assert capfd.readouterr() == ("", "")
    case.sample(progressbar=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "900/900" in err


def interrupting(after):
    """A progress bar that presses Ctrl-C after so many draws."""

    @contextmanager
    def progress(total, what, *, shown):
        made = 0

        def advance(steps):
            nonlocal made
            made += steps
            if made >= after:
                raise KeyboardInterrupt

        yield advance

    return progress


def test_an_interrupt_keeps_what_was_drawn(case, tree, monkeypatch):
    monkeypatch.setattr(
        nutpie_chains, "progress", interrupting(300 + 300 + 1)
    )  # two chains of three
    partial = case.sample(cores=1, progressbar=True)
    assert partial.attrs["partial"] == 1
    assert list(partial["posterior"]["chain"].to_numpy()) in ([0, 1], [0, 1, 2])
    n_chains, n_draws = partial["sample_stats"]["lp"].shape
    for name in POSTERIOR:
        expected = tree["posterior"][name].to_numpy()[:n_chains, :n_draws]
        np.testing.assert_array_equal(partial["posterior"][name], expected)


def test_an_interrupt_before_the_first_draw_goes_on(case, monkeypatch):
    monkeypatch.setattr(nutpie_chains, "progress", interrupting(1))
    with pytest.raises(KeyboardInterrupt):
        case.sample(tune=2_000_000, progressbar=True)


def test_ctrl_c_in_the_middle_leaves_a_partial_result():
    script = """
import sys
import numpy as np
from bayes_gmm.data import Observations
from bayes_gmm.inference.nuts.nuts import sample
from bayes_gmm.model.priors import ConjugatePrior

x = np.random.default_rng(0).normal(size=(200, 2))
prior = ConjugatePrior.default(x, 2)
starts = [prior.sample(np.random.default_rng(i)) for i in range(2)]
options = {"tune": 50, "cores": 2, "seed": 1, "progressbar": False}
sample(Observations.of(x), prior, starts, draws=5, **options)
print("pymc" in sys.modules, flush=True)
tree = sample(Observations.of(x), prior, starts, draws=10**6, **options)
print(tree.attrs["partial"], tree["posterior"]["means"].shape[:2])
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "False\n"  # this engine needs no PyMC
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    partial, n_chains, n_draws = map(int, re.findall(r"\d+", out))
    assert partial == 1
    assert n_chains in (1, 2)  # on a busy machine the other chain has drawn nothing yet
    assert 1 <= n_draws < 10**6


@pytest.mark.parametrize(
    ("name", "value"), [("draws", 0), ("draws", 2.5), ("tune", 0), ("cores", 0), ("seed", -1)]
)
def test_a_number_out_of_range_is_refused(case, name, value):
    with refuses(name, repr(value)):
        case.sample(**{name: value})


def test_no_start_and_an_improper_prior_are_refused(case):
    with refuses("chains", "0"):
        case.sample(starts=[])
    with refuses("prior", "improper"):
        sample(Observations.of(case.x), ConjugatePrior.flat(2, 2), case.starts, **OPTIONS)


def test_far_from_zero_the_coordinates_keep_their_digits(conjugate):
    observations, mean = conjugate.observations, SHIFT + 0.3 * conjugate.observations.scale
    there = ConjugatePrior([1.0], mean, 0.1, 5.0, np.diag(observations.scale**2))
    inside = standardized(there, observations)
    expected = (mean - observations.origin) / observations.scale
    np.testing.assert_allclose(inside.mean[0], expected, rtol=1e-12)
