"""Python functions that queries call: defined where a query is planned, and in every task."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cloudpickle
import pyarrow as pa
from datafusion import SessionContext, udaf, udf
from datafusion.user_defined import Accumulator

from ..errors import OptionError

__all__ = ["FunctionError", "PythonFunction"]


class FunctionError(RuntimeError):
    """A person's function raised, or gave what it must not; tells which, and what."""


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
        return cls(name, "scalar", _pickled("function", given))

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
        _check_accumulator(accumulator)
        return cls(name, "aggregate", _pickled("accumulator", given))

    def define(self, ctx: SessionContext) -> None:
        """Make it known to a context by its name."""
        given = pickle.loads(self.pickled)
        if self.kind == "scalar":
            function, input_types, return_type, volatility = given
            checked = functools.partial(_call, self.name, function, return_type)
            ctx.register_udf(udf(checked, input_types, return_type, volatility, self.name))
        else:
            make, input_types, return_type, state_types, volatility = given
            checked = functools.partial(_Checked, self.name, make, return_type, state_types)
            ctx.register_udaf(
                udaf(checked, input_types, return_type, state_types, volatility, self.name)
            )


def _pickled(option: str, given: Any) -> bytes:
    try:
        return bytes(cloudpickle.dumps(given))
    except Exception as error:  # noqa: BLE001 - whatever it refers to may raise anything
        reason = str(error)
    raise OptionError(
        option, f"cannot travel to workers ({reason})", "make inside it what cannot be pickled"
    )


def _check_accumulator(make: Callable[[], Any]) -> None:
    try:
        made = make()
    except Exception as error:  # noqa: BLE001 - a person's class may raise anything
        problem = f"raised {error!r} when called without arguments"
    else:
        missing = [one for one in _METHODS if not callable(getattr(made, one, None))]
        if not missing:
            return
        problem = f"makes a {type(made).__name__} without {', '.join(missing)}"
    raise OptionError(
        "accumulator", problem, "pass a class derived from datafusion.user_defined.Accumulator"
    )


_METHODS = ("update", "state", "merge", "evaluate")


def _call(
    name: str, function: Callable[..., pa.Array], return_type: pa.DataType, *arrays: pa.Array
) -> pa.Array:
    result = _result_of(name, function, *arrays)
    if not isinstance(result, pa.Array):
        raise FunctionError(
            f"function {name!r} must return a pyarrow.Array, got {type(result).__name__}"
        )
    if result.type != return_type:
        raise FunctionError(
            f"function {name!r} returned {result.type} in place of its return_type {return_type}"
        )
    if arrays and len(result) != len(arrays[0]):
        raise FunctionError(
            f"function {name!r} returned {len(result)} values for {len(arrays[0])} rows; it must "
            "return one for each"
        )
    return result


def _result_of(name: str, function: Callable[..., Any], *given: Any) -> Any:
    try:
        return function(*given)
    except Exception as error:  # noqa: BLE001 - a person's function may raise anything
        raised = repr(error)
    # Where it came from DataFusion would not tell.
    raise FunctionError(f"function {name!r} raised {raised}")


class _Checked(Accumulator):
    """A person's accumulator, whose mistakes are told by name."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Any],
        return_type: pa.DataType,
        state_types: Sequence[pa.DataType],
    ) -> None:
        self._name = name
        self._inner = _result_of(name, make)
        self._return_type = return_type
        self._state_types = state_types

    def update(self, *values: pa.Array) -> None:
        _result_of(self._name, self._inner.update, *values)

    def merge(self, states: list[pa.Array]) -> None:
        _result_of(self._name, self._inner.merge, states)

    def state(self) -> list[pa.Scalar]:
        states = _result_of(self._name, self._inner.state)
        if len(states) != len(self._state_types):
            raise FunctionError(
                f"function {self._name!r} has {len(states)} states, and its state_types say "
                f"{len(self._state_types)}"
            )
        typed = zip(states, self._state_types, strict=True)
        return [self._scalar("state()", state, kind) for state, kind in typed]

    def evaluate(self) -> pa.Scalar:
        value = _result_of(self._name, self._inner.evaluate)
        return self._scalar("evaluate()", value, self._return_type)

    def _scalar(self, method: str, value: Any, kind: pa.DataType) -> pa.Scalar:
        """Return a plain value as one of the type that was promised; a typed one must have it."""
        if isinstance(value, pa.Scalar):
            if value.type == kind:
                return value
            got = str(value.type)
        else:
            try:
                return pa.scalar(value, kind)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                got = type(value).__name__
        raise FunctionError(f"{method} of function {self._name!r} gave {got} in place of {kind}")
