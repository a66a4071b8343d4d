"""Errors that our own SQL provokes: of a value that must not be read, with its column's name."""

from __future__ import annotations

import re

__all__ = ["snag_in", "snag_name"]

_SNAG = re.compile(r"dask-sail (?P<kind>[\w -]+) in (?P<column>[0-9a-f]*)")


def snag_name(column: str) -> str:
    """Return a column's name as it stands in such an error, which is ``dask-sail KIND in NAME``."""
    return column.encode().hex()


def snag_in(text: str) -> tuple[str, str] | None:
    """Return kind and column of the error that a driver tells in a text; None if it is another."""
    found = _SNAG.search(text)
    return found and (found["kind"], bytes.fromhex(found["column"]).decode())
