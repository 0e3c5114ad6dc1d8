"""What a prior of K says: bars are its probabilities, lines are partitions, cuts are said."""

import numpy as np
import pytest
from helpers import refuses
from matplotlib.text import Text

import bayes_gmm as bg

DEFAULT = bg.NumberOfComponents()
PROCESS = bg.NumberOfComponents.dirichlet_process(alpha=1.5)


def parts(figure):
    figure.canvas.draw()
    left, right = figure.axes
    words = " ".join(text.get_text() for text in figure.findobj(Text))
    return left, right, words


def heights(axes, place):
    return np.array([bar.get_height() for bar in axes.containers[place]])


def test_the_bars_are_the_probabilities_of_k_and_of_the_clusters():
    left, _, words = parts(bg.plots.prior(DEFAULT, n_rows=50))
    of_k, of_clusters = heights(left, 0), heights(left, 1)
    assert len(of_k) == len(of_clusters) > 5
    np.testing.assert_allclose(of_k, np.exp(DEFAULT.log_probabilities[: len(of_k)]))
    np.testing.assert_allclose(of_clusters, DEFAULT.cluster_probabilities(50)[: len(of_k)])
    centers = [bar.get_x() + bar.get_width() / 2 for bar in left.containers[1]]
    np.testing.assert_array_equal(np.round(centers), 1 + np.arange(len(of_k)))
    for said in ("50 rows", "beta-negative-binomial(1, 4, 3)", "alpha ~ F(6, 3)", "clusters, K+"):
        assert said in words


def test_a_dirichlet_process_has_clusters_alone():
    left, _, words = parts(bg.plots.prior(PROCESS, n_rows=50))
    assert len(left.containers) == 1
    np.testing.assert_allclose(
        heights(left, 0), PROCESS.cluster_probabilities(50)[: len(heights(left, 0))]
    )
    assert "Dirichlet process" in words
    assert "components, K" not in words


@pytest.mark.parametrize("number", [DEFAULT, PROCESS], ids=["default", "process"])
def test_every_line_is_a_partition_of_all_rows_largest_cluster_first(number):
    _, right, words = parts(bg.plots.prior(number, n_rows=30, draws=7, seed=2))
    widths = np.array([[bar.get_width() for bar in of] for of in right.containers])
    np.testing.assert_allclose(widths.sum(axis=0), 1)
    assert (np.diff(widths[:-1], axis=0) <= 1e-9).all()
    sizes = number.sample_sizes(30, 7, np.random.default_rng(2))[1]
    drawn = np.round(30 * widths[:-1].T).astype(int)
    assert sorted(drawn.tolist()) == sorted(sizes.tolist())
    assert (np.diff((drawn > 0).sum(axis=1)) >= 0).all()
    assert "7 partitions" in words


def test_what_is_beyond_the_frame_is_said():
    wide = bg.NumberOfComponents("uniform", maximum=60, concentration="static")
    left, right, words = parts(bg.plots.prior(wide, n_rows=3000))
    assert left.get_xlim()[1] < 31
    assert "P(K > 30) = 0.5, not shown" in words
    beyond = wide.cluster_probabilities(3000)[30:].sum()
    assert f"P(K+ > 30) = {beyond:.2g}, not shown" in words
    assert max(bar.get_x() + bar.get_width() for of in right.containers for bar in of) <= 1 + 1e-9


def test_only_the_number_of_rows_of_a_table_matters():
    rows = np.random.default_rng(0).normal(size=(40, 2))
    left, _, words = parts(bg.plots.prior(DEFAULT, rows))
    assert "40 rows" in words
    np.testing.assert_array_equal(
        heights(left, 1), heights(parts(bg.plots.prior(DEFAULT, n_rows=40))[0], 1)
    )


def test_a_prior_of_k_needs_the_number_of_rows_and_no_other_prior_does():
    rows = np.zeros((5, 1)) + np.arange(5.0)[:, None]
    for arguments in ({}, {"X": rows, "n_rows": 5}, {"n_rows": 5, "features": ["a"]}):
        with refuses("n_rows", "X"):
            bg.plots.prior(DEFAULT, **arguments)
    with refuses("n_rows", "0"):
        bg.plots.prior(DEFAULT, n_rows=0)
    with refuses("draws", "0"):
        bg.plots.prior(DEFAULT, n_rows=5, draws=0)
    conjugate = bg.ConjugatePrior.default(rows, 2)
    with refuses("n_rows", "X"):
        bg.plots.prior(conjugate, rows, n_rows=5)
    with refuses("X"):
        bg.plots.prior(conjugate)
