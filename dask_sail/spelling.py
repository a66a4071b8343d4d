"""What a person may have meant by a name that is none."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return ``did you mean ...?`` for a name, ignoring case; if nothing is near, ``otherwise``."""
    spellings = {one.lower(): one for one in sorted(known, key=operator.methodcaller("lower"))}
    near = difflib.get_close_matches(name.lower(), spellings, 3)
    if not near:
        return otherwise
    return f"did you mean {' or '.join(repr(spellings[one]) for one in near)}?"
