"""What follows from a posterior whose components share their covariances."""

import numpy as np
import pytest
from helpers import complete_statistics, refuses

import bayes_gmm as bg
from bayes_gmm.model.marginal_likelihood import complete_data
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import DRAWN, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.dispensable import best_merger, merged
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.modes import log_mass, unconstrained
from bayes_gmm.results.reading import VARIABLES, structure_of

FLOWERS = bg.datasets.load("iris")
SHARED = [code for code in DRAWN if code != "VVV"]


@pytest.fixture(scope="module")
def posteriors():
    options = {"draws": 400, "tune": 100, "seed": 2, "progressbar": False, "cores": 2}
    return {code: bg.sample(FLOWERS, 2, covariance=code, **options) for code in SHARED}


def of_labelled_rows(code, n_draws=2500):
    """Rows whose labels are known: draws of the parameters, their heights, and the evidence."""
    rng, structure = np.random.default_rng(3), Structure.of(code, 2)
    z = np.arange(60) % 3 // 2
    x = rng.normal(size=(60, 2)) * [1.0, 2.0] + 3 * z[:, None]
    rows, prior = complete_statistics(x, z, 2), ConjugatePrior.default(x, 2)
    own = StructuredPrior.of(prior, structure)
    drawn = [own.posterior(rows).sample(rng) for _ in range(n_draws)]
    draws = Draws(*(np.stack([getattr(one, name) for one in drawn]) for name in VARIABLES))
    gap = rows.mean - draws.means
    spread = rows.scatter + rows.count[:, None, None] * gap[..., :, None] * gap[..., None, :]
    log_det = np.linalg.slogdet(2 * np.pi * draws.covariances)[1]
    height = (
        own.log_densities(*draws[:2], np.linalg.cholesky(draws.covariances))
        + (np.log(draws.weights) - log_det / 2) @ rows.count
        - np.einsum("skij,skji->s", spread, np.linalg.inv(draws.covariances)) / 2
    )
    own_draws = Draws(*(array[None] for array in draws))
    return own_draws, height[None], complete_data(prior, rows, structure), structure


@pytest.mark.parametrize("code", DRAWN)
def test_the_mass_of_a_mode_is_the_evidence_of_labels_that_are_known(code):
    draws, height, evidence, structure = of_labelled_rows(code)
    free, _ = unconstrained(draws, structure)
    assert free.shape[-1] == structure.n_free(2, 2)
    # The best of 2500 draws is below the peak by part of a nat.
    assert log_mass(draws, height, structure) == pytest.approx(evidence, abs=1.2)


@pytest.mark.parametrize("code", SHARED)
def test_a_posterior_says_what_its_components_share(posteriors, code):
    tree = posteriors[code]
    assert (tree.attrs["covariance"], tree.attrs["engine"]) == (code, "gibbs")
    assert structure_of(tree).name == code
    covariances = tree["posterior"]["covariances"].to_numpy()
    if code[0] == "E":
        assert (covariances == covariances[:, :, :1]).all()
    if code[2] == "I":
        assert (covariances[..., ~np.eye(4, dtype=bool)] == 0).all()
    if code[1] == "I":
        assert np.allclose(covariances[..., 0, 0], covariances[..., 3, 3], rtol=1e-12)
    assert bg.diagnose(tree).converged


@pytest.mark.parametrize("code", SHARED)
def test_its_log_posterior_has_the_prior_of_the_structure(posteriors, code):
    tree = bg.add_groups(posteriors[code], ["log_prior", "prior"], draws=50, seed=1)
    own = StructuredPrior.of(ConjugatePrior.default(FLOWERS, 2), Structure.of(code, 4))
    where = {"chain": 1, "draw": 7}
    # The sampler's own order of components makes no difference to a prior that is one for all.
    theta = Parameters(*(tree["posterior"][name].isel(where).to_numpy() for name in VARIABLES))
    expected = own.log_density(theta)
    parts = tree["log_prior"].isel(where).to_dataset()
    assert sum(float(part.sum()) for part in parts.values()) == pytest.approx(expected, rel=1e-9)
    scaled = tree["invariants"].isel(where).to_dataset()
    log_prior = float(scaled["log_posterior"] - scaled["log_likelihood"])
    assert log_prior == pytest.approx(expected, rel=1e-9)
    drawn = tree["prior"]["covariances"].to_numpy()[0]
    assert code[0] == "V" or (drawn == drawn[:, :1]).all()
    assert np.isfinite(bg.sensitivity(posteriors[code]).table["prior"]).all()


def test_the_posterior_of_one_matrix_lies_about_its_map(posteriors):
    """The mode of the marginal posterior is near, where the prior that counts K times is not."""
    tree = posteriors["EEE"]
    found = bg.point_estimate(bg.fit(FLOWERS, 2, covariance="EEE", prior="default", seed=1))
    draws = tree["posterior"]["covariances"].to_numpy()[:, :, 0].reshape(-1, 4, 4)
    # E Sigma^-1 = nu' Psi'^-1, and the mode is Psi' / (nu' + D + K + 1).
    precision = np.linalg.inv(draws).mean(axis=0)
    degrees = 6 + 150
    np.testing.assert_allclose(
        np.linalg.inv(precision) * degrees / (degrees + 4 + 2 + 1), found.covariances[0], rtol=0.04
    )


