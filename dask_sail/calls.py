"""Calling a source's own code: what it raises becomes ours, with its traceback and no secret."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import SourceCallError
from .options import Redactor

__all__ = ["is_transient", "source_errors"]

_HERE = str(Path(__file__).parent)


def is_transient(error: BaseException) -> bool:
    """Whether trying again may help.

    An error that has an attribute ``transient`` says so itself. Of the others, what the network and
    the operating system raise may pass, but for a file that is missing or forbidden.
    """
    said = getattr(error, "transient", None)
    if isinstance(said, bool):
        return said
    lasting = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
    return isinstance(error, OSError) and not isinstance(error, lasting)


@contextlib.contextmanager
def source_errors(
    label: str,
    doing: str,
    redact: Redactor,
    spec: dict[str, Any] | None = None,
    kind: type[SourceCallError] = SourceCallError,
) -> Iterator[None]:
    """Turn whatever the source's code raises inside the block into ``kind``, secrets scrubbed."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - Rust panics are no Exceptions
        name = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
        # `from None`: the original may hold secrets in places that no scrubbing reaches.
        raise kind(
            label,
            redact.value(spec),
            redact(f"{doing} raised {name}: {error}"),
            name,
            "" if getattr(error, "explains_itself", False) else redact(_own_traceback(error)),
            is_transient(error),
        ) from None


def _own_traceback(error: BaseException) -> str:
    """The traceback from the first frame that is not ours."""
    frame = error.__traceback__
    while frame and frame.tb_frame.f_code.co_filename.startswith((_HERE, contextlib.__file__)):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))
