"""The format of a text file: its encoding, separator, decimal mark and header.

What the user does not specify is detected from the first lines if it is unambiguous, and reported.
"""

import csv
import gzip
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from bayes_gmm.data.wording import listing, require_distinct, shorten
from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_LINES = 500
SEPARATORS = (",", ";", "\t", "|")
SPACES = "spaces"
WRITTEN = {" ": SPACES, "\\t": "\t"}  # as on a command line
NONE = "\x1f"  # of one column whose decimal commas look like separators
NAMED = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", SPACES: SPACES}
ALIKE = 0.8  # share of the lines that have as many fields as most
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
MISSING = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "n/a", "<NA>", "#N/A"}
POINT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
COMMA = re.compile(r"[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?")
# Groups of three digits. One group behind a comma or a point may be decimals; the rest is certain.
ONE_GROUP = {mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}\{mark}\d{{3}}") for mark in ",."}
GAPS = "'\u2019\u00a0\u202f "  # what else stands between thousands: apostrophes and spaces
GROUPED = {
    mark: re.compile(rf"[+-]?[1-9]\d{{0,2}}({re.escape(mark)}\d{{3}})+([{decimals}]\d*)?")
    for mark, decimals in {",": ".", ".": ",", **dict.fromkeys(GAPS, ".,")}.items()
}
MINUS = "\u2212"
OF_EXCEL = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # a first line that only Excel reads
TOTALS = re.compile(r"(grand )?(total|sum|average|mean|summe|gesamt|mittelwert)s?:?", re.IGNORECASE)


@dataclass(frozen=True)
class CsvFormat:
    """How a file is written."""

    path: Path
    encoding: str
    separator: str  # one character, or "spaces"
    decimal: str  # "." or ","
    grouping: str  # what stands between groups of three digits, or nothing
    n_skipped: int  # lines before the table: comments that begin with #, or a note of the separator
    names: tuple[str, ...]  # of the columns
    has_header: bool  # whether the first line after the comments names the columns
    na: tuple[str, ...] = ()  # further marks of a missing value
    empty_end: bool = False  # whether each line ends in a separator, behind which there is nothing

    def said(self, known: Collection[str] = ()) -> str:
        """How it differs from a comma-separated file in UTF-8, in words."""
        parts = []
        if self.separator not in (",", NONE) and "sep" not in known:
            parts.append(f"separated by {NAMED.get(self.separator, repr(self.separator))}")
        if self.decimal == "," and "decimal" not in known:
            parts.append("decimal commas")
        if self.grouping:
            parts.append(f"thousands separator {self.grouping!r}")
        if self.encoding.lower() not in ("utf-8", "utf-8-sig") and "encoding" not in known:
            parts.append(f"encoding {self.encoding}")
        if self.n_skipped:
            lines = "line" if self.n_skipped == 1 else "lines"
            parts.append(f"{self.n_skipped} {lines} before the table left out")
        if self.empty_end:
            parts.append("the empty column at the end left out")
        if self.names[0] == "" and "labels" not in known:
            parts.append("row labels in the first column")
        if not self.has_header and "header" not in known:
            parts.append(f"no header, columns named {listing(self.names)}")
        return ", ".join(parts)

    def numbers(self, text: "pd.Series") -> "pd.Series":
        """Read a column of text as numbers, nan where it is none."""
        import pandas as pd

        strings = text.astype(str).str.strip().str.replace(MINUS, "-", regex=False)
        if self.grouping:
            grouped = strings.str.fullmatch(GROUPED[self.grouping].pattern)
            plain = strings.str.replace(self.grouping, "", regex=False)
            strings = plain.where(grouped, strings)
        if self.decimal == ",":
            strings = strings.where(strings.str.fullmatch(COMMA.pattern), "?")
            strings = strings.str.replace(",", ".", regex=False)
        return pd.to_numeric(strings, errors="coerce").where(text.notna())

    def line_of(self, row: int) -> str:
        """Where a row of the table stands in the file, counting lines from 1."""
        with opened(self.path, self.encoding) as file:
            for _ in range(self.n_skipped):
                next(file)
            wanted = row + self.has_header
            if self.separator == SPACES:
                records = ((n, line.split()) for n, line in enumerate(file))
            else:
                reader = csv.reader(file, delimiter=self.separator, skipinitialspace=True)
                ends = ((reader.line_num, record) for record in chain([[]], reader))
                records = ((before, record) for (before, _), (_, record) in pairwise(ends))
            for before, record in records:
                if any(record) or len(record) > 1:
                    if not wanted:
                        return f"line {self.n_skipped + before + 1}"
                    wanted -= 1
        return f"row {row}"


