"""Exit codes of the command, and the decorator that turns every exception into one message and one code.

    0 ok   1 a check failed   2 usage   3 invalid spec or bad data   4 numerical failure   130 Ctrl-C

Imported by the files of the command line only; imports nothing heavy, so that ``gradientflow --help`` answers at once.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, ParamSpec

import typer

OK, CHECK_FAILED, USAGE, INVALID, NUMERICAL, INTERRUPTED = 0, 1, 2, 3, 4, 130

P = ParamSpec("P")


class UsageError(Exception):
    """The command line asks for something that does not exist. The message says what there is."""


def guarded(command: Callable[P, int]) -> Callable[P, None]:
    """A command that ends the process with its exit code; errors become one line on standard error.

    Errors that are not ours (a bug) keep their traceback.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        pressed: list[int] = []
        try:
            with noticing(pressed):
                code = command(*args, **kwargs)
            sys.stdout.flush()
            if pressed:  # an integration kept what it had reached; the command as a whole was stopped all the same
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            _stop(INTERRUPTED, "interrupted; files that were complete are kept, nothing half-written is left")
        except BrokenPipeError:
            # The reader of the pipe has gone (`| head`): not an error, but nothing more can be written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(OK) from None
        except Exception as error:
            known = exit_code(error)
            if known is None:
                raise
            _stop(known, message(error))
        raise typer.Exit(code)

    return run


@contextmanager
def noticing(pressed: list[int]) -> Iterator[None]:
    """Ctrl-C raises as always, and is also written down, because an integration turns it into a status."""

    def note(number: int, frame: object) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    own = (
        threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if own:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if own:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_code(error: Exception) -> int | None:
    """The documented code of an exception, or None if it is none of ours.

    >>> exit_code(UsageError("no such system")), exit_code(KeyError("x"))
    (2, None)
    """
    from derive.catalog import UnknownName
    from derive.errors import CheckFailed, DerivationError
    from numerics.status import IntegrationFailed

    if isinstance(error, UsageError | UnknownName | OSError):
        return USAGE
    if isinstance(error, CheckFailed):
        return CHECK_FAILED
    if isinstance(error, IntegrationFailed):
        return NUMERICAL
    if isinstance(error, DerivationError):
        return INVALID
    return INVALID if isinstance(error, MemoryError) or _is_foreign_refusal(error) else None


def message(error: Exception) -> str:
    """The text of an exception of ours; those of the system say what to do, too.

    >>> message(PermissionError(13, "Permission denied", "k.py"))
    'k.py: Permission denied; nothing was written there, give another place'
    """
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'}: {error.strerror}; nothing was written there, give another place"
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}): lower the sizes, the batch or the number of seeds"
    return str(error)


def _is_foreign_refusal(error: Exception) -> bool:
    """Refusals of the independent simulation, which shares no error class with the rest."""
    return type(error).__module__.startswith("numerics.simulate.")


def _stop(code: int, message: str) -> NoReturn:
    print(f"gradientflow: {message}", file=sys.stderr)
    raise typer.Exit(code) from None
