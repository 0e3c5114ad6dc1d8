"""Seven small, long-published data sets: each a CSV file, and beside it a TOML file about it.

The TOML files are the list: what has one is a data set.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import TYPE_CHECKING

from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Description:
    """What a data set is and where it comes from; prints as a paragraph.

    Attributes
    ----------
    name, title, description, source, note : str
        In words; the note says what can trip a user up.
    rows : int
        How many rows there are.
    missing : int
        How many of them lack a measurement.
    measurements : mapping of str to str
        The columns of numbers and their units.
    labels : mapping of str to str
        The other columns and what they hold.
    """

    name: str
    title: str
    description: str
    source: str
    note: str
    rows: int
    missing: int
    measurements: Mapping[str, str]
    labels: Mapping[str, str]

    def __str__(self) -> str:
        shape = f"{self.rows} rows" + (f" ({self.missing} incomplete)" if self.missing else "")
        lines = [f"{self.name}: {self.title}. {shape}.", self.description]
        columns = {name: f"[{unit}]" for name, unit in self.measurements.items()}
        columns |= {name: f"label: {kind}" for name, kind in self.labels.items()}
        width = max(map(len, columns))
        lines += [f"  {name:<{width}}  {meaning}" for name, meaning in columns.items()]
        return "\n".join([*lines, f"Note: {self.note}", f"Source: {self.source}"])


def names() -> tuple[str, ...]:
    """List the data sets, in alphabetical order."""
    entries = (entry.name for entry in files(__package__).iterdir())
    return tuple(sorted(entry[:-5] for entry in entries if entry.endswith(".toml")))


def describe(name: str) -> Description:
    """Say what a data set is: columns, units, source.

    Parameters
    ----------
    name : str
        One of `names()`.

    Raises
    ------
    InputError
        If there is no such data set.
    """
    known = names()
    if name not in known:
        close = get_close_matches(str(name), known, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise InputError(f"no data set is named {name!r}: {hint}there are {', '.join(known)}")
    text = files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Description(name=name, **tomllib.loads(text))


def load(name: str, *, labels: bool = False) -> "pd.DataFrame":
    """Load a data set, ready for `fit`: its measurements, and nothing else unless asked.

    Parameters
    ----------
    name : str
        One of `names()`.
    labels : bool
        Include the columns that are no measurements, such as the species of a flower.

    Returns
    -------
    pandas.DataFrame
        Rows and columns in the published order; a missing value is nan.

    Raises
    ------
    InputError
        If there is no such data set.
    """
    description = describe(name)

    import pandas as pd

    with files(__package__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        table = pd.read_csv(file)
    return table if labels else table[list(description.measurements)]
