"""What docs/arviz.md says of each function of ArviZ is so: its tables are read, each call is made.

A row says "works", "needs" something, or "cannot". A call that works is made on a result as
`sample` returns it. One that needs something is made with it, and fails without each thing that it
needs.
"""

import re
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import bayes_gmm as bg
from bayes_gmm.results.groups import NAMES

PAGE = (Path(__file__).parents[1] / "docs" / "arviz.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
X = bg.datasets.load("faithful").iloc[::4]
ENERGY, ONE, REFIT = "nuts or pymc", "one feature", "`Refit`"
GROUPS = {f"`{name}`": name for name in NAMES}
SETTINGS = {"draws": 60, "tune": 60, "seed": 1, "progressbar": False}
COMPILES = {"loo_moment_match"}  # a PyMC model, which takes a minute
pytestmark = pytest.mark.filterwarnings("ignore")  # few draws, on purpose


class Row(NamedTuple):
    """A function, whether it works, what it needs, and a call of it."""

    name: str
    can: bool
    needs: tuple[str, ...]
    call: str


def read(page: str) -> list[Row]:
    """Read the rows of all tables that have a call."""
    rows = []
    for name, status, call in re.findall(r"^\| `(\w+)` \| ([^|]*) \| `(.*?)` \|", page, re.M):
        verb, _, what = status.partition(" ")
        assert verb in ("works", "needs", "cannot") and bool(what) == (verb == "needs"), status
        needs = tuple(what.split(", ")) if what else ()
        assert {*needs} <= {*GROUPS, ENERGY, ONE, REFIT}, status
        rows.append(Row(name, verb != "cannot", needs, call))
    return rows


ROWS = read(PAGE)


@cache
def drawn(n_components: int, engine: str) -> xr.DataTree:
    """Draw few, once."""
    return bg.sample(X, n_components, engine=engine, **SETTINGS)


@cache
def with_groups(n_components: int, engine: str, groups: tuple[str, ...]) -> xr.DataTree:
    return bg.add_groups(drawn(n_components, engine), groups, draws=100, seed=1)


@cache
def refit_class() -> type:
    """The class that the page shows."""
    (block,) = (block for block in BLOCKS if "class Refit" in block)
    own = {"az": az, "bg": bg, "X": X, "posterior": drawn(2, "gibbs")}
    exec(block, own)
    return own["Refit"]


def make(row: Row, given: tuple[str, ...], folder: Path):
    """Make the call of a row, with these things given."""
    engine = "nuts" if ENERGY in given else "gibbs"
    groups = tuple(GROUPS[need] for need in given if need in GROUPS)
    posterior = with_groups(2, engine, groups)
    one = bg.one_feature(posterior, "waiting")
    names = {
        "az": az,
        "bg": bg,
        "X": X,
        "posterior": posterior,
        "other": with_groups(3, engine, groups),
        "nuts": drawn(2, "nuts"),
        "draws": posterior["posterior"].sel(cluster=0),
        "point": posterior["point_estimate"],
        "height": posterior["invariants"]["log_posterior"],
        "one": posterior if ONE in row.needs and ONE not in given else one,
        "path": folder / "posterior",
        "np": np,
    }
    if REFIT in given:
        names["refit"] = refit_class()(2, posterior, sample_kwargs=SETTINGS)
    try:
        return eval(row.call, names)
    finally:
        plt.close("all")


def fails(row: Row, given: tuple[str, ...], folder: Path) -> bool:
    """Whether ArviZ cannot make the call, which ends in an exception of any kind."""
    try:
        make(row, given, folder)
    except (NameError, SyntaxError):
        raise
    except Exception:
        return True
    return False


def test_the_tables_list_every_public_name_once():
    public = {
        name
        for name in dir(az)
        if not name.startswith("_") and not isinstance(getattr(az, name), ModuleType)
    }
    apart = PAGE.partition("These have nothing to do with a result")[2].partition("## ")[0]
    listed = [*(row.name for row in ROWS), *re.findall(r"`(\w+)`", apart)]
    assert sorted(listed) == sorted(public)


def test_each_call_is_one_of_its_function():
    for row in ROWS:
        assert f"az.{row.name}(" in row.call


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(row, marks=pytest.mark.validate if row.name in COMPILES else ())
        for row in ROWS
        if row.can
    ],
    ids=lambda row: row.name,
)
def test_it_works_with_what_it_needs_and_not_without(row, tmp_path):
    make(row, row.needs, tmp_path)
    for need in row.needs:
        if need != REFIT:  # an argument of the call
            assert fails(row, tuple(other for other in row.needs if other != need), tmp_path), need


@pytest.mark.parametrize("row", [row for row in ROWS if not row.can], ids=lambda row: row.name)
def test_it_cannot(row, tmp_path):
    everything = (*GROUPS, ENERGY)
    assert fails(row, everything, tmp_path)


def test_a_wrong_claim_would_be_noticed(tmp_path):
    claims = (
        "| `loo` | works | `az.loo(posterior)` | |\n| `rhat` | cannot | `az.rhat(posterior)` | |"
    )
    works, cannot = read(claims)
    assert works == Row("loo", True, (), "az.loo(posterior)")
    with pytest.raises(TypeError, match="log likelihood not found"):
        make(works, works.needs, tmp_path)
    assert not cannot.can
    assert not fails(cannot, (), tmp_path)


def test_the_examples_of_the_page_run(monkeypatch):
    few = partial(bg.sample, draws=100, tune=50, progressbar=False)
    monkeypatch.setattr(bg, "sample", few)
    own = {}
    for block in BLOCKS:
        exec(block, own)
        plt.close("all")
    assert {*own["posterior"].children} >= {*NAMES} - {"prior_predictive"}


def test_a_saved_result_is_reopened_with_its_groups(tmp_path):
    posterior = with_groups(2, "gibbs", NAMES)
    path = bg.save(posterior, tmp_path / "posterior.nc")
    with xr.open_datatree(path) as opened:
        assert {*NAMES} <= {*opened.children}
        found, expected = (az.loo(tree, pointwise=True) for tree in (opened, posterior))
        assert found.elpd == expected.elpd
        np.testing.assert_array_equal(found.pareto_k, expected.pareto_k)
        again = bg.add_groups(opened.drop_nodes("log_likelihood"), "log_likelihood")
        xr.testing.assert_equal(
            again["log_likelihood"].to_dataset(), posterior["log_likelihood"].to_dataset()
        )
