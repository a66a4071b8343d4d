"""Put a sub-plan in place of another inside a serialised plan, without knowing its messages.

Protocol Buffers write a message within a message as tag, length and bytes, so a child is an exact
part of its parent's bytes. To replace it takes no more than new lengths of the messages around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

__all__ = ["Field", "SpliceError", "Template", "fields", "read_varint", "varint"]

#: Bytes, the name of a hole, or the tag and the parts of a message whose length depends on holes.
Part: TypeAlias = "bytes | str | tuple[bytes, tuple[Part, ...]]"

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types; 3 and 4 are of an older time


class SpliceError(ValueError):
    """Bytes that are no message, or a child that a message does not hold."""


class Field(NamedTuple):
    """One field of a message, as positions in its bytes.

    Attributes
    ----------
    number, wire_type
        What its tag says.
    head, tag_end
        Where the tag begins and ends.
    start, end
        Of the value, without its length.
    """

    number: int
    wire_type: int
    head: int
    tag_end: int
    start: int
    end: int


@dataclass(frozen=True)
class Template:
    """A serialised message with named holes where sub-messages were.

    ``parts`` are bytes, the name of a hole, or ``(tag, parts)`` of a sub-message whose length
    depends on what fills its holes.
    """

    parts: tuple[Part, ...]

    @classmethod
    def compile(
        cls, message: bytes, children: Sequence[tuple[bytes, str]], *, depth: int | None = None
    ) -> Template:
        """Cut the children, given left to right with the names of their holes, from a message.

        Parameters
        ----------
        depth
            How many messages lie around each child, if that is known: 2 for a plan within a plan.
            Bytes that are alike by chance, in a name or a literal, are then not taken for a child.

        Raises
        ------
        SpliceError
            If a child is not found.
        """
        if len(children) == 1 and children[0][0] == message and depth in (None, 0):
            return cls((children[0][1],))
        left = list(children)
        parts = _cut(message, 0, len(message), left, depth)
        if left:
            raise SpliceError(f"{len(left)} of {len(children)} children are not in the message")
        return cls(parts)

    @property
    def holes(self) -> tuple[str, ...]:
        """Names of the holes, left to right; one that is there twice comes twice."""
        return tuple(_holes(self.parts))

    def fill(self, values: Mapping[str, Sequence[bytes]]) -> bytes:
        """Return the message with every hole filled by the buffers of its name, joined."""
        out: list[bytes] = []
        _emit(self.parts, values, out)
        return b"".join(out)

    def plug(self, hole: str, inner: Template) -> Template:
        """Return the template with another one in place of a hole.

        Raises
        ------
        SpliceError
            If there is no such hole.
        """
        if hole not in self.holes:
            raise SpliceError(f"there is no hole {hole!r}")
        return Template(_plug(self.parts, hole, inner.parts))


def varint(number: int) -> bytes:
    """Return a number from 0 up as Protocol Buffers write it, 7 bits per byte, lowest first."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def fields(message: bytes, start: int = 0, end: int | None = None) -> list[Field]:
    """Return the fields of the message that lies from ``start`` to ``end``.

    Raises
    ------
    SpliceError
        If the bytes are no message.
    """
    end = len(message) if end is None else end
    found = []
    at = start
    while at < end:
        head = at
        tag, at = read_varint(message, at, end)
        tag_end, wire_type = at, tag & 7
        if wire_type == _BYTES:
            length, at = read_varint(message, at, end)
            stop = at + length
        elif wire_type == _VARINT:
            _, stop = read_varint(message, at, end)
        elif wire_type in (_FIXED64, _FIXED32):
            stop = at + (8 if wire_type == _FIXED64 else 4)
        else:
            raise SpliceError(f"no message: wire type {wire_type} at byte {head}")
        if stop > end or not tag >> 3:
            raise SpliceError(f"no message: a field at byte {head} ends beyond it, or has no tag")
        found.append(Field(tag >> 3, wire_type, head, tag_end, at, stop))
        at = stop
    return found


def read_varint(message: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number that begins at ``at``, and where what follows it begins.

    Raises
    ------
    SpliceError
        If it does not end before ``end``.
    """
    number = shift = 0
    while at < end and shift < 64:
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    raise SpliceError(f"no message: a number that does not end at byte {at}")


def _cut(
    message: bytes, start: int, end: int, left: list[tuple[bytes, str]], depth: int | None
) -> tuple[Part, ...]:
    """Cut the first of the children that are left, and then the next, as often as they are here."""
    parts: list[Part] = []
    done = start
    inner_depth = None if depth is None else depth - 1
    for field in fields(message, start, end):
        if not left:
            break
        if field.wire_type != _BYTES or field.end - field.start < len(left[0][0]):
            continue
        inner: tuple[Part, ...]
        if _is_child(message, field, left[0][0], inner_depth):
            inner = (left.pop(0)[1],)
        elif inner_depth != 0 and message.find(left[0][0], field.start, field.end) >= 0:
            try:
                inner = _cut(message, field.start, field.end, left, inner_depth)
            except SpliceError:  # a text, not a message
                continue
            if len(inner) == 1 and isinstance(inner[0], bytes):
                continue
        else:
            continue
        parts += [message[done : field.head], (message[field.head : field.tag_end], inner)]
        done = field.end
    return (*parts, message[done:end])


def _is_child(message: bytes, field: Field, child: bytes, depth: int | None) -> bool:
    return (
        depth in (None, 0)
        and field.end - field.start == len(child)
        and message.startswith(child, field.start)
    )


def _holes(parts: tuple[Part, ...]) -> list[str]:
    found = []
    for part in parts:
        if isinstance(part, str):
            found.append(part)
        elif isinstance(part, tuple):
            found += _holes(part[1])
    return found


def _emit(parts: tuple[Part, ...], values: Mapping[str, Sequence[bytes]], out: list[bytes]) -> int:
    size = 0
    for part in parts:
        if isinstance(part, tuple):
            inside: list[bytes] = []
            length = _emit(part[1], values, inside)
            header = part[0] + varint(length)
            out.append(header)
            out += inside
            size += len(header) + length
        else:
            buffers = values[part] if isinstance(part, str) else (part,)
            out += buffers
            size += sum(map(len, buffers))
    return size


def _plug(parts: tuple[Part, ...], hole: str, inner: tuple[Part, ...]) -> tuple[Part, ...]:
    out: list[Part] = []
    for part in parts:
        if part == hole:
            out += inner
        elif isinstance(part, tuple):
            out.append((part[0], _plug(part[1], hole, inner)))
        else:
            out.append(part)
    return tuple(out)
