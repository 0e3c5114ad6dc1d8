"""Missing entries, by `missing="mar"`: fits, choices and posteriors against SciPy's marginals."""

import arviz as az
import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_mixture, log_prior_by_scipy, pack, random_prior, refuses, unpack
from scipy import stats
from scipy.optimize import minimize
from scipy.special import logsumexp

import bayes_gmm as bg
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.plots.subject import Subject

nan = np.nan
NAMES = ["a", "b", "c"]
QUIET = {"progressbar": False}
SAMPLED = {"draws": 60, "tune": 20, "chains": 2, "engine": "gibbs", "seed": 0, **QUIET}
NUMBERS = ("weights", "means", "covariances")


def complete(n=90, seed=0):
    theta = Parameters(
        [0.4, 0.6],
        [[0.0, 0.0, 0.0], [3.0, 1.5, -2.0]],
        [np.eye(3) + 0.5, np.diag([1.0, 0.5, 2.0]) + 0.2],
    )
    x, _ = mixture.sample(theta, n, np.random.default_rng(seed))
    return x * [1.0, 20.0, 0.1] + [5.0, 0.0, 0.0]


def with_holes(x, share=0.2, seed=1):
    rng = np.random.default_rng(seed)
    lacking = rng.random(x.shape) < share
    lacking[lacking.all(axis=1), rng.integers(x.shape[1])] = False
    return np.where(lacking, nan, x)


WHOLE = complete()
X = pd.DataFrame(with_holes(WHOLE), columns=NAMES)
VALUES = X.to_numpy()


@pytest.fixture(scope="module")
def fit():
    return bg.fit(X, 2, missing="mar", seed=0)


@pytest.fixture(scope="module")
def posterior():
    return bg.sample(X, 2, missing="mar", **SAMPLED)


def joint_by_scipy(x, theta):
    """log p(x_o, z = k) of rows (N, D), nan where missing: (N, K)."""
    found = np.empty((len(x), theta.n_components))
    for pattern in np.unique(np.isnan(x), axis=0):
        own, o = (np.isnan(x) == pattern).all(axis=1), np.flatnonzero(~pattern)
        for k in range(theta.n_components):
            normal = stats.multivariate_normal(
                theta.means[k][o], theta.covariances[k][np.ix_(o, o)]
            )
            found[own, k] = np.log(theta.weights[k]) + normal.logpdf(x[np.ix_(own, o)])
    return found


def log_likelihood_by_scipy(x, theta):
    return float(logsumexp(joint_by_scipy(x, theta), axis=1).sum())


def responsibilities_by_scipy(x, theta):
    joint = joint_by_scipy(x, theta)
    return np.exp(joint - logsumexp(joint, axis=1, keepdims=True))


def parameters_of(draws):
    """Draws of a posterior, one by one."""
    stacked = draws["posterior"].to_dataset().stack(sample=("chain", "draw"))
    arrays = [stacked[name].transpose("sample", ...).to_numpy() for name in NUMBERS]
    return [Parameters(*one) for one in zip(*arrays, strict=True)]


def same_trees(one, other):
    for group in one.subtree:
        theirs = other[group.path].dataset if group.path != "/" else other.dataset
        for name, values in group.dataset.variables.items():
            np.testing.assert_array_equal(values, theirs[name], err_msg=f"{group.path}/{name}")


# Nothing missing


@pytest.mark.parametrize("weights", [None, np.arange(len(WHOLE)) % 3])
def test_with_nothing_missing_every_verb_gives_what_it_gives_without_the_word(weights):
    options, words = {"row_weights": weights, "seed": 0}, ({}, {"missing": "mar"})
    search = {**options, "n_starts": 4}
    for prior in (None, "default"):
        same_trees(*[bg.fit(WHOLE, 2, prior=prior, **search, **word) for word in words])
    grid = [
        bg.select(WHOLE, [1, 2], covariance=["EEE", "VVI"], **search, **QUIET, **word)
        for word in words
    ]
    assert grid[0].dataset.identical(grid[1].dataset)
    same_trees(grid[0].best, grid[1].best)
    sampled = {**SAMPLED, **options}
    same_trees(*[bg.sample(WHOLE, 2, **sampled, **word) for word in words])


# EM


