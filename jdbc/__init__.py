"""Rows of a database by its ``jdbc:`` URL, as Arrow, with neither Java nor JDBC."""

from .datasource import JDBCArrowDataSource
from .errors import (
    ColumnTypeError,
    ColumnValueError,
    ConnectError,
    DivisionError,
    EngineError,
    JDBCError,
    MissingDriverError,
    OptionError,
    QueryError,
)
from .options import JDBCOptions, JDBCWarning

__all__ = [
    "ColumnTypeError",
    "ColumnValueError",
    "ConnectError",
    "DivisionError",
    "EngineError",
    "JDBCArrowDataSource",
    "JDBCError",
    "JDBCOptions",
    "JDBCWarning",
    "MissingDriverError",
    "OptionError",
    "QueryError",
]
