import numpy as np
import pytest
from matplotlib.text import Text
from results.synthetic import FAR_APART, one_component, two_components

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.plots.predictive import MOST_FEATURES, predictive
from bayes_gmm.results.predictive import log_density

NAMES = ["eruptions", "waiting"]


@pytest.fixture(scope="module")
def world():
    return two_components(3, n=60, n_draws=20, names=NAMES)


def written(figure):
    return " | ".join(text.get_text() for text in figure.findobj(Text))


def test_each_feature_has_its_predictive_density_inside_its_band(world):
    figure = predictive(world[3])
    figure.canvas.draw()
    assert [axes.get_xlabel() for axes in figure.axes] == NAMES
    assert "95% credible band" in written(figure)
    for axes in figure.axes:
        x, density = axes.lines[0].get_data()
        assert np.trapezoid(density, x) == pytest.approx(1, abs=0.02)
        band = axes.collections[0].get_paths()[0].vertices
        inside = band[np.isclose(band[:, 0], x[len(x) // 3])][:, 1]
        assert inside.min() < density[len(x) // 3] < inside.max()


def test_the_line_is_the_posterior_predictive_density():
    _, _, posterior = one_component(2, d=1)
    at, density = predictive(posterior, ci_prob=0.5).axes[0].lines[0].get_data()
    np.testing.assert_allclose(density, np.exp(log_density(posterior, at)), rtol=1e-9)


def test_a_point_has_a_line_and_no_band(world):
    figure = predictive(FAR_APART, world[0])
    assert not figure.axes[0].collections
    assert "band" not in written(figure)
    assert "60 rows" in written(figure)
    bare = predictive(FAR_APART)
    assert not bare.axes[0].patches


def test_features_are_chosen_by_name_or_by_what_separates(world):
    assert [axes.get_xlabel() for axes in predictive(world[3], features="waiting").axes] == NAMES[
        1:
    ]
    with pytest.raises(InputError, match="did you mean 'waiting'"):
        predictive(world[3], features=["waitin"])
    with pytest.raises(InputError, match="features is empty"):
        predictive(world[3], features=[])
    d = MOST_FEATURES + 2
    apart = np.stack([np.zeros(d), np.arange(d)])
    wide = predictive(Parameters([0.5, 0.5], apart, [np.eye(d), np.eye(d)]))
    shown = [axes.get_xlabel() for axes in wide.axes]
    assert shown == [f"x{j}" for j in range(2, d)]
    assert f"the {MOST_FEATURES} of {d} features" in wide.get_suptitle()
