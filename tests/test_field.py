"""What users met, or would have: each input that failed once, with the right answer."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from exact_enumeration import enumerate_posterior, sampled_quantities, worst, z_scores
from field_cases import clipped, sentinel, typo, wide
from helpers import refuses
from typer.testing import CliRunner

import bayes_gmm as bg
from bayes_gmm import cli
from bayes_gmm.inference import engines
from bayes_gmm.inference.gibbs import cost
from bayes_gmm.pipeline import Pipeline
from bayes_gmm.results.reading import draws_of

QUIET = {"seed": 1, "progressbar": False}
DIAGONAL = ("EII", "VII", "EEI", "VEI", "EVI", "VVI")
FULL = ("EEE", "EEV", "VVV")


def labels(result, rows):
    """Most probable component of each row."""
    return bg.predict(result, rows)["label"].to_numpy()


def groups_found(result, rows, n_groups=2):
    """Whether the components are the groups of equal size that the rows come in."""
    found = labels(result, rows).reshape(n_groups, -1)
    return (found == found[:, :1]).all() and len(set(found[:, 0])) == n_groups


@pytest.mark.parametrize("n_rows", [30, 60])
def test_wide_diagonal_structures_are_fitted_to_fewer_rows_than_features(n_rows):
    x = wide(n_rows)
    for code in DIAGONAL:
        assert groups_found(bg.fit(x, 2, covariance=code, n_starts=3, seed=1), x)


def test_wide_too_few_rows_for_a_covariance_are_said_as_such_without_a_list_of_names():
    for code in FULL:
        expected = r"30 rows.* 50 features.*EII to VVI.*prior"
        with pytest.raises(bg.InputError, match=expected) as said:
            bg.fit(wide(), 2, covariance=code)
        assert "x1" not in str(said.value)


@pytest.mark.parametrize("n_rows", [30, 60])
def test_wide_a_proper_prior_is_taken_whether_the_users_or_the_default(n_rows):
    x = wide(n_rows)
    own = bg.ConjugatePrior(np.ones(2), x.mean(axis=0), 0.01, 52.0, np.eye(50))
    for prior in (own, "default"):
        result = bg.fit(x, 2, prior=prior, n_starts=3, seed=1)
        assert groups_found(result, x)
        assert np.isfinite(bg.point_estimate(result).choleskys).all()
    note = result["prior_parameters"].attrs["note"]
    assert f"{n_rows} rows are few for 50 features" in note


def test_wide_select_marks_the_cells_that_cannot_be():
    found = bg.select(wide(), [1, 2], covariance=["VVI", "EEE", "VVV"], n_starts=2, **QUIET)
    status = found.dataset["status"]
    assert (status.sel(covariance="VVI") == "ok").all()
    for code in ("EEE", "VVV"):
        for text in status.sel(covariance=code).to_numpy():
            assert "30 rows, too few to estimate a covariance of 50 features" in text
    assert found.best.attrs["covariance"] == "VVI"
    assert str(found).count("cannot determine") <= 2, "said once, not for each cell"


def test_wide_is_sampled_with_the_default_prior_in_sweeps_bounded_by_their_cost():
    x = wide(60)
    posterior = bg.sample(x, 2, draws=50, tune=50, **QUIET)
    assert posterior.attrs["engine"] == "gibbs"
    assert posterior.attrs["thin"] * cost.of_a_sweep(60, 2, 50) <= engines.AFFORDABLE
    assert groups_found(posterior, x)
    weights = posterior["posterior"]["weights"].mean(("chain", "draw")).to_numpy()
    np.testing.assert_allclose(weights, 0.5, atol=0.05)


def test_few_rows_one_component_needs_no_thinning():
    posterior = bg.sample([1.0, 2.0], 1, **QUIET)
    assert posterior.attrs["thin"] == 1
    assert bg.diagnose(posterior).ok


def one_prior(n_components, n_features):
    alpha, mean, scale = np.ones(n_components), np.zeros(n_features), np.eye(n_features)
    return bg.ConjugatePrior(alpha, mean, 0.3, n_features + 3.0, scale)


LITTLE = {
    "five components, three rows": ([[-1.0], [0.2], [2.5]], one_prior(5, 1)),
    "three components, one row": ([[1.5]], one_prior(3, 1)),
    "two components, one row of two": ([[1.5, -0.5]], one_prior(2, 2)),
    "a column that does not vary": ([[1.5, 2.0], [1.5, 3.0], [1.5, -1.0]], one_prior(2, 2)),
}


@pytest.fixture(scope="module", params=LITTLE)
def little(request):
    """Rows, prior and posterior of a tiny problem, its draws thinned as if rows were many."""
    rows, prior = LITTLE[request.param]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "CHEAP_ROWS", 1)
        posterior = bg.sample(rows, prior.n_components, prior=prior, tune=100, **QUIET)
    return np.array(rows), prior, posterior


def test_more_components_than_rows_have_the_posterior_of_the_sum_over_all_labellings(little):
    x, prior, posterior = little
    exact = enumerate_posterior(x, prior)
    draws = draws_of(posterior).reorder(inverse(posterior))
    found = sampled_quantities(exact, draws.weights, draws.means, draws.covariances)
    score, what = worst(z_scores(found, exact))
    assert score < 5, what


def inverse(posterior):
    """Order of the components that gives the draws as the sampler named them."""
    return np.argsort(posterior["sample_stats"]["permutation"].to_numpy(), axis=-1)


def test_more_components_than_rows_are_followed_by_every_verb(little, tmp_path):
    x, prior, posterior = little
    posterior = posterior.isel(draw=slice(None, None, 5), missing_dims="ignore")
    point = bg.fit(x, prior.n_components, prior=prior, seed=1)
    assert np.isfinite(bg.point_estimate(point).covariances).all()
    assert bg.standard_errors(point) is not None
    bg.compare({"MAP": point}, posterior)
    assert bg.diagnose(posterior).verdict
    bg.predict(posterior, x)
    if np.ptp(x, axis=0).all():
        bg.check(posterior, seed=1)
    else:
        if len(x) > 1:
            bg.report({"map": point, "posterior": posterior}, tmp_path / "report.html")
        with refuses("does not vary", "two rows"):
            bg.check(posterior, seed=1)


def test_more_components_than_rows_are_refused_without_a_prior():
    with refuses("n_components is 5", "3 rows", "prior"):
        bg.fit([1.0, 2.0, 4.0], 5)
    with refuses("one row"):
        bg.sample([1.0], 2)


def test_typo_one_wild_entry_does_not_widen_the_default_prior():
    wrong = typo()
    right = wrong.copy()
    right.loc[57, "body_mass_g"] = 4100.0
    there, here = (bg.ConjugatePrior.default(table, 3) for table in (wrong, right))
    # At most 12 robust sds in one of 342 rows: 144 / 342 of the robust variance, which is about
    # the plain one here.
    ratio = np.diagonal(there.scale[0]) / np.diagonal(here.scale[0])
    assert ratio[-1] < 1.5
    np.testing.assert_allclose(ratio[:-1], 1, rtol=1e-12)
    assert "body_mass_g" in there.note
    assert here.note == ""


def test_typo_the_species_are_found_beside_it():
    table = typo()
    with pytest.warns(bg.OutlierWarning, match="Row 57"):
        result = bg.fit(table, 4, prior="default", seed=1)
    assert "body_mass_g" in result["prior_parameters"].attrs["note"]
    weights = bg.point_estimate(result).weights
    assert np.sort(weights)[0] == pytest.approx(1 / len(table), rel=1e-3)
    np.testing.assert_allclose(np.sort(weights)[1:], [0.2, 0.36, 0.44], atol=0.02)


TYPO = "Row 57 (body_mass_g = 41000)"


def fitted(X, n_components, **options):
    """What `fit` returns, None if it refuses; and all that it says, by the kind of message."""
    result, said = None, []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = bg.fit(X, n_components, **options)
        except bg.CollapseError as error:
            said.append((bg.CollapseError, str(error)))
    return result, said + [(one.category, str(one.message)) for one in caught]


def only(kinds, said):
    """The text of the only message of these kinds."""
    (text,) = [text for kind, text in said if kind in kinds]
    return text


COLLAPSE = (bg.CollapseError, bg.CollapseWarning)


@pytest.mark.parametrize("n_components", [2, 3])
def test_clipped_columns_are_named_with_the_value_and_its_share(n_components):
    x = clipped()
    shares = {f"x{j}": (x[:, j] == 2).mean() for j in (0, 1)}
    _, said = fitted(x, n_components, seed=0)
    text = only(COLLAPSE, said)
    named = re.findall(r"(x\d) = 2 in (\d+)% of the rows", text)
    assert named
    for column, percent in named:
        assert int(percent) == round(100 * shares[column])
    assert re.search(r"\d+ (of 30 )?starts collapsed", text)
    assert "cut off" in text
    assert 'prior="default"' in text
    assert "None" not in text


def test_clipped_columns_are_no_obstacle_under_a_prior():
    _, said = fitted(clipped(), 2, prior="default", seed=0)
    assert not said


@pytest.mark.parametrize("n_components", [2, 3])
def test_sentinel_is_taken_for_a_code_for_a_missing_entry(n_components):
    _, said = fitted(sentinel(), n_components, seed=0)
    text = only(COLLAPSE, said)
    assert "x0 = -9999 in 6% of the rows" in text
    assert "looks like a code for a missing entry" in text


def test_sentinel_is_named_where_a_prior_keeps_starts_from_collapsing():
    result, said = fitted(sentinel(), 2, prior="default", seed=0)
    assert not result["optimizer_result"]["start_collapsed"].any()
    assert only([bg.OutlierWarning], said).startswith("6 rows with x0 = -9999 (the first is row 3)")


def test_sentinel_is_named_by_select_for_the_fits_that_it_spoils():
    found = bg.select(
        sentinel(), [1, 2, 3], covariance=["VVV", "EEE"], seed=0, progressbar=False, cores=1
    )
    (place,) = [remark for remark in found.remarks if "unbounded" in remark]
    assert "x0 = -9999 in 6% of the rows" in place
    assert "VVV with 2, 3" in place
    assert "EEE" not in place
    assert place.split(".")[0] in " ".join(str(found).split())
    shares = found.dataset["collapsed_starts"].sel(covariance="VVV", n_components=2)
    alone = fitted(sentinel(), 2, seed=0)[0]["optimizer_result"]["start_collapsed"].mean()
    assert float(shares) > 0.2
    assert float(alone) > 0.2


def test_sentinel_is_a_line_of_the_command_line(tmp_path):
    path = tmp_path / "sentinel.csv"
    pd.DataFrame(sentinel(), columns=["a", "b"]).to_csv(path, index=False)
    done = CliRunner().invoke(cli.app, ["select", str(path), "--most", "2", "--covariance", "VVV"])
    assert "warning: The likelihood is unbounded on a = -9999 in 6% of the rows." in done.stderr


def test_typo_is_a_warning_of_each_estimate_of_an_analysis(tmp_path):
    pipeline = Pipeline(X=typo(), n_components=3, folder=tmp_path, title="penguins", seed=0)
    for stage in pipeline.stages[:2]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            stage.run()
        assert str(caught[0].message).startswith(TYPO)


@pytest.mark.parametrize("prior", [None, "default"])
def test_typo_is_named_by_fit(prior):
    result, said = fitted(typo(), 3, prior=prior, seed=0)
    assert said[0][0] is bg.OutlierWarning
    assert said[0][1].startswith(TYPO)
    search = result["optimizer_result"]
    assert search["deciding_position"].values.tolist() == [57]
    assert search["deciding_feature"].values.tolist() == ["body_mass_g"]
    mass = typo()["body_mass_g"]
    robust_sd = 1.4826 * (mass - mass.median()).abs().median()
    expected = (41_000 - mass.median()) / robust_sd
    assert float(search["deciding_deviations"][0]) == pytest.approx(expected)


def test_typo_comes_before_anything_else_in_diagnose_compare_and_report(tmp_path):
    data = typo()
    mle = fitted(data, 3, seed=0)[0]
    posterior = bg.sample(data, 3, draws=200, seed=0, cores=1, progressbar=False)
    diagnosis = bg.diagnose(posterior)
    assert diagnosis.verdict.startswith(TYPO)
    assert diagnosis.reasons[0].name == "rows_decide"
    assert not diagnosis.ok
    comparison = bg.compare(mle, posterior)
    assert TYPO in comparison.sentences[0]
    assert "more starts" not in str(comparison)
    page = bg.report({"mle": mle, "diagnosis": diagnosis}, tmp_path / "report.html").read_text()
    assert TYPO in page
    assert page.index(TYPO) < page.index("<main>")
    assert page.index(f"Sampling.</b> {TYPO}") < page.index("<main>")


def test_a_fit_of_the_built_in_data_is_silent():
    sizes = {"faithful": 4, "iris": 5, "penguins": 4, "thyroid": 3, "banknote": 3, "acidity": 4}
    for name, most in {**sizes, "galaxies": 6}.items():
        for n_components in range(1, most + 1):
            _, said = fitted(bg.datasets.load(name).dropna(), n_components, seed=n_components)
            assert not said, (name, n_components)
    assert set(sizes) | {"galaxies"} == set(bg.datasets.names())


def test_clean_data_are_never_accused():
    """Of forty simulated mixtures, rounded or not, fitted with their own number of components."""
    rng = np.random.default_rng(0)
    for seed in range(40):
        n_components, n_features = rng.integers(1, 4), rng.integers(1, 5)
        means = rng.uniform(0, 12, size=(n_components, n_features))
        rows = means[rng.integers(n_components, size=200)] + rng.normal(size=(200, n_features))
        if seed % 2:
            rows = rows.round(1)
        _, said = fitted(rows * 10.0 ** rng.integers(-4, 5), int(n_components), seed=seed)
        assert not said, seed
