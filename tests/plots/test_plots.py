import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text
from results.synthetic import (
    exact_draws,
    maximum_likelihood,
    one_component,
    posterior_result,
    two_components,
)

import bayes_gmm as bg
from bayes_gmm import plots
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.plots import panels, style
from bayes_gmm.plots.checks import _pair_labels
from bayes_gmm.plots.subject import Subject
from bayes_gmm.results.checks import check
from bayes_gmm.results.compare import compare

NAMES = ["eruptions", "waiting"]


@pytest.fixture(scope="module")
def world():
    x, _, _, posterior = two_components(3, n=150, n_draws=100, names=NAMES)
    return x, bg.fit(pd.DataFrame(x, columns=NAMES), 2, n_starts=3, seed=0), posterior


@pytest.fixture(scope="module")
def wide():
    """Eight features, two components that differ most in the last six."""
    rng = np.random.default_rng(0)
    offset = np.array([0.0, 0.1, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    theta = Parameters([0.5, 0.5], [-offset, offset], [np.eye(8), np.eye(8)])
    x, _ = mixture.sample(theta, 4000, rng)
    return theta, x


def draw(figure):
    """Draw a figure as a file would be, warnings being errors."""
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert figure._repr_png_().startswith(b"\x89PNG")
    return figure


def texts(figure):
    """Everything that is written on a figure."""
    return " | ".join(text.get_text() for text in figure.findobj(Text))


def title(figure):
    return figure.get_suptitle()


def test_every_feature_is_named_on_the_axes(world):
    _, point, posterior = world
    for figure in (
        plots.mixture(point),
        plots.mixture(posterior),
        plots.comparison(point, posterior),
        plots.checks(check(posterior, draws=50, seed=1)),
    ):
        written = texts(draw(figure))
        assert all(name in written for name in NAMES)


def test_pictures_leave_nothing_open_in_pyplot(world):
    _, point, posterior = world
    plots.mixture(point)
    plots.ranks(posterior)
    assert plt.get_fignums() == []


def test_a_cluster_has_one_color_in_all_pictures(world):
    _, point, posterior = world
    colors = {style.color(0), style.color(1)}
    for figure in (plots.mixture(point), plots.comparison(point, posterior)):
        drawn = {to_hex(line.get_color()).upper() for axes in figure.axes for line in axes.lines}
        assert {color.upper() for color in colors} <= drawn


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_mixture_has_a_panel_per_feature_and_pair(d):
    x, _, posterior = one_component(1, n=40, n_draws=30, d=d)
    panels_expected = {1: 1, 2: 1, 3: 6}[d]
    assert len(draw(plots.mixture(posterior)).axes) == panels_expected
    assert len(draw(plots.mixture(bg.point_estimate(posterior))).axes) == panels_expected
    assert len(draw(plots.mixture(bg.point_estimate(posterior), X=x)).axes) == panels_expected


def test_of_many_features_the_six_that_separate_the_components_are_shown(wide):
    theta, x = wide
    figure = plots.mixture(theta, x)
    assert "6 of 8 features" in title(figure)
    assert "4,000 rows, 3,000 of them shown" in title(figure)
    written = texts(figure)
    assert "x7" in written
    assert "x0" not in written


def test_a_fit_that_kept_no_rows_is_drawn_without_them(world):
    x, point, _ = world
    kept = point.copy()
    del kept["observed_data"]
    assert "rows" not in title(draw(plots.mixture(kept)))
    assert "150 rows" in title(draw(plots.mixture(kept, x)))


def test_chosen_features_are_shown_in_their_order(wide):
    theta, x = wide
    figure = plots.mixture(theta, x, features=["x5", "x1"])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("x5", "x1")
    assert figure.axes[0].get_title() == ""


def test_a_feature_that_is_not_there_is_named_with_a_hint(world):
    _, point, _ = world
    with pytest.raises(InputError, match="'wating'; did you mean 'waiting'"):
        plots.mixture(point, features=["wating"])
    with pytest.raises(InputError, match="features is empty"):
        plots.mixture(point, features=[])


def test_an_ellipse_holds_its_share_of_the_component():
    theta = Parameters([1.0], [[3.0, -2.0]], [[[2.0, 1.2], [1.2, 1.0]]])
    for share in panels.ELLIPSES:
        edge = panels.ellipse(theta, 0, share)
        whitened = np.linalg.solve(theta.choleskys[0], (edge - theta.means[0]).T)
        # Inside radius r lie 1 - exp(-r^2 / 2) of a standard normal in the plane.
        assert 1 - np.exp(-(whitened**2).sum(axis=0) / 2) == pytest.approx(share)


def test_shaded_regions_hold_their_share_of_the_mixture(world):
    _, point, _ = world
    subject = Subject.of(point)
    axes = style.picture(4, 4).add_subplot()
    panels.two_features(axes, subject)
    levels = next(c.levels for c in axes.collections if hasattr(c, "levels"))
    sampled, _ = mixture.sample(subject.point, 20_000, np.random.default_rng(5))
    density = mixture.marginal_log_density(sampled, subject.point)
    shares = [(density > level).mean() for level in levels[:-1]]
    assert shares == pytest.approx(panels.REGIONS, abs=0.025)


def test_the_curve_of_one_feature_is_a_density_inside_its_band():
    _, _, posterior = one_component(2, n=40, n_draws=50, d=1)
    figure = plots.mixture(posterior)
    line = max(figure.axes[0].lines, key=lambda candidate: candidate.get_linewidth())
    x, height = line.get_data()
    assert np.trapezoid(height, x) == pytest.approx(1, abs=0.03)
    band = next(c for c in figure.axes[0].collections if len(c.get_paths()) == 1)
    corners = band.get_paths()[0].vertices
    low, high = corners[:, 1].min(), corners[:, 1].max()
    assert low <= height.min() and height.max() <= high


def test_estimates_are_marked_at_their_values(world):
    _, point, posterior = world
    figure = draw(plots.comparison({"ours": point}, posterior))
    assert "ours" in texts(figure)
    data = compare({"ours": point}, posterior).dataset
    expected = data["estimate"].to_numpy()[0, data["kind"].to_numpy() != "covariance"]
    marked = [
        float(line.get_xdata()[0])
        for axes in figure.axes
        for line in axes.lines
        if line.get_marker() == style.ESTIMATORS[0][0]
    ]
    assert sorted(marked) == pytest.approx(sorted(expected))


def test_an_estimate_far_from_the_posterior_is_an_arrow_with_its_value(world):
    _, _, posterior = world
    theta = bg.point_estimate(posterior)
    far = Parameters(theta.weights, theta.means + np.array([0.0, 1000.0]), theta.covariances)
    figure = draw(plots.comparison({"far": far}, posterior))
    arrows = [line for axes in figure.axes for line in axes.lines if line.get_marker() == ">"]
    assert len(arrows) == 2
    assert f"{theta.means[0, 1] + 1000:.4g}" in texts(figure)


def test_two_estimates_at_one_place_are_both_seen():
    heights = {style.estimator_height(position) for position in range(2)}
    assert len(heights) == 2


def test_many_quantities_are_cut_to_the_most_surprising():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 7))
    exact = ConjugatePrior.default(x, 1)
    draws = exact_draws(exact, 2, 30, rng)
    posterior = posterior_result(draws, x, exact)
    figure = draw(plots.comparison(bg.point_estimate(posterior), posterior))
    assert "30 of 35 quantities" in title(figure)


