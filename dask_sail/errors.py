"""What goes wrong between a person's options and a partition, in kinds that a caller can catch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = [
    "BatchError",
    "ClusterError",
    "DivisionError",
    "FilterError",
    "OptionError",
    "PartitionReadError",
    "PlanError",
    "PythonDataSourceError",
    "ReadOnlyError",
    "SchemaError",
    "SnapshotError",
    "SourceCallError",
    "SourceDefinitionError",
    "SourceNotFoundError",
]


class PythonDataSourceError(Exception):
    """Base of every error that this package raises.

    All kinds come back whole from ``pickle``, since workers raise them and clients read them.
    """


class OptionError(PythonDataSourceError, ValueError):
    """An option or argument is missing, unknown or malformed, or contradicts another one.

    Parameters
    ----------
    option
        Its name, as the person spelt it.
    problem
        What is wrong, with what we got quoted.
    fix
        What to write instead.
    """

    def __init__(self, option: str, problem: str, fix: str) -> None:
        super().__init__(option, problem, fix)  # the same arguments, or it will not unpickle

    @property
    def option(self) -> str:
        """Name of the option, as the person spelt it."""
        return str(self.args[0])

    def __str__(self) -> str:
        option, problem, fix = self.args
        return f"option {option!r} {problem}; {fix}"


class FilterError(PythonDataSourceError, ValueError):
    """``filters=`` is malformed, or names a column or value that the schema does not allow."""


class _SourceError(PythonDataSourceError):
    """An error about one source: ``source`` is its label, the message says what to do."""

    def __init__(self, source: str, message: str) -> None:
        super().__init__(source, message)

    @property
    def source(self) -> str:
        """Label of the source: a registered name or the class's qualified name."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.args[1]}"


class SourceNotFoundError(_SourceError, LookupError):
    """No source of that name or path can be found or imported."""


class SourceDefinitionError(_SourceError, TypeError):
    """The class is not a data source: a method is missing, or it wants constructor arguments."""


class SchemaError(_SourceError, TypeError):
    """``infer_schema`` gave something other than a `pyarrow.Schema` that a frame can carry."""


class PlanError(_SourceError, TypeError):
    """``plan_partitions`` or ``plan_scan`` gave no JSON specs, or ``concurrency`` no limit."""


class ReadOnlyError(PythonDataSourceError, NotImplementedError):
    """Somebody wants to write to a source, or to read it as a stream, on Spark."""


class ClusterError(PythonDataSourceError, RuntimeError):
    """A scheduler or worker of the cluster cannot run this package's tasks."""


class SnapshotError(_SourceError, RuntimeError):
    """The one state of the data that all partitions read is lost, or cannot be shared."""


class _PartitionError(PythonDataSourceError):
    """An error about one partition of one source, raised where it is read."""

    def __init__(self, source: str, spec: Mapping[str, Any] | None, message: str) -> None:
        super().__init__(source, spec, message)

    @property
    def source(self) -> str:
        """Label of the source: a registered name or the class's qualified name."""
        return str(self.args[0])

    @property
    def spec(self) -> Mapping[str, Any] | None:
        """The partition's spec, secrets scrubbed; None where no partition is involved."""
        spec: Mapping[str, Any] | None = self.args[1]
        return spec

    def __str__(self) -> str:
        source, spec, message = self.args
        where = source if spec is None else f"{source}, partition {spec!r}"
        return f"{where}: {message}"


class BatchError(_PartitionError, ValueError):
    """A batch cannot become the schema that ``infer_schema`` gave without loss."""


class DivisionError(_PartitionError, ValueError):
    """A row's index value lies outside its partition's division, or is null."""


class SourceCallError(_PartitionError, RuntimeError):
    """The source's own code raised while one of its methods ran.

    ``traceback_text`` holds the source's own traceback, and ``error_type`` the qualified name of
    what was raised, as text: the class itself may not exist where the error is read. Every secret
    is scrubbed from both, from the message and from the spec.
    """

    def __init__(
        self,
        source: str,
        spec: Mapping[str, Any] | None,
        message: str,
        error_type: str = "",
        traceback_text: str = "",
        transient: bool = False,
    ) -> None:
        super().__init__(source, spec, message)
        self.args = (source, spec, message, error_type, traceback_text, transient)

    @property
    def error_type(self) -> str:
        """Qualified name of the exception that the source raised."""
        return str(self.args[3])

    @property
    def traceback_text(self) -> str:
        """The source's own traceback; empty where its error explains itself."""
        return str(self.args[4])

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed when tried again."""
        return bool(self.args[5])

    def __str__(self) -> str:
        source, spec, message, _, traceback_text, _ = self.args
        where = source if spec is None else f"{source}, partition {spec!r}"
        text = f"{where}: {message}"
        return f"{text}\n\n{traceback_text}" if traceback_text else text


class PartitionReadError(SourceCallError):
    """The source's own code raised while it read a partition."""
