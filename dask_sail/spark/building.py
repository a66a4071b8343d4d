"""The part of the build that puts a module where PySpark looks for it; runs without dask_sail."""

from __future__ import annotations

from pathlib import Path

from setuptools.command.build_py import build_py

__all__ = ["BuildWithDefaultSource"]


class BuildWithDefaultSource(build_py):
    """Ships ``dask_sail/spark/default_source.py`` as the module ``pyspark_dask_sail``, too.

    PySpark looks through the folders of ``sys.path``. A mapping in ``package_dir`` would do for
    wheels; for an editable install setuptools turns it into an import hook, which PySpark passes
    over.
    """

    def run(self) -> None:
        """Build the packages, and then that module."""
        super().run()
        self.copy_file(str(Path(__file__).with_name("default_source.py")), self._target())

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that were made."""
        outputs = super().get_outputs(include_bytecode)
        return [*outputs] if self.editable_mode else [*outputs, self._target()]

    def _target(self) -> str:
        # What is installed as editable has no folder of built files, but one of installed ones.
        installed = self.get_finalized_command("install").install_lib
        folder = Path(installed if self.editable_mode else self.build_lib)
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / "pyspark_dask_sail.py")
