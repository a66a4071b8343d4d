"""Put a sub-plan in place of another inside a serialised plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Template"]


@dataclass(frozen=True)
class Template:
    """A serialised message with named holes where sub-messages were.

    ``parts`` are bytes, the name of a hole, or ``(tag, parts)`` of a sub-message whose length
    depends on what fills its holes.
    """

    parts: tuple[object, ...]

    @classmethod
    def compile(cls, message: bytes, children: Sequence[tuple[bytes, str]]) -> Template:
        """Cut the children, given left to right with the names of their holes, from a message."""
        raise NotImplementedError

    def fill(self, values: Mapping[str, Sequence[bytes]]) -> bytes:
        """Return the message with every hole filled by the buffers of its name, joined."""
        raise NotImplementedError

    def plug(self, hole: str, inner: Template) -> Template:
        """Return the template with another one in place of a hole."""
        raise NotImplementedError