def test_the_likelihood_of_the_draws_is_held_against_the_parameters_of_the_structure(posteriors):
    mle = bg.fit(FLOWERS, 2, covariance="EEE", seed=1)
    compared = bg.compare(mle, posteriors["EEE"])
    assert compared.dataset.attrs["n_parameters"] == 1 + 8 + 10
    excess = float(compared.dataset["log_likelihood_excess"].sel(estimator="MLE"))
    assert excess == pytest.approx(19 / 2, abs=2.5)
    assert bool(compared.dataset["maximizes_likelihood"].all())
    other = bg.compare(bg.fit(FLOWERS, 2, covariance="EII", seed=1), posteriors["EEE"])
    assert other.surpassed == []  # it is of another model
    assert (other.dataset["constraint"] != "").all()
    assert "A draw reaches" not in str(other)
    diagonal = bg.compare(bg.fit(FLOWERS, 2, covariance="VVI", seed=1), posteriors["VVI"])
    assert "correlation[" not in str(diagonal)
    assert "nan" not in str(diagonal)


@pytest.mark.parametrize("code", DRAWN)
def test_a_merger_stays_in_the_structure_and_saves_the_parameters_of_one_component(code):
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(150, 2)) + 0.1])
    x[:100] += 9.0
    structure = Structure.of(code, 2)
    theta = bg.point_estimate(bg.fit(x, 3, covariance=code, prior="default", seed=1))
    draws = Draws(*(getattr(theta, name)[None, None] for name in VARIABLES))
    found = best_merger(theta, draws, np.array([[-1e9]]), x, structure)
    one = merged(theta, found.one, found.other, structure)
    again = structure.covariances(one.covariances, np.ones(2), one.covariances)
    np.testing.assert_allclose(one.covariances, again, rtol=1e-9)
    log_likelihood = [float(bg.log_density(point, x).sum()) for point in (theta, one)]
    price = structure.n_free(3, 2) - structure.n_free(2, 2)
    expected = price * np.log(300) - 2 * (log_likelihood[0] - log_likelihood[1])
    assert found.saving == pytest.approx(expected, rel=1e-8)


def test_every_verb_takes_it(posteriors, tmp_path):
    tree = posteriors["VVI"]
    bg.save(tree, tmp_path / "posterior.nc")
    again = bg.load(tmp_path / "posterior.nc")
    assert structure_of(again).name == "VVI"
    assert bg.relabel(again, "ordering", by="weights").attrs["covariance"] == "VVI"
    assert np.isfinite(bg.loo(again).elpd)
    assert bg.check(again, seed=1).table["p_value"].between(0, 1).all()
    assert bg.predict(again)["label"].size == 150
    mle = bg.fit(FLOWERS, 2, covariance="VVI", seed=1)
    compared = bg.compare(mle, again)
    results = {"mle": mle, "posterior": again, "comparison": compared}
    page = bg.report(results, tmp_path / "page.html").read_text()
    assert "a variance for each feature, inverse gamma with 3 degrees of freedom" in page
    for text in (page, compared._repr_html_()):
        assert "+nan" not in text
        assert "correlation[0" not in text


def test_what_no_engine_draws_is_refused_with_what_does():
    def drawn(**options):
        return bg.sample(FLOWERS, 2, progressbar=False, draws=10, tune=1, **options)

    with refuses("covariance", "'VEI'", "EII, VII, EEI, VVI, EEE, VVV", "VVI"):
        drawn(covariance="VEI")
    with refuses("covariance", "'EEV'", "VVV includes"):
        drawn(covariance="EEV", engine="gibbs")
    for engine in ("nuts", "pymc"):
        with refuses("engine", engine, "EEE", "gibbs"):
            drawn(covariance="tied", engine=engine)
    with refuses("covariance", "conjugate"):
        drawn(covariance="EEE", prior=bg.IndependentPrior.default(FLOWERS, 2))
    with refuses("covariance", "'round'", "tied"):
        drawn(covariance="round")


def test_one_feature_has_two_structures():
    x = bg.datasets.load("faithful")[["waiting"]]
    options = {"draws": 50, "tune": 10, "chains": 2, "seed": 1, "progressbar": False}
    own = bg.sample(x, 2, covariance="V", **options)
    plain = bg.sample(x, 2, **options)
    assert own.attrs["covariance"] == plain.attrs["covariance"] == "V"
    assert (own["posterior"]["means"] == plain["posterior"]["means"]).all()
    one = bg.sample(x, 2, covariance="E", **options)["posterior"]["covariances"].to_numpy()
    assert (one == one[:, :, :1]).all()
