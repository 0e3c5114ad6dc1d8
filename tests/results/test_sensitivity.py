import arviz as az
import numpy as np
import pytest
import xarray as xr
from results.synthetic import (
    conjugate_posterior,
    exact_draws,
    one_component,
    posterior_result,
    two_components,
)
from scipy import stats

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.power_scaling import log_prior_parts
from bayes_gmm.results.labels import prior_dataset
from bayes_gmm.results.reading import draws_of
from bayes_gmm.results.sensitivity import CONFLICT, STRONG_PRIOR, sensitivity
from bayes_gmm.results.verdict_inputs import LABEL_INVARIANT, RELABELLED

NAMES = ["eruptions", "waiting"]


@pytest.fixture(scope="module")
def pair():
    return two_components(2, n=100, names=NAMES)


def normal_result(x, prior, n_draws=500, seed=0):
    """Exact posterior draws of one normal under a prior."""
    statistics = SufficientStatistics.of(x, np.ones((len(x), 1)), np.zeros((1, x.shape[1])), 0.0)
    draws = exact_draws(prior.posterior(statistics), 4, n_draws, np.random.default_rng(seed))
    return knowing(posterior_result(draws, x, prior), prior)


def knowing(result, prior):
    """Write the prior down, as `sample` does."""
    names = tuple(map(str, result["point_estimate"]["feature"].to_numpy()))
    return result.assign({"prior_parameters": xr.DataTree(prior_dataset(prior, names))})


def test_the_numbers_are_arviz_s_own(pair):
    posterior = pair[3]
    table = sensitivity(posterior).table
    free = posterior["invariants"].to_dataset()
    draws = posterior["posterior"].to_dataset()
    mean = "mixture_mean[waiting]"
    tree = xr.DataTree.from_dict(
        {
            "/posterior": draws.drop_vars("covariances").assign(
                whole=free["mixture_mean"].sel(feature="waiting", drop=True)
            ),
            "/log_prior": xr.Dataset({"all": free["log_posterior"] - free["log_likelihood"]}),
            "/log_likelihood": free[["log_likelihood"]],
        }
    )
    truth = az.psense_summary(tree, round_to=12)
    for quantity, name in (
        ((LABEL_INVARIANT, mean), "whole"),
        ((RELABELLED, "weight[1]"), "weights[1]"),
        ((RELABELLED, "mean[1, waiting]"), "means[1, waiting]"),
    ):
        for column in ("prior", "likelihood"):
            assert table.loc[quantity, column] == pytest.approx(truth.loc[name, column], rel=1e-6)


def test_the_table_is_in_the_user_s_units(pair):
    table = sensitivity(pair[3]).table
    draws = draws_of(pair[3])
    row = table.loc[(RELABELLED, "mean[0, eruptions]")]
    assert row["mean"] == pytest.approx(draws.means[..., 0, 0].mean())
    assert row["sd"] == pytest.approx(draws.means[..., 0, 0].std())
    row = table.loc[(RELABELLED, "sd[1, waiting]")]
    assert row["mean"] == pytest.approx(np.sqrt(draws.covariances[..., 1, 1, 1]).mean())
    quantities = table.index.get_level_values("quantity")
    assert not any(name.startswith(("covariance", "log_likelihood")) for name in quantities)
    assert "log_posterior" not in quantities


def test_a_shift_is_where_the_mean_would_be_if_a_density_counted_half_to_first_order(pair):
    posterior = pair[3]
    table = sensitivity(posterior).table
    free = posterior["invariants"]
    likelihood = free["log_likelihood"].to_numpy()
    prior = free["log_posterior"].to_numpy() - likelihood
    values = draws_of(posterior).means[..., 1, 0]
    for column, scaled in (("prior_shift", prior), ("likelihood_shift", likelihood)):
        means = []
        for alpha in (0.999, 1.001):
            weight = np.exp((alpha - 1) * (scaled - scaled.max()))
            means.append((weight * values).sum() / weight.sum())
        rate = (means[1] - means[0]) / 0.002
        assert table.loc[(RELABELLED, "mean[1, eruptions]"), column] == pytest.approx(
            -rate / 2, rel=1e-3
        )


