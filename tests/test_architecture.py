"""Imports go down the floors, heavy libraries stay at home, and `import bayes_gmm` is light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bayes_gmm

PACKAGE = Path(bayes_gmm.__file__).parent
BORDER = {"errors", "seeds", "data", "datasets", "progress"}

# floor -> the floors that it may import from, besides itself
MAY_IMPORT = {
    "border": set(),
    "model": {"border"},
    "kernels": {"border", "model"},
    "posterior": {"border", "model", "kernels"},
    "inference": {"border", "model", "kernels", "posterior"},
    "results": {"border", "model", "kernels", "posterior"},
    "plots": {"border", "model", "kernels", "posterior", "results"},
    "reports": {"border", "model", "posterior", "results", "plots", "root"},
    "arguments": {"border", "model", "inference"},
    "api": {"arguments", "border", "model", "kernels", "posterior", "inference", "results"},
    "root": {"border", "model", "posterior", "api", "results", "plots", "reports"},
    "sklearn": {"border", "model", "kernels", "inference", "arguments"},
    "cli": {"border", "root", "api"},
}
OF_PYMC = ["inference/pymc", "inference/gibbs/step.py"]
LABELLED = ["results", "plots", "reports", "api"]
# library -> the files and folders that may import it
HOMES = {
    "numba": ["kernels"],
    "sklearn": ["sklearn"],
    "pytensor": OF_PYMC,
    "pymc": OF_PYMC,
    "nutpie": ["inference/nuts", "inference/pymc/sampling.py"],
    "jax": [],
    "xarray": [
        *LABELLED,
        "data/row_labels.py",
        "inference/engines.py",
        "inference/gibbs/gibbs.py",
        "inference/nuts",
        "inference/pymc",
        "inference/variational/variational.py",
    ],
    "arviz": LABELLED,
    "arviz_base": LABELLED,
    "arviz_stats": [*LABELLED, "posterior"],
    "arviz_plots": ["plots"],
    "matplotlib": ["plots", "reports"],
    "jinja2": ["reports"],
    "pandas": [*LABELLED, "data", "datasets"],
    "pyarrow": ["data", "inference/nuts/nutpie_chains.py"],
    "narwhals": ["data/kinds.py"],
    "typer": ["cli.py"],
    "rich": ["cli.py", "progress.py"],
}
HEAVY = ["arviz", "matplotlib", "numba", "pandas", "pymc", "pytensor", "sklearn", "xarray"]


def imported(source: str) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, in whatever way.

    What only a type checker reads is not imported.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are banned"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("lazy_loader.load", "lazy.load", "import_module", "__import__")
        ):
            yield from (arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant))


def floor(parts: list[str]) -> str:
    """Name the floor of a module of the package, given the parts of its name after `bayes_gmm`."""
    first = parts[0] if parts else "root"
    if first in BORDER:
        return "border"
    return first if first in MAY_IMPORT else "root"


def violations(files: dict[str, str]) -> list[str]:
    """List the imports that go up, and those of a library outside its home.

    Parameters
    ----------
    files : dict
        From path within the package to source text.
    """
    found = []
    for path, source in files.items():
        own = floor(list(Path(path).with_suffix("").parts))
        for module in imported(source):
            library, *parts = module.split(".")
            if library == "bayes_gmm":
                target = floor(parts)
                if target != own and target not in MAY_IMPORT[own]:
                    found.append(f"{path} ({own}) imports {module} ({target})")
            elif library in HOMES and not any(Path(path).is_relative_to(h) for h in HOMES[library]):
                found.append(f"{path} imports {library}, whose home is {HOMES[library]}")
            elif own == "model" and library not in {"numpy", "scipy", *sys.stdlib_module_names}:
                found.append(f"{path} imports {library}, but the book needs NumPy and SciPy only")
    return found


def loaded_by(statement: str) -> set[str]:
    """Say which heavy libraries a fresh Python has loaded after a statement."""
    check = f"import sys\n{statement}\nprint(*[m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60
    )
    return set(run.stdout.split())


def test_imports_go_down_the_floors_and_libraries_stay_at_home():
    files = {str(p.relative_to(PACKAGE)): p.read_text("utf-8") for p in PACKAGE.rglob("*.py")}
    assert len(files) > 20
    assert violations(files) == []


def test_every_floor_and_every_home_is_there():
    homes = {home for places in HOMES.values() for home in places}
    floors = {*MAY_IMPORT, *BORDER} - {"border", "root"}
    named = {f"{name}.py" if (PACKAGE / f"{name}.py").exists() else name for name in floors}
    assert [place for place in homes | named if not (PACKAGE / place).exists()] == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("errors.py", "import bayes_gmm.data\nimport bayes_gmm.model.normal"),
        ("data.py", "from bayes_gmm.model import normal"),
        ("model/normal.py", "from bayes_gmm.kernels.cpu import expectation"),
        ("model/normal.py", "from bayes_gmm import kernels"),
        ("model/normal.py", "from bayes_gmm import Parameters"),
        ("model/normal.py", "def f():\n    import pandas"),
        ("model/normal.py", "import jax.numpy as jnp"),
        ("kernels/cpu.py", "def f():\n    from bayes_gmm.inference import em"),
        ("inference/em/em.py", "from bayes_gmm.results.tree import point_tree"),
        ("inference/em/em.py", "import bayes_gmm.api"),
        ("inference/em/em.py", "from numba import njit"),
        ("inference/em/em.py", "import sklearn.cluster"),
        ("inference/em/em.py", "import lazy_loader as lazy\nxr = lazy.load('xarray')"),
        ("results/tree.py", "from bayes_gmm.inference.em.em import fit"),
        (
            "results/tree.py",
            "import importlib\nimportlib.import_module('bayes_gmm.inference.em.em')",
        ),
        ("api/fit.py", "from bayes_gmm.cli import main"),
        ("api/fit.py", "import pymc as pm"),
        ("cli.py", "from bayes_gmm.inference.em.em import fit"),
        ("cli.py", "import matplotlib.pyplot as plt"),
        ("__init__.py", "import bayes_gmm.cli"),
        ("__init__.py", "import xarray"),
    ],
)
def test_a_planted_violation_is_found(path, source):
    assert violations({path: source})


@pytest.mark.parametrize("module", ["bayes_gmm", "bayes_gmm.data", "bayes_gmm.cli"])
def test_importing_is_light(module):
    assert loaded_by(f"import {module}") == set()


def test_asking_for_the_data_sets_is_light():
    assert loaded_by("import bayes_gmm.datasets as d; d.describe(d.names()[0])") == set()


def test_a_heavy_import_is_noticed():
    assert "pandas" in loaded_by("import bayes_gmm, pandas")
