"""`fit`, the verb: known optima, whatever the seed, the units, the order; and what it refuses."""

import warnings

import numpy as np
import pandas as pd
import pytest
from curvature_truths import along, moved
from helpers import assert_same_mixture, from_labels, refuses, run_em

import bayes_gmm as bg
from bayes_gmm.model import mixture
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import CODES, Structure
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates
from bayes_gmm.model.structures.prior import StructuredPrior

FAITHFUL = bg.datasets.load("faithful")
IRIS = bg.datasets.load("iris", labels=True)
FLOWERS = IRIS.drop(columns="species")
SPECIES = IRIS["species"].astype("category").cat.codes.to_numpy().astype(int)
GALAXIES = bg.datasets.load("galaxies")
GALAXIES_IN_R = GALAXIES.replace(26.960, 26.690)


def outcome(result, name: str = "log_likelihood") -> float:
    return float(result["optimizer_result"][name])


def labels(x, result) -> np.ndarray:
    return mixture.responsibilities(np.asarray(x), bg.point_estimate(result)).argmax(axis=1)


@pytest.mark.parametrize("seed", range(20))
def test_the_fit_of_faithful_is_known_whatever_the_seed(seed):
    result = bg.fit(FAITHFUL, 2, seed=seed)
    assert outcome(result) == pytest.approx(-1130.26396, abs=1e-4)
    assert result["optimizer_result"]["converged"]


@pytest.mark.parametrize(
    ("x", "n_components", "n_starts", "expected"),
    [
        (FAITHFUL[["waiting"]], 2, 10, -1034.001749832),
        (FLOWERS, 2, 10, -214.354704371),
        (FLOWERS, 3, 10, -180.185477131),
        (GALAXIES_IN_R, 3, 10, -203.179227965),
        (GALAXIES_IN_R, 4, 100, -197.453763761),
        (GALAXIES, 3, 10, -203.481980148),
    ],
    ids=["waiting,2", "iris,2", "iris,3", "galaxies,3", "galaxies,4", "corrected galaxies,3"],
)
def test_a_fit_is_at_least_as_good_as_the_optimum_that_is_known(
    x, n_components, n_starts, expected
):
    result = bg.fit(x, n_components, n_starts=n_starts, seed=1)
    assert outcome(result) >= expected - 1e-6
    found = mixture.log_likelihood(x.to_numpy(), bg.point_estimate(result))
    assert outcome(result) == pytest.approx(found, rel=1e-10)


@pytest.mark.parametrize(
    ("x", "n_components", "expected"),
    [(FAITHFUL, 2, -1130.509263671), (FLOWERS, 2, -223.602198413)],
    ids=["faithful,2", "iris,2"],
)
def test_the_map_fit_is_known(x, n_components, expected):
    result = bg.fit(x, n_components, prior="default", seed=1)
    assert outcome(result) == pytest.approx(expected, abs=1e-4)
    log_prior = bg.ConjugatePrior.default(x, n_components).log_density(bg.point_estimate(result))
    assert outcome(result, "log_prior") == pytest.approx(log_prior, rel=1e-10)
    total = outcome(result) + log_prior
    assert outcome(result, "objective_final") == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("code", CODES)
def test_the_map_fit_of_a_structure_is_where_its_objective_is_flat(code):
    """By finite differences along the structure, of a log posterior that is computed apart."""
    x, structure = FLOWERS.to_numpy(), Structure.of(code, 4)
    result = bg.fit(x, 2, covariance=code, prior="default", n_starts=3, seed=1)
    own = StructuredPrior.of(bg.ConjugatePrior.default(x, 2), structure)
    local = LocalCoordinates.at(bg.point_estimate(result), structure)

    def objective(place: np.ndarray) -> float:
        there = moved(local, place)
        return mixture.log_likelihood(x, there) + own.log_density(there)

    top = objective(np.zeros(local.n_coordinates))
    assert outcome(result, "objective_final") == pytest.approx(top, rel=1e-10)
    rng = np.random.default_rng(1)
    for _ in range(4):
        direction = rng.normal(size=local.n_coordinates)
        slope, bend = along(objective, direction / np.linalg.norm(direction), step=3e-3)
        assert abs(slope) < 2e-4 * abs(bend)
        assert bend < 0