def test_the_shift_of_a_conjugate_mean_is_known():
    # With a known spread the posterior mean is (n xbar + alpha k m) / (n + alpha k), so that its
    # derivative by log alpha at alpha = 1 is n k (m - xbar) / (n + k)^2. Many degrees of freedom
    # make the spread known.
    x = np.random.default_rng(0).normal(size=(40, 1))
    x -= x.mean()
    spread = 1e5
    prior = ConjugatePrior([1.0], [[1.0]], [10.0], [spread], [[[spread]]])
    result = normal_result(x, prior)
    row = sensitivity(result).table.loc[(RELABELLED, "mean[0, x0]")]
    exact = -0.5 * 40 * 10 * 1.0 / 50**2
    log_prior = result["invariants"]["log_posterior"] - result["invariants"]["log_likelihood"]
    error = 0.5 * row["sd"] * log_prior.std().item() / np.sqrt(log_prior.size)
    assert abs(row["prior_shift"] - exact) < 5 * error
    assert -exact > 14 * error  # the test can tell
    # An end of the interval moves with the mean: the prior knows a fifth of what is known, and the
    # sd would grow by the twentieth part of itself.
    assert row["prior_effect"] == pytest.approx(-exact / row["sd"] + 2 * 0.2 / 4, abs=0.1)
    assert row["part"] == "means"


def test_a_prior_far_from_the_data_is_a_conflict():
    x = np.random.default_rng(1).normal(size=(30, 1))
    found = sensitivity(normal_result(x, ConjugatePrior([1.0], [[4.0]], [10.0], [4.0], [[[1.0]]])))
    assert found.table.loc[(RELABELLED, "mean[0, x0]"), "diagnosis"] == CONFLICT
    assert found.verdict.startswith(
        "The prior contradicts the data: it expects mean[0, x0] at 4.00 with an sd of"
    )
    (wrong,) = found.conflicts
    assert (wrong.part, wrong.quantity, wrong.expected) == ("means", "mean[0, x0]", 4.0)
    assert wrong.p_value < 0.01
    assert "prior of the means: move its mean, or lower its mean_precision" in found.verdict


def test_a_prior_that_outweighs_the_data_is_strong():
    x = np.random.default_rng(1).normal(size=(4, 1))
    tight = ConjugatePrior([1.0], [[x.mean()]], [1000.0], [4.0], [[[1.0]]])
    found = sensitivity(normal_result(x, tight))
    assert found.table.loc[(RELABELLED, "mean[0, x0]"), "diagnosis"] == STRONG_PRIOR
    assert "The data say little about mixture_mean[x0], mean[0, x0]." in found.verdict
    assert found.conflicts == ()


def test_the_prior_hardly_matters_to_many_rows():
    x = np.random.default_rng(2).normal(size=(2000, 1))
    weak = ConjugatePrior([1.0], [[0.0]], [0.01], [3.0], [[[1.0]]])
    found = sensitivity(normal_result(x, weak))
    assert set(found.table["diagnosis"]) == {"-"}
    assert found.verdict.startswith("The prior hardly matters: if it counted half as much, no end")


def test_a_threshold_says_from_when_a_sensitivity_counts():
    x = np.random.default_rng(1).normal(size=(30, 1))
    result = normal_result(x, ConjugatePrior([1.0], [[4.0]], [10.0], [4.0], [[[1.0]]]))
    assert CONFLICT in set(sensitivity(result).table["diagnosis"])
    assert set(sensitivity(result, threshold=10).table["diagnosis"]) == {"-"}


def test_a_sensitive_quantity_that_moves_by_little_is_not_spoken_of():
    # A wide covariance prior adds some rows to the scatter: sensitive by the usual threshold, and
    # less than a posterior sd.
    x = np.random.default_rng(2).normal(size=(60, 1))
    found = sensitivity(normal_result(x, ConjugatePrior([1.0], [[0.0]], [0.01], [3.0], [[[12.0]]])))
    row = found.table.loc[(RELABELLED, "sd[0, x0]")]
    assert row["prior"] > 0.05
    assert 0.2 < row["prior_effect"] < 1
    assert row["diagnosis"] == "-"
    assert found.verdict.startswith("The prior hardly matters")


@pytest.mark.parametrize(
    ("field", "changed", "part"),
    [
        ("concentration", [400.0, 400.0], "weights"),
        ("scale", 30 * np.diag([2.0, 16.0]) * 40, "covariances"),
    ],
)
def test_the_part_of_the_prior_that_does_it_is_named(field, changed, part):
    x, z, _, _ = two_components(4, n=150, n_draws=500, names=NAMES)
    usual = ConjugatePrior.default(x, 2)
    fields = ("concentration", "mean", "mean_precision", "degrees_of_freedom", "scale")
    prior = ConjugatePrior(**{name: getattr(usual, name) for name in fields} | {field: changed})
    shares = np.eye(2)[z]
    statistics = SufficientStatistics.of(x, shares, np.zeros((2, 2)), 0.0)
    draws = exact_draws(prior.posterior(statistics), 4, 500, np.random.default_rng(0))
    found = sensitivity(knowing(posterior_result(draws, x, prior, names=NAMES), prior))
    assert "The prior" in found.verdict
    assert f"Most of it comes from the prior of the {part}: " in found.verdict
    assert field in found.verdict


