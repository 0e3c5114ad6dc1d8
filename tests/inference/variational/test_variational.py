"""Variational Bayes behind `sample`: draws of q, in a result that every verb takes."""

import arviz as az
import numpy as np
import pytest
import xarray as xr
from exact_enumeration import enumerate_posterior, normal_density, problems
from helpers import refuses, z_scores

import bayes_gmm as bg
from bayes_gmm.inference.variational import search, variational
from bayes_gmm.model.student_t import log_predictive
from bayes_gmm.results.reading import draws_of
from tests.inference.conjugate import standard_error_of_mean

FAITHFUL = bg.datasets.load("faithful")
QUIET = {"engine": "vb", "progressbar": False}
FIELDS = ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale")


@pytest.fixture(scope="module")
def faithful():
    return bg.sample(FAITHFUL, 2, seed=1, **QUIET)


def q_of(posterior):
    return bg.ConjugatePrior(**{name: posterior["variational"][name] for name in FIELDS})


def flat(array):
    return array.reshape(-1, *array.shape[2:])


def test_draws_are_those_of_the_distribution_that_is_kept(faithful):
    q, draws = q_of(faithful), draws_of(faithful)
    weights = q.concentration / q.concentration.sum()
    assert np.abs(z_scores(flat(draws.weights), weights)).max() < 5
    assert np.abs(z_scores(flat(draws.means), q.mean)).max() < 5
    spread = (q.degrees_of_freedom - q.n_features - 1)[:, None, None]
    assert np.abs(z_scores(flat(draws.covariances), q.scale / spread)).max() < 5
    stats = faithful["sample_stats"]
    one = stats["log_q"].to_numpy()[0, 0]
    theta = bg.Parameters(*(array[0, 0] for array in draws))
    # the two components are far apart, so that q of the other order adds nothing
    assert one == pytest.approx(q.log_density(theta) - np.log(2), abs=1e-8)


def test_the_density_of_the_draws_is_a_mixture_of_student_t(faithful):
    rows, draws = FAITHFUL.to_numpy()[:40], draws_of(faithful)
    density = normal_density(rows, draws.means, draws.covariances)
    of_draws = np.einsum("cdk,cdnk->cdn", draws.weights, density)
    assert np.abs(z_scores(flat(of_draws), np.exp(log_predictive(q_of(faithful), rows)))).max() < 5
    found = bg.log_density(faithful, FAITHFUL[:40]).to_numpy()
    np.testing.assert_allclose(found, log_predictive(q_of(faithful), rows), atol=0.05)


@pytest.mark.parametrize("problem", problems()[:2], ids=lambda one: one.name)
def test_with_one_component_it_is_the_posterior(problem):
    exact = enumerate_posterior(problem.x, problem.prior)
    posterior = bg.sample(problem.x, 1, prior=problem.prior, seed=2, **QUIET)
    assert posterior.attrs["elbo"] == pytest.approx(exact.log_evidence, abs=1e-9)
    given, q = exact.conjugate(0), q_of(posterior)
    for name in FIELDS:
        np.testing.assert_allclose(getattr(q, name), getattr(given, name), rtol=1e-9)
    diagnosis = bg.diagnose(posterior)
    assert diagnosis.converged
    assert "k-hat 0.00" in diagnosis.verdict


def test_far_apart_clusters_have_the_posterior_that_gibbs_draws(faithful, faithful_posterior):
    ours, theirs = draws_of(faithful), draws_of(faithful_posterior)
    for one, other in zip(ours, theirs, strict=True):
        q, posterior = flat(one), flat(other)
        sd = posterior.std(axis=0)
        assert (np.abs(q.mean(axis=0) - posterior.mean(axis=0)) < 0.25 * sd).all()
        assert (q.std(axis=0) > 0.75 * sd).all()
        assert (q.std(axis=0) < 1.1 * sd).all()


def test_the_seed_fixes_the_draws_and_other_chains_change_nothing():
    settings = {"draws": 20, **QUIET}
    one, again, other = (
        bg.sample(FAITHFUL, 2, seed=seed, chains=chains, **settings)
        for seed, chains in ((3, 2), (3, 3), (4, 2))
    )
    np.testing.assert_array_equal(
        one["posterior"]["means"], again["posterior"]["means"].isel(chain=slice(2))
    )
    assert (one["posterior"]["means"] != other["posterior"]["means"]).all()
    assert len(np.unique(one["posterior"]["weights"][:, 0, 0])) == 2


