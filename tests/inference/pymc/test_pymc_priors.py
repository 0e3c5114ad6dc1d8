"""Every kind of prior in PyMC: the density of the book, draws of the book, and what is refused."""

from dataclasses import replace
from operator import itemgetter

import numpy as np
import pandas as pd
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import refuses
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import Mode
from scipy import stats

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.pymc.model import pymc_model
from bayes_gmm.model import mixture
from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior

PYTHON = Mode(linker="py", optimizer="fast_compile")  # slow to run, quick to compile
UNUSED = {"on_unused_input": "ignore"}
NAMES = "weights", "means", "covariances"
FAMILIES = [ConjugatePrior, IndependentPrior, HierarchicalPrior, SemiconjugatePrior]


@pytest.fixture(scope="module", autouse=True)
def no_c_compiler():
    """PyTensor would compile parts of a Python function in C, for longer than they run."""
    with pytensor.config.change_flags(cxx=""):
        yield


def data(n_features, seed=0):
    rng = np.random.default_rng([seed, n_features])
    return rng.normal(size=(40, n_features)) * 10.0 ** np.arange(n_features) + 100


def values_of(theta):
    return {name: getattr(theta, name) for name in NAMES}


def log_density(model, theta, variables=None):
    """Log density at parameters, per unit of the parameters themselves."""
    point = make_initial_point_fn(model=model, overrides=values_of(theta))(0)
    graph = model.logp(vars=variables, jacobian=False)
    compiled = model.compile_fn(graph, inputs=model.value_vars, mode=PYTHON, point_fn=False)
    return float(compiled(*(point[value.name] for value in model.value_vars)))


@pytest.mark.parametrize("n_features", [1, 2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_log_density_is_that_of_the_book(family, n_features):
    x = data(n_features)
    prior = family.default(x, 3)
    model = pymc_model(Observations.of(x), prior)
    rng = np.random.default_rng(1)
    assert {variable.name for variable in model.free_RVs} == set(NAMES)
    assert all(np.isfinite(value).all() for value in model.initial_point(0).values())
    for _ in range(2):
        theta = prior.sample(rng)
        expected = prior.log_density(theta)
        assert log_density(model, theta, model.free_RVs) == pytest.approx(expected, rel=1e-9)
        expected += mixture.log_likelihood(x, theta)
        assert log_density(model, theta) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("family", [IndependentPrior, HierarchicalPrior])
def test_the_density_of_free_coordinates_has_the_jacobian_of_their_map(family):
    """By finite differences, as the coordinates are shared by K covariances of one density."""
    x = data(2)
    model = pymc_model(Observations.of(x), family.default(x, 2))
    [value] = [v for v in model.value_vars if v.name.startswith("covariances")]
    others = [v for v in model.value_vars if v is not value]
    point = model.initial_point(0)

    def compiled(output):
        function = model.compile_fn(
            output, inputs=model.value_vars, mode=PYTHON, point_fn=False, **UNUSED
        )
        rest = [point[v.name] for v in others]
        order = [model.value_vars.index(v) for v in [value, *others]]
        return lambda free: function(
            *(x for _, x in sorted(zip(order, [free, *rest], strict=True), key=itemgetter(0)))
        )

    [covariances] = [v for v in model.unobserved_value_vars if v.name == "covariances"]
    backward = compiled(covariances)
    with_jacobian, without = compiled(model.logp()), compiled(model.logp(jacobian=False))

    def by_differences(free, step=1e-4):
        columns = []
        for place in np.ndindex(free.shape):
            shift = np.zeros_like(free)
            shift[place] = step
            change = backward(free + shift) - backward(free - shift)
            columns.append(change[:, *np.tril_indices(2)].ravel() / (2 * step))
        units = np.abs(columns).max(axis=0)
        return np.linalg.slogdet(columns / units)[1] + np.log(units).sum()

    # The Jacobians of the other variables are the same at both points, so that they cancel.
    here, there = 0.3 * np.random.default_rng(2).normal(size=(2, 2, 3))
    found = [float(with_jacobian(free) - without(free)) for free in (here, there)]
    expected = [by_differences(free) for free in (here, there)]
    assert abs(found[0] - found[1]) > 0.1
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], abs=1e-5)