def detect(
    path: Path,
    what: str,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool = True,
    na: Sequence[str] = (),
) -> CsvFormat:
    """Detect the format of a file; arguments that are given are not detected."""
    if sep == "":
        raise InputError("sep is empty: give a separator, such as a semicolon")
    if decimal not in (None, ".", ","):
        raise InputError(f"decimal is {decimal!r}: give . or ,")
    encoding = encoding or _encoding(path, what)
    lines = _first_lines(path, encoding, what)
    notes = list(takewhile(_is_note, lines))
    lines = [line for line in lines[len(notes) :] if line.strip()]
    if not lines:
        raise InputError(f"{what} is empty: it needs a header line and rows of numbers")
    noted = [said[1] for said in map(OF_EXCEL.fullmatch, notes) if said]
    given = sep or next(iter(noted), "")
    separator = WRITTEN.get(given, given) or _separator(lines)
    rows = list(_fields(iter(lines), separator))
    if separator != NONE:
        _require_table(lines, rows, what)
    empty_end = len(rows[0]) > 1 and all(row[-1:] in ([""], []) for row in rows)
    if empty_end:
        rows = [row[:-1] for row in rows]
    first = [name.strip() for name in rows[0]]
    numeric = all(_is_number(cell) for cell in first)
    in_comment = _names_in_comment(notes, separator, len(first)) if numeric else ()
    if in_comment:
        names, has_header, body = in_comment, False, rows
    elif header:
        names, has_header, body = tuple(first), True, rows[1:]
        _require_header(first, body, what)
    else:
        names, has_header, body = tuple(f"x{j}" for j in range(len(first))), False, rows
    mark, grouping = _marks(body, what, decimal)
    return CsvFormat(
        path,
        encoding,
        separator,
        mark,
        grouping,
        len(notes),
        names,
        has_header,
        tuple(na),
        empty_end,
    )


def _is_note(line: str) -> bool:
    return line.startswith("#") or bool(OF_EXCEL.fullmatch(line))


def _require_table(lines: list[str], rows: list[list[str]], what: str) -> None:
    """Raise if the first line is a title instead of a header."""
    if len(rows) < 3 or len(rows[0]) > 1:
        return
    below = _separator(lines[1:])
    width = len(next(_fields(iter(lines[1:]), below)))
    if width > 1 and below != SPACES:
        raise InputError(
            f"{what} begins with a line that does not name its {width} columns "
            f"({shorten(lines[0])}): delete that line, or put # before it"
        )


@contextmanager
def opened(path: Path, encoding: str) -> Iterator[IO[str]]:
    """Open a text file, packed or not, its line ends left as they are."""
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding=encoding, newline="") as file:
            yield file
    else:
        with path.open(encoding=encoding, newline="") as file:
            yield file


def _encoding(path: Path, what: str) -> str:
    """UTF-8 if the file is that, or what its byte order mark says, or else Windows-1252."""
    import codecs

    decoder, plain, n_lines = codecs.getincrementaldecoder("utf-8")(), True, 1
    open_bytes: Any = gzip.open if path.suffix == ".gz" else open
    with open_bytes(path, "rb") as file:
        head = file.read(4)
        for mark, name in MARKS.items():
            if head.startswith(mark):
                return name
        file.seek(0)
        while block := file.read(1 << 20):
            if b"\0" in block:
                n_lines += block[: block.index(b"\0")].count(b"\n")
                raise InputError(
                    f"{what} has NUL bytes, first in line {n_lines}, so it is not plain text: "
                    "save it as CSV in UTF-8, or give its encoding (such as utf-16-le)"
                )
            n_lines += block.count(b"\n")
            try:
                plain = plain and decoder.decode(block) is not None
            except UnicodeDecodeError:
                plain = False
    return "utf-8" if plain else "cp1252"


def _first_lines(path: Path, encoding: str, what: str) -> list[str]:
    """The first lines without their ends."""
    try:
        with opened(path, encoding) as file:
            text = file.read(1 << 18)
            whole = not file.read(1)
    except (UnicodeError, LookupError) as error:
        raise InputError(
            f"{what} cannot be read with the encoding {encoding} ({error}): give its encoding"
        ) from None
    lines = text.splitlines()
    return lines[:SAMPLE_LINES] if whole else lines[:-1][:SAMPLE_LINES]


def _fields(lines: Iterator[str], separator: str) -> Iterator[list[str]]:
    if separator == SPACES:
        return (line.split() for line in lines)
    return csv.reader(lines, delimiter=separator, skipinitialspace=True)