def test_the_map_fit_of_iris_is_no_worse_than_the_mode_beside_the_maximum_likelihood_estimate():
    """The reference's mode, of log-likelihood -192.695, is where EM goes from the MLE."""
    x = FLOWERS.to_numpy()
    prior = bg.ConjugatePrior.default(x, 3)
    nearby = run_em(x, run_em(x, from_labels(x, SPECIES)).parameters, prior)
    assert mixture.log_likelihood(x, nearby.parameters) == pytest.approx(-192.695283865, abs=1e-4)
    for seed in range(3):
        result = bg.fit(x, 3, prior="default", seed=seed)
        assert outcome(result, "objective_final") > nearby.objectives[-1] - 1e-6


@pytest.mark.parametrize(
    ("x", "n_components", "prior"),
    [
        (FAITHFUL, 5, None),
        (bg.datasets.load("acidity"), 3, None),
        (pd.DataFrame(np.random.default_rng(4).normal(size=(500, 2))), 3, "default"),
    ],
    ids=["faithful,5", "acidity,3", "noise,3 MAP"],
)
def test_plain_em_finds_nothing_left_to_gain_where_a_fit_has_converged(x, n_components, prior):
    """Where components overlap, EM creeps, and an early stop is tempting."""
    result = bg.fit(x, n_components, prior=prior, seed=1)
    assert result["optimizer_result"]["converged"]
    chosen = prior and bg.ConjugatePrior.default(x, n_components)
    further = run_em(x.to_numpy(), bg.point_estimate(result), chosen, 3000, 1e-13, accelerate=False)
    assert len(further.objectives) > 2
    assert further.objectives[-1] - outcome(result, "objective_final") < 1e-8


def test_the_default_prior_by_name_is_the_one_made_by_hand():
    by_name = bg.fit(FAITHFUL, 2, prior="default", n_starts=2, seed=1)
    by_hand = bg.fit(FAITHFUL, 2, prior=bg.ConjugatePrior.default(FAITHFUL, 2), n_starts=2, seed=1)
    assert_same_mixture(bg.point_estimate(by_name), bg.point_estimate(by_hand), rtol=1e-6)
    assert outcome(by_name, "objective_final") == pytest.approx(
        outcome(by_hand, "objective_final"), rel=1e-12
    )


@pytest.mark.parametrize("prior", [None, "default"])
@pytest.mark.parametrize(
    "unit", [[60.0, 60.0], [1 / 1440, 1 / 1440], [60.0, 1 / 1440], [1e-8, 1e8]]
)
def test_units_change_nothing_but_the_jacobian(unit, prior):
    unit = np.array(unit)
    here = bg.fit(FAITHFUL, 2, prior=prior, seed=1)
    there = bg.fit(FAITHFUL * unit, 2, prior=prior, seed=1)
    jacobian = len(FAITHFUL) * np.log(unit).sum()
    # at the mode the log-likelihood has a slope, so it moves with the last digits of the fit
    tolerance = 1e-8 if prior is None else 1e-5
    assert outcome(there) + jacobian == pytest.approx(outcome(here), abs=tolerance)
    moved = bg.point_estimate(here).rescale(np.zeros(2), unit)
    assert_same_mixture(bg.point_estimate(there), moved, rtol=1e-5)
    np.testing.assert_array_equal(labels(FAITHFUL * unit, there), labels(FAITHFUL, here))
    if prior:
        jacobian += 2 * 4 * np.log(unit).sum()
        assert outcome(there, "objective_final") + jacobian == pytest.approx(
            outcome(here, "objective_final"), abs=1e-8
        )


@pytest.mark.parametrize("prior", [None, "default"])
def test_an_offset_of_1e8_standard_deviations_changes_nothing(prior):
    """On a grid of 2^-10 the move is exact, so that the fits must agree to the last digits."""
    x = np.round(FAITHFUL.to_numpy() * 1024) / 1024
    far = x + np.array([2.0**27, 2.0**31])
    assert ((far - x) / x.std(axis=0) > 1e8).all()
    here, there = (bg.fit(rows, 2, prior=prior, seed=1) for rows in (x, far))
    assert outcome(there, "objective_final") == pytest.approx(
        outcome(here, "objective_final"), abs=1e-7
    )
    np.testing.assert_array_equal(labels(far, there), labels(x, here))
    np.testing.assert_allclose(
        bg.point_estimate(there).covariances, bg.point_estimate(here).covariances, rtol=1e-4
    )


