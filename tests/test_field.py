"""What people met: the right answer to each input on which the package failed."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from field_cases import clipped, sentinel, typo
from typer.testing import CliRunner

import bayes_gmm as bg
from bayes_gmm import cli
from bayes_gmm.pipeline import Pipeline

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
