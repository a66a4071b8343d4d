"""Conditions on rows: parsed, checked against a schema, and evaluated on Arrow batches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Predicate"]


@dataclass(frozen=True)
class Predicate:
    """One condition on one column."""

    column: str
    op: str
    value: Any = None