@pytest.mark.parametrize("prior", [None, "default"])
def test_the_order_of_the_rows_changes_nothing(prior):
    shuffled = FAITHFUL.sample(frac=1, random_state=1)
    assert not shuffled.index.equals(FAITHFUL.index)
    here, there = (bg.fit(x, 2, prior=prior, seed=1) for x in (FAITHFUL, shuffled))
    for name in ("objective_final", "log_likelihood"):
        assert outcome(there, name) == pytest.approx(outcome(here, name), rel=1e-8)
    assert outcome(there, "objective_final") == pytest.approx(
        outcome(here, "objective_final"), rel=1e-10
    )
    assert_same_mixture(bg.point_estimate(there), bg.point_estimate(here), rtol=1e-5)


def test_the_order_of_many_rows_changes_nothing():
    """More rows than the starts look at."""
    truth = bg.Parameters([0.3, 0.7], [[0.0, 0.0], [6.0, 0.0]], [np.eye(2)] * 2)
    x, _ = mixture.sample(truth, 6000, np.random.default_rng(1))
    here, there = (bg.fit(rows, 2, n_starts=2, seed=1) for rows in (x, x[::-1]))
    assert outcome(there) == pytest.approx(outcome(here), rel=1e-12)
    assert_same_mixture(bg.point_estimate(there), bg.point_estimate(here), rtol=1e-5)
    assert_same_mixture(bg.point_estimate(here), truth, rtol=0.1)


def test_a_seed_gives_the_same_fit_again():
    first, again = (bg.fit(GALAXIES, 3, seed=5) for _ in range(2))
    for group in ("point_estimate", "optimizer_result"):
        assert first[group].to_dataset().identical(again[group].to_dataset())


def test_every_kind_of_table_gives_the_same_fit(tmp_path):
    values = FAITHFUL.to_numpy()
    file = tmp_path / "x.npy"
    np.save(file, values)
    kinds = [values.tolist(), np.asfortranarray(values), np.load(file, mmap_mode="r"), values[::-1]]
    expected = bg.point_estimate(bg.fit(FAITHFUL, 2, n_starts=2, seed=1))
    for x in kinds:
        assert_same_mixture(
            bg.point_estimate(bg.fit(x, 2, n_starts=2, seed=1)), expected, rtol=1e-5
        )
    as_column = bg.fit(values[:, 1], 2, n_starts=2, seed=1)
    assert outcome(as_column) == pytest.approx(-1034.001749832, abs=1e-6)
    single = bg.fit(values.astype(np.float32), 2, n_starts=2, seed=1)
    assert outcome(single) == pytest.approx(-1130.26396, abs=1e-3)


def test_the_result_is_labelled_and_ordered_by_the_first_feature():
    result = bg.fit(FLOWERS, 3, seed=1)
    point = result["point_estimate"]
    assert point["weights"].dims == ("cluster",)
    assert point["means"].dims == ("cluster", "feature")
    assert point["covariances"].dims == ("cluster", "feature", "feature_bis")
    assert list(point["feature"].values) == list(FLOWERS.columns)
    first = point["means"].isel(feature=0).values
    assert (np.diff(first) > 0).all()
    search = result["optimizer_result"]
    assert np.diff(search["objective"].values).min() > -1e-9
    assert search["objective"].values[-1] == pytest.approx(outcome(result), rel=1e-12)
    assert search.sizes["iteration"] == outcome(result, "n_iterations") + 1
    standing = ~search["start_collapsed"].values.astype(bool)
    assert standing.any()
    heights = search["optimum_objective"].values
    assert outcome(result, "objective_final") == pytest.approx(heights[0], rel=1e-12)
    sound = ~search["optimum_spurious"].values.astype(bool)
    assert heights[0] == heights[sound].max()
    assert outcome(result, "n_parameters") == 2 + 3 * 4 + 3 * 10
    np.testing.assert_array_equal(result["observed_data"]["x"].values, FLOWERS.to_numpy())
    assert (result.attrs["estimator"], result.attrs["covariance"]) == ("MLE", "VVV")
    assert "prior_parameters" not in result.children
    mode = bg.fit(FLOWERS, 2, prior="default", n_starts=1, seed=1)
    assert mode.attrs["estimator"] == "MAP"
    np.testing.assert_allclose(
        mode["prior_parameters"]["scale"].values,
        bg.ConjugatePrior.default(FLOWERS, 2).scale,
        rtol=1e-10,
    )


