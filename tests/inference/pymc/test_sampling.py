import logging
from collections.abc import Callable
from dataclasses import dataclass

import arviz as az
import numpy as np
import nutpie
import pymc as pm
import pytensor
import pytest
from pymc.initial_point import make_initial_point_fn

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.pymc import sampling
from bayes_gmm.inference.pymc.model import pymc_model
from bayes_gmm.inference.pymc.sampling import initial_values, sample
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.reading import draws_of
from tests.helpers import random_parameters, refuses
from tests.inference.conjugate import SCALE, SHIFT, Conjugate

OPTIONS = {"draws": 500, "tune": 300, "cores": 2, "seed": 3, "progressbar": False}


@pytest.fixture(scope="module")
def conjugate():
    return Conjugate()


@pytest.fixture(scope="module")
def model(conjugate):
    return pymc_model(conjugate.observations, conjugate.prior)


@pytest.fixture(scope="module")
def conjugate_tree(conjugate, model):
    return sample(model, [conjugate.start] * 3, **OPTIONS)


def test_one_component_has_its_conjugate_posterior(conjugate, conjugate_tree):
    for what, z in conjugate.z_scores(conjugate_tree["posterior"].to_dataset()).items():
        assert np.isfinite(z).all()
        assert (np.abs(z) < 5).all(), (what, z)


def test_the_result_has_the_shape_of_every_engine(conjugate_tree):
    posterior, stats = conjugate_tree["posterior"], conjugate_tree["sample_stats"]
    assert set(posterior.data_vars) == {"weights", "means", "covariances"}
    assert posterior["weights"].dims == ("chain", "draw", "cluster")
    assert posterior["means"].dims == ("chain", "draw", "cluster", "feature")
    assert posterior["covariances"].dims == ("chain", "draw", "cluster", "feature", "feature_bis")
    assert posterior["covariances"].shape == (3, 500, 1, 2, 2)
    assert list(posterior["feature"].to_numpy()) == ["x0", "x1"]
    assert {"diverging", "lp", "energy", "tree_depth", "acceptance_rate"} <= set(stats.data_vars)
    assert conjugate_tree.attrs["partial"] == 0


def test_cores_and_other_chains_do_not_change_the_draws(conjugate, model, conjugate_tree):
    again = sample(model, [conjugate.start] * 2, **{**OPTIONS, "cores": 1})
    for name in ("weights", "means", "covariances"):
        expected = conjugate_tree["posterior"][name].to_numpy()[:2]
        np.testing.assert_array_equal(again["posterior"][name], expected)


def test_another_seed_gives_other_draws_and_a_quiet_run_prints_nothing(
    conjugate, model, conjugate_tree, capfd, caplog
):
    logger = logging.getLogger("pymc")
    logger.addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG, logger="pymc"):
        other = sample(model, [conjugate.start] * 3, **{**OPTIONS, "seed": 4})
    logger.removeHandler(caplog.handler)
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
    for tree in (other, conjugate_tree):  # chains differ too
        assert len(np.unique(tree["posterior"]["means"][:, 0, 0, 0])) == 3
    ours, theirs = (tree["posterior"]["means"].to_numpy() for tree in (other, conjugate_tree))
    assert (ours != theirs).all()


def captured(monkeypatch, *arguments):
    """What would be run: the models, and PyTensor's settings at that time."""
    seen = {}

    def capture(models, seeds, **options):
        seen.update(models=models, options=options)
        seen.update(fastmath=pytensor.config.numba__fastmath, cxx=pytensor.config.cxx)
        raise KeyboardInterrupt

    monkeypatch.setattr(sampling, "run", capture)
    with pytest.raises(KeyboardInterrupt):
        sample(*arguments, **OPTIONS)
    return seen


