"""The data sources that installed packages announce, told from their metadata alone."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import (
    Distribution,
    EntryPoint,
    PackageNotFoundError,
    distribution,
    entry_points,
)
from typing import Any, overload

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

__all__ = ["GROUP", "RegisteredSource", "RegisteredSources", "sources"]

GROUP = "dask_sail.datasources"


@dataclass(frozen=True)
class RegisteredSource:
    """A name that an installed package gave to a data source.

    Attributes
    ----------
    name
        What `read_python_source` takes.
    path
        Of its class, ``"module:Class"``.
    package, version
        The distribution that announces it.
    missing
        Requirements of the package itself that are not installed.
    extras
        What the entry point says it may need, ``name = module:Class [extra, ...]``: of each extra
        the requirements that are not installed; none, where its drivers are here.
    also
        Other packages, each with its version, that announce the same name, which therefore nobody
        can use.
    """

    name: str
    path: str
    package: str
    version: str
    missing: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    also: tuple[str, ...] = ()

    @property
    def distribution(self) -> str:
        """Package and version, in one text."""
        return f"{self.package} {self.version}"

    @property
    def problem(self) -> str | None:
        """Why `read_python_source` refuses the name; None where it does not."""
        if not self.also:
            return None
        packages = " and ".join([self.distribution, *self.also])
        return (
            f"{packages} register this name; uninstall all but one, "
            f"or name the class instead, {self.path!r}"
        )

    @property
    def advice(self) -> tuple[str, ...]:
        """What to install, in full sentences; empty where nothing is missing."""
        wants = {f"{self.package}[{name}]": missing for name, missing in self.extras.items()}
        return tuple(
            f"needs {', '.join(missing)}: pip install '{what}'"
            for what, missing in {self.package: self.missing, **wants}.items()
            if missing
        )

    def _drivers(self) -> Iterator[str]:
        if self.problem:
            yield self.problem
        if self.missing:
            yield self.advice[0]
        for name, missing in self.extras.items():
            how = f"pip install '{self.package}[{name}]'"
            yield f"{name}: needs {', '.join(missing)}, {how}" if missing else f"{name}: installed"

    def __str__(self) -> str:
        first = f"{self.name}  {self.path}  ({self.distribution})"
        return "\n  ".join([first, *self._drivers()])


class RegisteredSources(Sequence[RegisteredSource]):
    """All names of data sources, by name; prints as text, and shows in a notebook."""

    def __init__(self, found: Iterable[RegisteredSource]) -> None:
        self._found = tuple(found)

    @overload
    def __getitem__(self, index: int) -> RegisteredSource: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RegisteredSource]: ...
    def __getitem__(self, index: Any) -> Any:
        return self._found[index]

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return "\n".join(map(str, self._found)) or f"no package announces such a source in {GROUP}"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(repr(self))}</pre>"


def sources(name: str | None = None) -> RegisteredSources:
    """List the data sources that installed packages announce; imports and starts none of them.

    Parameters
    ----------
    name
        List those of this name only.

    Returns
    -------
    RegisteredSources
        A sequence of `RegisteredSource`, by name and package. Two of one name are both in it, and
        each tells of the other.
    """
    selected = entry_points(group=GROUP) if name is None else entry_points(group=GROUP, name=name)
    announced = sorted({(e.name, *_owner(e), e.value): e for e in selected}.items())
    return RegisteredSources(
        _registered(entry, [e for (other, *_), e in announced if other == entry.name])
        for _, entry in announced
    )


def _owner(entry: EntryPoint) -> tuple[str, str]:
    if entry.dist is None:  # one that a program made by hand
        return "an unknown package", "of no version"
    return str(entry.dist.metadata["Name"]), entry.dist.version


def _registered(entry: EntryPoint, namesakes: Sequence[EntryPoint]) -> RegisteredSource:
    package, version = _owner(entry)
    dist = entry.dist
    path, _, listed = entry.value.partition("[")  # its own properties raise if it is malformed
    extras = re.findall(r"[\w.-]+", listed)
    return RegisteredSource(
        name=entry.name,
        path=re.sub(r"\s", "", path),
        package=package,
        version=version,
        missing=() if dist is None else _missing(dist, ""),
        extras={} if dist is None else {name: _missing(dist, name) for name in extras},
        also=tuple(" ".join(_owner(other)) for other in namesakes if other is not entry),
    )


def _missing(dist: Distribution, extra: str, seen: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Return the requirements of one extra of a package (of none: ``""``) that are not met."""
    defined = {canonicalize_name(name) for name in dist.metadata.get_all("Provides-Extra") or ()}
    if extra and canonicalize_name(extra) not in defined:
        return (f"{dist.metadata['Name']}[{extra}], which that package does not define",)
    found: list[str] = []
    for text in dist.requires or ():
        try:
            wanted = Requirement(text)
        except InvalidRequirement:  # of a package that was built long ago
            continue
        if _is_asked(wanted, extra) and not (extra and _is_asked(wanted, "")):
            found += _unmet(wanted, seen)
    return tuple(dict.fromkeys(found))


def _is_asked(wanted: Requirement, extra: str) -> bool:
    return wanted.marker is None or wanted.marker.evaluate({"extra": extra})


def _unmet(wanted: Requirement, seen: frozenset[str]) -> tuple[str, ...]:
    plain = f"{wanted.name}{wanted.specifier}"
    try:
        dist = distribution(wanted.name)
    except PackageNotFoundError:
        return (plain,)
    if not wanted.specifier.contains(dist.version, prereleases=True):
        return (f"{plain} (here is {dist.version})",)
    # What a package needs is its own affair, but for the extras that were asked of it.
    return tuple(
        text
        for extra in sorted(wanted.extras)
        if (key := f"{canonicalize_name(wanted.name)}[{extra}]") not in seen
        for text in _missing(dist, extra, seen | {key})
    )
