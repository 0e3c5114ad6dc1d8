"""The estimator: scikit-learn's conventions, our engine's answers, and weights that are repeats."""

import inspect
import pickle
import warnings

import numpy as np
import pytest
import sklearn.exceptions
import sklearn.mixture
from helpers import random_parameters, refuses
from joblib import parallel_config
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import bayes_gmm as bg
from bayes_gmm import errors
from bayes_gmm.kernels import chunks
from bayes_gmm.model import mixture
from bayes_gmm.model.structures import CODES
from bayes_gmm.sklearn import CollapseError, ConvergenceWarning, GaussianMixture
from bayes_gmm.sklearn.fitted import compact

TYPES = ["full", "tied", "diag", "spherical"]
SHAPES = {"full": (3, 2, 2), "tied": (2, 2), "diag": (3, 2), "spherical": (3,)}
STARTS = ["search", "kmeans", "k-means++", "random", "random_from_data"]
METHODS = ["predict", "predict_proba", "score_samples", "score", "bic", "aic"]
FITTED = ["weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"]


@pytest.fixture(scope="module")
def faithful():
    return bg.datasets.load("faithful")


@pytest.fixture
def rows():
    """Three clusters that overlap a little."""
    rng = np.random.default_rng(3)
    return mixture.sample(random_parameters(rng, 3, 2, spread=2.5), 150, rng)[0]


def defaults(function):
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in ("self", "X")}


def test_parameters_are_theirs_and_a_prior_with_the_defaults_of_fit():
    own = defaults(GaussianMixture.__init__)
    assert set(own) == set(defaults(sklearn.mixture.GaussianMixture.__init__)) | {"prior"}
    verb = defaults(bg.fit)
    assert [own["tol"], own["max_iter"], own["prior"]] == [
        verb["tol"],
        verb["max_iter"],
        verb["prior"],
    ]


def test_the_default_fit_is_that_of_the_verb(faithful):
    model = GaussianMixture(2, random_state=0).fit(faithful)
    theta = bg.point_estimate(bg.fit(faithful, 2, seed=5))
    np.testing.assert_allclose(model.weights_, theta.weights, atol=1e-5)
    np.testing.assert_allclose(model.means_, theta.means, rtol=1e-5)
    np.testing.assert_allclose(model.covariances_, theta.covariances, rtol=1e-4)
    assert len(faithful) * model.lower_bound_ == pytest.approx(-1130.26396, abs=1e-4)
    assert model.lower_bound_ == pytest.approx(model.score(faithful), rel=1e-12)
    assert model.converged_
    assert len(model.lower_bounds_) == model.n_iter_
    assert (np.diff(model.lower_bounds_) >= -1e-12).all()


def test_a_prior_is_that_of_the_verb(faithful):
    result = bg.fit(faithful, 3, prior="default", seed=1)
    model = GaussianMixture(3, prior="default", random_state=0).fit(faithful)
    same = GaussianMixture(3, prior=bg.ConjugatePrior.default(faithful.to_numpy(), 3)).fit(faithful)
    objective = float(result["optimizer_result"]["objective_final"])
    assert len(faithful) * model.lower_bound_ == pytest.approx(objective, abs=1e-6)
    assert same.lower_bound_ == pytest.approx(model.lower_bound_, abs=1e-8)


