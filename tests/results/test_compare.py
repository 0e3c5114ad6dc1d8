import numpy as np
import pandas as pd
import pytest
import xarray as xr
from results.synthetic import (
    conjugate_posterior,
    exact_draws,
    maximum_likelihood,
    one_component,
    point_result,
    posterior_result,
    two_components,
)
from scipy import stats

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.posterior.draws import Draws, catalogue, flatten
from bayes_gmm.results.compare import compare
from bayes_gmm.results.diagnostics import diagnose
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.reading import draws_of, raw_draws
from bayes_gmm.results.tree import posterior_tree

NAMES = ["eruptions", "waiting"]
N_DRAWS = 1000  # of all chains; they are independent


@pytest.fixture(scope="module")
def world():
    x, z, exact, result = two_components(7, names=NAMES)
    mle = maximum_likelihood(x, z, 2)
    return x, exact, result, mle, compare(point_result(mle, x, names=NAMES), result)


def closed_form(exact):
    """Marginal posterior of each scalar that has one by name: a frozen SciPy distribution."""
    a, nu, d = exact.concentration, exact.degrees_of_freedom, exact.n_features
    marginals = {}
    for k in range(2):
        marginals[f"weight[{k}]"] = stats.beta(a[k], a.sum() - a[k])
        freedom = nu[k] - d + 1
        for j, name in enumerate(NAMES):
            scale = np.sqrt(exact.scale[k, j, j] / (freedom * exact.mean_precision[k]))
            marginals[f"mean[{k}, {name}]"] = stats.t(freedom, exact.mean[k, j], scale)
            # A diagonal entry of an inverse Wishart is inverse gamma.
            marginals[f"covariance[{k}, {name}, {name}]"] = stats.invgamma(
                freedom / 2, scale=exact.scale[k, j, j] / 2
            )
    return marginals


def test_summaries_are_those_of_the_posterior_in_closed_form(world):
    _, exact, _, _, compared = world
    marginals = closed_form(exact)
    assert len(marginals) == 10
    for name, truth in marginals.items():
        row = compared.table.loc[name]
        error = truth.std() / np.sqrt(N_DRAWS)
        assert abs(row["mean"] - truth.mean()) < 5 * error
        assert row["sd"] == pytest.approx(truth.std(), rel=0.15)
        tail_error = np.sqrt(0.025 * 0.975 / N_DRAWS)
        assert abs(truth.cdf(row["2.5%"]) - 0.025) < 5 * tail_error
        assert abs(truth.cdf(row["97.5%"]) - 0.975) < 5 * tail_error
        below = truth.cdf(row["MLE"])
        assert abs(row["quantile MLE"] - below) < 5 * np.sqrt(below * (1 - below) / N_DRAWS) + 1e-3


def test_every_scalar_is_what_its_name_says(world):
    _, _, _, mle, compared = world
    table = compared.table
    waiting, eruptions = 1, 0
    correlation = mle.covariances[1, waiting, eruptions] / np.sqrt(
        mle.covariances[1, waiting, waiting] * mle.covariances[1, eruptions, eruptions]
    )
    for name, expected in {
        "weight[0]": mle.weights[0],
        "mean[1, waiting]": mle.means[1, waiting],
        "sd[0, waiting]": np.sqrt(mle.covariances[0, waiting, waiting]),
        "correlation[1, waiting, eruptions]": correlation,
        "covariance[0, waiting, eruptions]": mle.covariances[0, waiting, eruptions],
    }.items():
        assert table.loc[name, "MLE"] == pytest.approx(expected)
    assert len(table) == 2 + 4 + 4 + 2 + 6
    assert compared.dataset.sel(parameter="sd[0, waiting]")["feature"].item() == "waiting"