def test_collapsed_starts_are_told_and_never_win():
    """Some start puts its third component on two identical rows, where no bound is."""
    rng = np.random.default_rng(2)
    crowds = [rng.normal(size=(60, 2)) + center for center in ([0, 0], [8, 0], [4, 7])]
    x = np.vstack([*crowds, [[4.0, -8.0]] * 2])
    result = bg.fit(x, 3, seed=1)
    collapsed = result["optimizer_result"]["start_collapsed"].values.astype(bool)
    assert collapsed.any()
    assert not collapsed.all()
    theta = bg.point_estimate(result)
    assert np.linalg.det(theta.covariances).min() > 0.1
    assert outcome(result) == pytest.approx(mixture.log_likelihood(x, theta), rel=1e-10)
    assert result["optimizer_result"]["converged"]


def test_when_every_start_collapses_there_is_no_estimate_but_there_is_a_mode():
    x = np.repeat([0.0, 1.0, 5.0], 10)
    with pytest.raises(
        bg.CollapseError, match=r"starts collapsed, \d+ on x0 = \d in 33% of the rows.*prior"
    ):
        bg.fit(x, 3, seed=1)
    result = bg.fit(x, 3, prior="default", seed=1)
    np.testing.assert_allclose(bg.point_estimate(result).means[:, 0], [0, 1, 5], atol=0.1)


def test_many_rows_with_few_values_can_be_fitted():
    x = np.repeat([0.0, 1.0, 5.0], [9000, 1000, 9000])
    result = bg.fit(x, 3, prior="default", n_starts=2, seed=1)
    np.testing.assert_allclose(bg.point_estimate(result).means[:, 0], [0, 1, 5], atol=0.01)
    np.testing.assert_allclose(
        bg.point_estimate(result).weights, [9 / 19, 1 / 19, 9 / 19], atol=0.01
    )


def test_too_few_iterations_are_warned_about():
    with pytest.warns(bg.ConvergenceWarning, match="max_iter"):
        result = bg.fit(FLOWERS, 3, max_iter=2, seed=1)
    assert not result["optimizer_result"]["converged"]
    assert outcome(result, "n_iterations") <= 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bg.fit(FAITHFUL, 2, n_starts=1, seed=1)["optimizer_result"]["converged"]


ROWS = np.random.default_rng(3).normal(size=(20, 2))


def changed(place: tuple[int, int], value: float) -> np.ndarray:
    x = ROWS.copy()
    x[place] = value
    return x


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (changed((3, 1), np.nan), ["X", "nan", "row 3", "x1"]),
        (changed((4, 0), np.inf), ["X", "inf", "row 4", "x0"]),
        (pd.DataFrame({"a": ROWS[:, 0], "b": ["u"] * 20}), ["X", "'b'", "text"]),
        ([["u", 1.0], ["v", 2.0]], ["X", "'u'", "row 0"]),
        (np.column_stack([ROWS, np.full(20, 3.5)]), ["X", "constant", "x2"]),
        (ROWS.reshape(5, 2, 4), ["X", "3 dimensions", "5 x 2 x 4"]),
        (np.column_stack([ROWS, 2 * ROWS[:, 0] - 3]), ["X", "columns", "x0", "x2"]),
        (np.column_stack([ROWS, ROWS.sum(axis=1)]), ["X", "columns", "x0", "x1", "x2"]),
        (ROWS[:2], ["X", "2 rows", "2 features", "EII to VVI"]),
        (ROWS[:1], ["X", "one row"]),
        (np.empty((0, 2)), ["X", "no rows"]),
        (np.empty((20, 0)), ["X", "no columns"]),
        (ROWS > 0, ["X", "True/False"]),
        (3.5, ["X", "float"]),
        (None, ["X"]),
        (FAITHFUL.rename(columns={"waiting": "eruptions"}), ["X", "two columns", "eruptions"]),
    ],
    ids=[
        "nan", "inf", "text column", "text", "constant", "3-D", "collinear pair", "collinear sum",
        "collinear for want of rows", "one row", "no rows", "no columns", "booleans", "number",
        "None", "duplicated names",
    ],
)  # fmt: skip
def test_data_that_cannot_be_fitted_are_refused(x, words):
    with refuses(*words):
        bg.fit(x, 2)


