"""From what a person names (a name, a class, a path) to a class that workers can load."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib
import importlib.util
import inspect
import json
import site
import sys
import sysconfig
import threading
from collections.abc import Iterator
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from .calls import call_source
from .errors import (
    OptionError,
    PartitionReadError,
    SourceCallError,
    SourceDefinitionError,
    SourceNotFoundError,
)
from .options import Redactor
from .registered import RegisteredSource, sources
from .spelling import nearest

__all__ = ["SourceRef", "find_source", "source_by_path"]

METHODS = ("infer_schema", "plan_partitions", "read_partition")
# Options written for Lakesail's bridge name its JDBC class; where pysail has none, ours stands in.
_STAND_INS = {"pysail.jdbc.datasource": "jdbc.datasource"}


class SourceRef:
    """A source's class as it travels: by path if it is installed, else by value as opaque bytes.

    The scheduler unpickles expressions but may lack the class, so bytes are loaded in tasks alone.

    Attributes
    ----------
    label
        What messages and task names call the source.
    """

    def __init__(self, label: str, path: str | None, blob: bytes | None) -> None:
        self.label = label
        self._path = path
        self._blob = blob

    @functools.cached_property
    def digest(self) -> str:
        """Equal for references that load the same class."""
        content = self._blob if self._blob is not None else str(self._path).encode()
        return hashlib.sha256(content).hexdigest()

    def load(self) -> type[Any]:
        """Return the class, in this process.

        Raises
        ------
        SourceNotFoundError
            If its module cannot be imported here, or lacks it.
        """
        if self._blob is not None:
            return _load_by_value(self.label, self.digest, self._blob)
        return _import_class(self.label, str(self._path))

    def create(self, redact: Redactor | None = None, spec: dict[str, Any] | None = None) -> Any:
        """Return a new instance of the class.

        Raises
        ------
        SourceNotFoundError
            As `load`.
        SourceCallError, PartitionReadError
            If the constructor raises; the second where it is to read ``spec``.
        """
        cls = self.load()
        kind = SourceCallError if spec is None else PartitionReadError
        return call_source(self.label, "__init__", redact or Redactor(()), cls, spec, kind)

    def __reduce__(self) -> tuple[Any, ...]:
        return SourceRef, (self.label, self._path, self._blob)

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "SourceRef", self.digest

    def __repr__(self) -> str:
        how = self._path if self._blob is None else f"{len(self._blob):,} bytes, by value"
        return f"SourceRef({self.label!r}, {how})"


_loaded: dict[str, type[Any]] = {}
_lock = threading.RLock()


def _load_by_value(label: str, digest: str, blob: bytes) -> type[Any]:
    # Once per process, so that what a class keeps on itself (a connection pool) is kept.
    with _lock:
        if digest not in _loaded:
            try:
                _loaded[digest], modules = cloudpickle.loads(blob)
                _install(modules)
            except ImportError as error:
                raise SourceNotFoundError(
                    label,
                    f"its class travelled by value, but needs {error.name or error!s}, which this "
                    "process cannot import; install it on every worker",
                ) from None
        return _loaded[digest]


def _install(modules: dict[str, ModuleType]) -> None:
    """Let methods import by name what travelled with their class."""
    for name, module in modules.items():
        if name not in sys.modules and not _exists(name):
            sys.modules[name] = module


def _import_class(label: str, path: str) -> type[Any]:
    module_name, _, qualified_name = path.partition(":")
    if not qualified_name:
        raise SourceNotFoundError(label, f"{path!r} names no class; write 'module:Class'")
    try:
        target: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SourceNotFoundError(
            label,
            f"module {error.name!r} cannot be imported here, to load {path!r}; install it in this "
            "process's environment, or check the spelling",
        ) from None
    for name in qualified_name.split("."):
        try:
            target = getattr(target, name)
        except AttributeError:
            hint = nearest(name, dir(target), "check the spelling")
            raise SourceNotFoundError(label, f"{module_name!r} has no {name!r}; {hint}") from None
    return _checked_class(label, target)


def _checked_class(label: str, target: Any) -> type[Any]:
    if not isinstance(target, type):
        raise SourceDefinitionError(
            label,
            f"expected a class with the methods {', '.join(METHODS)}, got {type(target).__name__}"
            + (f"; pass the class {type(target).__name__} itself" if _has_methods(target) else ""),
        )
    missing = [name for name in METHODS if not callable(getattr(target, name, None))]
    if missing:
        raise SourceDefinitionError(
            label,
            f"the class {target.__qualname__} lacks {' and '.join(missing)}; a data source has "
            "infer_schema(options), plan_partitions(options), read_partition(spec, options)",
        )
    return target


def _has_methods(target: Any) -> bool:
    return all(callable(getattr(target, name, None)) for name in METHODS)


def _check_constructible(label: str, cls: type[Any]) -> None:
    """Refuse a class that needs constructor arguments, before a worker meets it."""
    try:
        cls()
    except TypeError as error:
        try:
            inspect.signature(cls).bind()
        except TypeError:
            raise SourceDefinitionError(
                label,
                f"the class {cls.__qualname__} cannot be constructed without arguments ({error}); "
                "a source takes none, what it needs comes in the options",
            ) from None
        raise SourceDefinitionError(
            label, f"{cls.__qualname__}() raised TypeError: {error}"
        ) from error
    except Exception as error:
        raise SourceDefinitionError(
            label,
            f"the class {cls.__qualname__} cannot be constructed without arguments: "
            f"{cls.__qualname__}() raised {type(error).__name__}: {error}",
        ) from error


def find_source(
    source: Any,
    python_module: str | None = None,
    python_class: str | None = None,
    *,
    must_load: bool = True,
) -> SourceRef:
    """Find the class that a person means, check it, and make it ready to travel.

    Parameters
    ----------
    source
        A name registered in the entry point group ``dask_sail.datasources``, a class, or
        ``"module:Class"``. None where ``python_module`` and ``python_class`` are given.
    python_module, python_class
        The bridge's own option names, in place of ``source``.
    must_load
        Whether a path that this process cannot import is an error, or left to the cluster.

    Raises
    ------
    SourceNotFoundError
        If there is no such name, module or class.
    SourceDefinitionError
        If the class lacks a method or wants constructor arguments.
    OptionError
        If source and python_module / python_class are given together, or in part.
    """
    if python_module is not None or python_class is not None:
        source = _bridge_path(source, python_module, python_class)
    if isinstance(source, str):
        announced = None if ":" in source else _registered(source)
        label, path = source, source if announced is None else announced.path
        try:
            cls = _import_class(label, path)
        except SourceNotFoundError as error:
            if not must_load:
                return SourceRef(label, path, None)
            if announced is None or not announced.advice:
                raise
            told = "; ".join([error.args[1], *announced.advice])
            raise SourceNotFoundError(label, told) from None
    elif source is None:
        raise OptionError("source", "is missing", "name a source, a class, or 'module:Class'")
    else:
        name = getattr(source, "__qualname__", type(source).__name__)
        cls = _checked_class(name, source)
        label, path = name, f"{cls.__module__}:{cls.__qualname__}"
    _check_constructible(label, cls)
    if _travels_by_path(cls):
        return SourceRef(label, path, None)
    ref = SourceRef(label, None, _by_value(label, cls))
    # Tasks that run in this process see the class itself, and so the globals around it.
    with _lock:
        _loaded[ref.digest] = cls
    return ref


def source_by_path(python_module: str | None, python_class: str | None) -> SourceRef:
    """Find a class that every process imports for itself, as Spark's executors do.

    Raises
    ------
    OptionError
        If one of the two is missing.
    SourceNotFoundError, SourceDefinitionError
        As `find_source`.
    """
    path = _bridge_path(None, python_module, python_class)
    _check_constructible(path, _import_class(path, path))
    return SourceRef(path, path, None)


def _bridge_path(source: Any, module: str | None, cls: str | None) -> str:
    if source is not None:
        raise OptionError("python_module", f"is given beside the source {source!r}", "give one")
    for name, value in (("python_module", module), ("python_class", cls)):
        if not isinstance(value, str) or not value:
            raise OptionError(
                name, f"must be a name, got {value!r}", "give both python_module and python_class"
            )
    module = str(module)
    if module in _STAND_INS and not _exists(module):
        module = _STAND_INS[module]
    return f"{module}:{cls}"


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def _registered(name: str) -> RegisteredSource:
    found = sources(name)
    if not found:
        names = sorted({source.name for source in sources()})
        told = f"{nearest(name, names, '')} Registered: {', '.join(names) or 'none'}.".lstrip()
        raise SourceNotFoundError(
            name,
            f"no source of this name is registered; {told} A class that is not "
            "registered is given as itself, or as 'module:Class'",
        )
    if found[0].problem is not None:
        raise SourceNotFoundError(name, found[0].problem)
    return found[0]


def _travels_by_path(cls: type[Any]) -> bool:
    module = sys.modules.get(cls.__module__)
    if module is None or cls.__module__ == "__main__" or _is_local(module):
        return False
    found: Any = module
    for name in cls.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is cls  # not so for a class within a function, or one made by hand


def _is_local(module: ModuleType | None) -> bool:
    """Whether no installed distribution owns a module, so that workers may well lack it."""
    file = getattr(module, "__file__", None)
    name = getattr(module, "__name__", "")
    top = name.partition(".")[0]
    if not file or name == "__main__" or top in ("dask_sail", "jdbc"):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(root) for root in _installed_roots()) and (
        not _is_editable(top)
    )


@functools.cache
def _installed_roots() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    roots = [*(sysconfig.get_path(name) for name in names), *site.getsitepackages()]
    return tuple({Path(root).resolve() for root in [*roots, site.getusersitepackages()]})


@functools.cache
def _is_editable(package: str) -> bool:
    owners = packages_distributions().get(package, ())
    records = (distribution(owner).read_text("direct_url.json") for owner in owners)
    return any(
        record and json.loads(record).get("dir_info", {}).get("editable") for record in records
    )


def _by_value(label: str, cls: type[Any]) -> bytes:
    """Pickle a class with every loaded module of the person's own that it may reach."""
    modules = {module.__name__: module for module in _modules_of(cls)}
    with _lock, _shipped_by_value():
        # Whole modules may hold what cannot be pickled, and the class can do without it.
        with contextlib.suppress(Exception):
            return bytes(cloudpickle.dumps((cls, modules)))
        try:
            return bytes(cloudpickle.dumps((cls, {})))
        except Exception as error:  # noqa: BLE001 - whatever its globals raise when pickled
            raise SourceDefinitionError(
                label,
                f"the class {cls.__qualname__} is in no installed package, so it travels to the "
                f"workers by value, but cannot be pickled ({type(error).__name__}: {error}); move "
                "what cannot be pickled into the methods, or install the module as a package",
            ) from None


def _modules_of(cls: type[Any]) -> list[ModuleType]:
    """The person's own modules that a class's module imports, and theirs; without itself."""
    found: dict[str, ModuleType] = {}
    names = [cls.__module__]
    while names:
        for value in list(vars(sys.modules.get(names.pop(), ModuleType(""))).values()):
            owner = value if isinstance(value, ModuleType) else None
            if owner is None:
                owner = sys.modules.get(str(getattr(value, "__module__", "")))
            name = getattr(owner, "__name__", "")
            if owner is not None and name not in found and _is_local(owner):
                found[name] = owner
                names.append(name)
    return [module for name, module in found.items() if name != cls.__module__]


@contextlib.contextmanager
def _shipped_by_value() -> Iterator[None]:
    already = cloudpickle.list_registry_pickle_by_value()
    local = [
        module
        for name, module in list(sys.modules.items())
        if name not in already and getattr(module, "__name__", None) == name and _is_local(module)
    ]
    for module in local:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in local:
            cloudpickle.unregister_pickle_by_value(module)
