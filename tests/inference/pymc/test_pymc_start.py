"""Where PyMC starts: at components that differ, whatever the prior, and at nothing else's cost."""

import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from pytensor.compile.mode import Mode

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.inference.em.initialize import means_apart
from bayes_gmm.inference.pymc.model import LIKELIHOODS
from bayes_gmm.model import mixture
from bayes_gmm.results.labels import labelled

PYTHON = Mode(linker="py", optimizer="fast_compile")  # slow to run, quick to compile
FAITHFUL = bg.datasets.load("faithful")
PRIORS = {
    "Prior": bg.ConjugatePrior.default(FAITHFUL, 2),
    "IndependentPrior": bg.IndependentPrior.default(FAITHFUL, 2),
    "HierarchicalPrior": bg.HierarchicalPrior.default(FAITHFUL, 2),
    "fields": lambda: {"mean_precision": pm.Gamma("kappa", 2.0, 100.0)},
}
pytestmark = pytest.mark.filterwarnings("ignore:.*rows have waiting")  # ties, which are no matter


@pytest.fixture(scope="module", autouse=True)
def no_c_compiler():
    """PyTensor would compile parts of a Python function in C, for longer than they run."""
    with pytensor.config.change_flags(cxx=""):
        yield


def starting_means(model):
    """The means at the initial point, in the user's units."""
    free = model.initial_point()["means_standardized__"]
    transform = model.rvs_to_transforms[model["means"]]
    return transform.backward(free)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("prior", PRIORS)
def test_components_start_apart_in_order_and_among_the_rows(prior, likelihood):
    model = bg.pymc_model(FAITHFUL, 2, prior=PRIORS[prior], likelihood=likelihood)
    assert not any(model.rvs_to_initial_values.values())
    means = starting_means(model)
    groups = [FAITHFUL[FAITHFUL["eruptions"] < 3], FAITHFUL[FAITHFUL["eruptions"] >= 3]]
    for mean, rows in zip(means, groups, strict=True):
        np.testing.assert_array_less(np.abs(mean - rows.mean()), rows.std())


def test_a_prior_that_tells_components_apart_has_its_own_at_its_place():
    default = PRIORS["Prior"]
    means = np.array([[4.5, 80.0], [2.0, 50.0]])
    prior = bg.ConjugatePrior(
        default.concentration,
        means,
        default.mean_precision,
        default.degrees_of_freedom,
        default.scale,
    )
    first, second = starting_means(bg.pymc_model(FAITHFUL, 2, prior=prior))
    assert (first > second).all()


@pytest.mark.parametrize("n_components", [1, 5])
def test_there_are_starts_for_more_components_than_rows(n_components):
    rows = Observations.of(np.array([[0.0, 1.0], [3.0, 5.0], [3.0, 5.0]]))
    means = means_apart(rows, np.zeros((n_components, 2)))
    assert means.shape == (n_components, 2)
    assert len(np.unique(means, axis=0)) == n_components
    assert np.isfinite(means).all()


def test_the_start_depends_on_the_values_of_the_rows_alone():
    """Neither on their order nor on their units."""
    rows = FAITHFUL.to_numpy()
    near = np.zeros((3, 2))
    found = means_apart(Observations.of(rows), near)
    np.testing.assert_array_equal(means_apart(Observations.of(rows), near), found)
    other = means_apart(Observations.of(rows[::-1]), near)
    np.testing.assert_allclose(other, found, rtol=1e-12)
    scaled = means_apart(Observations.of(rows * 1000 + 7), near)
    np.testing.assert_allclose(scaled, found * 1000 + 7, rtol=1e-9)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of a later default of find_MAP
def test_find_map_finds_the_map_estimate_and_not_the_saddle():
    model = bg.pymc_model(FAITHFUL, 2)
    found = pm.find_MAP(model=model, progressbar=False, compile_kwargs={"mode": PYTHON})
    ours = bg.point_estimate(bg.fit(FAITHFUL, 2, prior="default", seed=0))
    order = np.argsort(found["means"][:, 0])
    sd = np.sqrt(np.einsum("kii->ki", ours.covariances))
    assert np.abs((found["means"][order] - ours.means) / sd).max() < 0.01
    np.testing.assert_allclose(found["weights"][order], ours.weights, atol=0.002)
    np.testing.assert_allclose(found["covariances"][order], ours.covariances, rtol=0.02)


@pytest.mark.parametrize("prior", ["IndependentPrior", "HierarchicalPrior"])
def test_log_likelihoods_and_prior_predictions_come_as_before(prior):
    model = bg.pymc_model(FAITHFUL, 2, prior=PRIORS[prior])
    theta = PRIORS[prior].sample(np.random.default_rng(0))
    arrays = {
        name: getattr(theta, name)[None, None] for name in ("weights", "means", "covariances")
    }
    dataset = labelled(arrays, feature_names=FAITHFUL.columns, leading=("chain", "draw"))
    options = {"model": model, "progressbar": False, "compile_kwargs": {"mode": PYTHON}}
    computed = pm.compute_log_likelihood(
        xr.DataTree.from_dict({"/posterior": dataset}), extend_inferencedata=False, **options
    )
    expected = mixture.marginal_log_density(FAITHFUL.to_numpy(), theta)
    np.testing.assert_allclose(computed["x"].to_numpy()[0, 0], expected, rtol=1e-9)
    drawn = pm.sample_prior_predictive(
        draws=20, model=model, random_seed=0, compile_kwargs={"mode": PYTHON}
    )
    assert np.isfinite(drawn["prior_predictive"]["x"]).all()
    assert drawn["prior"]["means"].std() > 0