@pytest.mark.parametrize("kind", TYPES)
def test_fitted_attributes_mean_to_them_what_they_mean_to_us(kind, rows):
    model = GaussianMixture(3, covariance_type=kind, random_state=0).fit(rows)
    assert model.covariances_.shape == model.precisions_.shape == SHAPES[kind]
    assert model.precisions_cholesky_.shape == SHAPES[kind]
    other = sklearn.mixture.GaussianMixture(3, covariance_type=kind)
    for name in FITTED:
        setattr(other, name, getattr(model, name))
    other.n_features_in_ = 2
    for method in METHODS:
        own, theirs = getattr(model, method)(rows), getattr(other, method)(rows)
        np.testing.assert_allclose(own, theirs, rtol=1e-9, atol=1e-12)
    reference = other._n_parameters()
    assert model._n_parameters() == reference
    if kind in ("full", "tied"):
        product = model.precisions_ @ model.covariances_
        np.testing.assert_allclose(product, np.broadcast_to(np.eye(2), product.shape), atol=1e-9)
    else:
        np.testing.assert_allclose(model.precisions_, 1 / model.covariances_)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_the_first_iterations_from_a_given_start_are_theirs(kind, rows):
    rng = np.random.default_rng(0)
    start = random_parameters(rng, 3, 2)
    given = {
        "weights_init": start.weights,
        "means_init": start.means,
        "precisions_init": compact(np.linalg.inv(start.covariances), kind),
        "covariance_type": kind,
        "max_iter": 4,
        "reg_covar": 0.0,
    }
    own = GaussianMixture(3, **given).fit(rows)
    theirs = sklearn.mixture.GaussianMixture(3, tol=0.0, **given).fit(rows)
    for name in FITTED:
        np.testing.assert_allclose(getattr(own, name), getattr(theirs, name), rtol=1e-7)
    # They keep the bound at the parameters before each M-step, we the one after it.
    np.testing.assert_allclose(own.lower_bounds_[:-1], theirs.lower_bounds_[1:], rtol=1e-9)


@pytest.mark.parametrize("code", CODES)
def test_each_structure_fits_and_goes_on_from_any_precisions(code, rows):
    model = GaussianMixture(3, covariance_type=code, random_state=0).fit(rows)
    assert model.covariances_.shape == model.precisions_cholesky_.shape == (3, 2, 2)
    assert model.bic(rows) == pytest.approx(
        -2 * 150 * model.score(rows) + np.log(150) * model._n_parameters()
    )
    outside = np.linalg.inv(random_parameters(np.random.default_rng(1), 3, 2).covariances)
    started = GaussianMixture(
        3, covariance_type=code, means_init=model.means_, precisions_init=outside
    ).fit(rows)
    assert (np.diff(started.lower_bounds_) >= -1e-12).all()
    assert started.lower_bound_ <= model.lower_bound_ + 1e-9


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("kind", ["full", "VEI"])
def test_a_weight_is_a_repetition(start, kind, rows):
    rng = np.random.default_rng(1)
    times = rng.integers(0, 4, len(rows))
    shuffled = rng.permutation(np.repeat(rows, times, axis=0))
    model = GaussianMixture(3, covariance_type=kind, init_params=start, random_state=2)
    weighted = clone(model).fit(rows, sample_weight=times)
    repeated = clone(model).fit(shuffled)
    assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, rel=1e-10)
    np.testing.assert_allclose(weighted.means_, repeated.means_, rtol=1e-5, atol=1e-5)
    assert weighted.score(rows, sample_weight=times) == pytest.approx(repeated.score(shuffled))
    labels = weighted.fit_predict(rows, sample_weight=times)
    np.testing.assert_array_equal(labels, repeated.predict(rows))


def test_weights_count_for_the_prior_too(rows):
    times = np.arange(len(rows)) % 3
    model = GaussianMixture(3, prior="default", reg_covar=0.01, random_state=2)
    weighted = clone(model).fit(rows, sample_weight=times)
    repeated = clone(model).fit(np.repeat(rows, times, axis=0))
    assert weighted.lower_bound_ == pytest.approx(repeated.lower_bound_, rel=1e-10)


@pytest.mark.parametrize("scale", [1e-9, 3.0, 1e9])
@pytest.mark.parametrize("kind", ["counts", "shares", "one"])
def test_the_scale_of_row_weights_changes_nothing_without_a_prior(kind, scale, rows):
    rng = np.random.default_rng(8)
    weights = {
        "counts": rng.integers(0, 4, len(rows)).astype(float),
        "shares": rng.exponential(size=len(rows)),
        "one": np.ones(len(rows)),
    }[kind]
    model = GaussianMixture(3, random_state=2)
    own, scaled = (clone(model).fit(rows, sample_weight=w) for w in (weights, scale * weights))
    assert own.n_iter_ == scaled.n_iter_
    for name in FITTED:  # counts are the same numbers again, shares are rounded
        np.testing.assert_allclose(getattr(own, name), getattr(scaled, name), rtol=1e-6)
    assert own.lower_bound_ == pytest.approx(own.score(rows, sample_weight=weights), rel=1e-9)


