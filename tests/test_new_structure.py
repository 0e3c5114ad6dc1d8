"""A family of structures that is one new file is fitted, counted, measured and drawn at once.

Of two features, compound symmetry is VVI of their sum and their difference, an independent truth.
"""

from dataclasses import replace

import numpy as np
import pytest
from compound_symmetry import CompoundSymmetry
from exact_enumeration import problems
from structured_enumeration import StructuredExact

import bayes_gmm as bg
from bayes_gmm.model.structures import register, structure

TURN = np.array([[1.0, 1.0], [1.0, -1.0]]) / np.sqrt(2)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(structure, "_REGISTERED", dict(structure._REGISTERED))
    register(CompoundSymmetry())


def rows():
    rng = np.random.default_rng(1)
    first = rng.normal(size=(120, 2)) * [2.0, 0.5] @ TURN
    return np.concatenate([first, rng.normal(size=(80, 2)) * [0.5, 1.0] @ TURN + [4.0, 1.0]])


@pytest.mark.parametrize("prior", [None, "proper"])
def test_em_finds_the_same_optimum_and_counts_the_same_parameters(prior):
    if prior:
        prior = bg.ConjugatePrior([1.0, 1.0], [1.0, 0.0], 0.1, 5.0, [[1.0, 0.3], [0.3, 2.0]])
    ours = bg.fit(rows(), 2, covariance="CS", prior=prior, seed=1)
    if prior:
        mean, scale = prior.mean @ TURN, TURN @ prior.scale @ TURN
        prior = replace(prior, mean=mean, scale=(scale + scale.swapaxes(1, 2)) / 2)
    turned = bg.fit(rows() @ TURN, 2, covariance="VVI", prior=prior, seed=1)
    here, there = ours["optimizer_result"], turned["optimizer_result"]
    assert int(here["n_parameters"]) == int(there["n_parameters"]) == 1 + 4 + 4
    assert float(here["log_likelihood"]) == pytest.approx(float(there["log_likelihood"]), abs=1e-6)
    if prior:
        masses = float(here["optimum_log_mass"][0]), float(there["optimum_log_mass"][0])
        assert masses[0] == pytest.approx(masses[1], abs=1e-6)
    theta = bg.point_estimate(ours).covariances
    assert theta[:, 0, 0] == pytest.approx(theta[:, 1, 1])
    weights = [_errors_of_weights(one) for one in (ours, turned)]
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-4)


def _errors_of_weights(fitted):
    errors = bg.standard_errors(fitted).dataset
    return np.sort(errors["standard_error"].to_numpy()[errors["kind"].to_numpy() == "weight"])


def test_bic_ranks_it_among_the_others():
    found = bg.select(rows(), [2], covariance=["CS", "VVV", "EII"], seed=1)
    assert found.best.attrs["covariance"] == "CS"


def test_gibbs_is_exact_against_enumeration():
    (problem,) = (one for one in problems() if one.name == "components told apart, plane")
    x, prior = problem.x[:5], problem.prior
    mean, scale = prior.mean @ TURN, TURN @ prior.scale @ TURN
    turned = replace(prior, mean=mean, scale=(scale + scale.swapaxes(1, 2)) / 2)
    options = {"draws": 1000, "tune": 100, "chains": 4, "seed": 3, "progressbar": False}
    tree = bg.sample(x, prior.n_components, prior=prior, covariance="CS", engine="gibbs", **options)
    assert tree.attrs["covariance"] == "CS"
    weights, means, covariances = (
        tree["posterior"][name].to_numpy() for name in ("weights", "means", "covariances")
    )
    exact = StructuredExact(x @ TURN, turned, "VVI")
    scores = exact.z_scores(weights, means @ TURN, TURN @ covariances @ TURN)
    for name in ("co_clustering", "predictive", "within"):
        assert np.abs(scores[name]).max() < 5, name


def test_a_posterior_of_it_has_all_that_others_have(tmp_path):
    options = {"draws": 200, "tune": 50, "chains": 2, "seed": 1, "progressbar": False}
    tree = bg.sample(rows(), 2, covariance="CS", **options)
    assert np.isfinite(tree["invariants"]["log_posterior"].to_numpy()).all()
    compared = bg.compare(bg.fit(rows(), 2, covariance="CS", prior="default", seed=1), tree)
    assert compared.dataset.attrs["n_parameters"] == 1 + 4 + 4
    page = tmp_path / "report.html"
    bg.report(tree, path=page)
    assert "variances along known axes" in page.read_text("utf-8")
