r"""Priors that are not conjugate, end to end, and a posterior that others have computed.

`low_dim_gauss_mix` of posteriordb: theta ~ Beta(5, 5), mu_k ~ N(0, 2), sigma_k ~ HalfNormal(2),
mu_1 < mu_2. Its data lie beside the checkout, in ../shared/reference; where they don't, the
comparison is skipped.
"""

import json
from dataclasses import replace
from pathlib import Path

import arviz as az
import numpy as np
import pymc as pm
import pytest

import bayes_gmm as bg
from bayes_gmm.results.groups import NAMES
from tests.helpers import refuses
from tests.inference.conjugate import standard_error_of_mean

FILE = "low_dim_gauss_mix.data.json"
PLACE = Path(__file__).parents[2] / "shared" / "reference" / FILE
# Means of posteriordb's 10,000 reference draws, and their Monte Carlo standard errors.
PUBLISHED = {
    "mu1": (-2.733514, 0.000416),
    "mu2": (2.869832, 0.000560),
    "sigma1": (1.028074, 0.000316),
    "sigma2": (1.023822, 0.000415),
    "theta": (0.621549, 0.000154),
}
FAITHFUL = bg.datasets.load("faithful")


def of_posteriordb():
    """The prior of the published model, without its order of the means."""
    theta = pm.Dirichlet("theta", [5.0, 5.0])
    mu = pm.Normal("mu", 0.0, 2.0, shape=2)
    sigma = pm.HalfNormal("sigma", 2.0, shape=2)
    return theta, mu[:, None], sigma[:, None, None]


def wide():
    """A prior for Old Faithful."""
    weights = pm.Dirichlet("w", [2.0, 2.0])
    means = pm.Normal("m", [3.5, 70.0], [2.0, 30.0], shape=(2, 2))
    sds = pm.HalfNormal("s", [1.0, 15.0], shape=(2, 2))
    return weights, means, sds[:, :, None] * np.eye(2)


def by_pymc(X, prior, seed=1, **settings):
    settings = {"cores": 2, "progressbar": False, **settings}
    posterior = bg.sample(X, 2, prior=prior, seed=seed, **settings)
    assert posterior.attrs["engine"] == "pymc"
    assert ("prior_parameters" in posterior.children) == (not callable(prior))
    return posterior


@pytest.mark.validate
@pytest.mark.skipif(not PLACE.exists(), reason=f"{FILE} is not beside this checkout")
def test_the_published_means_of_posteriordb_are_found():
    x = np.array(json.loads(PLACE.read_text())["y"])
    posterior = by_pymc(x, of_posteriordb, draws=2500)
    named = bg.relabel(posterior, "ordering", by="means[x0]")
    draws = named["posterior"]
    means, sds = draws["means"].to_numpy()[..., 0], np.sqrt(draws["covariances"].to_numpy())
    weights = draws["weights"].to_numpy()
    ours = {
        "mu1": means[..., 0],
        "mu2": means[..., 1],
        "sigma1": sds[:, :, 0, 0, 0],
        "sigma2": sds[:, :, 1, 0, 0],
        "theta": weights[..., 0],
    }
    assert bg.diagnose(named).ok, str(bg.diagnose(named))
    for name, (published, error) in PUBLISHED.items():
        values = ours[name]
        combined = np.hypot(error, standard_error_of_mean(values))
        z = (values.mean() - published) / combined
        print(f"{name}: {values.mean():.6f}, published {published:.6f}, z {z:+.2f}")
        assert abs(z) < 5, name


@pytest.mark.validate
@pytest.mark.parametrize("prior", ["independent", "hierarchical", "function"])
def test_a_posterior_under_any_prior_goes_all_the_way(prior, tmp_path):
    rows = FAITHFUL.to_numpy()
    chosen = {
        "independent": lambda: bg.IndependentPrior.default(rows, 2),
        # As many as 15 rows are tied, which takes more than the default degrees of freedom.
        "hierarchical": lambda: replace(
            bg.HierarchicalPrior.default(rows, 2), degrees_of_freedom=15.0
        ),
        "function": lambda: wide,
    }[prior]()
    posterior = by_pymc(FAITHFUL, chosen, draws=500, tune=500)
    density = prior != "function"
    assert ("log_posterior" in posterior["invariants"]) == density

    diagnosis = bg.diagnose(posterior)
    assert diagnosis.ok, str(diagnosis)
    assert diagnosis.chains.columns[0] == ("log posterior" if density else "log likelihood")
    fit = bg.fit(FAITHFUL, 2, seed=1)
    compared = bg.compare(fit, posterior)
    assert np.isfinite(compared.table[["mean", "sd"]]).all(axis=None)
    if density:
        assert "sensitivity" in str(bg.sensitivity(posterior))
    else:
        with refuses("log_posterior", "function"):
            bg.sensitivity(posterior)
    assert bg.log_density(posterior, rows[:3]).shape == (3,)
    assert np.isfinite(bg.loo(posterior).elpd)

    more = bg.add_groups(posterior, NAMES, prior=None if density else chosen, draws=100, seed=1)
    for name, array in more["posterior"].data_vars.items():
        assert more["prior"][name].dims == array.dims
    parts = more["log_prior"]
    total = sum(parts[name].sum(parts[name].dims[2:]) for name in parts.data_vars)
    assert np.isfinite(total).all()
    if density:
        free = posterior["invariants"]
        np.testing.assert_allclose(total, free["log_posterior"] - free["log_likelihood"], rtol=1e-8)
    table = az.psense_summary(more, var_names=["weights", "means"])
    assert np.isfinite(table[["prior", "likelihood"]]).all(axis=None)
    az.plot_energy(more, backend="none")
    az.plot_prior_posterior(more, var_names="weights", backend="none")

    results = {"mle": fit, "posterior": posterior, "comparison": compared, "diagnosis": diagnosis}
    page = bg.report(results, tmp_path / "report.html").read_text()
    assert "The prior in words" not in page
    back = az.from_netcdf(bg.save(posterior, tmp_path / "posterior.nc"))
    assert bg.diagnose(back).verdict == diagnosis.verdict
