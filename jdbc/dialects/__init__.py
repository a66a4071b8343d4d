"""What differs between databases: one frozen `Dialect` per database, found by its URL's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from ..options import JDBCOptions

__all__ = ["Column", "ColumnRead", "Dialect"]


@dataclass(frozen=True)
class Column:
    """One column of the described query.

    Attributes
    ----------
    name
        As the database spells it.
    database_type
        The database's own name with its modifiers, e.g. ``numeric(10,2)``, ``text``, ``int4[]``.
        Kept in the Arrow field's metadata under ``jdbc.type``, so that a worker need not ask again.
    arrow_type
        The one Arrow type that every engine delivers for this column.
    nullable
        Whether NULLs may come, as far as the database says.
    """

    name: str
    database_type: str
    arrow_type: pa.DataType
    nullable: bool = True


@dataclass(frozen=True)
class ColumnRead:
    """How one engine reads one column exactly.

    Attributes
    ----------
    expression
        The select-list expression, without an alias.
    convert
        From the engine's raw array to ``Column.arrow_type``; raises `ColumnValueError` for a value
        that does not fit, never changes one.
    """

    expression: str
    convert: Callable[[pa.Array], pa.Array]


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One database: how it quotes, which engines read it, how its columns become Arrow."""

    name: str
    label: str
    engines: tuple[str, ...]  # best first, as the default choice tries them
    default_port: int | None = None
    driver_properties: frozenset[str] = frozenset()
    quote: Callable[[str], str]
    literal: Callable[[Any, pa.DataType], str]
    describe: Callable[[JDBCOptions, str], Sequence[Column]]
    read_column: Callable[[Column, str], ColumnRead | None]  # None: that engine cannot, exactly
    extras: Mapping[str, str] = field(default_factory=dict)  # engine -> extra that installs it
