"""The bootstrap agrees with the curvature, whatever the threads, and says what it has lost."""

import numpy as np
import pytest
from helpers import from_labels, refuses

import bayes_gmm as bg
from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, CollapseWarning
from bayes_gmm.inference.em.bootstrap import SCHEMES, bootstrap
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.results.reading import Fitted
from bayes_gmm.results.standard_errors import errors_from_curvature, errors_from_refits

TRUTH = Parameters(
    [0.4, 0.6], [[0.0, 0.0], [4.0, 1.0]], [[[1.0, 0.5], [0.5, 1.0]], [[2.0, 0.0], [0.0, 1.0]]]
)


def nothing():
    pass


def refits(x, theta, n=20, *, scheme="bootstrap", prior=None, cores=1, seed=3, **more):
    options = {"structure": UNCONSTRAINED, "done": nothing, **more}
    return bootstrap(
        Observations.of(x), theta, prior, scheme=scheme, n_replicates=n, seed=seed, cores=cores,
        **options,
    )  # fmt: skip


def summary(x, theta, found, n, method="bootstrap"):
    names = tuple(f"x{j}" for j in range(x.shape[1]))
    fitted = Fitted(Observations.of(x), theta, UNCONSTRAINED, None, "MLE", names)
    return errors_from_refits(
        fitted,
        found.weights,
        found.means,
        found.covariances,
        method=method,
        ci_prob=0.9,
        replicate=found.replicate,
        n_bootstrap=n,
        n_made=found.n_made,
        n_collapsed=found.n_collapsed,
        n_unconverged=0,
        seed=3,
    )


@pytest.fixture(scope="module")
def data():
    x, z = mixture.sample(TRUTH, 300, np.random.default_rng(1))
    return x, from_labels(x, z)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_of_the_rows_sum_to_their_number_and_vary_as_they_should(scheme):
    rng = np.random.default_rng(0)
    draws = np.array([SCHEMES[scheme](50, None, rng) for _ in range(2000)])
    np.testing.assert_allclose(draws.sum(axis=1), 50)
    assert (draws >= 0).all()
    assert draws.mean(axis=0) == pytest.approx(1, abs=0.15)
    # Multinomial: 1 - 1/N; Dirichlet times N: (N - 1) / (N + 1).
    assert draws.var() == pytest.approx(0.98 if scheme == "bootstrap" else 49 / 51, rel=0.03)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_threads_change_nothing_and_the_seed_does(data, scheme):
    x, theta = data
    one = refits(x, theta, 8, scheme=scheme, cores=1)
    three = refits(x, theta, 8, scheme=scheme, cores=3)
    for a, b in zip(one, three, strict=True):
        np.testing.assert_array_equal(a, b)
    # A replicate is the same in a longer run, and another under another seed.
    longer = refits(x, theta, 10, scheme=scheme)
    np.testing.assert_array_equal(longer.means[:8], one.means)
    assert not np.allclose(refits(x, theta, 8, scheme=scheme, seed=4).means, one.means)
    assert one.converged.all()


def test_a_replicate_is_the_fit_of_the_rows_that_were_drawn(data):
    x, theta = data
    found = refits(x, theta, 1, seed=7)
    rng = np.random.default_rng(np.random.SeedSequence(7, spawn_key=(0,)))
    drawn = np.repeat(x, SCHEMES["bootstrap"](len(x), None, rng).astype(int), axis=0)
    fit = bg.point_estimate(bg.fit(drawn, 2, n_starts=4, seed=1))
    order = np.argsort(found.means[0, :, 0])
    np.testing.assert_allclose(found.means[0, order], fit.means, rtol=0, atol=2e-3)
    np.testing.assert_allclose(found.weights[0, order], fit.weights, rtol=0, atol=1e-3)


def test_one_normal_varies_as_theory_says():
    x = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 1e6]
    theta = from_labels(x, np.zeros(200, int))
    for scheme in SCHEMES:
        found = refits(x, theta, 400, scheme=scheme)
        table = summary(x, theta, found, 400, scheme).table
        for j, scale in enumerate([1.0, 1e6]):
            error = x[:, j].std() / np.sqrt(200)
            assert table.loc[f"mean[0, x{j}]", "standard error"] == pytest.approx(error, rel=0.12)
            assert abs(table.loc[f"mean[0, x{j}]", "bias"]) < 4 * error / np.sqrt(400)
            assert table.loc[f"sd[0, x{j}]", "standard error"] / scale < 0.07
        replicates = found.means[:, 0, 0]
        low, high = table.loc["mean[0, x0]", ["5%", "95%"]]
        assert (low, high) == pytest.approx(tuple(np.quantile(replicates, [0.05, 0.95])))


def test_with_many_rows_it_agrees_with_the_curvature():
    x, z = mixture.sample(TRUTH, 4000, np.random.default_rng(2))
    start = from_labels(x, z)
    result = bg.fit(x, 2, n_starts=3, seed=1)
    theta = bg.point_estimate(result)
    assert np.allclose(theta.means, start.means, atol=0.5)
    names = ("x0", "x1")
    fitted = Fitted(Observations.of(x), theta, UNCONSTRAINED, None, "MLE", names)
    curved = errors_from_curvature(fitted, method="observed", ci_prob=0.9).table["standard error"]
    for scheme in SCHEMES:
        table = summary(x, theta, refits(x, theta, 150, scheme=scheme, cores=2), 150, scheme).table
        ratio = table["standard error"] / curved
        assert ratio.mean() == pytest.approx(1, abs=0.08)
        assert (abs(ratio - 1) < 0.3).all()


