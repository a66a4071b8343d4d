"""Values for the places of a query, written into it as literals, so that each engine sees one text.

A literal is what the dialect makes of a Python value, so no value can end it. What could go wrong
is to take a place for code that the database takes for part of a text: so a query that can be read
in two ways is refused.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from .errors import OptionError
from .tokens import can_escape, tokens

if TYPE_CHECKING:
    from .dialects import Dialect

__all__ = ["Params", "bind", "parse_params"]

Params: TypeAlias = Mapping[str, Any] | Sequence[Any]
"""Values by name, for ``:name`` or ``%(name)s``; or in order, for ``?`` or ``%s``. One may be a
list, for IN."""

_TYPED: Mapping[str, Callable[[str], Any]] = {
    "decimal": Decimal,
    "date": dt.date.fromisoformat,
    "time": dt.time.fromisoformat,
    "timestamp": dt.datetime.fromisoformat,
    "binary": bytes.fromhex,
}
_FORMAT = (
    """write a JSON object or array, e.g. '{"country": "DE", "since": {"date": "2025-01-31"}}'"""
)


def parse_params(name: str, text: str) -> Params:
    """Parse the option: a JSON object or array of values.

    A value is null, true, a number, a text, a list of values, or an object with one key that says
    its type: decimal, date, time, timestamp (ISO 8601) or binary (hexadecimal).
    """
    try:
        given = json.loads(text, object_pairs_hook=_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict | list):
        raise OptionError(name, "is no JSON object or array whose keys are unique", _FORMAT)
    if isinstance(given, list):
        return [_value(name, f"value {i}", value) for i, value in enumerate(given, 1)]
    for key in given:
        if not re.fullmatch(_NAME, key):
            raise OptionError(name, f"names {key!r}", "name a value as in :name, by a word")
    return {key: _value(name, repr(key), value) for key, value in given.items()}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def _refuse_constant(text: str) -> None:
    raise ValueError(f"JSON has no {text}")


def _value(name: str, which: str, value: Any) -> Any:
    if isinstance(value, list):
        if not value:
            raise OptionError(
                name, f"has an empty list as {which}", "ask the database only if there are values"
            )
        items = [_value(name, which, item) for item in value]
        if any(item is None or isinstance(item, list) for item in items):
            raise OptionError(
                name,
                f"has a list with a null or a list in it as {which}",
                "write a flat list, and OR ... IS NULL in the query",
            )
        return items
    if not isinstance(value, dict):
        return value
    kind, spelt = next(iter(value.items()), ("", None))
    if len(value) == 1 and kind in _TYPED and isinstance(spelt, str):
        try:
            return _TYPED[kind](spelt)
        except (ValueError, InvalidOperation):
            pass
    raise OptionError(
        name,
        f"has an object as {which} that is no typed value",
        f'write one key of {", ".join(_TYPED)} and its text, e.g. {{"date": "2025-01-31"}}',
    )


# ------------------------------------------------------------------------------------ places

_NAME = r"[^\W\d]\w*"
_DRIVERS = re.compile(rf"%\(({_NAME})\)s(?!\w)")
"""A named place of some of Python's drivers, which pandas documents."""


@dataclass(frozen=True)
class _Place:
    """Where a value goes, as ``text[start:stop]``; its name, or the mark of a nameless one.

    ``alone`` says whether it is all that stands in a pair of parentheses.
    """

    start: int
    stop: int
    key: str
    alone: bool


def bind(text: str, params: Params, dialect: Dialect) -> str:
    """Return the query with its values in place.

    Raises
    ------
    OptionError
        If values and places do not match, the database has no literal for a value, or it is not
        certain what in the query is quoted.
    """
    places = _certain_places(text, dialect.name)
    if isinstance(params, Mapping):
        chosen = _named(places, params)
        values = [params[place.key] for place in chosen]
        told = [repr(place.key) for place in chosen]
    else:
        chosen = _in_order(places, params)
        values = list(params)
        told = [f"value {i}" for i, _ in enumerate(values, 1)]
    if "%%" in text and any(text[place.start] == "%" for place in chosen):
        raise OptionError(
            "query",
            "has places that begin with % and also %%, which drivers read as a single %",
            "write the places as ? or :name, and a per cent sign once",
        )
    pieces, at = [], 0
    for place, value, which in zip(chosen, values, told, strict=True):
        pieces += [text[at : place.start], _spelt(value, which, place, dialect)]
        at = place.stop
    return "".join([*pieces, text[at:]])


