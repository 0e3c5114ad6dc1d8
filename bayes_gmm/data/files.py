"""Tables in CSV and Parquet files, read whole or block by block."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_gmm.data.columns import select, with_labels
from bayes_gmm.data.csv_format import NONE, SPACES, CsvFormat, detect
from bayes_gmm.data.faults import Faults
from bayes_gmm.data.wording import require_known
from bayes_gmm.errors import FileFormatWarning, InputError

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 1 << 16  # rows read at a time
MOST_BYTES = 1 << 26  # of a larger file rows are read anew for each pass
BINARY = (".npy", ".npz", ".xls", ".xlsx", ".ods", ".feather", ".nc", ".h5", ".pkl", ".rds")


def read(
    path: str | Path,
    *,
    columns: Sequence[str] | None = None,
    drop_missing: bool = False,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool = True,
    na: str | Sequence[str] = (),
    labels: str | None = None,
) -> "pd.DataFrame":
    r"""Read columns of measurements from a CSV or Parquet file.

    The format of a CSV file (separator, decimal mark, thousands separator, encoding, comment lines
    before the table) is detected if it is unambiguous, and reported. A first column without a name
    is taken as row labels, as pandas and R write them. One error reports all problems.

    Parameters
    ----------
    path : str or Path
        A file whose name ends in .parquet is read as Parquet, any other as text. Files whose names
        end in .gz are decompressed.
    columns : sequence of str, optional
        The columns to read, in this order; all by default.
    drop_missing : bool
        Leave out rows with a missing value in a chosen column; otherwise they are an error.
    sep : str, optional
        Field separator: one character, or " " for any number of spaces.
    decimal : str, optional
        Decimal mark, "." or ",".
    encoding : str, optional
        Such as "utf-8", "latin-1" or "utf-16".
    header : bool
        Whether the first line has the names of the columns; otherwise these are x0, x1, ...
    na : str or sequence of str
        Codes for a missing value, besides empty fields, NA, NaN and null.
    labels : str, optional
        A column of row labels, such as the names of samples.

    Returns
    -------
    pandas.DataFrame
        The chosen columns. Its ``attrs`` say how the file was read (``read_as``) and how many rows
        were left out (``n_dropped``).

    Raises
    ------
    InputError
        If there is no such file, or if it is not a table of numbers.

    Warns
    -----
    FileFormatWarning
        If the file is not a plain CSV file in UTF-8.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import bayes_gmm as bg
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "lab.csv"
    >>> _ = path.write_text("sample;sodium\nP1;138,5\nP2;141,0\n")
    >>> bg.read(path, columns=["sodium"], sep=";", decimal=",")["sodium"].tolist()
    [138.5, 141.0]
    """
    file = open_table(path, sep=sep, decimal=decimal, encoding=encoding, header=header, na=na)
    frame = file.rows()
    if labels is not None:
        require_known([labels], frame.columns, file.what)
        frame = frame.set_index(labels)
    frame, n_dropped = select(frame, columns, drop_missing, what=file.what, faults=file.faults())
    frame.attrs |= {"read_as": file.said, "n_dropped": n_dropped}
    file.warn()
    return frame


@dataclass(frozen=True)
class TableFile:
    """A file that holds a table."""

    path: Path
    format: CsvFormat | None  # None of a Parquet file
    detected: str = ""  # what was detected and differs from plain CSV, in words

    @property
    def what(self) -> str:
        """Its name in messages."""
        return str(self.path)

    @property
    def said(self) -> str:
        """How it is read."""
        if self.format is None:
            return "Parquet"
        return self.format.said() or "CSV"

    def warn(self) -> None:
        """Warn if a format other than plain CSV was detected."""
        if self.detected:
            message = f"{self.what} is read as {self.detected}"
            warnings.warn(message, FileFormatWarning, stacklevel=3)

    @property
    def is_large(self) -> bool:
        """Whether it is too large for all its rows to be kept in memory."""
        return self.path.stat().st_size > MOST_BYTES

    def faults(self) -> Faults:
        """A collector of faults that reports their line in the file."""
        if self.format is None:
            return Faults(self.what)
        return Faults(self.what, self.format.numbers, self.format.line_of)

    def frame(self) -> "pd.DataFrame":
        """Read all rows; columns that are not all numbers stay text."""
        if self.format is None:
            import pyarrow.parquet as pq

            return with_labels(pq.read_table(self.path).to_pandas())
        return _tidy(self._csv(None))

    def rows(self) -> "pd.DataFrame":
        """Read all rows, of which there must be some."""
        frame = self.frame()
        if not len(frame):
            raise InputError(f"{self.what} has a header but no rows")
        return frame

    def frames(self) -> "Iterator[pd.DataFrame]":
        """Read the rows block by block."""
        if self.format is None:
            import pandas as pd
            import pyarrow as pa
            import pyarrow.parquet as pq

            n_before = 0
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(CHUNK_ROWS):
                    frame = pa.Table.from_batches([batch]).to_pandas()
                    if isinstance(frame.index, pd.RangeIndex):  # which begins anew in each batch
                        frame.index += n_before * frame.index.step
                    n_before += len(frame)
                    yield with_labels(frame)
        else:
            with self._csv(CHUNK_ROWS) as chunks:
                yield from map(_tidy, chunks)

    def _csv(self, chunksize: int | None) -> Any:
        """Read with pandas: a DataFrame, or an iterator of them."""
        import pandas as pd

        form = self.format
        assert form is not None
        spaces = form.separator == SPACES
        separator: dict[str, Any] = {"sep": r"\s+"} if spaces else {"sep": form.separator}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)
                return pd.read_csv(
                    self.path,
                    header=0 if form.has_header else None,
                    names=[*form.names, *[NONE] * form.empty_end],
                    skiprows=form.n_skipped,
                    decimal=form.decimal,
                    encoding=form.encoding,
                    na_values=list(form.na),
                    index_col=False,
                    skipinitialspace=True,
                    low_memory=False,
                    chunksize=chunksize,
                    **separator,
                )
        except pd.errors.ParserWarning:
            raise InputError(
                f"{self.what} has rows with more values than its header has names "
                f"({len(form.names)}): give each column a name"
            ) from None
        except pd.errors.EmptyDataError:
            raise InputError(f"{self.what} has a header but no rows") from None
        except pd.errors.ParserError as error:
            reason = str(error).strip().rpartition("C error: ")[2]
            raise InputError(
                f"{self.what} is not a well-formed CSV file ({reason}): check the separators and "
                "quotes of that line"
            ) from None


def _tidy(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Drop the empty column after the last separator of each line."""
    return with_labels(frame.drop(columns=NONE, errors="ignore"))


def open_table(path: str | Path, what: str = "", **given: Any) -> TableFile:
    """Detect the type and format of a file."""
    if "://" in str(path):
        raise InputError(f"{path} is a URL: download the file, and give its path")
    path = Path(path)
    if not path.exists():
        if what:
            raise InputError(
                f"{what} is the path {str(path)!r}, but there is no such file: pass a table, or "
                "load a built-in one with bayes_gmm.datasets.load(name)"
            )
        raise InputError(f"{path}: no such file")
    if path.suffix == ".parquet":
        return TableFile(path, None)
    if path.suffix.lower() in BINARY:
        raise InputError(f"{path} is not a text file: save the table as CSV or Parquet")
    na = given.pop("na", ())
    marks = (na,) if isinstance(na, str) else tuple(na)
    try:
        form = detect(path, str(path), na=marks, **given)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    known = ["labels", *(name for name, value in given.items() if value not in (None, True))]
    return TableFile(path, form, form.said(known))