def test_z_and_coverage_follow_from_the_draws(world):
    _, _, result, _, compared = world
    draws = result["posterior"]["means"].sel(cluster=1, feature="waiting").to_numpy()
    row = compared.table.loc["mean[1, waiting]"]
    assert row["z MLE"] == pytest.approx((row["MLE"] - draws.mean()) / draws.std(ddof=1))
    assert row["quantile MLE"] == pytest.approx((draws < row["MLE"]).mean())
    assert row["covered MLE"] == (row["2.5%"] <= row["MLE"] <= row["97.5%"])
    narrow = compare(Parameters(*_moved(world, 3.0)), result, ci_prob=0.5)
    far = narrow.table.loc["mean[1, waiting]"]
    assert far["z point"] > 5
    assert far["quantile point"] == 1
    assert not far["covered point"]
    assert list(narrow.table.columns[3:5]) == ["25%", "75%"]
    assert "*" in str(narrow)
    assert "mean[1, waiting]" in one_line(narrow).split("point lies outside the interval for ")[1]


def one_line(compared):
    return " ".join(str(compared).split())


def _moved(world, distance):
    mle = world[3]
    return mle.weights, mle.means + np.array([0.0, distance]), mle.covariances


def test_components_are_matched_to_those_of_the_posterior(world):
    x, _, result, mle, compared = world
    swapped = compare(point_result(mle.reorder([1, 0]), x, names=NAMES), result)
    np.testing.assert_allclose(swapped.dataset["estimate"], compared.dataset["estimate"])
    assert abs(compared.dataset["z"]).max() < 4


def test_the_likelihood_at_its_maximum_exceeds_every_draw_by_half_the_parameters():
    # With 3000 rows the prior no longer draws the posterior away from the maximum.
    x, z, _, result = two_components(7, n=3000, n_draws=100)
    mle = maximum_likelihood(x, z, 2)
    compared = compare(point_result(mle, x), result)
    row = compared.log_likelihood.loc["MLE"]
    assert row["log-likelihood"] == pytest.approx(mixture.log_likelihood(x, mle), rel=1e-12)
    assert row["share of draws below"] == 1
    assert compared.dataset.attrs["n_parameters"] == 11
    draws = result["invariants"]["log_likelihood"].to_numpy()
    assert row["above the posterior mean"] == pytest.approx(row["log-likelihood"] - draws.mean())
    assert row["above the posterior mean"] == pytest.approx(11 / 2, abs=5 * np.sqrt(11 / 2 / 400))
    assert "has missed the highest peak" not in one_line(compared)


def test_a_maximum_below_a_draw_is_said_to_be_and_not_more_than_is_known(world):
    x, _, result, _, _ = world
    lower = point_result(Parameters(*_moved(world, 0.6)), x, names=NAMES)
    compared = compare(lower, result)
    assert 0 < compared.log_likelihood.loc["MLE", "share of draws below"] < 1
    assert compared.surpassed == ["MLE"]
    said = one_line(compared)
    assert f"above the MLE at {float(compared.dataset['log_likelihood'][0]):.2f}: the like" in said
    assert "missed" not in said
    assert "starts" not in said
    lower.attrs["estimator"] = "MAP"  # which maximizes something else
    assert compare(lower, result).surpassed == []


def test_of_many_parameters_some_are_named_and_the_rest_counted(world):
    x, _, result, mle, _ = world
    far = Parameters(mle.weights[::-1], mle.means + 3.0, 9 * mle.covariances)
    compared = compare(point_result(far, x, names=NAMES), result)
    (said,) = [one for one in compared.sentences if one.startswith("MLE lies outside")]
    data = compared.dataset
    variances = (data["kind"] == "covariance") & (data["feature"] == data["feature_bis"])
    n_outside = int((~data["covered"][0] & ~variances).sum())
    assert n_outside > 6
    listed, _, more = said.partition(" and ")
    assert listed.count("[") == 5
    assert more == f"{n_outside - 5} more (marked in the table)."


