"""Databases that are one file: it must be there before a driver is asked to open it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..errors import ConnectError, OptionError

if TYPE_CHECKING:
    from ..options import JDBCOptions

__all__ = ["existing_path"]


def existing_path(options: JDBCOptions) -> str:
    """Return the path of the file; only looks, never opens it.

    Closing the file would free the locks that any copy of the database's library holds on it in
    this process (https://www.sqlite.org/howtocorrupt.html, 2.2.1; DuckDB locks in the same way).

    Raises
    ------
    OptionError
        If the URL names a database in memory.
    ConnectError
        If there is no such file, or this process may not read it.
    """
    path, dialect = options.url.path, options.dialect
    if options.url.memory or not path:
        raise OptionError(
            "url",
            "names a database in memory, of which each worker would see its own, empty",
            "write the path of a file that every worker can see, e.g."
            f" 'jdbc:{dialect}:/data/shop.db'",
        )
    problem = None
    if not os.path.exists(path):
        problem = "there is no such file on this machine; every worker must see it at that path"
    elif not os.path.isfile(path):
        problem = "that is no file"
    elif not os.access(path, os.R_OK):
        problem = "this process may not read that file"
    if problem:
        raise ConnectError(f"{options.url.label}: {problem}")
    return path
