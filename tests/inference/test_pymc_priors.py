"""Every kind of prior in PyMC: the density of the book, draws of the book, and what is refused."""

from operator import itemgetter

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from helpers import refuses
from pymc.initial_point import make_initial_point_fn
from pytensor.compile.mode import Mode
from scipy import stats

from bayes_gmm.data import Observations
from bayes_gmm.inference.pymc_model import pymc_model
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.prior_families import HierarchicalPrior, IndependentPrior
from bayes_gmm.model.priors import Prior

PYTHON = Mode(linker="py", optimizer="fast_compile")  # slow to run, quick to compile
UNUSED = {"on_unused_input": "ignore"}
NAMES = "weights", "means", "covariances"
FAMILIES = [Prior, IndependentPrior, HierarchicalPrior]


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
@pytest.mark.parametrize("family", [IndependentPrior, HierarchicalPrior])
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
    with refuses("variable 'covariances'", "call it something else"):

        def taken():
            pm.HalfNormal("covariances")
            return two_sizes()

        build(taken)
    with refuses("prior must be", "7"):
        build(7)


def test_ties_that_make_the_hierarchical_posterior_improper_are_announced():
    x = data(2)
    x[:20, 1] = 100.0
    observations = Observations.of(x)
    with pytest.warns(UserWarning, match="20 rows have .* = 100"):
        pymc_model(observations, HierarchicalPrior.default(x, 2))
    pymc_model(observations, HierarchicalPrior.default(x, 5))  # allows 27