def test_a_result_has_the_bound_and_the_search_and_comes_back_from_a_file(faithful, tmp_path):
    group = faithful["variational"]
    elbo = group["elbo"].to_numpy()
    assert faithful.attrs["elbo"] == elbo[-1]
    assert elbo[-1] == group["optimum_log_mass"].to_numpy()[0]
    assert (np.diff(elbo) >= -1e-9 * abs(elbo[-1])).all()
    assert group["start_elbo"].size >= 5
    assert bool(group["converged"])
    assert list(group["feature"].to_numpy()) == list(FAITHFUL)
    back = az.from_netcdf(bg.save(faithful, tmp_path / "posterior.nc"))
    xr.testing.assert_identical(back["variational"].to_dataset(), group.to_dataset())
    assert bg.diagnose(back).verdict == bg.diagnose(faithful).verdict


def test_components_of_the_distribution_are_numbered_as_those_of_the_draws():
    turned = FAITHFUL.max() - FAITHFUL  # so that the order of means is the other one
    for data in (FAITHFUL, turned):
        posterior = bg.sample(data, 2, seed=1, draws=200, **QUIET)
        means = posterior["posterior"]["means"].mean(("chain", "draw"))
        np.testing.assert_allclose(means, posterior["variational"]["mean"], rtol=0.02)


def test_every_verb_takes_the_result(faithful, tmp_path):
    groups = ["log_likelihood", "posterior_predictive", "prior", "prior_predictive", "log_prior"]
    full = bg.add_groups(faithful, groups, seed=1)
    assert np.isfinite(az.loo(full).elpd)
    assert np.isfinite(bg.loo(faithful).elpd)
    mle = bg.fit(FAITHFUL, 2, seed=1)
    assert "mean[0, eruptions]" in str(bg.compare(mle, faithful))
    assert bg.partition(faithful, seed=1).sizes["obs_id"] == len(FAITHFUL)
    assert bg.predict(faithful, FAITHFUL[:3])["label"].size == 3
    assert bg.check(faithful, seed=1) is not None
    assert bg.sensitivity(faithful) is not None
    for method in ("ecr", "ordering"):
        by = {"by": "weights"} if method == "ordering" else {}
        assert bg.relabel(faithful, method, **by)["variational"] is not None
    assert bg.plots.ranks(faithful).axes
    page = bg.report({"posterior": faithful}, tmp_path / "report.html").read_text("utf-8")
    assert "variational Bayes" in page
    assert "Close to the posterior" in page


def test_the_verdict_of_a_good_approximation(faithful):
    diagnosis = bg.diagnose(faithful)
    assert diagnosis.ok
    assert diagnosis.verdict.startswith("Close to the posterior (variational Bayes, Pareto k-hat")
    (note,) = diagnosis.reasons
    assert note.name == "approximate"
    assert "R-hat" in note.statement
    assert "one order of the components" in note.statement


def test_the_verdict_of_an_approximation_that_has_missed_too_much():
    rng = np.random.default_rng(7)
    x = rng.normal(size=60) + 2.0 * rng.integers(0, 2, 60)
    diagnosis = bg.diagnose(bg.sample(x, 2, seed=1, **QUIET))
    assert not diagnosis.converged
    assert diagnosis.verdict.startswith("Not the posterior. Variational Bayes")
    found = {finding.name: finding for finding in diagnosis.reasons}
    assert found["far_from_posterior"].value > 0.7
    assert "gibbs" in found["far_from_posterior"].advice


def test_other_optima_are_said_to_be_left_out(faithful):
    told = faithful.copy(deep=True)
    group = told["variational"].to_dataset().drop_vars("optimum_log_mass")
    mass = ("optimum", np.log([0.8, 0.2]))
    told["variational"] = xr.DataTree(group.assign(optimum_log_mass=mass))
    (finding, _) = bg.diagnose(told).reasons
    assert finding.name == "modes_left_out"
    assert finding.value == pytest.approx(0.2)
    assert "20% of the posterior" in finding.statement


def test_too_few_draws_are_said_to_be_too_few():
    diagnosis = bg.diagnose(bg.sample(FAITHFUL, 2, draws=4, chains=1, seed=1, **QUIET))
    assert diagnosis.verdict.startswith("Not converged. The chains are too short")
    assert "far_from_posterior" not in {finding.name for finding in diagnosis.reasons}


def test_a_single_chain_is_no_reason_to_warn():
    posterior = bg.sample(FAITHFUL, 2, chains=1, draws=2000, seed=1, **QUIET)
    assert [finding.name for finding in bg.diagnose(posterior).reasons] == ["approximate"]


