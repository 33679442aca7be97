"""Progress: a callable ``(fraction, message)``; a bar with the time left on a terminal, silence otherwise.

Imported by commands and by users; numerics only ever calls what it is given. Imports rich lazily.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

Progress: TypeAlias = Callable[[float, str], None]


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Progress | None]:
    """A progress callable that draws a bar with the time left on standard error; None if that is no terminal.

    >>> with progress_bar("flow") as show:  # doctests run without a terminal
    ...     show is None or callable(show)
    True
    """
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=1.0, note="")
        yield lambda fraction, message: bar.update(task, completed=fraction, note=message)


def throttled(progress: Progress | None, seconds: float = 0.1) -> Progress:
    """The same callable, called at most once per interval and always at the end; a no-op for None."""
    if progress is None:
        return lambda fraction, message: None
    last = [-float("inf")]

    def show(fraction: float, message: str) -> None:
        now = time.monotonic()
        if fraction >= 1 or now - last[0] >= seconds:
            last[0] = now
            progress(fraction, message)

    return show