@pytest.mark.parametrize("n_features", [1, 3])
@pytest.mark.parametrize("family", [IndependentPrior, HierarchicalPrior, SemiconjugatePrior])
def test_draws_by_pymc_are_draws_of_the_book(family, n_features):
    x = data(n_features)
    prior = family.default(x, 2)
    model = pymc_model(Observations.of(x), prior)
    drawn = pm.draw([model[name] for name in NAMES], 500, random_seed=4, mode=PYTHON)
    rng = np.random.default_rng(5)
    exact = [prior.sample(rng) for _ in range(2000)]

    def summaries(weights, means, covariances):
        sd = np.sqrt(np.einsum("nkii->nki", covariances))
        correlation = covariances / (sd[..., None, :] * sd[..., :, None])
        yield weights[:, 0]
        yield means[:, 1, 0]
        yield np.log(sd[:, 0, 0])
        yield np.log(sd[:, 0, -1] / sd[:, 1, -1])
        yield np.linalg.slogdet(covariances)[1].sum(axis=1)
        if n_features > 1:
            yield correlation[:, 0, 0, 1]
            yield correlation[:, 1, 1, 2]

    by_book = (np.stack([getattr(theta, name) for theta in exact]) for name in NAMES)
    for ours, theirs in zip(summaries(*drawn), summaries(*by_book), strict=True):
        assert stats.ks_2samp(ours, theirs).pvalue > 1e-3


def two_sizes():
    """A prior that none of the families has: every component is round, the weights are even."""
    radius = pm.HalfNormal("radius", 2.0, shape=2)
    means = pm.Normal("means", 100.0, 5.0, dims=("cluster", "feature"))
    return pt.full(2, 0.5), means, radius[:, None, None] * pt.eye(2)


def test_any_function_of_pymc_variables_is_a_prior():
    x = data(2)
    model = pymc_model(Observations.of(x), two_sizes, n_components=2)
    assert {variable.name for variable in model.free_RVs} == {"radius", "means"}
    assert {variable.name for variable in model.deterministics} == {"weights", "covariances"}
    assert model.named_vars_to_dims["covariances"] == ("cluster", "feature", "feature_bis")
    radius, means = np.array([0.5, 3.0]), np.array([[100.0, 95.0], [101.0, 103.0]])
    overrides = {"radius": radius, "means": means}
    point = make_initial_point_fn(model=model, overrides=overrides)(0)
    logp = model.compile_fn(model.logp(jacobian=False), mode=PYTHON)(point)
    theta = Parameters([0.5, 0.5], means, radius[:, None, None] ** 2 * np.eye(2))
    expected = (
        mixture.log_likelihood(x, theta)
        + stats.halfnorm(scale=2.0).logpdf(radius).sum()
        + stats.norm(100, 5).logpdf(means).sum()
    )
    # PyMC keeps the constants 2.0 and 5.0 in single precision, and their logarithms with them.
    assert float(logp) == pytest.approx(expected, abs=1e-6)
    [likelihood] = model.compile_fn(model.logp(sum=False)[-1:], mode=PYTHON, **UNUSED)(point)
    assert likelihood.sum() == pytest.approx(mixture.log_likelihood(x, theta), rel=1e-12)
    for likelihood in ("fused", "mixture"):
        model = pymc_model(Observations.of(x), two_sizes, n_components=2, likelihood=likelihood)
        slope = model.compile_fn(model.dlogp(), mode=PYTHON)(point)
        if likelihood == "fused":
            fused = slope
    np.testing.assert_allclose(fused, slope, rtol=1e-9)


def test_a_function_that_returns_something_else_is_refused():
    observations = Observations.of(data(2))

    def build(function, **options):
        return pymc_model(observations, function, **{"n_components": 2} | options)

    with refuses("n_components", "function"):
        build(two_sizes, n_components=None)
    with refuses("prior()", "tuple", "float"):
        build(lambda: 1.0)
    with refuses("weights", "(3,)", "(2,)"):
        build(lambda: (pt.ones(3) / 3, *two_sizes()[1:]))
    with refuses("Cholesky factors", "(2, 2)"):
        build(lambda: (*two_sizes()[:2], pt.eye(2)))
    with refuses("means", "(3, 2)"):
        build(lambda: (pt.ones(2) / 2, pm.Normal("m", shape=(3, 2)), pt.stack([pt.eye(2)] * 2)))
    with refuses("variable 'covariances'", "rename it"):

        def taken():
            pm.HalfNormal("covariances")
            return two_sizes()

        build(taken)
    with refuses("prior must be", "7"):
        build(7)


