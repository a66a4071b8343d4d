"""``df.sail``: what this package adds to a Dask DataFrame."""

from __future__ import annotations

from typing import Any

from dask.dataframe.extensions import register_dataframe_accessor

from .inspection import Inspection, inspect

__all__ = ["SailAccessor"]


@register_dataframe_accessor("sail")
class SailAccessor:
    """Reached as ``df.sail``, for any Dask DataFrame."""

    def __init__(self, frame: Any) -> None:
        self._frame = frame

    def inspect(self) -> Inspection:
        """Say what the frame's reads will do: partitions, and what is pushed into the sources."""
        return inspect(self._frame)

    def sql(self, query: str, /) -> Any:
        """Plan a query over the frame, which it calls ``self``, as `dask_sail.sql` does.

        Returns
        -------
        dask.dataframe.DataFrame
            Lazy, of ArrowDtype columns.
        """
        # DataFusion takes a while to load, and most frames see no SQL.
        from .sqlengine.context import sql

        return sql(query, {"self": self._frame})
