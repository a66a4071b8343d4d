"""Cut a column into ranges that between them hold every row of the table exactly once."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Self
from zoneinfo import ZoneInfo

import pyarrow as pa

from .errors import OptionError

__all__ = [
    "MAX_RANGES",
    "Position",
    "Range",
    "bound_value",
    "find_column",
    "has_positions",
    "not_cut",
    "parse_bound",
    "plan_ranges",
    "position_of",
    "range_condition",
    "ranges_between",
]

MAX_RANGES = 1_000_000
"""More tasks than this bring down a scheduler; a slip of the finger should not."""

Position = int | float | Decimal | str
"""A place in a column, in its unit."""

_LONGEST_TEXT = 100
"""A text's beginning cuts as well as the whole, and every spec carries two."""

_INT64 = range(-(2**63), 2**63)
_EPOCH = date(1970, 1, 1)
_DAY_US = 86_400_000_000
# Spark divides in Java's DECIMAL128, and rescales without that limit.
_DECIMAL128 = Context(prec=34, rounding=ROUND_HALF_EVEN)
_UNLIMITED = Context(prec=100)


@dataclass(frozen=True)
class Range:
    """Rows whose value v has ``lower <= v < upper``, and those without a value where ``nulls``.

    Attributes
    ----------
    lower, upper
        In the column's unit: days for a date, microseconds for a timestamp, both since 1970-01-01
        UTC; the number or text itself for every other column. Bounds that a user gives are whole;
        cuts that were found among a column's values may be of any kind. None is open. A NaN sorts
        last, as in PostgreSQL, so it belongs to the range that is open above.
    nulls
        Whether NULLs belong here: to the first range, and to no other.
    """

    lower: Position | None
    upper: Position | None
    nulls: bool

    def to_json(self) -> dict[str, Any]:
        """Return the range as a dict that JSON can carry."""
        ends = {"lower": self.lower, "upper": self.upper}
        plain = {
            name: {"decimal": f"{end}"} if isinstance(end, Decimal) else end
            for name, end in ends.items()
        }
        return {**plain, "nulls": self.nulls}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the range that `to_json` wrote."""
        lower, upper = (
            Decimal(end["decimal"]) if isinstance(end, dict) else end
            for end in (value["lower"], value["upper"])
        )
        return cls(lower, upper, value["nulls"])

    def may_match(self, op: str, value: Any = None) -> bool:
        """Say whether a row of this range can satisfy ``column op value``; True when unsure.

        Parameters
        ----------
        op
            An operator of a predicate: ``==``, ``<``, ``in``, ``is null`` and so on.
        value
            As the column's Arrow type gives it to Python: int, float, Decimal, str, date or
            datetime (a naive one is UTC); a sequence for ``in``, predicates for ``any_of``.
        """
        match op:
            case "is null":
                return self.nulls
            case "is nan":
                return self.upper is None
            case "any_of":
                return any(self.may_match(piece.op, piece.value) for piece in value)
            case "in":
                return any(self.may_match("==", one) for one in value)
            case "==" if value is None:
                return self.nulls
            case "==" | "<" | "<=" | ">" | ">=":
                position = _position(value)
                return position is None or self._reaches(op, position)
            case _:  # `!=` and the like, which a NaN and nearly any other value satisfy
                return True

    def _reaches(self, op: str, position: Any) -> bool:
        # Any: Python compares these kinds of numbers exactly, which no type says.
        lower: Any = self.lower
        upper: Any = self.upper
        if isinstance(position, str) and not _are_ascii(position, lower, upper):
            return True  # an encoding may order its other characters in its own way
        if isinstance(position, float):
            # A column of doubles is cut at doubles: databases round a bound that none equals, some
            # to the nearest and some up. A range that is read for nothing loses no row.
            if isinstance(lower, int) and float(lower) != lower:
                lower = math.nextafter(float(lower), -math.inf)
            if isinstance(upper, int) and float(upper) != upper:
                upper = math.nextafter(float(upper), math.inf)
        above = lower is None or (lower < position if op == "<" else lower <= position)
        below = upper is None or position < upper
        match op:
            case "==":
                return above and below
            case "<" | "<=":
                return above
            case _:
                return below


def plan_ranges(lower: int, upper: int, count: int) -> list[Range]:
    """Cut a column into ranges that between them hold every row of the table exactly once.

    Parameters
    ----------
    lower, upper
        Where to cut, never what to keep: the first range also takes all below and the NULLs, the
        last all above. In the column's unit, as `parse_bound` gives them.
    count
        How many ranges to aim for; 1 or less is one range.

    Returns
    -------
    list of Range, of length n with 1 <= n <= max(count, 1)
        Ascending, without gaps or overlaps.

    Raises
    ------
    OptionError
        If ``lower > upper`` and more than one range is asked for, or if there would be more than
        a million ranges.

    Notes
    -----
    The cuts are those of Spark's ``JDBCRelation.columnPartition`` since 3.2, half-stride shift
    included.

    Examples
    --------
    >>> for piece in plan_ranges(0, 100, 3):
    ...     print(piece)
    Range(lower=None, upper=33, nulls=True)
    Range(lower=33, upper=66, nulls=False)
    Range(lower=66, upper=None, nulls=False)
    """
    if count <= 1 or lower == upper:
        return [Range(None, None, nulls=True)]
    if lower > upper:
        raise OptionError(
            "lowerBound",
            f"is above upperBound ({lower} > {upper}, in the column's unit)",
            "swap the two",
        )
    # Fewer whole positions than ranges would leave some ranges empty.
    count = min(count, upper - lower)
    if count > MAX_RANGES:
        raise OptionError(
            "numPartitions",
            f"asks for {count} partitions of these bounds",
            f"write at most {MAX_RANGES}",
        )
    start, stride = _start_and_stride(lower, upper, count)
    return ranges_between([start + step * stride for step in range(count - 1)])


def ranges_between(cuts: Sequence[Position]) -> list[Range]:
    """Return the ranges that ascending cuts make: one more than there are cuts."""
    edges: list[Position | None] = [None, *cuts, None]
    return [Range(low, high, nulls=low is None) for low, high in pairwise(edges)]


def _start_and_stride(lower: int, upper: int, count: int) -> tuple[int, int]:
    """Return the first cut and the distance between cuts."""
    context, n = _DECIMAL128, Decimal(count)
    precise = context.subtract(_share(upper, n), _share(lower, n))
    # Rounding can leave 0.99... of a stride of 1; Spark then divides by zero.
    stride = max(int(precise), 1)
    lost = context.divide(
        context.multiply(context.subtract(precise, Decimal(stride)), n), Decimal(stride)
    )
    shift = context.multiply(context.divide(lost, Decimal(2)), Decimal(stride))
    aligned = lower + int(shift.quantize(Decimal(1), ROUND_HALF_UP, _UNLIMITED))
    return aligned + stride, stride


def _share(bound: int, count: Decimal) -> Decimal:
    return _DECIMAL128.divide(Decimal(bound), count).quantize(
        Decimal("1e-18"), ROUND_HALF_EVEN, _UNLIMITED
    )


def range_condition(piece: Range, column_sql: str, literal: Callable[[Any], str]) -> str:
    """Return the SQL condition for one range; the empty text where the range holds every row.

    Parameters
    ----------
    piece
        The range.
    column_sql
        The column, quoted.
    literal
        Turns a position in the column's unit into an SQL literal.
    """
    below = None if piece.upper is None else f"{column_sql} < {literal(piece.upper)}"
    above = None if piece.lower is None else f"{column_sql} >= {literal(piece.lower)}"
    bounds = " AND ".join(part for part in (above, below) if part)
    if piece.nulls and bounds:
        # In parentheses, since AND binds closer than OR.
        return f"({bounds} OR {column_sql} IS NULL)"
    if not bounds and not piece.nulls:
        return f"{column_sql} IS NOT NULL"
    return bounds


def find_column(wanted: str, names: Sequence[str]) -> str:
    """Return the table's own spelling of the column that ``partitionColumn`` names.

    Exact spelling first, then ignoring case; the name may stand in double quotes or backticks, as
    Spark allows.

    Raises
    ------
    OptionError
        If no column is meant, or more than one.
    """
    bare = wanted if wanted in names else _unquoted(wanted)
    if bare in names:
        return bare
    matches = [name for name in names if name.casefold() == bare.casefold()]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise OptionError(
            "partitionColumn",
            f"could mean any of {matches}, got {wanted!r}",
            "spell it exactly as the table does",
        )
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(bare.casefold(), folded, n=1)
    hint = f"did you mean {folded[close[0]]!r}?" if close else f"the columns are {list(names)}"
    raise OptionError("partitionColumn", f"names no column, got {wanted!r}", hint)


def _unquoted(name: str) -> str:
    for quote in ('"', "`"):
        if len(name) > 2 and name[0] == name[-1] == quote:
            return name[1:-1].replace(quote * 2, quote)
    return name


def parse_bound(text: str, arrow_type: pa.DataType, option: str = "lowerBound") -> int:
    """Return a bound as a whole number in the unit of a column of that type.

    Parameters
    ----------
    text
        A whole number for every numeric column, as in Spark. For dates and timestamps ``yyyy``,
        ``yyyy-m``, ``yyyy-m-d``, then a ``T`` or a space and ``h:m[:s[.fraction]]`` and a zone:
        ``Z``, ``UTC``, ``+02:00``, ``Europe/Berlin``. A date drops the time. A timestamp without a
        zone is UTC where the column has zones; where it has none, the bound may not have one.
    arrow_type
        Type of the partition column.
    option
        Name of the option, for the error.

    Returns
    -------
    int
        Days since 1970-01-01 for a date, microseconds for a timestamp, else the number.

    Raises
    ------
    OptionError
        If the text does not fit the type, or no range can be cut on such a type.
    """
    types = pa.types
    if _is_number(arrow_type):
        return _whole_number(text, option)
    if types.is_date(arrow_type):
        return _moment(text, option, "date").days
    if types.is_timestamp(arrow_type):
        return _microseconds(text, option, zoned=arrow_type.tz is not None)
    raise not_cut(str(arrow_type))


def not_cut(type_name: str) -> OptionError:
    """Return the error for a column of a type that has no ranges."""
    return OptionError(
        "partitionColumn",
        f"names a column of type {type_name}",
        "name one that holds numbers, dates or timestamps, or write predicates",
    )


def _is_number(arrow_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_integer(arrow_type)
        or types.is_decimal(arrow_type)
        or types.is_floating(arrow_type)
    )


def has_positions(arrow_type: pa.DataType) -> bool:
    """Say whether `position_of` knows the type."""
    types = pa.types
    ordered = types.is_date(arrow_type) or types.is_timestamp(arrow_type)
    return bool(_is_number(arrow_type) or ordered or types.is_string(arrow_type))


def position_of(value: Any, arrow_type: pa.DataType) -> Position | None:
    """Return where a value of a column lies, in the column's unit; None if it has no place there.

    Values keep their order; long texts that begin alike come to lie in one place.

    Parameters
    ----------
    value
        A number, or a text as a database prints one, a date (ISO) or a timestamp (ISO, UTC).
    arrow_type
        Type of the partition column.
    """
    types = pa.types
    try:
        if types.is_string(arrow_type):
            return value[:_LONGEST_TEXT] if isinstance(value, str) else None
        if types.is_date(arrow_type):
            return (date.fromisoformat(value) - _EPOCH).days
        if types.is_timestamp(arrow_type):
            moment = datetime.fromisoformat(value)
            utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return (utc - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
        if types.is_floating(arrow_type):
            return float(value) if math.isfinite(float(value)) else None
        number = Decimal(value)
        whole = number.is_finite() and number == number.to_integral_value()
        if types.is_integer(arrow_type):
            return int(number) if whole else None
        return int(number) if whole else number if number.is_finite() else None
    except (ValueError, TypeError, ArithmeticError):
        return None


def bound_value(position: Any, arrow_type: pa.DataType) -> Any:
    """Return a position in the column's unit as the Python value that a dialect's literal takes.

    A timestamp with a zone comes back aware, in UTC, so that its literal can carry the offset: at
    a change of daylight saving time a local time means two instants.
    """
    if pa.types.is_date(arrow_type):
        return _EPOCH + timedelta(days=position)
    if pa.types.is_timestamp(arrow_type):
        zone = None if arrow_type.tz is None else UTC
        return datetime(1970, 1, 1, tzinfo=zone) + timedelta(microseconds=position)
    return position


def _are_ascii(*texts: Any) -> bool:
    return all(text is None or (isinstance(text, str) and text.isascii()) for text in texts)


def _position(value: Any) -> float | Decimal | Fraction | str | None:
    """Return a column's Python value in the unit of its ranges, None where it has no place."""
    if isinstance(value, datetime):
        zone = UTC if value.tzinfo else None
        since = value - datetime(1970, 1, 1, tzinfo=zone)
        # pandas.Timestamp counts nanoseconds apart; without them `<` would drop a range.
        return since // timedelta(microseconds=1) + Fraction(getattr(value, "nanosecond", 0), 1000)
    if isinstance(value, date):
        return (value - _EPOCH).days
    if isinstance(value, str):
        return value
    if isinstance(value, int | float | Decimal) and not math.isnan(value):
        return value
    return None