def test_a_function_finds_the_dims_of_the_mixture_in_the_model():
    frame = pd.DataFrame(data(2), columns=["width", "length"])
    found = {}

    def prior():
        found.update(pm.modelcontext(None).coords)
        sd = pm.HalfNormal("sd", 1.0, dims=("cluster", "feature"))
        means = pm.Normal("means", 100.0, 5.0, dims=("cluster", "feature"))
        return pt.full(3, 1 / 3), means, sd[:, :, None] * pt.eye(2)

    model = pymc_model(Observations.of(frame), prior, n_components=3)
    assert found["cluster"] == (0, 1, 2)
    assert found["feature"] == found["feature_bis"] == ("width", "length")
    assert found["obs_id"] == tuple(range(40))
    assert tuple(model["sd"].shape.eval(mode=PYTHON)) == (3, 2)


def test_what_a_function_drew_stays_in_the_result_beside_the_mixture():
    x = bg.datasets.load("faithful")

    def prior():
        weights = pm.Dirichlet("weights", np.full(2, 5.0), dims="cluster")
        means = pm.Normal("means", [3.5, 70.0], [2.0, 30.0], dims=("cluster", "feature"))
        spread = pm.LogNormal("spread", -1.0, 0.3)
        sd = pm.LogNormal("sd", np.log([0.5, 8.0]), spread, dims=("cluster", "feature"))
        pm.Deterministic("raw", sd[:, 0] * 1.0)
        return weights, means, sd[:, :, None] * np.eye(2)

    settings = {"draws": 300, "tune": 300, "seed": 1, "cores": 1, "progressbar": False}
    result = bg.sample(x, 2, prior=prior, **settings)
    for method, by in [("pivot", None), ("ordering", "weights"), ("stephens", None)]:
        posterior = bg.relabel(result, method, by=by)["posterior"].to_dataset()
        assert set(posterior.data_vars) == {*NAMES, "spread", "sd", "raw"}
        assert posterior["sd"].dims == ("chain", "draw", "cluster", "feature")
        sd = np.sqrt(np.einsum("cdkii->cdki", posterior["covariances"]))
        np.testing.assert_allclose(posterior["sd"], sd, rtol=1e-9)
        assert posterior["spread"].equals(result["posterior"]["spread"])
    # Chains begin with their components in random order, and raw says nothing of components.
    moved = result["sample_stats"]["permutation"].to_numpy() != [0, 1]
    assert moved.any()
    assert not np.allclose(result["posterior"]["raw"], result["posterior"]["sd"][..., 0])
    found = bg.diagnose(result)
    assert found.identified and not any(f.name == "several_modes" for f in found.reasons)
    assert {"spread", "variable sd[sorted 1, waiting]", "raw[sorted 0]"} <= set(
        found.table.loc["label-invariant quantities"].index
    )


def fields_of(hyper):
    """Fields of a conjugate prior, each a number or array that depends on one number."""
    tilt = np.array([[1.0, 0.3], [0.3, 2.0]])
    return {
        "concentration": hyper * np.array([1.0, 2.0, 0.5]),
        "mean": hyper * np.array([90.0, 110.0]),
        "mean_precision": 0.1 * hyper,
        "degrees_of_freedom": 3.0 + hyper,
        "scale": hyper * tilt,
    }


