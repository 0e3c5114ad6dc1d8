"""Files that are written completely or not at all, and tables written block by block."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bayes_gmm.data.wording import free_name
from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TABLES = (".csv", ".csv.gz", ".parquet")


def require_place(path: str | Path) -> Path:
    """Check that a file can be created there."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {str(path.parent)!r}: create it first")
    if path.is_dir():
        raise InputError(f"{path} is a folder: give the name of a file")
    return path


def replace(path: str | Path, write: Callable[[Path], Any]) -> Path:
    """Write to a new file in the same folder, then put it in the place of the old one."""
    path = require_place(path)
    part = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def write_table(path: str | Path, blocks: "Iterator[pd.DataFrame]") -> Path:
    """Write tables to one file, one below the other."""
    if not str(path).endswith(TABLES):
        raise InputError(f"out is {str(path)!r}: give a name that ends in {', '.join(TABLES)}")
    write = _parquet if str(path).endswith(".parquet") else _csv
    named = (block.rename_axis(index=_row_names(block)) for block in blocks)
    return replace(path, lambda part: write(part, named))


def _row_names(block: "pd.DataFrame") -> list[str]:
    """Names for the levels of the index that no column has."""
    names = [
        f"row{j or ''}" if name is None or name in block.columns else str(name)
        for j, name in enumerate(block.index.names)
    ]
    return [free_name(name, block.columns) for name in names]


def _csv(path: Path, blocks: "Iterator[pd.DataFrame]") -> None:
    compression = "gzip" if path.suffix == ".gz" else None
    for place, block in enumerate(blocks):
        mode, first = ("a", False) if place else ("w", True)
        block.to_csv(path, mode=mode, header=first, compression=compression)


def _parquet(path: Path, blocks: "Iterator[pd.DataFrame]") -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for block in blocks:
            table = pa.Table.from_pandas(block.reset_index(), preserve_index=False)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table.cast(writer.schema))
    finally:
        if writer is not None:
            writer.close()
