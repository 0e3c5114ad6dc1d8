"""Plant bugs one at a time, in a copy of the package, and see whether the tests notice.

    python tools/planted_bugs.py                      # all of planted_bugs.toml, two at a time
    python tools/planted_bugs.py --only clusters      # those with this in their name or file
    python tools/planted_bugs.py --check              # only whether every text is found once

A bug is a text of one file, what stands in its place, and the tests of which one must fail. The
checkout is never changed: each bug gets a copy of the tree made of hard links, in which the one
file is written anew. First the tests are run without any bug, and must pass.

Compiled code is kept beside its source, and numba looks only at the age of that one file. So in the
copy of a bug in a file with compiled functions, what numba kept of it and of every file that
imports it is removed.
"""

import argparse
import ast
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import arviz_stats  # noqa: F401 - imported once, for all the processes that run tests
import matplotlib.pyplot  # noqa: F401
import numba  # noqa: F401
import pytest
import scipy.stats  # noqa: F401
import sklearn.mixture  # noqa: F401
import typer  # noqa: F401

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_suffix(".toml")
COPIED = ("bayes_gmm", "tests", "tools", "pyproject.toml")
COMPILED = re.compile(r"\bnjit\b|\bcfunc\b|^def divided", re.MULTILINE)
LONGEST = 600  # seconds, for the tests of a bug


class Bug(NamedTuple):
    """What is planted where, and the tests that must notice."""

    name: str
    file: str
    before: str
    after: str
    tests: list[str]


class Ended(NamedTuple):
    """What pytest returned, and what it printed."""

    code: int
    said: str


def bugs(path: Path = LIST) -> list[Bug]:
    """Read the list."""
    return [Bug(**entry) for entry in tomllib.loads(path.read_text(encoding="utf-8"))["bug"]]


def problems(listed: Iterable[Bug], root: Path = ROOT) -> list[str]:
    """Say which entries do not fit the tree: a line each."""
    found, seen = [], set()
    for bug in listed:
        if bug.name in seen:
            found.append(f"{bug.name}: two bugs have this name")
        seen.add(bug.name)
        path = root / bug.file
        times = path.read_text(encoding="utf-8").count(bug.before) if path.is_file() else 0
        if times != 1:
            found.append(f"{bug.name}: found {times} times in {bug.file}: {bug.before!r}")
        if bug.before == bug.after:
            found.append(f"{bug.name}: nothing is changed")
        for test in bug.tests:
            path, _, name = test.partition("::")
            name = name.partition("[")[0]
            there = (root / path).is_file()
            if not there or (name and f"def {name}(" not in (root / path).read_text("utf-8")):
                found.append(f"{bug.name}: there is no test {test}")
    return found


def run_tests(tree: Path, tests: Sequence[str], *options: str) -> Ended:
    """Run tests in a tree, in a process of their own, which has not imported the package."""
    if "bayes_gmm" in sys.modules:
        raise RuntimeError("the package is imported already, and would not be that of the tree")
    sys.path.insert(0, str(tree))
    os.environ |= {"PYTHONPATH": str(tree), "MPLBACKEND": "agg"}  # of what the tests start
    os.environ.pop("NUMBA_CACHE_DIR", None)  # what is compiled stays beside its source
    os.chdir(tree)
    said = tree / "said.txt"
    said.unlink(missing_ok=True)  # a copy made of links would share it with the others
    with said.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    code = int(pytest.main(["-q", "-p", "no:cacheprovider", *options, *tests]))
    sys.stdout.flush()
    return Ended(code, said.read_text(encoding="utf-8"))


def copied(to: Path) -> Path:
    """Copy the tree, what is compiled in it included."""
    to.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name)
        else:
            shutil.copy2(source, to / name)
    return to


