"""What is asked of a source before anything is read, and whether its answers keep the contract."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from numbers import Integral
from typing import Any

import pyarrow as pa

from .arrow import frame_schema
from .calls import call_source
from .datasource import PartitionSpec, PartitionStatistics, Scan
from .errors import OptionError, PlanError, SchemaError
from .options import CaseInsensitiveDict, Redactor, SourceOptions
from .predicate import LiteralError, Predicate, typed_literal
from .registry import SourceRef
from .spelling import nearest

__all__ = [
    "Plan",
    "Specs",
    "check_option_names",
    "infer_schema",
    "kind_of",
    "plan_scan",
    "plan_source",
    "plan_specs",
    "statistics",
]


class Specs(Sequence[PartitionSpec]):
    """Planned partitions, each kept as its JSON text, so that nobody can change one in passing.

    A source that plans no partition has one here whose text is empty: Dask knows no collection of
    none.
    """

    NONE = ""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts) or (self.NONE,)

    def __getitem__(self, index: Any) -> Any:
        return json.loads(self.texts[index])

    def __len__(self) -> int:
        return 0 if self.texts == (self.NONE,) else len(self.texts)

    def __iter__(self) -> Iterator[PartitionSpec]:
        return (json.loads(text) for text in self.texts if text != self.NONE)

    def take(self, indices: Iterable[int]) -> Specs:
        """Return the partitions at some positions."""
        return Specs(self.texts[i] for i in indices)

    @functools.cached_property
    def digest(self) -> str:
        """Equal for equal partitions in equal order."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()

    def __dask_tokenize__(self) -> tuple[str, str]:
        return "Specs", self.digest

    def __reduce__(self) -> tuple[Any, ...]:
        return Specs, (self.texts,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Specs) and self.texts == other.texts

    def __hash__(self) -> int:
        return hash(self.texts)

    def __repr__(self) -> str:
        return f"<{len(self)} partitions>"


@dataclass(frozen=True)
class Plan:
    """What a source said about one read."""

    schema: pa.Schema
    specs: Specs
    version: str | None
    divisions: tuple[Any, ...] | None
    has_snapshot: bool


def plan_source(
    ref: SourceRef, options: SourceOptions, schema: pa.Schema | None, index: str | None
) -> Plan:
    """Ask a source for its schema, partitions, version and divisions, in this process."""
    resolved, redact = options.resolve()
    label = ref.label
    source = ref.create(redact)
    check_option_names(label, source, resolved, redact)
    if schema is None:
        schema = _inferred(label, source, resolved, redact)
    frame_schema(schema, label)
    _check_index(label, index, schema)
    specs = _planned(label, source, resolved, redact)
    version = divisions = None
    if hasattr(source, "version"):
        known = call_source(label, "version", redact, lambda: source.version(resolved.copy()))
        version = None if known is None else str(known)
    if index is not None and hasattr(source, "divisions") and len(specs):
        given = call_source(
            label,
            "divisions",
            redact,
            lambda: source.divisions(list(specs), resolved.copy(), index),
        )
        divisions = _checked_divisions(label, given, len(specs), schema.field(index).type)
    has_snapshot = _wants_snapshot(label, source, resolved, redact)
    return Plan(schema, specs, version, divisions, has_snapshot)


def infer_schema(ref: SourceRef, options: SourceOptions) -> pa.Schema:
    """Ask a source for its schema alone, in this process."""
    resolved, redact = options.resolve()
    source = ref.create(redact)
    check_option_names(ref.label, source, resolved, redact)
    return _inferred(ref.label, source, resolved, redact)


def plan_specs(ref: SourceRef, options: SourceOptions) -> tuple[Specs, bool]:
    """Ask a source for its partitions, and whether they want a snapshot, in this process."""
    resolved, redact = options.resolve()
    source = ref.create(redact)
    check_option_names(ref.label, source, resolved, redact)
    specs = _planned(ref.label, source, resolved, redact)
    return specs, _wants_snapshot(ref.label, source, resolved, redact)


