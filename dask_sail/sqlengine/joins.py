"""A hash join with its sides turned round, in its serialised form.

A hash join holds its left side in memory, and DataFusion has it where the query's text has it if
it does not know how large tables are. The numbers are those of HashJoinExecNode in DataFusion's
``datafusion.proto``.
"""

from __future__ import annotations

import re

from datafusion import ExecutionPlan, SessionContext

from .splice import Field, fields, varint

__all__ = ["MIRRORED", "turned", "widths"]

_LEFT, _RIGHT, _ON, _TYPE, _FILTER, _PROJECTION = 1, 2, 3, 4, 8, 9
_FILTER_COLUMNS, _SIDE = 2, 2
_NOTHING = 2**32 - 1  # stands for a projection of no column
_TYPES = ("Inner", "Left", "Right", "Full", "LeftSemi", "LeftAnti", "RightSemi", "RightAnti",
          "LeftMark", "RightMark")  # fmt: skip
_MIRROR = {"Left": "Right", "Right": "Left"}
#: What a join becomes if its sides change places.
MIRRORED = {
    name: next((name.replace(a, b, 1) for a, b in _MIRROR.items() if name.startswith(a)), name)
    for name in _TYPES
}
#: Those that give columns of one side only, in whichever place it is.
_ONE_SIDED = {name for name in _TYPES if name.endswith(("Semi", "Anti", "Mark"))}


def turned(message: bytes, how: str, widths: tuple[int, int]) -> bytes:
    """Return a serialised hash join with left and right in each other's place.

    Parameters
    ----------
    how
        Its type, as DataFusion shows it.
    widths
        How many columns its left and its right side give.
    """
    (join,) = fields(message)
    found = fields(message, join.start, join.end)
    # The sides come first, and the left one before the right one, as they do in other plans.
    found.sort(key=lambda field: field.number if field.number > _RIGHT else -field.number)
    body = [_part(message, field) for field in found if field.number not in (_TYPE, _PROJECTION)]
    body.append(_varint_field(_TYPE, _TYPES.index(MIRRORED[how])))
    projections = [message[f.start : f.end] for f in found if f.number == _PROJECTION]
    if how in _ONE_SIDED:
        body += [_field(_PROJECTION, one) for one in projections]
    else:
        # What stood first stands last now.
        before = _numbers(b"".join(projections)) or range(sum(widths))
        after = [i if i == _NOTHING else (i - widths[0]) % sum(widths) for i in before]
        body.append(_field(_PROJECTION, b"".join(map(varint, after))))
    inner = b"".join(body)
    return message[join.head : join.tag_end] + varint(len(inner)) + inner


def widths(message: bytes, ctx: SessionContext) -> tuple[int, int] | None:
    """Return how many columns the sides of a serialised hash join give; None if that is not sure.

    No plan tells, but DataFusion does when it refuses to read one that asks for a column beyond.
    """
    left, right, both = (_width(message, how, ctx) for how in ("LeftSemi", "RightSemi", "Inner"))
    if left is None or right is None or left + right != both:
        return None
    return left, right


_BEYOND = re.compile(r"project index \d+ out of bounds, max field (\d+)")


def _width(message: bytes, how: str, ctx: SessionContext) -> int | None:
    (join,) = fields(message)
    kept = [
        message[f.head : f.end]
        for f in fields(message, join.start, join.end)
        if f.number not in (_TYPE, _PROJECTION)
    ]
    beyond = _field(_PROJECTION, varint(_NOTHING - 1))
    body = b"".join([*kept, _varint_field(_TYPE, _TYPES.index(how)), beyond])
    try:
        ExecutionPlan.from_bytes(ctx, message[join.head : join.tag_end] + varint(len(body)) + body)
    except Exception as error:  # noqa: BLE001 - the one class that DataFusion raises
        found = _BEYOND.search(str(error))
    else:
        return None
    return int(found[1]) if found else None


def _part(message: bytes, field: Field) -> bytes:
    value = message[field.start : field.end]
    if field.number in (_LEFT, _RIGHT):
        return _other(field, value)
    if field.number == _ON:
        return _field(_ON, b"".join(_other(f, value[f.start : f.end]) for f in fields(value)))
    if field.number == _FILTER:
        return _field(_FILTER, _filter(value))
    return message[field.head : field.end]


def _other(field: Field, value: bytes) -> bytes:
    return _field(_LEFT + _RIGHT - field.number, value)


def _filter(value: bytes) -> bytes:
    parts = []
    for field in fields(value):
        whole = value[field.head : field.end]
        if field.number == _FILTER_COLUMNS:
            whole = _field(_FILTER_COLUMNS, _other_side(value[field.start : field.end]))
        parts.append(whole)
    return b"".join(parts)


def _other_side(column: bytes) -> bytes:
    found = fields(column)
    side = next((column[f.start] for f in found if f.number == _SIDE), 0)
    rest = b"".join(column[f.head : f.end] for f in found if f.number != _SIDE)
    return rest + _varint_field(_SIDE, 1 - side) if side in (0, 1) else column


def _field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def _varint_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def _numbers(packed: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in packed:
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(value)
            value = shift = 0
    return numbers
