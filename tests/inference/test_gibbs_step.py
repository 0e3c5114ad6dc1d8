"""The sweep as a step method: exact alone, and next to NUTS in a model with a hyperparameter."""

import arviz as az
import numpy as np
import pymc as pm
from exact_enumeration import (
    enumerate_posterior,
    problems,
    sampled_quantities,
    worst,
    z_scores,
)
from helpers import refuses
from scipy import stats

from bayes_gmm.data import Observations
from bayes_gmm.inference.gibbs_step import GibbsStep
from bayes_gmm.inference.pymc_coordinates import BartlettCoordinates, Standardized
from bayes_gmm.inference.pymc_distributions import (
    inverse_wishart_draws,
    inverse_wishart_log_density,
    mean_draws,
    mean_log_density,
    mixture_draws,
    mixture_log_density,
)
from bayes_gmm.inference.pymc_model import pymc_model
from bayes_gmm.model.normal import inverse_factors
from bayes_gmm.model.prior_families import IndependentPrior
from bayes_gmm.model.priors import Prior

PROBLEMS = {problem.name: problem for problem in problems()}
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


CENTER = stats.norm(5.0, 3.0)  # prior of where the means lie, far from the rows


def hierarchical_model(x, prior):
    """A mixture in one dimension whose prior mean is a variable."""
    observations = Observations.of(x)
    with pm.Model() as model:
        center = pm.Normal("center", CENTER.mean(), CENTER.std())
        phi = pm.Dirichlet("phi", prior.concentration)
        sigma = pm.CustomDist(
            "sigma",
            prior.degrees_of_freedom,
            prior.scale,
            logp=inverse_wishart_log_density,
            dist=inverse_wishart_draws,
            signature="(),(d,d)->(d,d)",
            class_name="InverseWishart",
            support_point=lambda rv, size, nu, psi: psi / nu[:, None, None],
            transform=BartlettCoordinates(inverse_factors(np.linalg.cholesky(prior.scale))),
        )
        mu = pm.CustomDist(
            "mu",
            center * np.ones_like(prior.mean),
            prior.mean_precision,
            sigma,
            logp=mean_log_density,
            dist=mean_draws,
            signature="(d),(),(d,d)->(d)",
            class_name="MvNormal",
            support_point=lambda rv, size, mean, *_: mean,
            transform=Standardized(observations.origin, observations.scale),
        )
        pm.CustomDist(
            "rows",
            phi,
            mu,
            sigma,
            logp=mixture_log_density,
            dist=mixture_draws,
            signature="(k),(k,d),(k,d,d)->(d)",
            class_name="GaussianMixture",
            observed=x,
        )
    return model


def exact_mean_of_center(problem):
    """E center by quadrature over the evidence of the rows given the center."""
    grid = CENTER.mean() + CENTER.std() * np.linspace(-6, 6, 400)
    prior = problem.prior
    rest = prior.mean_precision, prior.degrees_of_freedom, prior.scale
    log_evidence = [
        enumerate_posterior(problem.x, Prior(prior.concentration, [center], *rest)).log_evidence
        for center in grid
    ]
    density = np.exp(log_evidence) * CENTER.pdf(grid)
    return float(grid @ density / density.sum())


def test_next_to_nuts_the_hyperparameter_has_its_exact_posterior():
    problem = PROBLEMS["two rows, K = 3"]
    with hierarchical_model(problem.x, problem.prior) as model:
        step = GibbsStep([model["sigma"], model["phi"], model["mu"]])
        drawn = pm.sample(
            1000,
            tune=300,
            chains=2,
            cores=1,
            step=[step],
            random_seed=5,
            progressbar=False,
            quiet=True,
            compute_convergence_checks=False,
        )["posterior"].dataset
    center = drawn["center"].to_numpy()
    error = float(az.mcse(center, method="mean"))
    exact = exact_mean_of_center(problem)
    assert abs(center.mean() - exact) < 5 * error
    assert abs(exact - CENTER.mean()) > 20 * error  # the rows have moved it
    assert len(np.unique(drawn["phi"].to_numpy()[:, 0, 0])) == 2


def test_the_variables_are_found_by_name_or_by_shape():
    x = np.random.default_rng(0).normal(size=(20, 2))
    with pymc_model(Observations.of(x), Prior.default(x, 2)) as model:
        names = ["weights_simplex__", "means_standardized__", "covariances_bartlett__"]
        assert [v.name for v in GibbsStep().vars] == names
        given = GibbsStep([model["means"], model["covariances"], model["weights"]])
        assert [v.name for v in given.vars] == names


def test_a_model_that_is_not_conjugate_is_refused():
    x = np.random.default_rng(0).normal(size=(20, 2))
    observations, prior = Observations.of(x), Prior.default(x, 2)
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
