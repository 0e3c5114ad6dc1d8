import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.patches import Rectangle
from results.synthetic import FAR_APART, two_components

from bayes_gmm.errors import InputError
from bayes_gmm.plots import coclustering as plots
from bayes_gmm.results.clustering import co_clustering, partition


@pytest.fixture(scope="module")
def world():
    x, z, _, posterior = two_components(3, n=60, n_draws=20)
    return x, z, posterior


def blocks(figure):
    patches = figure.axes[0].findobj(Rectangle)
    return [patch for patch in patches if patch.axes is figure.axes[0] and not patch.get_fill()]


def row_names(figure):
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_clusters_are_blocks_along_the_diagonal(world):
    _, z, posterior = world
    found = partition(posterior, seed=0)
    figure = plots.co_clustering(co_clustering(posterior), found)
    figure.canvas.draw()
    sizes = np.sort(np.bincount(z))[::-1]
    drawn = [(patch.get_xy(), patch.get_width()) for patch in blocks(figure)]
    assert drawn == [((0, 0), sizes[0]), ((sizes[0], sizes[0]), sizes[1])]
    shown = figure.axes[0].images[0].get_array()
    together = np.zeros((60, 60))
    together[: sizes[0], : sizes[0]] = together[sizes[0] :, sizes[0] :] = 1
    np.testing.assert_allclose(shown, together, atol=1e-3)
    assert row_names(figure) == [f"cluster {k}: {sizes[k]} rows" for k in (0, 1)]
    assert figure.get_suptitle().startswith("60 rows in 2 clusters")
    assert plt.get_fignums() == []


def test_rows_of_few_are_named_the_surest_first(world):
    x = np.array([[-8.0, 50.0], [2.0, 66.0], [8.0, 80.0], [8.1, 80.0], [-8.1, 50.0]])
    matrix = co_clustering(FAR_APART, x)
    figure = plots.co_clustering(matrix)
    assert sorted(row_names(figure)) == list("01234")
    assert row_names(figure)[2] == "1"  # the doubtful one is the last of its cluster
    assert plots.co_clustering(matrix[:1, :1]).axes[0].images[0].get_array().shape == (1, 1)


def test_a_matrix_finer_than_the_picture_is_averaged(monkeypatch):
    values = np.random.default_rng(0).random((7, 7))
    monkeypatch.setattr(plots, "MOST_CELLS", 3)
    cells = [slice(0, 3), slice(3, 6), slice(6, 7)]
    truth = [[values[a, b].mean() for b in cells] for a in cells]
    np.testing.assert_allclose(plots._thinned(values), truth)


def test_what_does_not_belong_together_is_refused(world):
    posterior = world[2]
    matrix = co_clustering(posterior, rows=10)
    with pytest.raises(InputError, match=r"found has other rows \(60\) than matrix \(10\)"):
        plots.co_clustering(matrix, partition(posterior, seed=0))
    with pytest.raises(InputError, match="matrix must come from"):
        plots.co_clustering(posterior)
    with pytest.raises(InputError, match="found must come from"):
        plots.co_clustering(matrix, xr.Dataset())