def _whole_number(text: str, option: str) -> int:
    # Spark's Long.parseLong: no white space, no fraction, no exponent.
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text) or (number := int(text)) not in _INT64:
        raise OptionError(
            option,
            f"must be a whole number that fits 64 bits, got {text!r}",
            "write e.g. '1000000'",
        )
    return number


_MOMENT = re.compile(
    r"""(?P<year>\+?[0-9]{4,7})
    (?: -(?P<month>[0-9]{1,2})
      (?: -(?P<day>[0-9]{1,2})
        (?: [ T](?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})
            (?: :(?P<second>[0-9]{1,2}) (?:\.(?P<fraction>[0-9]*))? )?
            \ ?(?P<zone>[A-Za-z+-][A-Za-z0-9_:/+-]*)?
        )?
      )?
    )?""",
    re.VERBOSE,
)
_OFFSET = re.compile(r"(?:UTC|GMT|UT)?([+-])([0-9]{1,2})(?::?([0-9]{2}))?(?::?([0-9]{2}))?")


@dataclass(frozen=True)
class _Moment:
    """A date, a time of day and a zone, as written."""

    days: int
    microseconds: int
    zone: str | None


def _moment(text: str, option: str, kind: str) -> _Moment:
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise _bad_moment(text, option, kind)
    # Spark cuts off what is finer than a microsecond.
    fraction = (found["fraction"] or "")[:6].ljust(6, "0")
    try:
        when = datetime(
            int(found["year"]),
            int(found["month"] or 1),
            int(found["day"] or 1),
            int(found["hour"] or 0),
            int(found["minute"] or 0),
            int(found["second"] or 0),
            int(fraction),
        )
    except ValueError:
        raise _bad_moment(text, option, kind) from None
    since = when - datetime(when.year, when.month, when.day)
    return _Moment((when.date() - _EPOCH).days, since // timedelta(microseconds=1), found["zone"])


def _microseconds(text: str, option: str, *, zoned: bool) -> int:
    moment = _moment(text, option, "timestamp")
    local = moment.days * _DAY_US + moment.microseconds
    if moment.zone is None:
        return local
    if not zoned:
        raise OptionError(
            option,
            f"has a zone but the partition column has none, got {text!r}",
            "write the bound without a zone",
        )
    try:
        utc = local - _offset(moment.zone, local)
        bound_value(utc, pa.timestamp("us"))
    except (ValueError, OverflowError, OSError, LookupError):
        raise _bad_moment(text, option, "timestamp") from None
    return utc


def _offset(zone: str, local: int) -> int:
    """Return the zone's offset from UTC at a local time, in microseconds."""
    if zone.upper() in ("Z", "UTC", "GMT", "UT"):
        return 0
    if found := _OFFSET.fullmatch(zone):
        sign, hours, minutes, seconds = found.groups(default="0")
        ahead = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
        if ahead > timedelta(hours=18) or int(minutes) > 59 or int(seconds) > 59:
            raise ValueError(zone)
        return (ahead if sign == "+" else -ahead) // timedelta(microseconds=1)
    when = datetime(1970, 1, 1) + timedelta(microseconds=local)
    offset = ZoneInfo(zone).utcoffset(when.replace(tzinfo=ZoneInfo(zone)))
    return (offset or timedelta()) // timedelta(microseconds=1)


def _bad_moment(text: str, option: str, kind: str) -> OptionError:
    example = "2024-01-31" if kind == "date" else "2024-01-31 12:30:00"
    return OptionError(
        option, f"must be a {kind} of the years 1 to 9999, got {text!r}", f"write e.g. {example!r}"
    )