def test_chains_that_agree_stay_in_the_band_and_others_leave_it():
    x, exact, _ = one_component(4, n=60, n_draws=150, d=1)
    weights, means, covariances = exact_draws(exact, 4, 150, np.random.default_rng(1))
    apart = means.copy()
    apart[0] += 3 * means.std()
    for moved, inside in ((means, True), (apart, False)):
        result = posterior_result((weights, moved, covariances), x, ConjugatePrior.default(x, 1))
        figure = draw(plots.ranks(result))
        excess = []
        for axes in figure.axes:
            if axes.get_title(loc="right").startswith("R-hat"):
                band = axes.patches[0].get_height() / 2
                excess.append(max(np.abs(line.get_ydata()).max() for line in axes.lines) / band)
        assert (max(excess) < 1) == inside


def test_the_trajectory_starts_and_ends_where_em_did():
    point = bg.fit(bg.datasets.load("faithful"), 2, seed=1, n_starts=4)
    figure = draw(plots.em_trajectory(point))
    objective = point["optimizer_result"]["objective"].to_numpy()
    line = next(line for line in figure.axes[0].lines if len(line.get_ydata()) == len(objective))
    assert line.get_ydata() == pytest.approx(objective)
    assert "led to the optimum" in title(figure)
    gaps = figure.axes[1].lines[0].get_ydata()
    assert gaps[0] == pytest.approx(objective[-1] - objective[0])
    assert (np.diff(gaps) < 0).all()


def test_one_component_has_no_climb_to_show():
    figure = draw(plots.em_trajectory(bg.fit(bg.datasets.load("faithful"), 1)))
    assert "one step" in texts(figure)


def test_a_trajectory_needs_a_fit(world):
    _, point, posterior = world
    for other in (posterior, bg.point_estimate(point), None):
        with pytest.raises(InputError, match=r"bg\.fit"):
            plots.em_trajectory(other)


def test_pairs_are_named_as_the_checks_name_them():
    _, _, posterior = one_component(1, n=40, n_draws=30, d=3)
    tree = check(posterior, draws=20, seed=0).tree
    assert _pair_labels(tree) == list(tree["correlations"]["pair"].to_numpy())


def test_long_names_are_cut_and_nothing_collapses():
    names = [f"concentration of something rather long (mg/l, dry weight) {j}" for j in range(3)]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    exact = ConjugatePrior.default(x, 2)
    posterior = posterior_result(exact_draws(exact, 2, 20, rng), x, exact, names=names)
    for figure in (
        plots.mixture(posterior),
        plots.comparison(bg.point_estimate(posterior), posterior),
        plots.checks(check(posterior, draws=20, seed=0)),
    ):
        assert "…" in texts(draw(figure))


def test_surprising_statistics_stand_out():
    rng = np.random.default_rng(0)
    skewed = rng.exponential(size=(300, 1)) ** 2
    exact = ConjugatePrior.default(skewed, 1)
    fitted = maximum_likelihood(skewed, np.zeros(300, int), 1)
    draws = (
        np.ones((2, 100, 1)),
        np.tile(fitted.means, (2, 100, 1, 1)),
        np.tile(fitted.covariances, (2, 100, 1, 1, 1)),
    )
    result = check(posterior_result(draws, skewed, exact), draws=200, seed=1)
    figure = draw(plots.checks(result))
    marks = [line for line in figure.axes[1].lines if line.get_marker() == "D"]
    assert len(marks) == len(result.surprising) > 0
    assert "surprising" in texts(figure)


def test_units_do_not_change_a_picture(world):
    x, _, _ = world
    scaled = x * [1e-9, 1e9] + [1.0, 0.0]
    figure = draw(plots.mixture(bg.fit(scaled, 2, seed=0, n_starts=3)))
    assert len(figure.axes[0].collections) > 0