@pytest.mark.parametrize("code", ["EII", "VII", "EEI", "VVI", "EEE"])
def test_structures_that_are_drawn_are_approximated_too(code):
    posterior = bg.sample(FAITHFUL, 2, covariance=code, seed=1, draws=400, **QUIET)
    assert posterior.attrs["covariance"] == code
    assert bg.diagnose(posterior).converged
    gibbs = bg.sample(
        FAITHFUL, 2, covariance=code, seed=1, draws=400, engine="gibbs", progressbar=False
    )
    ours, theirs = (
        tree["invariants"]["log_posterior"].to_numpy().mean() for tree in (posterior, gibbs)
    )
    assert ours == pytest.approx(theirs, abs=1.0)
    values = [tree["posterior"]["means"].to_numpy() for tree in (posterior, gibbs)]
    gap = values[0].mean(axis=(0, 1)) - values[1].mean(axis=(0, 1))
    error = np.hypot(*(standard_error_of_mean(one) for one in values))
    assert (np.abs(gap) < 5 * error + 0.2 * values[1].std(axis=(0, 1))).all()


def test_row_weights_may_be_any_and_missing_entries_are_allowed():
    few = FAITHFUL[:60]
    with_halves = bg.sample(few, 2, row_weights=np.full(60, 0.5), seed=1, draws=50, **QUIET)
    assert with_halves["variational"]["concentration"].sum() == pytest.approx(2 + 30)
    holes = few.astype(float).copy()
    holes.iloc[::5, 0] = np.nan
    posterior = bg.sample(holes, 2, missing="mar", seed=1, draws=300, **QUIET)
    assert posterior["variational"]["concentration"].sum() == pytest.approx(2 + 60)
    complete, allowed = (
        bg.sample(few, 2, missing=missing, seed=1, draws=20, **QUIET)
        for missing in ("refuse", "mar")
    )
    xr.testing.assert_identical(
        complete["posterior"].to_dataset(), allowed["posterior"].to_dataset()
    )
    assert complete.attrs["elbo"] == allowed.attrs["elbo"]


def test_rows_that_are_read_block_by_block_give_the_same_draws():
    blocks = [FAITHFUL[i : i + 100] for i in range(0, len(FAITHFUL), 100)]
    stream = bg.sample(lambda: iter(blocks), 2, seed=1, draws=20, chains=2, **QUIET)
    whole = bg.sample(FAITHFUL, 2, seed=1, draws=20, chains=2, **QUIET)
    xr.testing.assert_identical(stream["posterior"].to_dataset(), whole["posterior"].to_dataset())


def test_a_component_that_is_switched_off_has_finite_densities():
    prior = bg.ConjugatePrior.default(FAITHFUL, 4)
    sparse = bg.ConjugatePrior(np.full(4, 1e-3), prior.mean, 0.01, 4.0, prior.scale)
    posterior = bg.sample(FAITHFUL, 4, prior=sparse, seed=1, draws=100, **QUIET)
    draws, count = draws_of(posterior), np.sort(posterior["variational"]["concentration"])
    assert (count[:2] < 0.01).all()
    assert (draws.weights > 0).all()
    for values in (posterior["invariants"]["log_posterior"], posterior["sample_stats"]["log_q"]):
        assert np.isfinite(values).all()
    assert (posterior["invariants"]["occupied_components"] == 2).all()
    assert not any(finding.name == "not_finite" for finding in bg.diagnose(posterior).reasons)


def test_an_interrupt_leaves_what_was_drawn(monkeypatch):
    draw, left = variational.Sampler.draw, iter(range(25))

    def interrupted(self, rng):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return draw(self, rng)

    monkeypatch.setattr(variational.Sampler, "draw", interrupted)
    with pytest.warns(bg.ConvergenceWarning, match="12 draws of each of 2 chains"):
        posterior = bg.sample(FAITHFUL, 2, draws=50, chains=2, seed=1, **QUIET)
    assert posterior.attrs["partial"] == 1
    monkeypatch.setattr(variational.Sampler, "draw", draw)
    whole = bg.sample(FAITHFUL, 2, draws=50, chains=2, seed=1, **QUIET)
    np.testing.assert_array_equal(
        posterior["posterior"]["means"], whole["posterior"]["means"].isel(draw=slice(12))
    )


def test_a_search_that_reached_its_limit_says_so(monkeypatch):
    monkeypatch.setattr(search, "MAX_ITER", 1)
    monkeypatch.setattr(search, "FIRST_LOOK", 1)
    with pytest.warns(bg.ConvergenceWarning, match="iterations"):
        posterior = bg.sample(bg.datasets.load("galaxies"), 3, draws=20, seed=1, **QUIET)
    assert not bool(posterior["variational"]["converged"])


def test_structures_without_a_conjugate_prior_are_refused():
    with refuses("VEV", "which no engine can sample"):
        bg.sample(FAITHFUL, 2, covariance="VEV", **QUIET)
