"""The list of planted bugs fits the package as it is; `make validate` plants them."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "planted_bugs.py"


@pytest.fixture(scope="module")
def tool():
    found = importlib.util.spec_from_file_location("planted_bugs", TOOL)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_text_is_found_once_and_every_test_is_there(tool):
    assert tool.problems(tool.bugs()) == []


def test_there_are_bugs_in_every_folder(tool):
    files = [Path(bug.file) for bug in tool.bugs()]
    assert len(files) >= 60
    folders = {path.parent.relative_to(ROOT) for path in (ROOT / "bayes_gmm").rglob("*.py")}
    assert {file.parent for file in files} == folders


def test_entries_that_do_not_fit_are_told(tool):
    file = "bayes_gmm/errors.py"
    given = [
        tool.Bug("gone", file, "no such text", "", ["tests/test_data.py"]),
        tool.Bug("often", file, "class", "def", ["tests/test_data.py"]),
        tool.Bug("often", file, '"""', '"""', ["tests/test_data.py::test_of_nothing"]),
    ]
    said = tool.problems(given)
    assert [line.partition(":")[0] for line in said] == ["gone", *["often"] * 5]
    for words in ("found 0 times", "two bugs", "nothing is changed", "no test"):
        assert any(words in line for line in said)


def test_what_was_compiled_with_a_changed_file_is_forgotten(tool):
    """Functions are inlined where they are called, in files that numba does not look at."""
    found = tool.importers("bayes_gmm/kernels/fast_exp.py", ROOT)
    direct = {"bayes_gmm/kernels/log_rho.py", "bayes_gmm/kernels/membership.py"}
    assert direct & found
    assert "bayes_gmm/kernels/cpu.py" in found
    assert "bayes_gmm/data/observations.py" not in found


@pytest.mark.validate
def test_a_change_that_no_test_notices_is_reported(tmp_path):
    listed = tmp_path / "list.toml"
    listed.write_text(
        '[[bug]]\nname = "a word"\nfile = "bayes_gmm/errors.py"\nbefore = "class InputError"\n'
        'after = "# changed\\nclass InputError"\ntests = ["tests/datasets/test_datasets.py"]\n'
    )
    done = subprocess.run(
        [sys.executable, TOOL, "--list", listed], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "NOT NOTICED  a word" in done.stdout