def test_relabelling_repairs_rhat_and_leaves_label_invariant_quantities_alone(world):
    x, _, result, mle, _ = world
    draws = draws_of(result)
    order = np.tile([0, 1], (4, draws.n_draws, 1))
    order[1:3] = [1, 0]
    switched = posterior_result(
        tuple(draws), x, ConjugatePrior.default(x, 2), permutation=order, names=NAMES
    )
    compared = compare(mle, switched)
    rhat = compared.dataset["rhat"].sel(parameter=["mean[0, waiting]", "weight[1]"])
    assert rhat.sel(labelling="raw").min() > 1.6
    assert rhat.sel(labelling="relabelled").max() < 1.02
    assert compared.dataset["invariant_rhat"].max() < 1.02
    groups = compared.diagnostics.groupby(level="group", sort=False)["rhat"].max()
    assert groups.index.tolist() == [
        "parameters, sampler's labels",
        "parameters, matched labels",
        "label-invariant quantities",
    ]
    assert groups.iloc[0] > 1.6
    assert groups.iloc[1:].max() < 1.02
    ess = compared.dataset["ess_bulk"].sel(parameter="mean[0, waiting]")
    assert ess.sel(labelling="raw") < 20
    assert ess.sel(labelling="relabelled") > 700


def test_raw_draws_are_had_back():
    # Three components, since of two every permutation is its own inverse.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    exact = conjugate_posterior(x, np.arange(60) % 3, 3)
    raw = Draws(*exact_draws(exact, 2, 20, rng))
    order = rng.permuted(np.tile([0, 1, 2], (2, 20, 1)), axis=2)
    relabelled = raw.reorder(order)
    np.testing.assert_array_equal(
        relabelled.means[1, 7], [raw.means[1, 7, order[1, 7, c]] for c in range(3)]
    )
    stored = posterior_result(tuple(relabelled), x, ConjugatePrior.default(x, 3), permutation=order)
    for back, original, changed in zip(raw_draws(stored), raw, relabelled, strict=True):
        np.testing.assert_array_equal(back, original)
        assert not np.array_equal(changed, original)


def test_several_estimates_are_compared_at_once(world):
    x, exact, result, mle, _ = world
    first = point_result(mle, x, names=NAMES)
    second = point_result(exact.mode(), x, "MAP", names=NAMES)
    both = compare([first, second], result)
    assert both.estimators == ["MLE", "MAP"]
    named = compare({"a": first, "b": second}, result)
    assert named.estimators == ["a", "b"]
    np.testing.assert_array_equal(named.dataset["estimate"], both.dataset["estimate"])
    text = str(both)
    assert "z MLE  z MAP" in text
    assert "MLE and MAP against the posterior: 200 rows, 2 features, 2 components" in text
    with pytest.raises(InputError, match="two estimates of the same name"):
        compare([first, first], result)


def test_the_table_prints_with_as_many_digits_as_the_posterior_supports(world):
    compared = world[4]
    lines = str(compared).splitlines()
    row = next(line.split() for line in lines if line.startswith("mean[0, waiting]"))
    table = compared.table.loc["mean[0, waiting]"]
    assert row[2] == f"{table['MLE']:.2f}"
    assert row[3:5] == [f"{table['mean']:.2f}", f"{table['sd']:.2f}"]
    assert not any(line.startswith("covariance") for line in lines)
    assert "covariance[0, waiting, eruptions]" in compared._repr_html_()
    assert all(len(line.rstrip()) <= 120 for line in lines[2:20])


def test_one_component_has_no_weight_to_estimate():
    x, _, result = one_component(1, d=1, n_draws=100)
    compared = compare(Parameters([1.0], [x.mean(axis=0)], [np.atleast_2d(np.cov(x.T))]), result)
    assert compared.table.index.tolist() == ["mean[0, x0]", "sd[0, x0]", "covariance[0, x0, x0]"]
    assert compared.dataset.attrs["n_parameters"] == 2
    assert np.isfinite(compared.table.to_numpy(dtype=float)).all()


