"""The mixture inside any model: the book's density, its gradient, and draws, row by row too."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import xarray as xr
from helpers import random_parameters, refuses
from pytensor.compile.mode import Mode
from pytensor.gradient import verify_grad
from scipy import stats

import bayes_gmm as bg
from bayes_gmm.inference.pymc.fused_op import MixtureOp
from bayes_gmm.model import mixture

PYTHON = Mode(linker="py", optimizer="fast_compile")
N, K, D = 7, 3, 2
RNG = np.random.default_rng(4)
THETAS = [random_parameters(RNG, K, D) for _ in range(N)]
X = RNG.normal(size=(N, D))
PARTS = ("weights", "means", "choleskys")
VARYING = [(), ("weights",), ("means",), ("weights", "means"), ("choleskys",), PARTS]


@pytest.fixture(scope="module", autouse=True)
def no_c_compiler():
    """PyTensor would compile parts of a Python function in C, for longer than they run."""
    with pytensor.config.change_flags(cxx=""):
        yield


def parts(varying):
    """Each part from the first mixture, or one for each row, and the mixture of each row."""
    given = [
        np.stack([getattr(theta, name) for theta in THETAS])
        if name in varying
        else getattr(THETAS[0], name)
        for name in PARTS
    ]
    rows = [
        bg.Parameters(w, m, c @ c.T if c.ndim == 2 else c @ c.swapaxes(1, 2))
        for w, m, c in zip(
            *(
                part if name in varying else [part] * N
                for name, part in zip(PARTS, given, strict=True)
            ),
            strict=True,
        )
    ]
    return given, rows


@pytest.mark.parametrize("varying", VARYING, ids="-".join)
def test_each_row_has_the_density_of_its_own_mixture(varying):
    given, rows = parts(varying)
    values = bg.mixture_logp(X, *given)
    expected = [
        mixture.marginal_log_density(x[None], theta)[0] for x, theta in zip(X, rows, strict=True)
    ]
    np.testing.assert_allclose(values.eval(mode=PYTHON), expected, rtol=1e-10)
    names = [type(node.op) for node in pytensor.graph.traversal.io_toposort([], [values])]
    assert any(issubclass(name, MixtureOp) for name in names) == (not varying)


@pytest.mark.parametrize("varying", [(), ("weights", "means"), PARTS], ids="-".join)
def test_the_gradient_is_that_of_finite_differences(varying):
    given, _ = parts(varying)
    verify_grad(
        lambda x, w, m, c: bg.mixture_logp(x, w, m, pt.tril(c)),
        [X, *map(np.array, given)],
        rng=np.random.default_rng(0),
        mode=PYTHON,
    )


@pytest.mark.parametrize("varying", [(), ("weights", "means")], ids="-".join)
def test_value_and_gradient_are_those_of_pymcs_mixture(varying):
    given, _ = parts(varying)
    symbols = [pt.as_tensor(part).type() for part in given]
    weights, means, choleskys = symbols
    components = pm.MvNormal.dist(mu=means, chol=choleskys)
    theirs = pm.logp(pm.Mixture.dist(w=weights, comp_dists=components), X)
    found = []
    for values in (theirs, bg.mixture_logp(X, *symbols)):
        gradient = pt.grad((values * np.cos(np.arange(N))).sum(), symbols)
        found.append(pytensor.function(symbols, [values, *gradient], mode=PYTHON)(*given))
    found = [[*others, np.tril(choleskys)] for *others, choleskys in found]
    for name, expected, ours in zip(("values", *PARTS), *found, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-8, atol=1e-10, err_msg=name)


def model_of_groups(x, group):
    """Two groups share components; the means move along a covariate."""
    with pm.Model() as model:
        rows = pm.Data("rows", x)
        of_row = pm.Data("group", group)
        weights = pm.Dirichlet("weights", np.ones(2), shape=(2, 2))
        means = pm.Normal("means", 0, 5, shape=(2, 2))
        slope = pm.Normal("slope", 0, 5, shape=(2, 2))
        moved = means + slope * of_row[:, None, None]
        bg.pymc_mixture("x", weights[of_row], moved, np.stack([np.eye(2)] * 2), observed=rows)
    return model


def test_a_model_has_its_log_likelihood_and_predictions_row_by_row():
    group = np.arange(60) % 2
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = model_of_groups(x, group)
    values = {
        "weights": np.array([[0.9, 0.1], [0.2, 0.8]]),
        "means": np.array([[-5.0, 0.0], [5.0, 1.0]]),
        "slope": np.array([[0.0, 3.0], [2.0, 0.0]]),
    }
    posterior = xr.Dataset(
        {
            name: (("chain", "draw", *(f"{name}_{j}" for j in range(2))), np.stack([[value] * 40]))
            for name, value in values.items()
        }
    )
    options = {"model": model, "progressbar": False, "compile_kwargs": {"mode": PYTHON}}
    predicted = pm.sample_posterior_predictive(
        xr.DataTree.from_dict({"/posterior": posterior}), random_seed=1, **options
    )
    drawn = predicted["posterior_predictive"]["x"].to_numpy()[0]
    computed = pm.compute_log_likelihood(
        xr.DataTree.from_dict({"/posterior": posterior}), extend_inferencedata=False, **options
    )["x"].to_numpy()[0, 0]
    rng = np.random.default_rng(2)
    for g in range(2):
        theta = bg.Parameters(
            values["weights"][g], values["means"] + g * values["slope"], [np.eye(2)] * 2
        )
        own = drawn[:, group == g].reshape(-1, 2)
        direct, _ = mixture.sample(theta, len(own), rng)
        for j in range(2):
            assert stats.ks_2samp(own[:, j], direct[:, j]).pvalue > 1e-3
        expected = mixture.marginal_log_density(x[group == g], theta)
        np.testing.assert_allclose(computed[group == g], expected, rtol=1e-9)


def test_shapes_that_do_not_go_together_are_refused():
    given, _ = parts(())
    weights, means, choleskys = given
    for wrong, words in (
        ((X, weights[0], means, choleskys), ["weights have 0 dims", "(K,)"]),
        ((X, weights, means[0], choleskys), ["means have 1 dims", "(K, D)"]),
        ((X, weights[:2], means, choleskys), ["number of components", "weights 2"]),
        ((X, weights, means[:, :1], choleskys), ["number of features", "means 1"]),
        ((X[:, 0], weights, means, choleskys), ["x has 1 dims", "x[:, None]"]),
        ((X[:, :1], weights, means, choleskys), ["x has 1 columns", "2 features"]),
        ((X, "half", means, choleskys), ["weights cannot be read", "str"]),
    ):
        with refuses(*words):
            bg.mixture_logp(*wrong)
    with pm.Model(), refuses("observed has 1 dims"):
        bg.pymc_mixture("x", *given, observed=X[:, 0])