def free_numbers(code, theta):
    """Free coordinates of a mixture with a structure, and the way back."""
    k, d = theta.means.shape
    if code == "VVV":
        return pack(theta), lambda point: unpack(point, k, d)
    logits, lower = np.log(theta.weights[1:] / theta.weights[0]), np.tril_indices(d)
    if code == "EEE":
        covariance = np.linalg.cholesky(theta.covariances[0])[lower]
    else:
        covariance = np.log(np.einsum("kjj->kj", theta.covariances)).ravel()

    def back(point):
        weights = np.exp(np.append(0.0, point[: k - 1]))
        means, rest = point[k - 1 : k - 1 + k * d].reshape(k, d), point[k - 1 + k * d :]
        if code == "EEE":
            root = np.zeros((d, d))
            root[lower] = rest
            covariances = np.broadcast_to(root @ root.T, (k, d, d))
        else:
            covariances = np.exp(rest).reshape(k, d)[:, :, None] * np.eye(d)
        return Parameters(weights / weights.sum(), means, covariances)

    return np.concatenate([logits, theta.means.ravel(), covariance]), back


def log_prior(code, prior, theta):
    """By SciPy; of a diagonal covariance it is that of its variances."""
    if code == "VVV":
        return log_prior_by_scipy(prior, theta)
    found = stats.dirichlet(prior.concentration).logpdf(theta.weights)
    for k, covariance in enumerate(theta.covariances):
        spread = covariance / prior.mean_precision[k]
        found += stats.multivariate_normal(prior.mean[k], spread).logpdf(theta.means[k])
    nu, psi, d = prior.degrees_of_freedom, prior.scale, prior.n_features
    if code == "EEE":
        wishart = stats.invwishart(nu.mean(), psi.mean(axis=0))
        return found + wishart.logpdf(theta.covariances[0])
    for k, covariance in enumerate(theta.covariances):
        gamma = stats.invgamma((nu[k] - d + 1) / 2, scale=np.diagonal(psi[k]) / 2)
        found += gamma.logpdf(np.diagonal(covariance)).sum()
    return found


@pytest.mark.parametrize("with_prior", [False, True], ids=["MLE", "MAP"])
@pytest.mark.parametrize("code", ["VVV", "EEE", "VVI"])
def test_the_optimum_is_that_of_a_numerical_maximizer(code, with_prior):
    rng = np.random.default_rng(3)
    x = with_holes(complete(60, seed=4), seed=5)[:, :2] / [1.0, 20.0]
    x = x[~np.isnan(x).all(axis=1)]
    prior = random_prior(rng, 2, 2) if with_prior else None
    fit = bg.fit(x, 2, covariance=code, prior=prior, missing="mar", n_starts=60, seed=0)
    theta, search = bg.point_estimate(fit), fit["optimizer_result"]

    def height(one):
        return log_likelihood_by_scipy(x, one) + (log_prior(code, prior, one) if prior else 0.0)

    assert float(search["log_likelihood"]) == pytest.approx(log_likelihood_by_scipy(x, theta))
    assert float(search["objective"][-1]) == pytest.approx(height(theta), abs=1e-8)
    place, back = free_numbers(code, theta)
    away = place + 0.05 * rng.normal(size=len(place))
    assert height(back(away)) < height(theta) - 0.01
    found = minimize(lambda point: -height(back(point)), away, method="BFGS")
    assert -found.fun == pytest.approx(height(theta), abs=1e-6)
    assert_same_mixture(back(found.x), theta, rtol=2e-3)


def test_what_a_fit_says_of_itself_is_of_the_observed_entries(fit):
    theta, search = bg.point_estimate(fit), fit["optimizer_result"].to_dataset()
    height = log_likelihood_by_scipy(VALUES, theta)
    share = responsibilities_by_scipy(VALUES, theta)
    entropy = -np.sum(share * np.log(np.maximum(share, 1e-300)))
    n_parameters = 1 + 2 * 3 + 2 * 6
    bic = -2 * height + n_parameters * np.log(len(X))
    assert float(search["log_likelihood"]) == pytest.approx(height, rel=1e-12)
    assert int(search["n_parameters"]) == n_parameters
    assert float(search["bic"]) == pytest.approx(bic, rel=1e-12)
    assert float(search["entropy"]) == pytest.approx(entropy, rel=1e-8)
    assert float(search["icl"]) == pytest.approx(bic + 2 * entropy, rel=1e-10)
    assert fit.attrs["missing"] == "mar"
    np.testing.assert_array_equal(fit["observed_data"]["x"], VALUES)


