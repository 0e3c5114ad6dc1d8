"""A progress bar for work that counts its steps, or none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(total: int, what: str, *, shown: bool) -> Iterator[Callable[..., None]]:
    """Show how many of `total` steps are done, on stderr; yields what to call when some are.

    Returned: takes how many steps have been done since the last call, 1 by default.
    """
    if not shown:
        yield lambda steps=1: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps=1: bar.advance(task, steps)
