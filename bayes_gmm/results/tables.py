"""Numbers as a person writes them down: rounded to what the uncertainty leaves of them."""

from collections.abc import Iterable
from html import escape
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd

LINE = 100
LONGEST_FRACTION = 8
LARGEST_FIXED = 1e9


def number(value: float, sd: float) -> str:
    """Write a number so that its last two digits are the first ones of its uncertainty, `sd`."""
    if not np.isfinite(value):
        return "-"
    if not (np.isfinite(sd) and sd > 0):
        return f"{value:.6g}"
    decimals = 1 - int(np.floor(np.log10(sd)))
    if decimals <= LONGEST_FRACTION and abs(value) < LARGEST_FIXED:
        text = f"{value:z.{max(decimals, 0)}f}"
    elif value == 0:
        text = "0"
    else:
        text = f"{value:.{max(int(np.floor(np.log10(abs(value)))) + decimals, 0)}e}"
    return text


def ends(probability: float) -> tuple[str, str]:
    """Name the ends of an equal-tailed interval: 2.5%, 97.5%."""
    tail = 50 * (1 - probability)
    return f"{tail:g}%", f"{100 - tail:g}%"


def as_text(frame: pd.DataFrame) -> str:
    """Align a table of strings: the labels of the rows to the left, the rest to the right."""
    rows = [[str(frame.index.name or ""), *map(str, frame.columns)]]
    rows += [[str(label), *map(str, row)] for label, *row in frame.itertuples()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def some(items: Iterable[object], where: str, most: int = 5) -> str:
    """Write a few items in a row; of many the first ones, how many more, and where they are."""
    texts = [str(item) for item in items]
    if len(texts) <= most + 1:  # "and 1 more" is longer than the name
        return ", ".join(texts)
    return f"{', '.join(texts[:most])} and {len(texts) - most} more ({where})"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 row, 2 rows."""
    return f"{count} {noun}{'s' * (count != 1)}"


def wrapped(text: str) -> str:
    """Break a paragraph into lines that fit a terminal."""
    return fill(text, LINE, break_long_words=False, break_on_hyphens=False)


class Printed:
    """What prints as text in a terminal and as HTML in a notebook: sentences and tables of strings.

    In text an empty line stands between parts, but not between those of a list.
    """

    _heading = ""  # in HTML; by default the first part

    def _parts(self, *, html: bool) -> list[Any]:
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n\n".join(filter(None, map(_text, self._parts(html=False))))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        parts = self._parts(html=True)
        heading = self._heading or parts.pop(0)
        return "\n".join([f"<strong>{escape(heading)}</strong>", *filter(None, map(_html, parts))])


def _text(part: Any) -> str:
    if isinstance(part, list):
        return "\n".join(map(_text, part))
    if isinstance(part, Printed):
        return str(part)
    return as_text(part) if isinstance(part, pd.DataFrame) else wrapped(part)


def _html(part: Any) -> str:
    if isinstance(part, list):
        return "\n".join(map(_html, part))
    if isinstance(part, Printed):
        return part._repr_html_()
    return part.to_html(border=0) if isinstance(part, pd.DataFrame) else f"<p>{escape(part)}</p>"