def test_equal_row_weights_are_none(rows):
    model = GaussianMixture(3, random_state=2)
    plain = clone(model).fit(rows)
    weighted = clone(model).fit(rows, sample_weight=np.full(len(rows), 0.3))
    np.testing.assert_allclose(weighted.means_, plain.means_, rtol=1e-6)
    assert weighted.lower_bound_ == pytest.approx(plain.lower_bound_, rel=1e-9)


def test_criteria_take_row_weights_as_repetitions(rows):
    rng = np.random.default_rng(4)
    times = rng.integers(0, 4, len(rows))
    model = GaussianMixture(3, random_state=2).fit(rows, sample_weight=times)
    repeated = np.repeat(rows, times, axis=0)
    for criterion in (model.bic, model.aic):
        of_rows = criterion(rows, sample_weight=times)
        assert of_rows == pytest.approx(criterion(repeated), rel=1e-12)
        assert of_rows != pytest.approx(criterion(rows), rel=1e-3)
    log_likelihood = times @ model.score_samples(rows)
    penalty = model._n_parameters() * np.log(times.sum())
    assert model.bic(rows, times) == pytest.approx(-2 * log_likelihood + penalty, rel=1e-12)


def test_under_a_prior_row_weights_that_add_up_to_less_than_two_rows_are_refused(rows):
    with refuses("sample_weight sums to 1,", "rescale"):
        GaussianMixture(2, prior="default").fit(rows, sample_weight=np.full(len(rows), 1 / 150))


def test_a_ridge_adds_its_variance_to_the_covariance(rows):
    model = GaussianMixture(reg_covar=0.5).fit(rows)
    expected = np.cov(rows.T, bias=True) + 0.5 * np.eye(2)
    np.testing.assert_allclose(model.covariances_[0], expected, rtol=1e-12)


def test_a_small_ridge_changes_little_and_theirs_ends_at_the_same_place(rows):
    plain = GaussianMixture(3, random_state=0).fit(rows)
    ridged = GaussianMixture(3, reg_covar=1e-6, random_state=0).fit(rows)
    theirs = sklearn.mixture.GaussianMixture(
        3, tol=1e-13, max_iter=10_000, means_init=plain.means_, random_state=0
    ).fit(rows)
    for model in (plain, theirs):
        np.testing.assert_allclose(ridged.means_, model.means_, atol=1e-3)
        np.testing.assert_allclose(ridged.covariances_, model.covariances_, atol=1e-3)


def test_a_ridge_bounds_components_on_repeated_rows():
    x = np.repeat([[0.0] * 5, [1.0] * 5], 5, axis=0)
    with pytest.raises(ValueError, match="2 of them distinct, too few to estimate"):
        GaussianMixture(2).fit(x)
    model = GaussianMixture(2, reg_covar=1e-6).fit(x)
    np.testing.assert_allclose(model.covariances_, 1e-6 * np.array([np.eye(5)] * 2), atol=1e-12)
    np.testing.assert_allclose(model.means_, [[0.0] * 5, [1.0] * 5], atol=1e-9)


@pytest.mark.parametrize("start", STARTS)
def test_more_effort_is_never_worse_and_a_seed_fixes_it(start, faithful):
    model = GaussianMixture(4, covariance_type="VVI", init_params=start, random_state=7)
    once = clone(model).fit(faithful)
    again = clone(model).fit(faithful)
    more = clone(model).set_params(n_init=3).fit(faithful)
    for name in FITTED:
        np.testing.assert_array_equal(getattr(once, name), getattr(again, name))
    assert more.lower_bound_ >= once.lower_bound_ - 1e-9


def test_random_states_are_theirs(rows):
    state = np.random.RandomState(4)
    model = GaussianMixture(3, init_params="random", max_iter=0, random_state=state)
    first, second = model.fit(rows).means_, model.fit(rows).means_
    assert not np.allclose(first, second)
    np.testing.assert_array_equal(
        first, clone(model).set_params(random_state=np.random.RandomState(4)).fit(rows).means_
    )
    fixed = GaussianMixture(3, random_state=1).fit(rows)
    x, z = fixed.sample(5000)
    np.testing.assert_array_equal(x, fixed.sample(5000)[0])
    assert (np.diff(z) >= 0).all()
    np.testing.assert_allclose(np.bincount(z) / 5000, fixed.weights_, atol=0.03)