def test_each_chain_starts_at_its_own_point_and_not_around_it(model, monkeypatch):
    starts = [
        random_parameters(np.random.default_rng(seed), 1, 2).rescale(SHIFT, SCALE)
        for seed in range(2)
    ]
    seen = captured(monkeypatch, model, starts)
    assert not seen["fastmath"]
    assert seen["cxx"] == ""
    for compiled, start in zip(seen["models"], starts, strict=True):
        found = compiled.initial_point_func(11)
        with pytensor.config.change_flags(cxx=""):
            point = make_initial_point_fn(model=model, overrides=initial_values(start))(0)
        expected = np.concatenate([point[value.name].ravel() for value in model.value_vars])
        np.testing.assert_allclose(found, expected, atol=1e-3)
        np.testing.assert_array_equal(found, compiled.initial_point_func(12))


@dataclass(frozen=True)
class Uncompiled:
    """In the place of a compiled model: it knows where chains start and no more."""

    initial_point_func: Callable

    @classmethod
    def of(cls, model, *, initial_points, jitter_rvs):
        point = make_initial_point_fn(model=model, overrides=initial_points, jitter_rvs=jitter_rvs)
        return cls(lambda seed: np.concatenate([v.ravel() for v in point(seed).values()]))


def test_what_is_no_parameter_starts_somewhere_near(monkeypatch):
    monkeypatch.setattr(nutpie, "compile_pymc_model", Uncompiled.of)
    x = np.random.default_rng(0).normal(size=(20, 1))

    def prior():
        weights = pm.Dirichlet("w", np.ones(2))
        scale = pm.HalfNormal("scale", 1.0)
        means = pm.Normal("means", 0.0, 3.0, shape=(2, 1))
        return weights, means, scale * np.ones((2, 1, 1))

    model = pymc_model(Observations.of(x), prior, n_components=2)
    start = Parameters([0.5, 0.5], [[-1.0], [1.0]], np.ones((2, 1, 1)))
    seen = captured(monkeypatch, model, [start, start])
    points = np.array([compiled.initial_point_func(0) for compiled in seen["models"]])
    names = [value.name for value in model.value_vars]
    sizes = [1, 1, 2]
    assert [name.split("_")[0] for name in names] == ["w", "scale", "means"]
    weights, scale, means = np.split(points, np.cumsum(sizes)[:-1], axis=1)
    assert weights[0] != weights[1]
    assert scale[0] != scale[1]
    np.testing.assert_allclose(means, [[-1.0, 1.0]] * 2, atol=1e-3)


def test_a_component_without_weight_still_has_a_place_to_start():
    values = initial_values(Parameters([1.0, 0.0], [[0.0], [1.0]], np.ones((2, 1, 1))))
    assert values["weights"].min() > 0
    assert values["weights"].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("draws", 0), ("draws", 2.5), ("tune", 0), ("cores", 0), ("seed", -1)],
)
def test_a_number_out_of_range_is_refused(conjugate, model, name, value):
    with refuses(name, repr(value)):
        sample(model, [conjugate.start], **{**OPTIONS, name: value})


def test_no_start_is_refused(model):
    with refuses("chains", "0"):
        sample(model, [], **OPTIONS)


def test_faithful_converges(faithful_by_pymc):
    for group in ("posterior", "invariants"):
        # The number of occupied components never changes, and a constant has no R-hat.
        varying = (
            faithful_by_pymc[group].to_dataset().drop_vars("occupied_components", errors="ignore")
        )
        for name, values in az.rhat(varying).items():
            assert (values < 1.01).all(), f"{name}: {values.to_numpy()}"
    assert not faithful_by_pymc["sample_stats"]["diverging"].any()


def test_chains_start_with_their_components_in_random_order_and_keep_it(faithful_by_pymc):
    permutation = faithful_by_pymc["sample_stats"]["permutation"].to_numpy()
    assert permutation.shape == (4, 1000, 2)
    assert (permutation == permutation[:, :1]).all()
    assert (permutation[0, 0] != permutation[:, 0]).any()


def test_the_maximum_likelihood_estimate_of_faithful_is_in_every_interval(faithful_by_pymc):
    point = bg.point_estimate(bg.fit(bg.datasets.load("faithful"), 2, seed=1))
    draws = draws_of(faithful_by_pymc)
    for name, values in draws._asdict().items():
        low, high = np.quantile(values, [0.005, 0.995], axis=(0, 1))
        assert (low < getattr(point, name)).all(), name
        assert (getattr(point, name) < high).all(), name
