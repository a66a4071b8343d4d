"""Python functions that queries call: defined where a query is planned, and in every task."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cloudpickle
import pyarrow as pa
from datafusion import SessionContext, udaf, udf

__all__ = ["PythonFunction"]


@dataclass(frozen=True)
class PythonFunction:
    """A function that SQL knows by name, in a form that reaches every task.

    Attributes
    ----------
    name
        How SQL calls it.
    pickled
        The function and its types.
    """

    name: str
    kind: Literal["scalar", "aggregate"]
    pickled: bytes = field(repr=False)

    @classmethod
    def scalar(
        cls,
        name: str,
        function: Callable[..., pa.Array],
        input_types: Sequence[pa.DataType],
        return_type: pa.DataType,
        volatility: str = "immutable",
    ) -> PythonFunction:
        """Take a function of Arrow arrays that returns an array of as many values."""
        given = (function, list(input_types), return_type, volatility)
        return cls(name, "scalar", cloudpickle.dumps(given))

    @classmethod
    def aggregate(
        cls,
        name: str,
        accumulator: Callable[[], Any],
        input_types: Sequence[pa.DataType],
        return_type: pa.DataType,
        state_types: Sequence[pa.DataType],
        volatility: str = "immutable",
    ) -> PythonFunction:
        """Take what makes a `datafusion.user_defined.Accumulator`."""
        given = (accumulator, list(input_types), return_type, list(state_types), volatility)
        return cls(name, "aggregate", cloudpickle.dumps(given))

    def define(self, ctx: SessionContext) -> None:
        """Make it known to a context by its name."""
        given = pickle.loads(self.pickled)
        if self.kind == "scalar":
            function, input_types, return_type, volatility = given
            ctx.register_udf(udf(function, input_types, return_type, volatility, self.name))
        else:
            make, input_types, return_type, state_types, volatility = given
            ctx.register_udaf(
                udaf(make, input_types, return_type, state_types, volatility, self.name)
            )