def test_one_normal_with_one_incomplete_column_has_its_closed_form():
    """Rows of (x, y) that lack y alone: y's regression on x is that of the complete rows."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(40, 2)) @ np.array([[1.0, 0.7], [0.0, 0.5]])
    x[25:, 1] = nan
    theta = bg.point_estimate(bg.fit(x, 1, missing="mar", seed=0))
    whole = np.cov(x[:25].T, ddof=0)
    slope, mean, variance = whole[0, 1] / whole[0, 0], x[:, 0].mean(), x[:, 0].var()
    left = whole[1, 1] - slope * whole[0, 1]
    at = x[:25, 1].mean() + slope * (mean - x[:25, 0].mean())
    np.testing.assert_allclose(theta.means[0], [mean, at], atol=1e-5)
    expected = [[variance, slope * variance], [slope * variance, left + slope**2 * variance]]
    np.testing.assert_allclose(theta.covariances[0], expected, atol=1e-5)


@pytest.mark.parametrize("code", ["VVV", "EEE", "VEV"])
@pytest.mark.parametrize("prior", [None, "default"])
def test_row_weights_are_repeated_rows(code, prior):
    times = np.random.default_rng(2).integers(0, 4, len(X))
    options = {"covariance": code, "prior": prior, "missing": "mar", "seed": 1, "n_starts": 8}
    weighted = bg.fit(X, 2, row_weights=times, **options)
    repeated = bg.fit(X.iloc[np.repeat(np.arange(len(X)), times)], 2, **options)
    assert_same_mixture(bg.point_estimate(weighted), bg.point_estimate(repeated), rtol=1e-5)
    for name in ("log_likelihood", "bic", "entropy", "icl", "objective_final"):
        one, other = (float(fit["optimizer_result"][name]) for fit in (weighted, repeated))
        assert one == pytest.approx(other, rel=1e-7), name


@pytest.mark.parametrize("prior", [None, "default"])
def test_units_origin_and_order_change_nothing_but_roundings(prior):
    options = {"prior": prior, "missing": "mar", "n_starts": 8, "seed": 0}
    one = bg.fit(X, 2, **options)
    scale, shift = np.array([1e3, 1e-3, 7.0]), np.array([-1e4, 3.0, 0.0])
    order = np.random.default_rng(0).permutation(len(X))
    moved = bg.point_estimate(bg.fit(X * scale + shift, 2, **options))
    mixed = bg.fit(X.iloc[order], 2, **options)
    assert_same_mixture(moved, bg.point_estimate(one).rescale(shift, scale), rtol=1e-6)
    assert_same_mixture(bg.point_estimate(mixed), bg.point_estimate(one), rtol=1e-6)
    np.testing.assert_array_equal(mixed["observed_data"]["x"], VALUES[order])
    np.testing.assert_array_equal(mixed["observed_data"]["obs_id"], order)


def test_many_rows_are_searched_by_a_sample_of_them():
    whole = complete(12_000, seed=8)
    fit = bg.fit(with_holes(whole), 2, missing="mar", n_starts=2, seed=0)
    truth = bg.point_estimate(bg.fit(whole, 2, n_starts=2, seed=0))
    assert_same_mixture(bg.point_estimate(fit), truth, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "n_components", "code"), [("penguins", 3, "VVV"), ("iris", 2, "EEE")]
)
def test_a_fifth_of_the_entries_missing_moves_estimates_by_a_few_standard_errors(
    name, n_components, code
):
    """With a share m of information lost, an estimate moves by about sqrt(m / (1 - m)) errors."""
    table = bg.datasets.load(name).dropna()
    options = {"covariance": code, "seed": 0}
    fit = bg.fit(table, n_components, **options)
    errors = bg.standard_errors(fit).dataset
    theta = bg.point_estimate(fit)
    lacking = pd.DataFrame(with_holes(table.to_numpy(), seed=2), columns=table.columns)
    found = bg.point_estimate(bg.fit(lacking, n_components, missing="mar", **options))
    for kind, one, other in (
        ("weight", found.weights, theta.weights),
        ("mean", found.means, theta.means),
    ):
        own = errors["standard_error"].to_numpy()[errors["kind"].to_numpy() == kind]
        moved = (one - other).ravel() / own
        assert np.abs(moved).max() < 2.5, kind
        assert np.sqrt(np.mean(moved**2)) < 1.0, kind


# The choice


def test_the_choice_is_that_of_the_fits():
    sizes, structures = [1, 2, 3], ["EEE", "VVI", "VVV"]
    found = bg.select(X, sizes, covariance=structures, missing="mar", n_starts=6, seed=0, **QUIET)
    fits = {
        (code, k): bg.fit(X, k, covariance=code, missing="mar", n_starts=6, seed=0)
        for code in structures
        for k in (1, 2)
    }
    for (code, k), fit in fits.items():
        cell = found.dataset.sel(covariance=code, n_components=k)
        for name in ("log_likelihood", "bic", "icl", "entropy", "n_parameters"):
            assert float(cell[name]) == float(fit["optimizer_result"][name])
    best = found.dataset["bic"].to_dataframe()["bic"].idxmin()
    assert (found.best.attrs["covariance"], found.best.attrs["n_components"]) == best
    assert found.best.attrs["missing"] == "mar"
    assert bg.predict(found.best, X).sizes["obs_id"] == len(X)


# What is asked of a result


def test_labels_and_densities_of_a_fit_are_those_of_the_marginals(fit):
    theta, new = (
        bg.point_estimate(fit),
        np.array([[5.0, nan, nan], [nan, 10.0, 0.1], [4.0, 0.0, 0.0]]),
    )
    for rows in (None, new):
        values = VALUES if rows is None else rows
        found = bg.predict(fit, rows)
        share = responsibilities_by_scipy(values, theta)
        np.testing.assert_allclose(found["responsibilities"], share, atol=1e-10)
        np.testing.assert_array_equal(found["label"], share.argmax(axis=1))
        density = logsumexp(joint_by_scipy(values, theta), axis=1)
        np.testing.assert_allclose(bg.log_density(fit, rows), density, rtol=1e-10)


def test_labels_and_densities_of_a_posterior_are_averages_of_those_of_the_marginals(posterior):
    thetas = parameters_of(posterior)
    shares = np.array([responsibilities_by_scipy(VALUES, theta) for theta in thetas])
    densities = np.array([logsumexp(joint_by_scipy(VALUES, theta), axis=1) for theta in thetas])
    found = bg.predict(posterior)
    np.testing.assert_allclose(found["responsibilities"], shares.mean(axis=0), atol=1e-10)
    whole = logsumexp(densities, axis=0) - np.log(len(thetas))
    np.testing.assert_allclose(bg.log_density(posterior), whole, rtol=1e-9)
    together = np.einsum("sik,sjk->ij", shares, shares) / len(thetas)
    np.fill_diagonal(together, 1.0)
    np.testing.assert_allclose(bg.co_clustering(posterior), together, atol=1e-10)
    pointwise = bg.add_groups(posterior, "log_likelihood")["log_likelihood"]["x"]
    own = pointwise.stack(sample=("chain", "draw")).transpose("sample", "obs_id")
    np.testing.assert_allclose(own, densities, rtol=1e-9, atol=1e-9)
    total = posterior["invariants"]["log_likelihood"].to_numpy().ravel()
    np.testing.assert_allclose(total, densities.sum(axis=1), rtol=1e-10)


@pytest.mark.filterwarnings("ignore:.*Pareto")
def test_loo_is_that_of_the_marginal_densities(posterior):
    import arviz as az

    with_densities = bg.add_groups(posterior, "log_likelihood")
    expected = az.loo(with_densities)
    assert bg.loo(posterior).elpd == pytest.approx(expected.elpd, rel=1e-9)


def test_partition_relabelling_and_diagnosis_take_incomplete_rows(posterior):
    found = bg.partition(posterior, seed=0)
    assert found.sizes["obs_id"] == len(X)
    truth = responsibilities_by_scipy(VALUES, parameters_of(posterior)[0]).argmax(axis=1)
    agree = (found["label"].to_numpy() == truth).mean()
    assert max(agree, 1 - agree) > 0.9
    for method in ("ecr", "stephens", "pivot"):
        other = bg.relabel(posterior, method=method)
        permuted = np.sort(other["posterior"]["weights"].to_numpy(), axis=-1)
        own = np.sort(posterior["posterior"]["weights"].to_numpy(), axis=-1)
        np.testing.assert_array_equal(permuted, own)
    assert ("label-invariant quantities", "log_likelihood") in bg.diagnose(posterior).table.index


def test_a_comparison_has_the_marginal_log_likelihood_of_its_points(fit, posterior):
    found = bg.compare({"MLE": fit}, posterior)
    best = float(fit["optimizer_result"]["log_likelihood"])
    drawn = [log_likelihood_by_scipy(VALUES, theta) for theta in parameters_of(posterior)]
    assert max(drawn) < best
    np.testing.assert_allclose(found.dataset["log_likelihood"].sel(estimator="MLE"), best)


def test_results_are_saved_and_loaded_and_reported(fit, posterior, tmp_path):
    path = bg.save({"mle": fit, "posterior": posterior}, tmp_path / "all.nc")
    back = bg.load(path)
    for tree in (back, back["mle"]):
        np.testing.assert_array_equal(tree["observed_data"]["x"], VALUES)
        assert tree.attrs["missing"] == "mar"
    np.testing.assert_array_equal(bg.predict(back, X)["label"], bg.predict(posterior)["label"])
    page = bg.report(fit, tmp_path / "page.html").read_text()
    n_incomplete = int(np.isnan(VALUES).any(axis=1).sum())
    assert f"{len(X)} rows, {n_incomplete} of them with missing entries" in page


def test_a_seed_fixes_the_draws_and_cores_do_not_change_them(posterior):
    same_trees(posterior, bg.sample(X, 2, missing="mar", cores=1, **SAMPLED))
    other = bg.sample(X, 2, missing="mar", **{**SAMPLED, "seed": 1})
    assert (other["posterior"]["weights"] != posterior["posterior"]["weights"]).all()


def test_pictures_show_the_rows_that_have_a_place(fit, posterior):
    bg.plots.mixture(fit, X)
    bg.plots.mixture(fit, X.assign(a=nan).dropna(how="all"))  # no row has a place
    bg.plots.predictive(posterior)
    shown = Subject.of(fit).rows
    np.testing.assert_array_equal(shown, VALUES[~np.isnan(VALUES).any(axis=1)])


# What is refused


@pytest.mark.parametrize("verb", [bg.fit, bg.sample, lambda X, k, **o: bg.select(X, [k], **o)])
def test_nan_is_refused_unless_it_is_said_to_be_missing_at_random(verb, tmp_path):
    path = tmp_path / "table.csv"
    X.to_csv(path, index=False)
    for table, way_out in ((X, "dropna"), (VALUES, "np.isfinite"), (path, "drop_missing=True")):
        for options in ({}, {"missing": "refuse"}):
            with refuses("leave", way_out, 'missing="mar"'):
                verb(table, 2, **options)
    for other in ("other", None):
        with refuses("missing", repr(other), "'refuse'", "'mar'"):
            verb(X, 2, missing=other)


@pytest.mark.parametrize("verb", [bg.fit, bg.sample])
def test_what_cannot_be_used_is_refused_though_entries_may_be_missing(verb, tmp_path):
    empty_row, empty_column, infinite = VALUES.copy(), X.copy(), VALUES.copy()
    empty_row[[4, 9]], empty_column["b"], infinite[3, 1] = nan, nan, np.inf
    with refuses("2 rows", "row 4", "leave", "all(axis=1)"):
        verb(empty_row, 2, missing="mar")
    with refuses("column 'b'", "leave it out"):
        verb(empty_column, 2, missing="mar")
    with refuses("not finite", "row 3"):
        verb(infinite, 2, missing="mar")
    with refuses("'c'", "constant"):
        verb(X.assign(c=np.where(np.isnan(X["c"]), nan, 1.0)), 2, missing="mar")
    np.save(tmp_path / "x.npy", np.ascontiguousarray(VALUES))
    with refuses("mapped", "np.array(X)"):
        verb(np.load(tmp_path / "x.npy", mmap_mode="r"), 2, missing="mar")
    with refuses("block by block", "memory"):
        verb(lambda: iter([VALUES]), 2, missing="mar")


def test_a_file_is_read_with_its_gaps(fit, tmp_path):
    X.to_csv(tmp_path / "table.csv", index=False)
    found = bg.fit(tmp_path / "table.csv", 2, missing="mar", seed=0)
    assert_same_mixture(bg.point_estimate(found), bg.point_estimate(fit), rtol=1e-6)


def test_groups_may_be_added_at_once(posterior):
    at_once = bg.sample(X, 2, missing="mar", groups="log_likelihood", **SAMPLED)
    later = bg.add_groups(posterior, "log_likelihood")
    mine, theirs = (one["log_likelihood"]["x"].to_numpy() for one in (at_once, later))
    np.testing.assert_array_equal(mine, theirs)


def test_pymc_needs_complete_rows(posterior):
    independent = bg.IndependentPrior.default(WHOLE, 2)
    for options in ({"engine": "pymc"}, {"prior": independent}):
        with refuses("missing entries", "complete rows"):
            bg.sample(X, 2, missing="mar", **QUIET, **options)
    with refuses("leave"):
        bg.pymc_model(X, 2)
    trace = posterior["posterior"].to_dataset()
    with refuses("leave"):
        bg.from_trace({"/posterior": trace}, X, prior=ConjugatePrior.default(WHOLE, 2))


def test_nuts_and_gibbs_draw_from_the_same_posterior():
    """Entries integrated out, and entries drawn: labels apart, as components are far apart."""
    run = {"draws": 700, "tune": 300, "chains": 2, "seed": 4, **QUIET}
    runs = [bg.sample(X, 2, missing="mar", engine=engine, **run) for engine in ("nuts", "gibbs")]
    assert [one.attrs["engine"] for one in runs] == ["nuts", "gibbs"]
    for group, name in (
        ("posterior", "means"),
        ("posterior", "covariances"),
        ("invariants", "log_likelihood"),
    ):
        means, errors = [], []
        for one in runs:
            drawn = one[group].dataset[[name]]
            means.append(drawn[name].mean(("chain", "draw")).to_numpy())
            errors.append(az.mcse(drawn)[name].to_numpy())
        z = (means[0] - means[1]) / np.hypot(*errors)
        assert (np.abs(z) < 5).all(), name


def test_nuts_takes_any_row_weights_with_missing_entries():
    run = {"draws": 30, "tune": 100, "chains": 2, "seed": 4, "missing": "mar", **QUIET}
    weights = np.full(len(X), 0.5)
    found = bg.sample(X, 2, row_weights=weights, **run)
    assert found.attrs["engine"] == "nuts"
    theta = Parameters(*(found["posterior"][name][0, 0].to_numpy() for name in NUMBERS))
    expected = 0.5 * logsumexp(joint_by_scipy(VALUES, theta), axis=1).sum()
    assert float(found["invariants"]["log_likelihood"][0, 0]) == pytest.approx(expected)
    with refuses("row_weights is 0.5 in row 0", "whole numbers", 'engine="nuts", which'):
        bg.sample(X, 2, row_weights=weights, engine="gibbs", **run)


def test_what_needs_complete_rows_says_so(fit, posterior):
    for verb in (bg.check, lambda p: bg.relabel(p, method="data")):
        with refuses("rows have missing entries", "complete rows only"):
            verb(posterior)
    for method in ("observed", "sandwich", "bootstrap"):
        with refuses("rows have missing entries", "standard_errors"):
            bg.standard_errors(fit, method=method)


def test_new_rows_may_lack_entries_only_if_those_of_the_fit_might():
    other = bg.fit(pd.DataFrame(WHOLE, columns=NAMES), 2, seed=0)
    for verb in (bg.predict, bg.log_density):
        with refuses("missing", "leave"):
            verb(other, X)
        with refuses("missing", "leave"):
            verb(other, VALUES)


def test_a_new_row_without_any_entry_is_refused(fit):
    for rows in (np.full((1, 3), nan), pd.DataFrame({name: [nan] for name in NAMES})):
        with refuses("row 0", "missing"):
            bg.predict(fit, rows)
