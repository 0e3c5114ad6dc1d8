"""`bg.evidence`: probabilities are Bayes' rule, and what cannot be estimated is refused."""

import numpy as np
import pytest
import xarray as xr
from exact_enumeration import enumerate_posterior
from helpers import refuses
from results.synthetic import conjugate_posterior, exact_draws, one_component, posterior_result

import bayes_gmm as bg
from bayes_gmm.errors import ConvergenceWarning
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.results.labels import prior_groups

X = np.array([[-1.9], [-1.4], [-1.6], [1.2], [1.8], [2.1]])


def sampled(n_components, x=X, **more):
    more = {"draws": 250, "seed": 1, "engine": "gibbs", "progressbar": False} | more
    return bg.sample(x, n_components, **more)


@pytest.fixture(scope="module")
def results():
    return [sampled(1), sampled(2)]


@pytest.fixture(scope="module")
def pair(results):
    return bg.evidence(results, labellings=30, seed=2)


def with_prior(posterior, prior):
    names = tuple(posterior["posterior"]["feature"].to_numpy())
    return xr.DataTree.from_dict({**posterior.to_dict(), **prior_groups(prior, names)})


def test_probabilities_are_bayes_rule_on_the_enumerated_evidence(pair):
    exact = [
        enumerate_posterior(X, ConjugatePrior.default(X, size)).log_evidence for size in (1, 2)
    ]
    table = pair.table
    assert list(table.index) == ["K = 1", "K = 2"]
    assert list(table["n_components"]) == [1, 2]
    errors = table["standard_error"].to_numpy()
    assert (np.abs(table["log_evidence"] - exact) < 5 * errors + 1e-9).all()
    chances = np.exp(exact - np.logaddexp(*exact))
    assert (np.abs(table["probability"] - chances) < 5 * table["probability_error"]).all()
    assert pair.best == f"K = {1 + np.argmax(chances)}"


def test_the_error_of_a_probability_is_its_spread_under_errors_of_the_evidence(pair):
    table, rng = pair.table, np.random.default_rng(0)
    noise = rng.normal(size=(20_000, 2)) * table["standard_error"].to_numpy()
    moved = table["log_evidence"].to_numpy() + noise
    chances = np.exp(moved - np.logaddexp(moved[:, 0], moved[:, 1])[:, None])
    np.testing.assert_allclose(table["probability_error"], chances.std(axis=0), rtol=0.05)


def test_prior_probabilities_multiply_the_odds(results, pair):
    def odds(found):
        return found.table["probability"].iloc[0] / found.table["probability"].iloc[1]

    for given in ([3.0, 1.0], {"K = 2": 0.25, "K = 1": 0.75}):
        weighed = bg.evidence(results, prior_probabilities=given, labellings=30, seed=2)
        assert odds(weighed) == pytest.approx(3 * odds(pair))
        assert weighed.table["prior_probability"].tolist() == [0.75, 0.25]


def test_one_posterior_has_one_evidence_which_is_that_in_the_table(results, pair):
    one = bg.evidence(results[1], labellings=30, seed=2)
    assert one.log_evidence == pair.evidences["K = 2"].log_evidence
    assert (one.n_components, one.covariance, one.prior) == (2, "V", "ConjugatePrior")
    assert one.is_reliable == (not one.concerns)
    assert f"{one.log_evidence:.4f} nats, standard error {one.standard_error:.2g}" in str(one)
    assert "2 components" in repr(one)
    assert one._repr_html_().startswith("<strong>Evidence</strong>")


def test_the_table_is_printed_with_its_errors(pair):
    text, html = str(pair), pair._repr_html_()
    assert f"Most probable of 2 models: {pair.best}, posterior probability " in text
    for name in ("log evidence", "standard error", "probability", "its error", "reliable"):
        assert name in text and name in html
    assert f"{pair.table['probability'].iloc[1]:.3f}" in text


