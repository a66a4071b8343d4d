"""The options of one read, parsed and checked once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from .url import JDBCUrl

__all__ = ["JDBCOptions", "JDBCWarning", "option_reference"]


class JDBCWarning(UserWarning):
    """An option that changes no row is ignored."""


@dataclass(frozen=True, kw_only=True)
class JDBCOptions:
    """The options of one read. Fields carry our names; Spark's names are in their metadata."""

    url: JDBCUrl  # with user, password, connectTimeout and driver properties merged in
    user: str | None
    password: str | None
    dbtable: str | None
    query: str | None
    partition_column: str | None
    lower_bound: str | None
    upper_bound: str | None
    num_partitions: int | None
    predicates: tuple[str, ...]
    fetchsize: int
    query_timeout: int
    session_init_statement: str | None
    prepare_query: str | None
    custom_schema: str | None
    push_down_predicate: bool
    push_down_limit: bool
    hint: str | None
    engine: str | None
    connect_timeout: float
    driver_properties: Mapping[str, str]

    @classmethod
    def parse(cls, raw: Mapping[str, str]) -> Self:
        """Parse and check options as a person writes them; keys ignore case."""
        raise NotImplementedError

    @property
    def dialect(self) -> str:
        """Name of the database, e.g. ``postgresql``."""
        return self.url.dialect

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        raise NotImplementedError

    @property
    def relation(self) -> str:
        """SQL text to put after FROM."""
        raise NotImplementedError


def option_reference() -> list[tuple[str, str, str]]:
    """Return (name, default, description) of every option."""
    raise NotImplementedError