def _certain_places(text: str, dialect: str) -> list[_Place]:
    readings = [_places(text, dialect, escapes=False)]
    if can_escape(dialect):
        readings.append(_places(text, dialect, escapes=True))
    if readings[0] is None or any(reading != readings[0] for reading in readings):
        raise OptionError(
            "query",
            "has params, and a quote or comment that is not closed, or a backslash before a quote",
            "close it; give a text with a backslash as one of the params",
        )
    return readings[0]


def _places(text: str, dialect: str, *, escapes: bool) -> list[_Place] | None:
    """Return every place of whatever style; None if quotes are left open."""
    pieces, start = [("", 0, 0)], 0
    for kind, stop in tokens(text, dialect, escapes=escapes):
        if kind == "open":
            return None
        if kind != "space":
            pieces.append((kind, start, stop))
        start = stop
    pieces.append(("", start, start))
    words = [text[start:stop] for _, start, stop in pieces]
    found = []
    for i in range(1, len(pieces) - 1):
        kind, start, stop = pieces[i]
        touching = words[i + 1] if pieces[i + 1][1] == stop else ""
        before = text[start - 1 : start]
        driver = _DRIVERS.match(text, start)
        key = driver[1] if driver else _key(words[i], before, touching)
        if kind != "other" or key is None:
            continue
        end = driver.end() if driver else stop if key == "?" else pieces[i + 1][2]
        after = next(j for j, (_, begin, _) in enumerate(pieces) if begin >= end)
        alone = (words[i - 1], words[after]) == ("(", ")")
        found.append(_Place(start, end, key, alone))
    return found


def _key(word: str, before: str, after: str) -> str | None:
    """Return what a place is called that begins with this word; None if none does."""
    if word == ":" and re.fullmatch(_NAME, after) and not re.fullmatch(r"[\w:\\]", before):
        return after  # neither x::int nor x[1:n]
    if word == "%" and after == "s":
        return "%s"
    # Not SQLite's ?1, nor what PostgreSQL asks of JSON: ?| ?& @?
    is_mark = word == "?" and before not in ("@", "?") and not re.match(r"[\w|&?]", after)
    return "?" if is_mark else None


def _named(places: list[_Place], params: Mapping[str, Any]) -> list[_Place]:
    chosen = [place for place in places if place.key not in ("?", "%s")]
    wanted = {place.key for place in chosen}
    if missing := sorted(wanted - set(params)):
        raise OptionError(
            "params",
            f"has no value for {', '.join(f':{key}' for key in missing)} of the query",
            "add it; a colon that begins no place needs a blank after it",
        )
    if unused := sorted(set(params) - wanted):
        raise OptionError(
            "params",
            f"has {', '.join(map(repr, unused))}, for which the query has no place",
            f"write :{unused[0]} in the query, without quotes around it, or leave it out",
        )
    return chosen


def _in_order(places: list[_Place], params: Sequence[Any]) -> list[_Place]:
    # PostgreSQL has operators with a question mark, so %s goes first.
    mark = "%s" if any(place.key == "%s" for place in places) else "?"
    chosen = [place for place in places if place.key == mark]
    if len(chosen) != len(params):
        raise OptionError(
            "params",
            f"has {len(params)} values in order, but the query has {len(chosen)} places ({mark})",
            "give one value for each; or an object of values by name, with :name as the places",
        )
    return chosen


# ------------------------------------------------------------------------------------ values


def _spelt(value: Any, which: str, place: _Place, dialect: Dialect) -> str:
    if isinstance(value, list):
        items = ", ".join(_literal(item, which, dialect) for item in value)
        return items if place.alone else f"({items})"
    literal = _literal(value, which, dialect)
    # Blanks, or `-:n` could begin a comment; parentheses, or a text could join one beside it.
    return f" {literal} " if re.fullmatch(r"\w+", literal) else f"({literal})"


def _literal(value: Any, which: str, dialect: Dialect) -> str:
    if value is None:
        return "NULL"
    literal = None
    with suppress(ValueError, OverflowError):  # pa.ArrowInvalid is one, too
        literal = dialect.literal(value, _arrow_type(value))
    if literal is None:
        raise OptionError(
            "params",
            f"has as {which} a {type(value).__name__} that {dialect.label} has no literal for",
            "give it as a text, spelt as the database or the column holds it",
        )
    return literal


def _arrow_type(value: Any) -> pa.DataType:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        return pa.decimal256(76, 0)
    return pa.scalar(value).type