def test_components_that_trade_places_are_told_apart(data):
    x, theta = data
    found = refits(x, theta, 12)
    order = np.argsort(np.random.default_rng(0).random((12, 2)), axis=1)
    assert (order[:, 0] == 1).any()
    shuffled = found._replace(
        weights=np.take_along_axis(found.weights, order, 1),
        means=np.take_along_axis(found.means, order[..., None], 1),
        covariances=np.take_along_axis(found.covariances, order[..., None, None], 1),
    )
    expected = summary(x, theta, found, 12).table
    np.testing.assert_allclose(summary(x, theta, shuffled, 12).table, expected)


@pytest.mark.parametrize("code", ["EII", "VEI", "EVE", "EEV", "EEE"])
def test_every_structure_and_a_prior_are_kept(data, code):
    x, _ = data
    structure = Structure.of(code, 2)
    prior = ConjugatePrior.default(x, 2)
    result = bg.fit(x, 2, covariance=code, prior=prior, n_starts=3, seed=1)
    theta = bg.point_estimate(result)
    found = refits(x, theta, 4, structure=structure, prior=prior)
    for covariances, weights in zip(found.covariances, found.weights, strict=True):
        again = structure.covariances(covariances * weights[:, None, None], weights, covariances)
        np.testing.assert_allclose(again, covariances, rtol=1e-6, atol=1e-8)


def handful(n_few: int):
    """A cluster of few rows beside one of many."""
    rng = np.random.default_rng(4)
    x = np.vstack([rng.normal(size=(n_few, 2)) + 40.0, rng.normal(size=(60, 2))])
    return x, from_labels(x, (np.arange(len(x)) >= n_few).astype(int))


def test_replicates_that_collapse_are_counted_and_said():
    x, theta = handful(4)
    found = refits(x, theta, 40)
    assert 0 < found.n_collapsed < 40
    assert found.n_made == 40
    assert len(found.weights) == len(found.replicate) == 40 - found.n_collapsed
    with pytest.warns(CollapseWarning, match=f"{found.n_collapsed} of 40 replicates"):
        errors = summary(x, theta, found, 40)
    assert f"A component collapsed in {found.n_collapsed} of 40 replicates" in " ".join(
        str(errors).split()
    )
    assert errors.dataset.attrs["n_collapsed"] == found.n_collapsed
    assert list(errors.dataset["replicate"]) == list(found.replicate)


def test_weights_that_leave_no_row_out_collapse_less():
    x, theta = handful(4)
    assert refits(x, theta, 40, scheme="weighted").n_collapsed < refits(x, theta, 40).n_collapsed


def test_if_all_collapse_there_is_no_answer():
    x, theta = handful(4)
    found = refits(x, theta, 40)
    none = found._replace(
        weights=found.weights[:1],
        means=found.means[:1],
        covariances=found.covariances[:1],
        replicate=found.replicate[:1],
        n_collapsed=39,
    )
    with pytest.raises(CollapseError, match=r"39 of 40 replicates.*observed"):
        summary(x, theta, none, 40)


def interrupting(after: int):
    calls = []

    def done():
        calls.append(1)
        if len(calls) == after:
            raise KeyboardInterrupt

    return done


def test_an_interrupt_keeps_what_was_finished(data):
    x, theta = data
    found = refits(x, theta, 500, cores=2, done=interrupting(5))
    assert found.n_made == 5
    whole = refits(x, theta, int(found.replicate.max()) + 1)
    np.testing.assert_array_equal(found.means, whole.means[found.replicate])
    errors = summary(x, theta, found, 500)
    assert errors.dataset.attrs["partial"] == 1
    assert "Interrupted: 5 of 500 replicates were made." in str(errors)


def test_an_interrupt_before_there_is_anything_to_keep_interrupts(data):
    with pytest.raises(KeyboardInterrupt):
        refits(*data, 50, done=interrupting(1))


def test_the_verb_reports_what_it_did(data):
    x, _ = data
    result = bg.fit(x, 2, n_starts=3, seed=1)
    errors = bg.standard_errors(
        result, method="weighted", n_bootstrap=10, seed=2, progressbar=False
    )
    assert errors.dataset["replicates"].shape == (10, len(errors.table))
    assert "weighted-likelihood bootstrap" in str(errors)
    assert "10 replicates, seed 2" in str(errors)
    assert "bias" in errors.table
    unseeded = bg.standard_errors(result, method="bootstrap", n_bootstrap=2, progressbar=False)
    assert "no seed" in str(unseeded)


def test_rows_that_are_not_in_memory_cannot_be_drawn(data):
    x, _ = data
    result = bg.fit(x, 2, n_starts=3, seed=1)
    with refuses("the bootstrap needs all rows in memory"):
        bg.standard_errors(result, lambda: iter([x]), method="bootstrap")