def _separator(lines: list[str]) -> str:
    """The separator that cuts most lines into equally many fields, and these into numbers."""
    if "," not in lines[0] and len(lines) > 1 and all(map(COMMA.fullmatch, lines[1:])):
        return NONE
    best: tuple[float, ...] = (0.0,)
    found = ","
    for candidate in (*SEPARATORS, SPACES):
        rows = list(_fields(iter(lines), candidate))
        width, count = Counter(map(len, rows)).most_common(1)[0]
        alike = count / len(rows)
        fits_header = len(rows[0]) == width
        if width < 2 or alike < ALIKE or not fits_header:
            continue
        cells = [cell.strip() for row in rows[1:] for cell in row]
        whole = [_is_number(c, ".,") or not set(c) & set(",;\t|") for c in cells]
        numbers = [_is_number(c, ".,") or c in MISSING for c in cells]
        n = max(1, len(cells))
        score = (round(sum(whole) / n, 1), candidate != SPACES, round(sum(numbers) / n, 1), alike)
        if score > best:
            best, found = score, candidate
    return found


def _marks(rows: list[list[str]], what: str, decimal: str | None) -> tuple[str, str]:
    """The decimal mark that most columns use, and the thousands separator, if there is one."""
    votes: Counter[str] = Counter()  # columns, by decimal mark
    certain: Counter[str] = Counter()  # entries, by thousands separator
    doubtful: dict[str, str] = {}  # an ambiguous entry, by its mark
    for column in zip(*(row for row in rows if len(row) == len(rows[0])), strict=True):
        own = Counter(_mark(cell.strip(), doubtful, certain) for cell in column)
        if own["."] or own[","]:
            votes["," if own[","] > own["."] else "."] += 1
    gap = next((mark for mark in GAPS if certain[mark]), "")
    if decimal is None:
        undecided = not (votes or certain[","] or gap or "." in doubtful)
        if "," in doubtful and undecided:
            raise InputError(
                f"{what} has entries such as {doubtful[',']}, whose comma may be a decimal mark or "
                "a thousands separator: give --decimal , or --decimal . on the command line, or "
                "bg.read(..., decimal=...) in Python"
            )
        decimal = "," if votes[","] > votes["."] else "."
    other = "," if decimal == "." else "."
    # A comma between digits that is no decimal mark; points alone are not taken for thousands.
    grouped = certain[other] or (other == "," and other in doubtful)
    return decimal, gap or (other if grouped else "")


def _mark(cell: str, doubtful: dict[str, str], certain: Counter[str]) -> str:
    """The decimal mark of a number, if it is certain; notes numbers with thousands."""
    cell = cell.replace(MINUS, "-")
    for gap in GAPS:
        if gap in cell and GROUPED[gap].fullmatch(cell):
            certain[gap] += 1
            return "," if "," in cell else "." if "." in cell else ""
    for mark, pattern, other in ((".", POINT, ","), (",", COMMA, ".")):
        if mark not in cell:
            continue
        if ONE_GROUP[mark].fullmatch(cell):
            doubtful.setdefault(mark, cell)
        elif GROUPED[mark].fullmatch(cell):
            certain[mark] += 1
            return other if other in cell else ""
        elif pattern.fullmatch(cell):
            return mark
    return ""


def _names_in_comment(comments: list[str], separator: str, width: int) -> tuple[str, ...]:
    """Names of the columns from the last comment line before rows of numbers, if they fit."""
    if not comments:
        return ()
    (names,) = _fields(iter([comments[-1].lstrip("# ")]), separator)
    stripped = tuple(name.strip() for name in names)
    return stripped if len(stripped) == width and all(stripped) else ()


def _require_header(names: list[str], rows: list[list[str]], what: str) -> None:
    """Raise unless the first line names the columns, each differently."""
    labelled = len(names) > 1 and not names[0]
    if not labelled and any(map(_is_number, names)):  # pandas writes a header like ,0,1,2
        raise InputError(
            f"{what} has no header (its first line holds numbers: {listing(names)}): "
            "add a first line with a name for each column, or use --no-header on the command "
            "line, or bg.read(..., header=False) in Python"
        )
    if "" in names[labelled:]:
        position = names.index("", labelled)
        raise InputError(f"{what} has no name for column {position}: complete its header line")
    require_distinct(names, what)
    last = rows[-1][0].strip() if rows and rows[-1] else ""
    if TOTALS.fullmatch(last):
        raise InputError(
            f"{what} ends with a summary of the other lines ({shorten(last)}): delete that line"
        )


def _is_number(text: str, marks: str = ".") -> bool:
    cell = text.strip().replace(MINUS, "-")
    return bool(
        POINT.fullmatch(cell)
        or ("," in marks and COMMA.fullmatch(cell))
        or (marks != "." and any(p.fullmatch(cell) for p in GROUPED.values()))
    )
