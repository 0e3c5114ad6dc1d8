"""Seven small published data sets: for each a CSV file and a TOML file with its description.

The list of data sets is the list of TOML files.
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
    """Description and source of a data set; prints as a paragraph.

    Attributes
    ----------
    name, title, description, source, note : str
        Texts; the note warns of peculiarities of the data.
    rows : int
        Number of rows.
    missing : int
        Number of rows with a missing measurement.
    measurements : mapping of str to str
        The columns of measurements and their units.
    labels : mapping of str to str
        The other columns and their meanings.
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
    """Describe a data set: its columns, units and source.

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
        raise InputError(f"no data set has the name {name!r}: {hint}choose {', '.join(known)}")
    text = files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return Description(name=name, **tomllib.loads(text))


def load(name: str, *, labels: bool = False) -> "pd.DataFrame":
    """Load the measurements of a data set, ready for `fit`.

    Parameters
    ----------
    name : str
        One of `names()`.
    labels : bool
        Include the columns that are not measurements, such as the species of a flower.

    Returns
    -------
    pandas.DataFrame
        Rows and columns in the published order; missing values are nan.

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
