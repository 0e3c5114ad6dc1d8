"""The pictures of `how_many` and `merge`: what is drawn is what was found."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import bayes_gmm as bg
from bayes_gmm.plots import style
from bayes_gmm.results.how_many import HowMany

FAITHFUL = bg.datasets.load("faithful")


@pytest.fixture(scope="module")
def found():
    asked = bg.how_many(
        FAITHFUL,
        range(1, 5),
        criteria=["bic", "icl", "modes"],
        covariance="EEE",
        seed=1,
        progressbar=False,
    )
    own = {
        "elpd_difference": ("n_components", [-150.0, -9.0, 0.0, -1.0]),
        "elpd_difference_se": ("n_components", [8.0, 3.0, 0.0, 1.0]),
        "p_value": ("n_components", [0.01, 0.3, np.nan, np.nan]),
        "probability_n_clusters": ("number", [0.0, 0.7, 0.3, 0.0]),
        "probability_n_clusters_se": ("number", [np.nan, 0.1, 0.05, np.nan]),
    }
    return HowMany(asked.dataset.assign(own).assign_coords(number=range(1, 5)), asked.selection)


def test_every_criterion_has_a_panel_with_its_values_and_its_answer_ringed(found):
    figure = bg.plots.how_many(found)
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes if axes.axison}
    assert list(panels) == [
        "BIC: 3",
        "ICL: 2",
        "modes: 2",
        "bootstrap test: 2",
        "LOO: 3",
        "posterior of K+: 2",
    ]
    for title, name in (("BIC: 3", "bic"), ("ICL: 2", "icl")):
        curve, ring = panels[title].lines
        np.testing.assert_array_equal(curve.get_ydata(), found.dataset[name])
        answer = found.answers[name]
        assert ring.get_xydata().tolist() == [[answer, found.dataset[name][answer - 1].item()]]
    # The modes are those of the fit that BIC chooses.
    assert panels["modes: 2"].lines[-1].get_xydata().tolist() == [[3, 2]]
    bars = panels["LOO: 3"].collections[0].get_segments()
    np.testing.assert_allclose([np.ptp(bar[:, 1]) for bar in bars], [32, 12, 0, 4])
    assert panels["bootstrap test: 2"].lines[0].get_xydata().tolist() == [[1, 0.01], [2, 0.3]]
    heights = [bar.get_height() for bar in panels["posterior of K+: 2"].patches]
    assert heights == [0.0, 0.7, 0.3]
    errors = panels["posterior of K+: 2"].collections[0].get_segments()
    np.testing.assert_allclose([np.ptp(bar[:, 1]) for bar in errors], [0, 0.4, 0.2])
    assert figure.get_suptitle().split() == found.sentences[0].split()


def test_answers_are_inside_their_frames(found):
    for axes in bg.plots.how_many(found).axes:
        for line in axes.lines[1:]:
            if line.get_marker() == "o":
                (x, y), (low, high) = line.get_xydata()[0], axes.get_ylim()
                assert low < y < high
                assert axes.get_xlim()[0] < x < axes.get_xlim()[1]


def test_a_single_criterion_is_a_single_panel():
    alone = bg.how_many(FAITHFUL, [1, 2], criteria="bic", covariance="EEE", progressbar=False)
    (axes,) = bg.plots.how_many(alone).axes
    assert axes.get_title(loc="left") == "BIC: 2"


@pytest.mark.parametrize("by", ["entropy", "modes"])
def test_the_tree_has_a_bracket_at_the_height_of_each_merger(by):
    merged = bg.merge(bg.fit(FAITHFUL, 5, covariance="EEE", seed=0), by=by)
    tree, curve = bg.plots.mergers(merged).axes
    brackets = [line for line in tree.lines if len(line.get_xdata()) == 4]
    np.testing.assert_allclose([line.get_ydata()[1] for line in brackets], merged.linkage[:, 2])
    names = [label.get_text() for label in tree.get_xticklabels()]
    assert sorted(names) == list("01234")
    # Leaves have the color of their cluster, in the order of the axis.
    member = merged.dataset["merged_cluster"].to_numpy()
    leaves = [to_hex(line.get_color()) for line in tree.lines if line.get_marker() == "o"]
    assert leaves == [style.color(member[int(name)]).lower() for name in names]
    # A bracket reaches down to what it joins: leaves at 0, or the brackets below.
    place = dict(zip(map(int, names), tree.get_xticks(), strict=True))
    for number, (bracket, joined) in enumerate(zip(brackets, merged.linkage, strict=True), 5):
        ends = [(bracket.get_xdata()[i], bracket.get_ydata()[i]) for i in (0, 3)]
        own = [
            (place[node], 0 if node < 5 else merged.linkage[node - 5, 2])
            for node in joined[:2].astype(int)
        ]
        np.testing.assert_allclose(ends, own)
        place[number] = np.mean([x for x, _ in own])
    np.testing.assert_allclose(curve.lines[0].get_ydata(), merged.dataset["entropy"])
    assert curve.lines[1].get_xdata().tolist() == [merged.n_clusters]


def test_one_component_has_no_tree():
    with pytest.raises(bg.InputError, match="one component only"):
        bg.plots.mergers(bg.merge(bg.fit(FAITHFUL, 1)))