def test_given_means_keep_their_order_and_what_is_missing_is_found(rows):
    best = GaussianMixture(3, random_state=0).fit(rows)
    assert (np.diff(best.means_[:, 0]) > 0).all()
    for name in ("means_init", "weights_init", "precisions_init"):
        value = getattr(best, name.replace("init", ""))[::-1]
        model = GaussianMixture(3, n_init=5, random_state=0, **{name: value}).fit(rows)
        if name == "means_init":
            np.testing.assert_allclose(model.means_, best.means_[::-1], atol=1e-3)
        assert model.lower_bound_ == pytest.approx(best.lower_bound_, abs=1e-9)


def test_a_given_start_is_returned_if_no_iteration_is_allowed(rows):
    far = GaussianMixture(2, means_init=[[50.0, 0.0], [-1.0, 1.0]], max_iter=0).fit(rows)
    np.testing.assert_allclose(far.means_, [[50.0, 0.0], [-1.0, 1.0]], rtol=1e-12)
    assert not far.converged_
    assert far.n_iter_ == 0
    assert far.lower_bound_ == pytest.approx(far.score(rows))


@pytest.mark.filterwarnings("ignore:.*did not converge")
def test_fits_of_one_iteration_climb_as_one_fit_does(faithful):
    steps = GaussianMixture(
        2, init_params="kmeans", max_iter=1, warm_start=True, tol=1e-6, random_state=0
    )
    path = []
    for _ in range(100):
        path.append(steps.fit(faithful).lower_bound_)
        if steps.converged_:
            break
    assert steps.converged_
    assert (np.diff(path) >= -1e-12).all()
    whole = GaussianMixture(2, init_params="kmeans", tol=1e-6, random_state=0).fit(faithful)
    np.testing.assert_allclose(path[:5], whole.lower_bounds_[:5], rtol=1e-10)
    assert len(faithful) * abs(path[-1] - whole.lower_bound_) < 1e-5


def test_a_warm_start_on_other_data_does_not_look_converged(faithful):
    x = faithful.to_numpy()
    model = GaussianMixture(2, warm_start=True, random_state=0).fit(x[:200])
    with pytest.warns(ConvergenceWarning):
        model.set_params(max_iter=1).fit(x)
    with refuses("warm_start", "2 components"):
        model.set_params(n_components=3).fit(x)


def test_not_converging_can_be_caught_under_both_names(faithful):
    for kind in (errors.ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):
        with pytest.warns(kind, match="did not converge in 1 iterations") as caught:
            model = GaussianMixture(2, max_iter=1).fit(faithful)
        assert caught[0].filename == __file__
    assert not model.converged_
    assert model.n_iter_ == 1


def test_a_collapse_can_be_caught_under_both_names():
    x = np.repeat([[0.0, 1.0], [1.0, 0.5], [3.0, 3.0]], 4, axis=0)
    for kind in (errors.CollapseError, ValueError):
        with pytest.raises(kind, match="starts collapsed"):
            GaussianMixture(3).fit(x)
    error = CollapseError("words")
    assert str(pickle.loads(pickle.dumps(error))) == "words"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"weights_init": [[0.5], [0.5]]}, ["weights_init", "(2,)", "(2, 1)"]),
        ({"weights_init": [0.7, 0.7]}, ["weights", "1.4"]),
        ({"weights_init": [1.5, -0.5]}, ["weights", "-0.5"]),
        ({"means_init": np.zeros((3, 2))}, ["means_init", "(2, 2)", "(3, 2)"]),
        ({"means_init": [[0.0, np.nan], [1.0, 1.0]]}, ["means_init", "finite"]),
        ({"precisions_init": np.ones((2, 2))}, ["precisions_init", "(2, 2, 2)"]),
        ({"precisions_init": [[[1, 0.5], [0, 1]]] * 2}, ["precisions_init", "symmetric"]),
        ({"precisions_init": [-np.eye(2)] * 2}, ["precisions_init[0]", "positive definite"]),
        (
            {"precisions_init": [1.0, -1.0], "covariance_type": "spherical"},
            ["precisions_init[1]", "positive definite"],
        ),
        ({"n_components": 1000}, ["n_components", "272 rows"]),
        ({"prior": bg.ConjugatePrior.default(np.eye(3), 2)}, ["prior", "3 features"]),
        ({"covariance_type": "E"}, ["covariance"]),
    ],
)
def test_arguments_that_do_not_fit_are_refused(wrong, words, faithful):
    with refuses(*words):
        GaussianMixture(**{"n_components": 2} | wrong).fit(faithful)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_components": 0},
        {"covariance_type": "round"},
        {"tol": -1.0},
        {"reg_covar": -1e-6},
        {"max_iter": -1},
        {"n_init": 0},
        {"init_params": "guess"},
        {"prior": "flat"},
        {"verbose_interval": 0},
        {"random_state": "now"},
    ],
)
def test_arguments_out_of_range_are_refused_by_their_checks(wrong, faithful):
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=f"'{name}' parameter of GaussianMixture"):
        GaussianMixture(**wrong).fit(faithful)


