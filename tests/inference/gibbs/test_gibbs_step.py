"""The sweep as a step method: exact alone, and next to NUTS in a model with a hyperparameter."""

import re
from pathlib import Path

import arviz as az
import numpy as np
import pymc as pm
import pytest
from exact_enumeration import (
    enumerate_posterior,
    problems,
    sampled_quantities,
    worst,
    z_scores,
)
from helpers import refuses

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs.step import GibbsStep
from bayes_gmm.inference.pymc.model import pymc_model
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.priors import ConjugatePrior

PROBLEMS = {problem.name: problem for problem in problems()}
THETA = ("weights", "means", "covariances")
SHIFT, SCALE = np.array([1e6, -3.0]), np.array([1e-3, 50.0])


def draws_of(step, point, n):
    """Parameters after each of n steps, in chains of equal length: (4, n / 4, K, ...)."""
    found = []
    for _ in range(n):
        point, (stats_of_step,) = step.step(point)
        found.append([*step.parameters(point), stats_of_step["n_occupied"]])
    parts = (np.array(part) for part in zip(*found, strict=True))
    return [part.reshape(4, n // 4, *part.shape[1:]) for part in parts]


def test_steps_sample_the_exact_posterior_in_the_units_of_the_data():
    problem = PROBLEMS["components told apart, plane"]
    prior = problem.prior.rescale(SHIFT, SCALE)
    model = pymc_model(Observations.of(SHIFT + SCALE * problem.x), prior)
    step = GibbsStep(model=model, rng=4)
    *theta, n_occupied = draws_of(step, model.initial_point(), 3000)
    weights, means, covariances = theta
    exact = enumerate_posterior(problem.x, problem.prior)
    found = sampled_quantities(
        exact, weights, (means - SHIFT) / SCALE, covariances / np.outer(SCALE, SCALE)
    )
    found = found._replace(n_occupied=n_occupied[..., None] == np.arange(3))
    score, what = worst(z_scores(found, exact))
    assert score < 5, what


CLOSE_BY = np.array([[-0.2], [0.0], [0.1], [0.3], [0.2]])
FIXED = {"mean_precision": 0.02, "degrees_of_freedom": 4.0}
# Hyperparameters as functions of independent standard normals.
HYPERPARAMETERS = {
    "center": lambda u: 3.0 + 2.0 * u,
    "size": np.exp,
    "alpha": np.exp,
}


def three_hyperparameters():
    """A conjugate prior whose center, scale and concentration are unknown."""
    center = pm.Normal("center", 3.0, 2.0)
    size = pm.LogNormal("size", 0.0, 1.0)
    alpha = pm.LogNormal("alpha", 0.0, 1.0)
    changed = {"mean": pm.math.stack([center]), "scale": size * np.eye(1), "concentration": alpha}
    return {**FIXED, **changed}


def exact_means_of_hyperparameters():
    """Posterior means by quadrature over the evidence of the rows given the hyperparameters."""
    grid = np.stack(np.meshgrid(*[np.linspace(-4.5, 4.5, 15)] * 3, indexing="ij"), -1)
    grid = grid.reshape(-1, 3)
    values = np.stack([f(u) for f, u in zip(HYPERPARAMETERS.values(), grid.T, strict=True)], -1)
    log_evidence = [
        enumerate_posterior(
            CLOSE_BY, ConjugatePrior([alpha] * 2, [center], 0.02, 4.0, [[size]])
        ).log_evidence
        for center, size, alpha in values
    ]
    density = np.exp(log_evidence - 0.5 * (grid**2).sum(axis=1))
    return dict(zip(HYPERPARAMETERS, density @ values / density.sum(), strict=True))


def test_next_to_nuts_hyperparameters_have_their_exact_posterior():
    with pymc_model(Observations.of(CLOSE_BY), three_hyperparameters, n_components=2):
        step = GibbsStep()
        drawn = pm.sample(
            1500,
            tune=500,
            chains=2,
            cores=1,
            step=[step],
            random_seed=5,
            progressbar=False,
            quiet=True,
            compute_convergence_checks=False,
        )["posterior"].dataset
    before = {"center": 3.0, "size": np.exp(0.5), "alpha": np.exp(0.5)}
    for name, exact in exact_means_of_hyperparameters().items():
        values = drawn[name].to_numpy()
        error = float(az.mcse(values, method="mean"))
        assert abs(values.mean() - exact) < 5 * error, name
        assert abs(exact - before[name]) > 8 * error, name  # the rows have moved it
    assert len(np.unique(drawn["weights"].to_numpy()[:, 0, 0])) == 2


@pytest.mark.validate
def test_with_hyperparameters_the_sweep_next_to_nuts_agrees_with_nuts_on_everything():
    x = bg.datasets.load("faithful")
    default = ConjugatePrior.default(x.to_numpy(), 2)

    def unknown_size():
        size = pm.LogNormal("size", 0.0, 1.0)
        alpha = pm.Gamma("alpha", 2.0, 0.5)
        return {"scale": size * default.scale, "concentration": alpha}

    settings = {"random_seed": 3, "progressbar": False, "quiet": True}
    with pymc_model(Observations.of(x), unknown_size, n_components=2) as model:
        by_sweep = pm.sample(2000, step=[GibbsStep()], chains=4, cores=1, **settings)
        # The same starts for the components' names, which switch in neither.
        start = {name: by_sweep["posterior"][name][0, 0].to_numpy() for name in THETA}
        by_nuts = pm.sample(
            2000,
            chains=4,
            cores=1,
            nuts_sampler="nutpie",
            initvals=start,
            compile_kwargs={"jitter_rvs": {model["size"], model["alpha"]}},
            **settings,
        )
    ours, theirs = (
        label_by_waiting(tree["posterior"].to_dataset()) for tree in (by_sweep, by_nuts)
    )
    n_compared = 0
    for name in ("size", "alpha", *THETA):
        for place in np.ndindex(ours[name].shape[2:]):
            for power in (1, 2):
                pair = [
                    values[name][:, :, *place] - ours[name][:, :, *place].mean()
                    for values in (ours, theirs)
                ]
                means, errors = zip(
                    *(
                        (part.mean(), float(az.mcse(part, method="mean")))
                        for part in (one**power for one in pair)
                    ),
                    strict=True,
                )
                assert abs(means[0] - means[1]) < 5 * np.hypot(*errors), (name, place, power)
                n_compared += 1
    assert n_compared == 2 * (2 + 2 + 4 + 8)


@pytest.mark.validate
def test_the_examples_of_the_page_run():
    page = Path(__file__).parents[3] / "docs" / "posterior.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    names = {"bg": bg, "np": np, "az": az, "faithful": bg.datasets.load("faithful")}
    for block in blocks:
        exec(block, names)
        if "GibbsStep" in block:
            by_sweep = names["trace"]
    assert set(names["diagonal"]["posterior"].data_vars) == {*THETA, "sd"}
    means = [tree["posterior"]["size"] for tree in (names["hierarchical"], by_sweep)]
    errors = [float(az.mcse(part.to_numpy(), method="mean")) for part in means]
    assert abs(float(means[0].mean() - means[1].mean())) < 5 * np.hypot(*errors)


def label_by_waiting(posterior):
    """Arrays (chain, draw, ...) of a posterior, components in order of the waiting time."""
    order = np.argsort(posterior["means"].to_numpy()[..., 1], axis=2)
    found = {name: posterior[name].to_numpy() for name in ("size", "alpha")}
    for name in THETA:
        values = posterior[name].to_numpy()
        own = order.reshape(*order.shape, *(1,) * (values.ndim - 3))
        found[name] = np.take_along_axis(values, own, axis=2)
    return found


def test_the_variables_are_found_by_name_or_by_shape():
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pymc_model(Observations.of(x), ConjugatePrior.default(x, 2)) as model:
        names = ["weights_simplex__", "means_standardized__", "covariances_bartlett__"]
        assert [v.name for v in GibbsStep().vars] == names
        given = GibbsStep([model["means"], model["covariances"], model["weights"]])
        assert [v.name for v in given.vars] == names


def test_a_model_that_is_not_conjugate_is_refused():
    x = np.random.default_rng(0).normal(size=(20, 2))
    observations, prior = Observations.of(x), ConjugatePrior.default(x, 2)
    with refuses("InverseWishart", "LogNormalLKJ"):
        GibbsStep(model=pymc_model(observations, IndependentPrior.default(x, 2)))
    with refuses("fused"):
        GibbsStep(model=pymc_model(observations, prior, likelihood="mixture"))
    with pymc_model(observations, prior) as model:
        with refuses("three free variables"):
            GibbsStep([model["weights"], model["means"]])
        pm.Normal("more", model["means"][0], 1.0, observed=[0.0, 0.0])
        with refuses("x, more"):
            GibbsStep()
    with pm.Model() as empty:
        pm.Normal("a")
    with refuses("weights, means and covariances"):
        GibbsStep(model=empty)
