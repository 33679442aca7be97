"""Repetitions: every cell (a size, a setting) times every replica, in one process or several.

A run is a function of its cell and of its `Stream`; streams are keyed by position, so the results do not depend on the number
of workers or on the order in which they finish. Imported by `numerics`; imports the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from signal import SIG_IGN, SIGINT, signal
from typing import TypeVar

from .streams import Stream

Cell = TypeVar("Cell")
Result = TypeVar("Result")


def replicate(
    run: Callable[[Cell, Stream], Result],
    cells: Sequence[Cell],
    replicas: int,
    *,
    root: int = 0,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[tuple[Result, ...], ...]:
    """Run every cell ``replicas`` times.

    Parameters
    ----------
    run : callable
        ``run(cell, stream) -> result``; with several workers it must be a function of a module, and its result picklable.
    cells : sequence
        Sizes or settings.
    replicas, root : int
        Number of repetitions, and the seed of the whole ensemble.
    workers : int
        Processes; 1 stays in this one. Ctrl-C cancels the runs that have not begun and is raised again.
    progress : callable, optional
        Called as ``progress(done, total)``.

    Returns
    -------
    tuple of tuples
        ``result[cell][replica]``.

    Examples
    --------
    >>> replicate(lambda size, stream: (size, stream.replica), (10, 20), 2)
    (((10, 0), (10, 1)), ((20, 0), (20, 1)))
    """
    if replicas < 1 or workers < 1:
        raise ValueError("replicas and workers must be at least 1.")
    jobs = [(cell, Stream(root=root, cell=c, replica=r)) for c, cell in enumerate(cells) for r in range(replicas)]
    if workers == 1:
        results = []
        for cell, stream in jobs:
            results.append(run(cell, stream))
            if progress is not None:
                progress(len(results), len(jobs))
    else:
        # spawned, not forked: a fork of a process with running threads (BLAS, Numba) may hang
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_ignore_interrupt) as pool:
            results = _collect(pool, run, jobs, progress)
    return tuple(tuple(results[c * replicas : (c + 1) * replicas]) for c in range(len(cells)))


def _collect(
    pool: Executor,
    run: Callable[[Cell, Stream], Result],
    jobs: Sequence[tuple[Cell, Stream]],
    progress: Callable[[int, int], None] | None,
) -> list[Result]:
    futures: list[Future[Result]] = [pool.submit(run, cell, stream) for cell, stream in jobs]
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            if progress is not None:
                progress(done, len(futures))
        return [future.result() for future in futures]
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def _ignore_interrupt() -> None:
    """Workers leave Ctrl-C to the parent, which cancels what has not begun."""
    signal(SIGINT, SIG_IGN)