def test_sample_refuses_no_rows(rows):
    with refuses("n_samples", "0"):
        GaussianMixture().fit(rows).sample(0)


def test_names_of_columns_are_kept_and_held_to(faithful):
    model = GaussianMixture(2, random_state=0).fit(faithful)
    assert list(model.feature_names_in_) == list(faithful.columns)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(faithful[faithful.columns[::-1]])


def test_one_feature_has_shapes_too(faithful):
    x = faithful.to_numpy()[:, :1]
    shapes = {"full": (2, 1, 1), "tied": (1, 1), "diag": (2, 1), "spherical": (2,), "V": (2, 1, 1)}
    for kind, shape in shapes.items():
        model = GaussianMixture(2, covariance_type=kind, random_state=0).fit(x)
        assert model.covariances_.shape == shape
        assert model._n_parameters() == (4 if kind == "tied" else 5)


def test_float32_on_disk_is_what_it_is_in_memory(tmp_path, faithful):
    x = faithful.to_numpy(dtype=np.float32)
    on_disk = np.memmap(tmp_path / "x", dtype=np.float32, mode="w+", shape=x.shape)
    on_disk[:] = x
    model = GaussianMixture(2, random_state=0)
    kept, copied = clone(model).fit(on_disk), clone(model).fit(x)
    assert kept.means_.dtype == np.float64
    np.testing.assert_allclose(kept.means_, copied.means_, rtol=1e-6)
    np.testing.assert_array_equal(kept.predict(on_disk), copied.predict(x))


def test_it_says_how_the_fit_ended(faithful, capsys):
    GaussianMixture(2, random_state=0).fit(faithful)
    assert capsys.readouterr().out == ""
    model = GaussianMixture(2, random_state=0, verbose=1).fit(faithful)
    line = capsys.readouterr().out
    assert f"30 starts: converged after {model.n_iter_} iterations" in line
    model.set_params(verbose=2, verbose_interval=1).fit(faithful)
    assert capsys.readouterr().out.count("iteration ") == model.n_iter_


def test_threads_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    x, _ = mixture.sample(random_parameters(rng, 3, 2), 40_000, rng)
    found = []
    for threads in (1, 2):
        monkeypatch.setattr(chunks.os, "cpu_count", lambda threads=threads: threads)
        model = GaussianMixture(3, init_params="kmeans", random_state=0, max_iter=20, tol=1e-2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found.append(model.fit(x))
    for name in FITTED:
        np.testing.assert_array_equal(getattr(found[0], name), getattr(found[1], name))


def test_it_works_in_a_pipeline_a_grid_and_threads(faithful):
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), GaussianMixture(random_state=0)),
        {
            "gaussianmixture__n_components": [1, 2],
            "gaussianmixture__covariance_type": ["tied", "VVV"],
        },
        cv=3,
        n_jobs=2,
    )
    with parallel_config("threading"):
        grid.fit(faithful)
    assert grid.best_params_["gaussianmixture__n_components"] == 2


def test_it_is_the_same_thawed(faithful):
    model = GaussianMixture(2, prior="default", random_state=0).fit(faithful)
    thawed = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(thawed.predict_proba(faithful), model.predict_proba(faithful))
    refitted = thawed.fit(faithful)
    for name in FITTED:
        np.testing.assert_array_equal(getattr(refitted, name), getattr(model, name))
