"""`bg.how_many`: its numbers are those of the functions it stands for, its words follow them."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayes_gmm as bg
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.results.answers import answers
from bayes_gmm.results.how_many import HowMany, of_edges, of_reliability

FAITHFUL = bg.datasets.load("faithful")
CHEAP = ["bic", "icl", "aic", "modes"]
QUIET = {"seed": 1, "progressbar": False}


@pytest.fixture(scope="module")
def found():
    return bg.how_many(FAITHFUL, range(1, 6), criteria=CHEAP, covariance="EEE", **QUIET)


@pytest.fixture(scope="module")
def selected():
    return bg.select(FAITHFUL, range(1, 6), covariance="EEE", **QUIET)


def test_criteria_of_the_fits_are_those_of_select_to_the_last_bit(found, selected):
    for name in ("bic", "icl", "aic", "log_likelihood", "status"):
        own = selected.dataset[name].isel(covariance=0)
        np.testing.assert_array_equal(found.dataset[name], own)
    best = found.selection.best["point_estimate"].to_dataset()
    xr.testing.assert_identical(best, selected.best["point_estimate"].to_dataset())
    assert [found.answers[name] for name in ("bic", "icl", "aic")] == [3, 2, 5]


def test_modes_are_counted_of_every_fit_and_answered_for_the_one_that_bic_chooses(found):
    expected = [
        bg.modes(bg.fit(FAITHFUL, k, covariance="EEE", seed=1)).sizes["mode"] for k in range(1, 6)
    ]
    assert found.dataset["n_modes"].to_numpy().tolist() == expected
    assert found.answers["modes"] == expected[3 - 1] == 2
    alone = bg.how_many(FAITHFUL, range(1, 6), criteria="modes", covariance="EEE", **QUIET)
    assert alone.answers == {"modes": 2}


def test_the_table_has_a_row_for_each_criterion_with_its_answer_values_and_question(found):
    table = found.table
    assert table.index.tolist() == CHEAP
    assert table["answer"].tolist() == [3, 2, 5, 2]
    for name in CHEAP:
        own = found.dataset["n_modes" if name == "modes" else name].to_numpy()
        assert table.loc[name, [f"K = {k}" for k in range(1, 6)]].tolist() == own.tolist()
        assert table.loc[name, "question"].endswith((".", "?"))


def test_it_prints_what_it_found_as_text_and_as_html(found):
    text, page = str(found), found._repr_html_()
    assert "BIC: 3 (4 is 5.8 behind)." in text
    assert "The criteria differ: 2 by ICL and the modes; 3 by BIC; 5 by AIC." in text
    assert "The density of 3 components has 2 modes" in text
    assert "AIC: K = 5 is the largest number of components tried" in text
    assert page.startswith("<strong>How many clusters?</strong>")
    for sentence in found.sentences:
        assert sentence.split(":")[0] in page


def test_loo_is_that_of_the_posteriors_and_its_differences_are_by_rows():
    settings = {"covariance": "EEE", "draws": 150, **QUIET}
    found = bg.how_many(FAITHFUL, [1, 2, 3], criteria="loo", **settings).dataset
    by_hand = [bg.loo(bg.sample(FAITHFUL, k, **settings)) for k in (1, 2, 3)]
    np.testing.assert_array_equal(found["elpd"], [one.elpd for one in by_hand])
    np.testing.assert_array_equal(found["elpd_se"], [one.se for one in by_hand])
    rows = np.array([one.elpd_i.to_numpy() for one in by_hand])
    best = rows.sum(axis=1).argmax()
    apart = rows - rows[best]
    np.testing.assert_allclose(found["elpd_difference"], apart.sum(axis=1), atol=1e-9)
    errors = np.sqrt(len(FAITHFUL)) * apart.std(axis=1, ddof=1)
    np.testing.assert_allclose(found["elpd_difference_se"], errors, atol=1e-9)


def test_evidence_is_that_of_the_posteriors_and_makes_probabilities():
    rows = FAITHFUL.iloc[::4]
    settings = {"covariance": "EEE", "draws": 150, **QUIET}
    found = bg.how_many(rows, [1, 2], criteria="evidence", **settings)
    by_hand = [bg.evidence(bg.sample(rows, k, **settings), seed=1) for k in (1, 2)]
    height = np.array([one.log_evidence for one in by_hand])
    np.testing.assert_array_equal(found.dataset["log_evidence"], height)
    np.testing.assert_array_equal(
        found.dataset["log_evidence_se"], [one.standard_error for one in by_hand]
    )
    assert found.dataset["evidence_doubtful"].to_numpy().tolist() == [
        bool(one.concerns) for one in by_hand
    ]
    assert found.answers == {"evidence": 2}
    assert "(probability 1.00, if all of these were equally likely)" in str(found)


def test_rows_that_a_result_does_not_keep_are_those_that_were_given(monkeypatch):
    settings = {"criteria": ["loo", "evidence"], "covariance": "EEE", "draws": 50, **QUIET}
    rows = FAITHFUL.iloc[::4]
    kept = bg.how_many(rows, [1], **settings).dataset
    monkeypatch.setattr("bayes_gmm.results.tree.MOST_ROWS", 10)
    given = bg.how_many(rows, [1], **settings).dataset
    xr.testing.assert_identical(given.drop_attrs(), kept.drop_attrs())


def test_evidence_that_would_take_too_long_is_left_out_and_said():
    dataset = made_up(
        log_evidence=[-9.0, -7.0, np.nan],
        log_evidence_se=[0.1, 0.1, np.nan],
        evidence_doubtful=[0, 1, 0],
    )
    assert answers(dataset) == {"evidence": 2}
    assert of_reliability(dataset) == [
        "The evidence is unreliable with K = 2: bg.evidence says why.",
        "There is no evidence for K = 3: it takes too long.",
    ]


def test_the_posterior_of_the_number_is_that_of_its_draws():
    rng = np.random.default_rng(1)
    rows = np.append(rng.normal(size=15), 30 + rng.normal(size=15))[:, None]
    settings = {"draws": 200, **QUIET}
    found = bg.how_many(rows, [1, 2], criteria="posterior", **settings)
    drawn = bg.sample(rows, None, **settings)["posterior"]
    for name in ("n_components", "n_clusters"):
        counts = drawn[name].to_numpy()
        share = found.dataset[f"probability_{name}"].to_series()
        for k in share.index:
            assert share[k] == np.mean(counts == k)
        assert share.sum() == pytest.approx(1)
    assert found.answers["n_clusters"] == 2
    # By another estimate of the error: batches of the chains' draws.
    own = found.dataset["probability_n_components"].to_series().idxmax()
    batches = (drawn["n_components"].to_numpy() == own).reshape(4, 5, 40).mean(axis=2)
    error = batches.std(ddof=1) / np.sqrt(20)
    assert found.dataset["probability_n_components_se"].to_series()[own] == pytest.approx(
        error, rel=0.6
    )


def test_clusters_far_apart_are_counted_by_every_criterion():
    rng = np.random.default_rng(0)
    means = np.array([[0.0, 0.0], [20.0, 0.0], [0.0, 30.0]])
    rows = means[np.arange(120) % 3] + rng.normal(size=(120, 2))
    found = bg.how_many(
        rows,
        range(1, 5),
        criteria=["bic", "icl", "modes", "bootstrap", "loo"],
        covariance="EEE",
        n_bootstrap=19,
        n_starts=3,
        draws=150,
        **QUIET,
    )
    assert found.answers == dict.fromkeys(["bic", "icl", "modes", "bootstrap", "loo"], 3)
    assert found.sentences[0] == "All 5 criteria answer 3."
    p = found.dataset["p_value"].to_numpy()
    assert p[:2].tolist() == [1 / 20, 1 / 20]
    assert p[2] > 0.05
    assert f"bootstrap test: 3 (p = {p[2]:.2f}, level 0.05)" in str(found)
    assert np.isnan(p[3])


def made_up(**columns):
    """A result with these values for 1, 2, 3 components."""
    sizes = {"n_components": [1, 2, 3]}
    values = {name: ("n_components", value) for name, value in columns.items()}
    return xr.Dataset(values, sizes, attrs={"least_bic": 2, "n_bootstrap": 99})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"bic": [9.0, 5.0, 7.0]}, {"bic": 2}),
        ({"bic": [np.nan, 5.0, 4.0]}, {"bic": 3}),
        ({"n_modes": [1.0, 2.0, 3.0]}, {"modes": 2}),
        ({"p_value": [0.01, 0.05, np.nan]}, {"bootstrap": 3}),
        ({"p_value": [0.01, 0.06, np.nan]}, {"bootstrap": 2}),
        ({"p_value": [0.3, np.nan, np.nan]}, {"bootstrap": 1}),
        ({"p_value": [np.nan] * 3}, {"bootstrap": None}),
        # A difference below 4 nats, or below two of its standard errors, is none.
        ({"elpd_difference": [-3.9, -1, 0], "elpd_difference_se": [0.1, 1, 0]}, {"loo": 1}),
        ({"elpd_difference": [-4.1, -1, 0], "elpd_difference_se": [0.1, 1, 0]}, {"loo": 2}),
        ({"elpd_difference": [-40, -20, 0], "elpd_difference_se": [19, 11, 0]}, {"loo": 2}),
        ({"log_evidence": [-9.0, -7.0, -8.0], "log_evidence_se": [0.1] * 3}, {"evidence": 2}),
    ],
)
def test_answers_follow_their_rules(columns, expected):
    assert answers(made_up(**columns)) == expected


def test_a_test_that_rejects_every_number_answers_with_the_largest_and_says_so(found):
    tried = found.dataset.sel(n_components=[1, 2])[["log_likelihood", "status", "bic"]]
    tried = tried.assign(p_value=("n_components", [0.01, np.nan]))
    printed = HowMany(tried.assign_attrs(least_bic=2), found.selection)
    assert "bootstrap test: 2 (each smaller number is rejected at the level 0.05)." in str(printed)
    assert "Both criteria answer 2." in printed.sentences


def test_the_edges_of_the_grid_name_the_criteria_that_lie_there():
    own = {"bic": 3, "aic": 3, "icl": 2, "modes": 3, "n_clusters": 3}
    (said,) = of_edges(own, [2, 3])[1:]
    assert said.startswith("BIC and AIC: K = 3 is the largest number of components tried")
    assert of_edges(own, [2, 3])[0].startswith("ICL: K = 2 is the smallest")
    assert of_edges({"bic": 1}, [1, 2, 3]) == []


def test_values_that_rest_on_too_little_are_named():
    said = of_reliability(made_up(not_converged=[0, 1, 1], large_pareto_k=[0, 1, 4]))
    assert said[0].startswith("The chains had not converged with K = 2 and 3")
    assert said[1].startswith("LOO is unreliable with K = 2 and 3: up to 4 rows")
    assert of_reliability(made_up(not_converged=[0, 0, 0], large_pareto_k=[0, 0, 0])) == []
    (said,) = of_reliability(made_up(n_replicates=[99, 40, np.nan]))
    assert said.startswith("The bootstrap test of K = 2 rests on fewer samples than the 99")
    assert of_reliability(made_up(n_replicates=[99, np.nan, np.nan])) == []


def test_a_number_that_cannot_be_fitted_is_said_and_ends_the_test():
    rows = [[0.0], [1.0], [2.5], [3.1], [9.0]]
    found = bg.how_many(
        rows, [1, 2, 9], criteria=["bic", "bootstrap"], n_bootstrap=19, n_starts=3, **QUIET
    )
    assert found.dataset["status"][2].item().startswith("n_components is 9")
    assert np.isnan(found.dataset["p_value"][1:]).all()
    assert "1 of 3 fits failed" in str(found)


def test_row_weights_are_the_same_as_repeated_rows():
    rows = FAITHFUL.iloc[:60]
    times = np.arange(60) % 3
    repeated = rows.loc[np.repeat(rows.index, times)].reset_index(drop=True)
    settings = {"criteria": [*CHEAP, "bootstrap"], "n_bootstrap": 19, "n_starts": 5, **QUIET}
    one = bg.how_many(rows, [1, 2], row_weights=times, **settings).dataset
    other = bg.how_many(repeated, [1, 2], **settings).dataset
    for name in ("bic", "icl", "aic", "likelihood_ratio"):
        np.testing.assert_allclose(one[name], other[name], rtol=1e-6)
    np.testing.assert_array_equal(one["p_value"], other["p_value"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"criteria": "dic"}, "criteria has 'dic'; choose \"all\", or some of bic, icl"),
        ({"criteria": []}, "criteria is empty"),
        ({"n_bootstrap": 18}, "n_bootstrap must be a whole number >= 19; got 18"),
        ({"n_components": []}, "n_components is empty"),
        ({"n_starts": 0}, "n_starts must be a whole number >= 1"),
        ({"draws": 0}, "draws must be a whole number >= 1"),
        ({"draws": 24, "criteria": "loo"}, "draws must be a whole number >= 25; got 24"),
        ({"prior": "vague"}, "prior must be None or \"default\", .*; got 'vague'"),
        ({"prior": ConjugatePrior.default(FAITHFUL, 2)}, "got ConjugatePrior"),
        ({"covariance": "VEV"}, "covariance is 'VEV', which no engine can sample"),
        ({"row_weights": [0.5] * 272, "criteria": "bootstrap"}, "row_weights has entries that are"),
    ],
)
def test_what_cannot_be_used_is_said_before_any_work(settings, said):
    with pytest.raises(bg.InputError, match=said):
        bg.how_many(FAITHFUL, **{"n_components": [1, 2], **QUIET, **settings})


def test_rows_that_are_streamed_are_enough_for_the_criteria_of_the_fits():
    def blocks():
        return iter([FAITHFUL[:100], FAITHFUL[100:]])

    settings = {"covariance": "EEE", **QUIET}
    found = bg.how_many(blocks, [1, 2], criteria=CHEAP, **settings).dataset
    whole = bg.how_many(FAITHFUL, [1, 2], criteria=CHEAP, **settings).dataset
    np.testing.assert_array_equal(found["bic"], whole["bic"])
    with pytest.raises(bg.InputError, match="needs all rows in memory"):
        bg.how_many(blocks, [1, 2], criteria="loo", **settings)


def test_probabilities_of_numbers_print_beyond_the_grid_but_not_where_they_are_nothing(found):
    number = np.arange(1, 8)
    posterior = np.array([0.0, 0.6, 0.3, 0.05, 0.03, 0.018, 0.002])
    dataset = found.dataset.sel(n_components=[1, 2, 3]).assign_coords(number=number)
    dataset = dataset.assign(
        probability_n_clusters=("number", posterior),
        probability_n_clusters_se=("number", np.full(7, 0.01)),
    )
    printed = HowMany(dataset, found.selection)
    assert printed.answers["n_clusters"] == 2
    assert "posterior of K+: 2 (probability 0.60, standard error 0.01)" in str(printed)
    lines = str(printed).splitlines()
    assert [line.split()[0] for line in lines[1:7]] == ["1", "2", "3", "4", "5", "6"]
    assert lines[7] == ""
    assert isinstance(printed.table, pd.DataFrame)