def test_models_of_several_structures_are_named_by_them_and_others_by_the_user():
    x = np.random.default_rng(3).normal(size=(20, 2))
    some = [sampled(1, x, covariance=code) for code in ("EII", "VVV")]
    assert list(bg.evidence(some, labellings=5).table.index) == ["EII, K = 1", "VVV, K = 1"]
    with refuses("K = 1", "dict"):
        bg.evidence([some[0], some[0]])
    named = bg.evidence({"round": some[0], "any": some[1]}, labellings=5)
    assert list(named.table.index) == ["round", "any"]
    assert named.table["covariance"].tolist() == ["EII", "VVV"]


def test_chains_in_different_modes_make_it_unreliable():
    """Two chains of one component, as if there were two posteriors far apart.

    The prior is not conjugate: under a conjugate one all draws say the same of one component.
    """
    rng, half = np.random.default_rng(4), len(X) // 2
    prior = bg.SemiconjugatePrior.default(X, 1)
    parts = [conjugate_posterior(x, np.zeros(len(x), int), 1) for x in (X[:half], X[half:])]
    draws = [
        np.concatenate(both)
        for both in zip(*(exact_draws(part, 1, 100, rng) for part in parts), strict=True)
    ]
    posterior = with_prior(posterior_result(tuple(draws), X, prior), prior)
    with pytest.warns(ConvergenceWarning, match="not reliable"):
        found = bg.evidence(posterior, labellings=20, seed=1)
    assert not found.is_reliable
    assert any("independent ones" in why for why in found.concerns)
    with pytest.warns(ConvergenceWarning, match="a: "):
        both = bg.evidence({"a": posterior, "b": sampled(1)}, labellings=20, seed=1)
    assert both.table["reliable"].tolist() == [False, True]
    assert "Not reliable: a" in str(both)


def test_rows_may_be_given_and_must_be_those_of_the_posterior(results):
    rowless = results[1].drop_nodes("observed_data")
    assert bg.evidence(rowless, X, labellings=30, seed=2).log_evidence == pytest.approx(
        bg.evidence(results[1], labellings=30, seed=2).log_evidence, abs=1e-9
    )
    with refuses("X is needed"):
        bg.evidence(rowless)
    with refuses("log-likelihood", "rows"):
        bg.evidence(rowless, X + 0.1)


def test_results_of_other_data_are_not_compared(results):
    with refuses("different data", "K = 3"):
        bg.evidence([results[0], sampled(3, X + 1)])
    with refuses("different data"):
        bg.evidence([results[0], sampled(2, row_weights=[2, 1, 1, 1, 1, 1])])


def test_draws_of_something_else_are_refused(results):
    unknown = sampled(None)
    for one in (unknown, bg.given(unknown)):
        with refuses("unknown number of components", "fixed"):
            bg.evidence(one)
    other = results[1].copy()
    other.attrs["engine"] = "vb"
    with refuses("approximation", "another engine"):
        bg.evidence(other)


def test_a_prior_without_a_known_density_is_refused(results):
    with refuses("no prior with a known density", "SemiconjugatePrior"):
        bg.evidence(results[1].drop_nodes("prior_parameters"))
    with refuses("improper"):
        bg.evidence(with_prior(results[1], ConjugatePrior.flat(2, 1)))
    x, _, posterior = one_component(1)
    posterior = with_prior(posterior, ConjugatePrior.default(x, 1))
    posterior.attrs["covariance"] = "VEE"
    with refuses("VEE", "EEE"):
        bg.evidence(posterior)


def test_bad_arguments_are_refused(results):
    with refuses("draws", "100"):
        bg.evidence(sampled(1, draws=20))
    with refuses("at least one"):
        bg.evidence([])
    with refuses("posterior must be a result of bg.sample"):
        bg.evidence([3])
    with refuses("posterior must be a result of bg.sample"):
        bg.evidence(3)
    with refuses("several posteriors"):
        bg.evidence(results[0], prior_probabilities=[1.0])
    with refuses("labellings", "whole number"):
        bg.evidence(results[0], labellings=0)
    for given in ([1.0], [1.0, -1.0], [0.0, 0.0], ["a", "b"], [np.nan, 1.0]):
        with refuses("prior_probabilities", "2 numbers"):
            bg.evidence(results, prior_probabilities=given)
    with refuses("prior_probabilities names a", "K = 1"):
        bg.evidence(results, prior_probabilities={"a": 1.0})