def test_the_parts_of_the_log_prior_are_those_of_the_book():
    x, _, _, result = two_components(4, n=50, n_draws=20, names=NAMES)
    usual = ConjugatePrior.default(x, 2)
    prior = ConjugatePrior([2.0, 3.0], usual.mean, usual.mean_precision, 5.0, usual.scale)
    draws = draws_of(result)
    log_prior = np.array(
        [
            [prior.log_density(Parameters(*(a[c, d] for a in draws))) for d in range(20)]
            for c in range(4)
        ]
    )
    parts = log_prior_parts(prior, draws)
    np.testing.assert_allclose(sum(parts.values()), log_prior)
    for name, expected in (
        ("weights", lambda w, m, c: stats.dirichlet([2.0, 3.0]).logpdf(w)),
        (
            "means",
            lambda w, m, c: sum(
                stats.multivariate_normal(prior.mean[k], c[k] / 0.01).logpdf(m[k]) for k in (0, 1)
            ),
        ),
        (
            "covariances",
            lambda w, m, c: sum(stats.invwishart(5.0, prior.scale[k]).logpdf(c[k]) for k in (0, 1)),
        ),
    ):
        truth = np.array(
            [[expected(*(a[c, d] for a in draws)) for d in range(20)] for c in range(4)]
        )
        np.testing.assert_allclose(parts[name], truth, rtol=1e-9)


def test_components_that_are_not_identified_do_not_count():
    # The same component twice, under a prior that decides what one of them is.
    one = two_components(5, n=60, n_draws=250, names=NAMES)[3]
    drawn = one["posterior"].to_dataset()
    first = drawn.isel(cluster=[0, 0]).assign_coords(cluster=[0, 1])
    log_prior = one["invariants"]["log_posterior"] - one["invariants"]["log_likelihood"]
    pulled = first["means"] + 3 * (log_prior - log_prior.mean()) * first["means"].std(
        ("chain", "draw")
    )
    result = one.copy()
    result["posterior"] = xr.DataTree(
        first.assign(weights=0 * first["weights"] + 0.5, means=pulled)
    )
    found = sensitivity(result)
    of_components = found.table.loc[RELABELLED]
    assert (of_components["prior_effect"] >= 1).any()
    assert set(of_components["diagnosis"]) == {"-"}
    named = found.verdict.partition("Change")[0]
    assert "[0," not in named
    assert "[1," not in named


def test_label_invariant_rows_do_not_know_labels(pair):
    x, _, _, posterior = pair
    draws = draws_of(posterior)
    order = np.random.default_rng(0).permuted(np.broadcast_to([0, 1], draws.weights.shape), axis=2)
    pivot = draws_of(posterior).thinned(1)[0]
    both = [
        posterior_result(given, x, ConjugatePrior.default(x, 2), pivot=pivot, names=NAMES)
        for given in (draws, draws.reorder(order))
    ]
    before, after = (sensitivity(result).table.loc[LABEL_INVARIANT] for result in both)
    numbers = ["mean", "sd", "prior", "likelihood", "prior_shift", "prior_effect"]
    np.testing.assert_allclose(after[numbers], before[numbers], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_change_means_and_not_sensitivities(scale):
    x, _, result = one_component(1)
    draws = draws_of(result)
    moved = Draws(draws.weights, scale * draws.means, scale**2 * draws.covariances)
    other = sensitivity(
        posterior_result(moved, scale * x, ConjugatePrior.default(scale * x, 1))
    ).table
    table = sensitivity(result).table
    assert len(other) == len(table)
    np.testing.assert_allclose(other["prior"], table["prior"], rtol=1e-4)
    np.testing.assert_allclose(other["likelihood"], table["likelihood"], rtol=1e-4)
    place = (RELABELLED, "mean[0, x1]")
    for column in ("mean", "sd", "prior_shift"):
        assert other.loc[place, column] == pytest.approx(scale * table.loc[place, column], rel=1e-4)


def test_it_prints_as_a_verdict_and_a_table(pair):
    found = sensitivity(pair[3])
    written = str(found)
    assert written.startswith(found.verdict[:40])
    assert "mean[0, eruptions]" in written
    assert "shift by half prior" in written
    assert "<table" in found._repr_html_()


def test_what_cannot_be_is_refused(pair):
    with pytest.raises(InputError, match="threshold must be a positive number"):
        sensitivity(pair[3], threshold=0)
    with pytest.raises(InputError, match="chains of 5 draws"):
        sensitivity(two_components(1, n=20, n_draws=5)[3])
    without = pair[3].copy()
    without["invariants"] = xr.DataTree(
        without["invariants"].to_dataset().drop_vars("log_posterior")
    )
    with pytest.raises(InputError, match="has no 'log_posterior'"):
        sensitivity(without)
    with pytest.raises(InputError, match=r"must be a result of bg\.sample"):
        sensitivity(conjugate_posterior)