@pytest.mark.parametrize("names", [[name] for name in fields_of(1.0)] + [list(fields_of(1.0))])
def test_given_hyperparameters_a_dict_of_fields_is_the_prior_of_the_book(names):
    x = data(2)

    def prior():
        hyper = pm.Gamma("hyper", 2.0, 3.0)
        return {name: fields_of(hyper)[name] for name in names}

    model = pymc_model(Observations.of(x), prior, n_components=3)
    assert {variable.name for variable in model.free_RVs} == {*NAMES, "hyper"}
    rng = np.random.default_rng(1)
    for hyper in (0.4, 1.7):
        given = replace(
            ConjugatePrior.default(x, 3), **{name: fields_of(hyper)[name] for name in names}
        )
        theta = given.sample(rng)
        overrides = {**values_of(theta), "hyper": hyper}
        point = make_initial_point_fn(model=model, overrides=overrides)(0)
        logp = model.compile_fn(model.logp(jacobian=False), mode=PYTHON)(point)
        expected = (
            given.log_density(theta)
            + mixture.log_likelihood(x, theta)
            + stats.gamma(2.0, scale=1 / 3.0).logpdf(hyper)
        )
        assert float(logp) == pytest.approx(expected, rel=1e-9)


def test_there_is_no_density_where_too_few_degrees_of_freedom_make_the_prior_improper():
    x = data(2)

    def prior():
        return {"degrees_of_freedom": pm.LogNormal("nu")}

    model = pymc_model(Observations.of(x), prior, n_components=2)
    logp = model.compile_fn(model.logp(), mode=PYTHON)
    for nu, is_proper in [(0.3, False), (1.0, False), (1.1, True)]:
        theta = ConjugatePrior.default(x, 2).sample(np.random.default_rng(0))
        point = make_initial_point_fn(model=model, overrides={**values_of(theta), "nu": nu})(0)
        assert np.isfinite(logp(point)) == is_proper


def test_fields_that_are_numbers_are_those_of_a_prior_and_others_the_default():
    x = data(2)
    given = ConjugatePrior([2.0, 3.0], [1.0, 2.0], 0.5, 4.0, np.eye(2))
    model = pymc_model(Observations.of(x), lambda: {"mean": given.mean}, n_components=2)
    expected = replace(ConjugatePrior.default(x, 2), mean=given.mean)
    theta = expected.sample(np.random.default_rng(0))
    assert log_density(model, theta, model.free_RVs) == pytest.approx(
        expected.log_density(theta), rel=1e-9
    )


def test_fields_that_do_not_fit_are_refused():
    observations = Observations.of(data(2))

    def build(returned, **variables):
        def prior():
            made = {name: pm.HalfNormal(name, shape=shape) for name, shape in variables.items()}
            return returned(made)

        return pymc_model(observations, prior, n_components=3)

    with refuses("dict with the keys psi", "concentration", "scale"):
        build(lambda made: {"psi": 1.0})
    with refuses("dict with the keys (none)"):
        build(lambda made: {})
    with refuses("scale of shape (2,)", "(3, 2, 2)", "(2, 2)"):
        build(lambda made: {"scale": made["size"]}, size=2)
    with refuses("mean of shape (3,)", "(3, 2)"):
        build(lambda made: {"mean": made["m"]}, m=3)
    with refuses("concentration must be K positive numbers"):
        build(lambda made: {"concentration": -1.0, "scale": made["size"]}, size=(2, 2))
    with refuses("mean_precision"):
        build(lambda made: {"mean_precision": 0.0, "scale": made["size"]}, size=(2, 2))
    with refuses("variable 'weights'", "rename it"):
        build(lambda made: {"mean_precision": made["weights"]}, weights=3)


@pytest.mark.parametrize("name", ["x", "data", "chain", "draw"])
def test_names_that_the_model_or_its_draws_need_are_refused_before_anything_is_compiled(name):
    def prior():
        pm.Normal(name)
        return two_sizes()

    with refuses(f"variable {name!r}", "rename it"):
        pymc_model(Observations.of(data(2)), prior, n_components=2)


def test_a_variable_that_is_longer_than_its_dim_is_refused():
    def prior():
        pm.Normal("level", shape=3, dims="cluster")
        return two_sizes()

    with refuses("'level'", "3 entries", "'cluster'", "has 2"):
        pymc_model(Observations.of(data(2)), prior, n_components=2)


def test_ties_that_make_the_hierarchical_posterior_improper_are_announced():
    x = data(2)
    x[:20, 1] = 100.0
    observations = Observations.of(x)
    with pytest.warns(UserWarning, match="20 rows have .* = 100"):
        pymc_model(observations, HierarchicalPrior.default(x, 2))
    pymc_model(observations, HierarchicalPrior.default(x, 5))  # allows 27
