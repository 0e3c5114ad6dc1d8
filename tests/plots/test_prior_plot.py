"""What a prior says: mixtures drawn from it beside the data, for every prior that has draws."""

import numpy as np
import pandas as pd
import pytest
from helpers import refuses
from matplotlib.text import Text

from bayes_gmm.model.hierarchical_prior import HierarchicalPrior
from bayes_gmm.model.independent_prior import IndependentPrior
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.semiconjugate_prior import SemiconjugatePrior
from bayes_gmm.plots.prior import prior as picture

FAMILIES = [ConjugatePrior, IndependentPrior, HierarchicalPrior, SemiconjugatePrior]


def table(n_features, n=60):
    x = np.random.default_rng(n_features).normal(size=(n, n_features)) * 5 + 100
    return pd.DataFrame(x, columns=[f"length {j}" for j in range(n_features)])


def panels_of(figure):
    figure.canvas.draw()
    return figure.axes


@pytest.mark.parametrize("family", FAMILIES)
def test_every_panel_shows_the_data_and_one_mixture(family):
    x = table(3)
    figure = picture(family.default(x, 2), x, draws=5, seed=1)
    panels = panels_of(figure)
    assert len(panels) == 5
    for axes in panels:
        data = axes.collections[0].get_offsets()
        np.testing.assert_allclose(data, x.to_numpy()[:, :2])
        assert len(axes.collections) == 3  # the data, and rows of two components
        assert sum(len(rows.get_offsets()) for rows in axes.collections[1:]) == len(x)
        assert len(axes.lines) == 2  # their outlines
        assert axes.get_xlim() == panels[0].get_xlim()
        low, high = axes.get_ylim()
        assert low < x["length 1"].min() < x["length 1"].max() < high
    texts = " ".join(text.get_text() for text in figure.findobj(Text))
    assert family.__name__ in texts and "5 mixtures" in texts
    assert "length 0" in texts and "length 1" in texts


def test_the_outlines_are_those_of_the_draws():
    x = table(2)
    prior = ConjugatePrior.default(x, 2)
    figure = picture(prior, x, draws=3, seed=7)
    rng = np.random.default_rng(7)
    for axes in panels_of(figure):
        theta = prior.sample(rng)
        for k, line in enumerate(axes.lines):
            gap = np.stack(line.get_data(), axis=1) - theta.means[k]
            distance = np.einsum("ni,ij,nj->n", gap, np.linalg.inv(theta.covariances[k]), gap)
            np.testing.assert_allclose(distance, -2 * np.log(0.05), rtol=1e-6)


def test_one_feature_is_drawn_as_densities():
    x = table(3)
    figure = picture(ConjugatePrior.default(x, 2), x, "length 2", draws=2)
    for axes in panels_of(figure):
        assert len(axes.lines) == 3  # the mixture and two components
        mixture, *components = (line.get_ydata() for line in axes.lines)
        np.testing.assert_allclose(mixture, sum(components))


def test_the_picture_does_not_depend_on_units():
    x = table(2)
    scale, shift = np.array([1e-6, 1e6]), np.array([1.0, -5e7])
    here = panels_of(picture(HierarchicalPrior.default(x, 2), x, draws=2))
    moved = shift + scale * x.to_numpy()
    there = panels_of(picture(HierarchicalPrior.default(moved, 2), moved, draws=2))
    for one, other in zip(here, there, strict=True):
        np.testing.assert_allclose(shift[0] + scale[0] * np.array(one.get_xlim()), other.get_xlim())


def test_what_cannot_be_drawn_is_refused():
    x = table(2)
    with refuses("prior", "sample_prior_predictive"):
        picture(lambda: None, x)
    with refuses("prior is for 1", "X has 2"):
        picture(ConjugatePrior.default(x["length 0"], 2), x)
    with refuses("features", "one or two"):
        picture(ConjugatePrior.default(table(3), 2), table(3), ["length 0", "length 1", "length 2"])
    with refuses("features", "height", "length 0"):
        picture(ConjugatePrior.default(x, 2), x, "height")
    with refuses("draws", "0"):
        picture(ConjugatePrior.default(x, 2), x, draws=0)