OTHER_PRIOR = bg.ConjugatePrior([1.0] * 3, [0.0, 0.0], 0.01, 4.0, np.eye(2))
ONE_FEATURE = bg.ConjugatePrior([1.0] * 2, [0.0], 0.01, 3.0, [[1.0]])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_components": 0}, ["n_components", ">= 1", "0"]),
        ({"n_components": -2}, ["n_components", "-2"]),
        ({"n_components": 2.0}, ["n_components", "whole number", "2.0"]),
        ({"n_components": True}, ["n_components", "whole number", "True"]),
        ({"n_components": "2"}, ["n_components", "'2'"]),
        ({"n_components": None}, ["n_components", "None"]),
        ({"n_components": 21}, ["n_components", "21", "20 rows"]),
        ({"covariance": "full-ish"}, ["covariance", "'full-ish'", "VVV"]),
        ({"covariance": None}, ["covariance", "None", "VVV"]),
        ({"covariance": ["VVV"]}, ["covariance", "VVV"]),
        ({"prior": "vague"}, ["prior", "'vague'", "default"]),
        ({"prior": 1.0}, ["prior", "1.0"]),
        ({"prior": OTHER_PRIOR}, ["prior", "3 components", "2"]),
        ({"prior": ONE_FEATURE}, ["prior", "1 features", "2"]),
        ({"n_starts": 0}, ["n_starts", "0"]),
        ({"max_iter": 0}, ["max_iter", "0"]),
        ({"tol": 0.0}, ["tol", "0.0"]),
        ({"tol": -1e-3}, ["tol", "-0.001"]),
        ({"tol": np.nan}, ["tol", "nan"]),
        ({"tol": "small"}, ["tol", "'small'"]),
        ({"seed": -1}, ["seed", "-1"]),
        ({"seed": "one"}, ["seed", "one"]),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, words):
    bg.fit(ROWS, 2, n_starts=1, max_iter=1000, prior="default", seed=1)
    with refuses(*words):
        bg.fit(**{"X": ROWS, "n_components": 2, **arguments})


def test_more_components_than_distinct_rows_are_refused():
    x = np.array([0.0, 0.0, 1.0, 1.0, 2.0])
    with refuses("n_components", "4", "3 distinct rows"):
        bg.fit(x, 4)


@pytest.mark.parametrize("seed", range(4))
def test_a_prior_that_rewards_an_empty_component_never_wins_by_infinity(seed):
    """With concentration below 1 the density is infinite where a weight is zero."""
    prior = bg.ConjugatePrior([0.05] * 3, [0.0, 0.0], 0.01, 4.0, np.eye(2))
    try:
        result = bg.fit(ROWS, 3, prior=prior, seed=seed)
    except (bg.InputError, bg.CollapseError) as error:
        assert "\n" not in str(error)
        return
    assert np.isfinite(outcome(result, "objective_final"))
    assert (bg.point_estimate(result).weights > 0).all()


@pytest.mark.parametrize("prior", [None, "default"])
def test_equal_weights_are_held_and_the_rest_is_the_best_under_them(prior):
    data = FAITHFUL
    held = bg.fit(data, 2, prior=prior, equal_weights=True, seed=1)
    theta = bg.point_estimate(held)
    np.testing.assert_array_equal(theta.weights, [0.5, 0.5])
    assert outcome(held, "n_parameters") == 10
    # Its own EM step, written with the book, changes nothing.
    x = data.to_numpy(float)
    share = mixture.responsibilities(x, theta)
    statistics = SufficientStatistics.of(x, share, theta.means, 0.0)
    flat = bg.ConjugatePrior.flat(2, 2) if prior is None else bg.ConjugatePrior.default(x, 2)
    after = flat.posterior(statistics).mode()
    np.testing.assert_allclose(after.means, theta.means, rtol=1e-7)
    np.testing.assert_allclose(after.covariances, theta.covariances, rtol=1e-6)
    assert outcome(held, "log_likelihood") < -1130.3


def test_errors_of_a_fit_with_equal_weights_come_from_refits():
    held = bg.fit(FAITHFUL, 2, equal_weights=True, seed=1)
    with refuses("method", "'observed'", "bootstrap"):
        bg.standard_errors(held)
    table = bg.standard_errors(
        held, method="bootstrap", n_bootstrap=5, seed=1, progressbar=False
    ).table
    assert (table.filter(like="weight", axis=0)["standard error"] == 0).all()
    assert (table.filter(like="mean[", axis=0)["standard error"] > 0).all()