def check_option_names(
    label: str, source: Any, options: CaseInsensitiveDict, redact: Redactor
) -> None:
    """Refuse an option that a source does not name; a source without the ability takes any.

    Raises
    ------
    OptionError
        If there is such an option; its value is not shown.
    PlanError
        If ``option_names`` gives no names.
    """
    if not hasattr(source, "option_names"):
        return

    def ask() -> Any:
        given = source.option_names()
        is_many = isinstance(given, Collection) and not isinstance(given, str | bytes)
        return list(given) if is_many else given

    names = call_source(label, "option_names", redact, ask)
    if not isinstance(names, list):
        raise PlanError(
            label, f"option_names must return a collection of str, got {kind_of(names)}"
        )
    if strangers := [name for name in names if not isinstance(name, str)]:
        raise PlanError(label, f"option_names must give str alone, got {kind_of(strangers[0])}")
    known = {name.lower() for name in names}
    for option in options:
        if option.lower() not in known:
            listed = ", ".join(map(repr, sorted(names, key=str.lower)))
            takes = f"it takes {listed:.300}" if names else "it takes none"
            raise OptionError(
                option, f"is none of the source {label!r}", nearest(option, names, takes)
            )


def _inferred(label: str, source: Any, options: CaseInsensitiveDict, redact: Redactor) -> pa.Schema:
    schema = call_source(label, "infer_schema", redact, lambda: source.infer_schema(options.copy()))
    if not isinstance(schema, pa.Schema):
        raise SchemaError(
            label, f"infer_schema must return a pyarrow.Schema, got {kind_of(schema)}"
        )
    return schema


def _planned(label: str, source: Any, options: CaseInsensitiveDict, redact: Redactor) -> Specs:
    planned = call_source(
        label, "plan_partitions", redact, lambda: _listed(source.plan_partitions(options.copy()))
    )
    return Specs(_texts(label, "plan_partitions", planned))


def _wants_snapshot(
    label: str, source: Any, options: CaseInsensitiveDict, redact: Redactor
) -> bool:
    return hasattr(source, "wants_snapshot") and call_source(
        label, "wants_snapshot", redact, lambda: bool(source.wants_snapshot(options.copy()))
    )


def kind_of(value: Any) -> str:
    """What came in place of what was expected, for a message: its type, not its value."""
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"


def _listed(planned: Any) -> Any:
    return planned if _is_scalar(planned) else list(planned)


def _is_scalar(planned: Any) -> bool:
    return isinstance(planned, str | bytes | dict) or not isinstance(planned, Iterable)


def _check_index(label: str, index: str | None, schema: pa.Schema) -> None:
    if index is not None and index not in schema.names:
        hint = nearest(str(index), schema.names, f"has: {schema.names}")
        raise SchemaError(label, f"index={index!r} is no column of the source; {hint:.300}")


def _texts(label: str, method: str, planned: Any) -> Iterator[str]:
    if _is_scalar(planned):
        raise PlanError(
            label,
            f"{method} must return a list of dicts, one per partition, got {kind_of(planned)}",
        )
    for position, spec in enumerate(planned):
        where = f"{method}()[{position}]"
        if not isinstance(spec, dict):
            raise PlanError(label, f"{where} must be a dict, got {kind_of(spec)}")
        try:
            _check_json(label, where, spec)
            # ASCII, as half a surrogate (of a file's name) can be encoded in no other way.
            text = json.dumps(spec, separators=(",", ":"))
        except (RecursionError, ValueError) as error:
            raise PlanError(label, f"{where} cannot be written as JSON: {error}") from None
        yield text