def test_units_change_the_numbers_and_not_the_comparison(world):
    x, _, result, mle, compared = world
    scale = np.array([1e-8, 1e5])
    draws = draws_of(result)
    moved = posterior_result(
        (draws.weights, scale * draws.means, draws.covariances * np.outer(scale, scale)),
        scale * x,
        ConjugatePrior.default(scale * x, 2),
        names=NAMES,
    )
    there = compare(mle.rescale(np.zeros(2), scale), moved)
    np.testing.assert_allclose(there.dataset["z"], compared.dataset["z"], rtol=1e-6)
    np.testing.assert_allclose(there.dataset["rhat"], compared.dataset["rhat"], rtol=1e-3)
    ratio = there.dataset["mean"] / compared.dataset["mean"]
    assert ratio.sel(parameter="covariance[1, eruptions, eruptions]") == pytest.approx(1e-16)
    assert "e-" in str(there)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, p: p, "point 'point' is a posterior"),
        (lambda x, p: [], "point is empty"),
        (lambda x, p: "fit", "must come from fit or sample"),
        (lambda x, p: Parameters([1.0], [[0.0, 0.0]], [np.eye(2)]), "has 1 components"),
        (lambda x, p: point_result(FIT(x), x, names=["a", "b"]), "has features a, b"),
        (lambda x, p: point_result(FIT(x), x + 1, names=NAMES), "fitted to other data"),
        (lambda x, p: point_result(FIT(x), x[:50], names=NAMES), "fitted to other data"),
    ],
)
def test_what_does_not_belong_together_is_not_compared(world, change, message):
    x, _, result, _, _ = world
    with pytest.raises(InputError, match=message):
        compare(change(x, result), result)


def FIT(x):
    return Parameters([0.5, 0.5], [x.min(axis=0), x.max(axis=0)], [np.cov(x.T)] * 2)


def test_a_posterior_is_needed(world):
    with pytest.raises(InputError, match=r"got a point result \(bg.fit\)"):
        compare(world[3], point_result(world[3], world[0]))
    with pytest.raises(InputError, match="ci_prob"):
        compare(world[3], world[2], ci_prob=95)


def test_a_result_laid_out_by_sample_and_read_from_a_file_compares_alike(world, tmp_path):
    x, _, result, mle, _ = world
    draws = draws_of(result)
    order = np.random.default_rng(0).permuted(np.tile([0, 1], (4, draws.n_draws, 1)), axis=2)
    raw = draws.reorder(order)
    stats = {"diverging": np.zeros((4, draws.n_draws), dtype=bool)}
    sampled = xr.DataTree.from_dict(
        {
            "/posterior": labelled(raw._asdict(), feature_names=NAMES, leading=("chain", "draw")),
            "/sample_stats": labelled(stats, leading=("chain", "draw")),
        }
    )
    observations = Observations.of(pd.DataFrame(x, columns=NAMES))
    laid_out = posterior_tree(sampled, mle, observations, ConjugatePrior.default(x, 2), seed=1)
    laid_out.to_netcdf(tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc") as stored:
        compared = compare(mle, stored.load())
    expected = compare(mle, result)
    for name in ("estimate", "mean", "sd", "lower", "z", "log_likelihood_quantile"):
        np.testing.assert_allclose(compared.dataset[name], expected.dataset[name], rtol=1e-6)
    np.testing.assert_allclose(
        compared.dataset["draws_log_likelihood_mean"], expected.dataset["draws_log_likelihood_mean"]
    )
    renamed = diagnose(laid_out).labels.renamed
    assert renamed == pytest.approx((order[..., 0] == 1).mean())


def test_flatten_follows_the_catalogue():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(3, 2, 4, 4))
    covariances = root @ root.swapaxes(-1, -2)
    weights, means = rng.dirichlet([1, 1], size=3), rng.normal(size=(3, 2, 4))
    values = flatten(weights, means, covariances)
    scalars = catalogue(2, tuple("abcd"))
    assert values.shape == (3, len(scalars)) == (3, 2 * (1 + 4 + 4 + 6 + 10))
    for value, scalar in zip(values[1], scalars, strict=True):
        k = scalar.cluster
        i, j = ("abcd".find(name) for name in (scalar.feature, scalar.feature_bis))
        sds = np.sqrt(np.diagonal(covariances[1, k]))
        expected = {
            "weight": weights[1, k],
            "mean": means[1, k, i],
            "sd": sds[i],
            "covariance": covariances[1, k, i, j],
            "correlation": covariances[1, k, i, j] / (sds[i] * sds[j]),
        }[scalar.kind]
        assert value == pytest.approx(expected)
