"""The recipes of the documentation recover the parameters that their data were drawn with."""

import re
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest

import bayes_gmm as bg

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
CELL = re.compile(r"```\{code-cell\}\n(.*?)```", re.DOTALL)
MOST = 5.0  # posterior standard deviations


def sections():
    """The code of each section, and that which comes before all."""
    first, *others = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    named = {one.splitlines()[0]: CELL.findall(one) for one in others}
    return CELL.findall(first), {name: cells for name, cells in named.items() if cells}


SETUP, RECIPES = sections()


def run(cells, space):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyMC's own
        for cell in cells:
            exec(cell, space)
    return space


@pytest.fixture(scope="module")
def setup():
    return run(SETUP, {})


def test_every_recipe_brings_its_draws_back_and_judges_them():
    assert len(RECIPES) == 6
    for cells in RECIPES.values():
        code = "".join(cells)
        assert code.index("bg.from_trace(") < code.index("bg.diagnose(") < code.index("bg.compare(")


def z_scores(truth, result):
    table = bg.compare(truth, result).table
    return table.filter(like="z ").to_numpy()


@pytest.mark.validate
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_recovers_the_truth(setup, recipe, capsys):
    space = run(RECIPES[recipe], dict(setup))
    said = capsys.readouterr().out
    assert "Converged" in said
    assert "Not converged" not in said
    pairs = {
        "Ordered means": lambda: [(space["ordered_truth"], space["result"])],
        "Groups that share components": lambda: zip(
            space["of_site"], space["results"].values(), strict=True
        ),
        "Means that depend on a covariate": lambda: [(space["at_dose"][2], space["result"])],
    }.get(recipe, lambda: [(space["truth"], space["result"])])()
    for truth, result in pairs:
        z = z_scores(truth, result)
        assert z.size
        assert np.abs(z).max() < MOST
    if "z" in space:
        assert np.abs(space["z"]).max() < MOST


def numpyro_program():
    (program,) = re.findall(r"```python\n(import arviz.*?)```", PAGE, re.DOTALL)
    return program


@pytest.mark.validate
def test_the_program_in_numpyro_recovers_the_truth(setup, capsys):
    """With fewer draws than on the page, which says all the same."""
    pytest.importorskip("numpyro")
    code = numpyro_program().replace("1000", "400")
    space = run([code], dict(setup))
    assert "Converged" in capsys.readouterr().out
    z = z_scores(space["truth"], space["result"])
    assert np.abs(z).max() < MOST


def test_the_page_says_which_extra_has_numpyro():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(one.startswith("numpyro") for one in project["optional-dependencies"]["jax"])
    assert "bayes-gmm[jax]" in PAGE
    compile(numpyro_program(), "recipes.md", "exec")
