"""What a report is made of: sections of paragraphs, lists, tables and pictures.

A block knows what it holds, not how it looks; the template knows how it looks.
"""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO
from typing import Literal, NamedTuple

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from bayes_gmm.results.checks import Check
from bayes_gmm.results.diagnosis import Diagnosis


class Paragraph(NamedTuple):
    """A paragraph of text: what it is about, and whether it is good news."""

    text: str
    tone: Literal["plain", "good", "bad", "note", "quiet"] = "plain"
    topic: str = ""
    kind: str = "paragraph"


class Points(NamedTuple):
    """A list of sentences."""

    sentences: Sequence[str]
    kind: str = "points"


class Row(NamedTuple):
    """A row of a table: its label, its cells, and whether it stands out."""

    label: str
    cells: Sequence[str]
    flagged: bool = False


class Table(NamedTuple):
    """A table of strings; a folded one is opened by its title."""

    corner: str
    columns: Sequence[str]
    rows: Sequence[Row]
    title: str = ""
    folded: bool = False
    kind: str = "table"


class Image(NamedTuple):
    """A picture as a data URI, what it shows in words, and its width on the screen."""

    uri: str
    description: str
    width: int
    kind: str = "image"


Block = Paragraph | Points | Table | Image


class Section(NamedTuple):
    """A part of the report, with a sentence or two on how to read it."""

    name: str
    title: str
    reading: str
    blocks: Sequence[Block]


def judged(judgement: Diagnosis | Check, topic: str = "") -> Paragraph:
    """Say a verdict, as good or bad news."""
    return Paragraph(judgement.verdict, "good" if judgement.ok else "bad", topic)


def image(figure: Figure, description: str) -> Image:
    """Embed a figure as SVG."""
    buffer = BytesIO()
    # A fixed salt and no date: the same results give the same file.
    with mpl.rc_context({"svg.hashsalt": "bayes_gmm"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    uri = "data:image/svg+xml;base64," + b64encode(buffer.getvalue()).decode("ascii")
    return Image(uri, description, round(96 * figure.get_figwidth()))


def table(
    frame: pd.DataFrame,
    flagged: Sequence[bool] | None = None,
    title: str = "",
    *,
    folded: bool = False,
) -> Table:
    """Take in a DataFrame of strings."""
    marks = [False] * len(frame) if flagged is None else flagged
    rows = [
        Row(str(label), [str(cell) for cell in cells], bool(mark))
        for (label, *cells), mark in zip(frame.itertuples(), marks, strict=True)
    ]
    corner = str(frame.index.name or "")
    return Table(corner, [str(name) for name in frame.columns], rows, title, folded)