def planted(bug: Bug, base: Path, to: Path) -> Path:
    """Link a copy of the tree with the bug in it."""
    shutil.copytree(base, to, copy_function=os.link)
    path = to / bug.file
    text = path.read_text(encoding="utf-8")
    changed = int(path.stat().st_mtime) + 100  # not the age of what is compiled
    path.unlink()
    path.write_text(text.replace(bug.before, bug.after), encoding="utf-8")
    os.utime(path, (changed, changed))
    if COMPILED.search(text):
        for other in (bug.file, *importers(bug.file, to)):
            stale = to / other
            for kept in stale.parent.glob(f"__pycache__/{stale.stem}.*.nb*"):
                kept.unlink()
    return to


def importers(file: str, tree: Path) -> set[str]:
    """Files of the package that import a file, or one that does."""
    imports = {}
    for path in sorted((tree / "bayes_gmm").rglob("*.py")):
        names = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
            elif isinstance(node, ast.Import):
                names |= {one.name for one in node.names}
        imports[path.relative_to(tree).as_posix()] = names
    found: set[str] = set()
    waiting = [file]
    while waiting:
        module = waiting.pop().removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        more = {other for other, names in imports.items() if module in names} - found
        found |= more
        waiting += more
    return found


def without(task: tuple[Path, list[str]]) -> Ended:
    """Run tests in the tree as it is."""
    return run_tests(*task, "--tb=short")


def _too_long(*_: object) -> None:
    raise TimeoutError(f"the tests of a bug took more than {LONGEST} s")


def noticed(task: tuple[Bug, Path, Path]) -> tuple[Bug, str]:
    """Plant a bug and run its tests; name the one that failed first, or nothing."""
    bug, base, to = task
    signal.signal(signal.SIGALRM, _too_long)
    signal.alarm(LONGEST)
    ended = run_tests(planted(bug, base, to), bug.tests, "-x", "--tb=no")
    shutil.rmtree(to, ignore_errors=True)
    if ended.code == pytest.ExitCode.OK:
        return bug, ""
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ended.said, re.MULTILINE)
    if failed is None:
        raise RuntimeError(f"{bug.name}: pytest could not run the tests\n{ended.said}")
    return bug, failed[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every bug was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", metavar="TEXT", help="bugs with this in their name")
    parser.add_argument("--check", action="store_true", help="only look whether the list fits")
    parser.add_argument("--jobs", type=int, default=2, help="bugs at a time")
    parser.add_argument("--list", type=Path, default=LIST, help="another list")
    parser.add_argument("--verbose", action="store_true", help="name the test that failed first")
    given = parser.parse_args(arguments)
    listed = bugs(given.list)
    wrong = problems(listed)
    for line in wrong:
        print(line)
    if wrong or given.check:
        print(f"{len(listed)} bugs, {len(wrong)} entries to put right in {given.list.name}")
        return int(bool(wrong))
    chosen = [bug for bug in listed if given.only in bug.name or given.only in bug.file]
    if not chosen:
        print(f"no bug has {given.only!r} in its name or file")
        return 1
    began = time.perf_counter()
    survivors = []
    # Each task is a fork of this process, which has imported what takes long but not the package.
    processes = multiprocessing.get_context("fork")
    with (
        tempfile.TemporaryDirectory() as folder,
        processes.Pool(given.jobs, maxtasksperchild=1) as pool,
    ):
        base = copied(Path(folder) / "base")
        tests = sorted({test for bug in chosen for test in bug.tests})
        (sound,) = pool.map(without, [(base, tests)])
        if sound.code:
            print(f"without any bug the tests fail:\n{sound.said[-3000:]}")
            return 1
        tasks = [(bug, base, Path(folder) / f"bug{place}") for place, bug in enumerate(chosen)]
        for bug, by in pool.imap_unordered(noticed, tasks):
            if not by:
                survivors.append(bug)
                print(f"NOT NOTICED  {bug.name} ({bug.file})", flush=True)
            elif given.verbose:
                print(f"noticed      {bug.name}: {by}", flush=True)
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} planted bugs were noticed, "
        f"in {time.perf_counter() - began:.0f} s"
    )
    return int(bool(survivors))


if __name__ == "__main__":
    sys.exit(main())
