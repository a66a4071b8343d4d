"""Calling a source's own code: what it raises becomes ours, with its traceback and no secret."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from .errors import SourceCallError
from .options import Redactor

__all__ = ["call_or_log", "call_source", "is_transient"]

logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_HERE = str(Path(__file__).parent)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help.

    An error that has an attribute ``transient`` says so itself. Of the others, what the network and
    the operating system raise may pass, but for a file that is missing or forbidden.
    """
    said = _attribute(error, "transient")
    if isinstance(said, bool):
        return said
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, OSError) and not isinstance(error, lasting)


def call_source(
    label: str,
    method: str,
    redact: Redactor,
    call: Callable[[], _Result],
    spec: dict[str, Any] | None = None,
    kind: type[SourceCallError] = SourceCallError,
) -> _Result:
    """Return what a call of the source's code returns; what it raises becomes ``kind``.

    Every secret is scrubbed from the error, which keeps no hold of the original one.
    """
    try:
        return call()
    # Rust panics are no Exceptions; nor is what sys.exit raises, which would end a worker.
    except BaseException as error:
        if _is_interrupt(error):
            raise
        name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        explained = _attribute(error, "explains_itself")
        ours = kind(
            label,
            redact.value(spec),
            redact(f"{method} raised {name}: {_text(error)}{_hint(error)}"),
            name,
            "" if explained else redact(_own_traceback(error)),
            is_transient(error),
        )
    # Not within `except`, where even `from None` would keep the original as __context__, which
    # travels when a worker's error is pickled.
    raise ours


def call_or_log(label: str, method: str, redact: Redactor, call: Callable[[], Any]) -> None:
    """Call where nobody can be told of an error, and log what `call_source` makes of it."""
    try:
        call_source(label, method, redact, call)
    except SourceCallError as error:
        logger.warning("%s", error)


def _is_interrupt(error: BaseException) -> bool:
    # A person interrupts the main thread, without a word. A source's own would end a worker.
    in_main = threading.current_thread() is threading.main_thread()
    return in_main and isinstance(error, KeyboardInterrupt) and not error.args


def _attribute(error: BaseException, name: str) -> Any:
    try:
        return getattr(error, name, None)
    except Exception:  # noqa: BLE001 - a property of the source's own; it tells of secrets, too
        return None


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - as above
        return "(its text cannot be had)"


def _hint(error: BaseException) -> str:
    if not isinstance(error, ModuleNotFoundError):
        return ""
    return (
        " in this process. A module that only the client has comes along if the source's module "
        "imports it at its head; any other is installed where the source runs"
    )


def _own_traceback(error: BaseException) -> str:
    """The traceback from the first frame that is not ours."""
    frame = error.__traceback__
    while frame and frame.tb_frame.f_code.co_filename.startswith(_HERE):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))
