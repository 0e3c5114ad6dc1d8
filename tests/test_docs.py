"""What the documents promise is true: examples run, links lead somewhere, notebooks are clean."""

import ast
import doctest
import importlib
import json
import pydoc
import re
import warnings
from functools import partial
from pathlib import Path

import pytest

import bayes_gmm as bg

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "bayes_gmm"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EQUATION = re.compile(r"^\| \$.*\$ \| \{py:obj\}`[^<]*<([\w.]+)>`<br>`(.+)::(\w+)` \|$")


def modules_with_examples():
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text("utf-8")]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]


def table_rows():
    lines = (ROOT / "docs" / "equations.md").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| $")]


def code_blocks(path):
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings_give_what_they_say(name):
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.attempted > 0
    assert result.failed == 0


def test_every_module_of_the_book_is_documented_and_no_other():
    book = (ROOT / "docs" / "book.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ([\w.]+)$", book.split("## The pass")[0], re.MULTILINE))
    files = [path.relative_to(PACKAGE / "model") for path in (PACKAGE / "model").rglob("*.py")]
    found = {".".join(path.with_suffix("").parts) for path in files if path.stem != "__init__"}
    assert listed == found


def test_every_public_name_is_in_the_reference():
    reference = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   (\w+)$", reference, re.MULTILINE))
    assert set(bg.__all__) - {"datasets", "plots", "results"} <= listed
    assert set(bg.datasets.__all__) <= listed
    assert set(bg.plots.__all__) <= listed
    assert set(bg.results.__all__) <= listed


def test_the_equation_table_has_its_rows():
    assert len(table_rows()) > 20


@pytest.mark.parametrize("row", table_rows())
def test_every_equation_leads_to_a_function_and_to_a_test(row):
    match = EQUATION.match(row)
    assert match, "a row is | $equation$ | {py:obj}`name <full.name>`<br>`file::test` |"
    target, file, test = match.groups()
    assert callable(pydoc.locate(target))
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_example_of_the_readme_runs(monkeypatch, tmp_path, capsys):
    """The whole example, with fewer draws than a reader would take."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        bg, "sample", partial(bg.sample, draws=50, tune=100, chains=2, progressbar=False)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bg.ConvergenceWarning)
        warnings.simplefilter("ignore", bg.IdentificationWarning)
        exec(code_blocks(ROOT / "README.md")[0], {})
    assert "eruptions" in capsys.readouterr().out
    assert (tmp_path / "report.html").exists()


def test_the_documentation_opens_with_the_example_of_the_readme():
    assert code_blocks(ROOT / "docs" / "index.md")[0] == code_blocks(ROOT / "README.md")[0]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs_and_with_ids(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_every_notebook_is_a_tutorial():
    tutorials = (ROOT / "docs" / "tutorials.md").read_text(encoding="utf-8")
    assert re.findall(r"^notebooks/(\w+)$", tutorials, re.MULTILINE) == [
        path.stem for path in NOTEBOOKS
    ]
