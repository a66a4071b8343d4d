"""What goes wrong between a query and its rows, in kinds that a caller can catch."""

from __future__ import annotations

from ..errors import PythonDataSourceError

__all__ = ["EngineVersionError", "SQLError", "SQLExecutionError"]


class SQLError(PythonDataSourceError):
    """Base of what goes wrong with a query."""


class SQLExecutionError(SQLError, RuntimeError):
    """A stage of a query failed where it ran.

    Parameters
    ----------
    stage
        Its name, as the dashboard and ``explain`` show it.
    message
        What is wrong, and what to do.
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(stage, message)  # the same arguments, or it will not unpickle

    @property
    def stage(self) -> str:
        """Name of the stage."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"stage {self.args[0]}: {self.args[1]}"


class EngineVersionError(SQLError, RuntimeError):
    """A process has another DataFusion than the one that planned the query.

    Parameters
    ----------
    place
        Which process.
    here, planned
        Fingerprints of its DataFusion, and of the one that planned.
    """

    def __init__(self, place: str, here: str, planned: str) -> None:
        super().__init__(place, here, planned)

    def __str__(self) -> str:
        place, here, planned = self.args
        return (
            f"{place} has DataFusion {here}, and the query was planned by {planned}; "
            "install the same version of datafusion everywhere"
        )