def _check_json(label: str, where: str, value: Any) -> None:
    """Refuse what JSON cannot carry there and back, naming the place."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise PlanError(label, f"{where} has the key {key!r}; JSON has str keys only")
            _check_json(label, f"{where}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            _check_json(label, f"{where}[{position}]", item)
    elif isinstance(value, float) and not math.isfinite(value):
        raise PlanError(label, f"{where} is {value}, which JSON cannot hold; write a str or None")
    elif not isinstance(value, str | int | float | bool | None):
        raise PlanError(
            label,
            f"{where} is {kind_of(value)}, which JSON cannot hold; specs are dicts of str, int, "
            "float, bool, None, lists and dicts",
        )


def _checked_divisions(
    label: str, divisions: Any, count: int, kind: pa.DataType
) -> tuple[Any, ...] | None:
    if divisions is None:
        return None
    if _is_scalar(divisions):
        raise PlanError(
            label, f"divisions must give {count + 1} values, or None, got {kind_of(divisions)}"
        )
    given = tuple(divisions)
    if len(given) != count + 1:
        raise PlanError(
            label, f"divisions must give {count + 1} values for {count} specs, got {len(given)}"
        )
    try:
        values = [typed_literal(value, kind) for value in given]
    except LiteralError as error:
        raise PlanError(label, f"divisions must be values of the index ({kind}): {error}") from None
    if any(not low <= high for low, high in pairwise(values)):
        raise PlanError(label, "divisions must ascend")
    return tuple(values)


def plan_scan(
    ref: SourceRef, options: SourceOptions, specs: Specs, scan: Scan
) -> tuple[list[int], tuple[Predicate, ...]]:
    """Ask which partitions can hold wanted rows, and which predicates the source applies exactly.

    Returns
    -------
    tuple
        Positions in ``specs``, ascending, and some of ``scan.predicates``. All and none for a
        source without the ability, or whose class this process cannot import.
    """
    everything = list(range(len(specs)))
    source = _client_instance(ref, options.redactor)
    if not scan.predicates or not hasattr(source, "plan_scan"):
        return everything, ()

    def ask() -> tuple[list[PartitionSpec], tuple[Predicate, ...]] | None:
        match source.plan_scan(list(specs), options.unresolved(), scan):
            case (Iterable() as kept, Iterable() as accepted):
                return list(kept), tuple(accepted)
        return None

    answer = call_source(ref.label, "plan_scan", options.redactor, ask)
    if answer is None:
        raise PlanError(
            ref.label,
            "plan_scan must return two lists: of the specs that can hold wanted rows, and of the "
            "predicates that the source applies exactly",
        )
    kept, accepted = answer
    strangers = [predicate for predicate in accepted if predicate not in scan.predicates]
    if strangers:
        raise PlanError(ref.label, f"plan_scan accepted {strangers}, which it was not given")
    return _positions(ref.label, specs, kept), accepted


def _client_instance(ref: SourceRef, redact: Redactor) -> Any:
    try:
        return ref.create(redact)
    except LookupError:  # planned on a cluster that alone has the class
        return None


def _positions(label: str, specs: Specs, kept: list[Any]) -> list[int]:
    texts = iter(enumerate(specs.texts))
    positions = []
    for text in _texts(label, "plan_scan", kept):
        for position, candidate in texts:
            if candidate == text:
                positions.append(position)
                break
        else:
            raise PlanError(
                label, f"plan_scan must return some of the specs it was given, in order, got {text}"
            )
    return positions


def statistics(
    ref: SourceRef, options: SourceOptions, specs: Specs
) -> tuple[PartitionStatistics, ...]:
    """Ask what is known of each partition; nothing, from a source without the ability."""
    unknown = (PartitionStatistics(),) * len(specs)
    if not len(specs):
        return ()
    source = ref.create(options.redactor)
    if not hasattr(source, "partition_statistics"):
        return unknown
    resolved, redact = options.resolve()

    def ask() -> Any:
        return _listed(source.partition_statistics(list(specs), resolved.copy()))

    given = call_source(ref.label, "partition_statistics", redact, ask)
    if _is_scalar(given):
        raise PlanError(
            ref.label, f"partition_statistics must give one entry per spec, got {kind_of(given)}"
        )
    if len(given) != len(specs):
        raise PlanError(
            ref.label,
            f"partition_statistics must give one entry per spec, {len(specs)}, got {len(given)}",
        )
    return tuple(_checked_statistics(ref.label, i, one) for i, one in enumerate(given))


def _checked_statistics(label: str, position: int, one: Any) -> PartitionStatistics:
    if isinstance(one, tuple | list) and len(one) <= 3:
        known = PartitionStatistics(*one)
        counts = (known.rows, known.nbytes)
        are_counts = all(n is None or (isinstance(n, Integral) and n >= 0) for n in counts)
        if are_counts and known.exact in (True, False):
            return known
    raise PlanError(
        label,
        f"partition_statistics()[{position}] must be (rows, exact, bytes), e.g. (12, True, 4096), "
        f"or (None, False, None) where nothing is known, got {one!r:.80}",
    )
