"""A file of SPSS, Stata or SAS as rows, read by ranges of rows.

Needs ``pip install pyreadstat``. Every worker must see the file under the same path.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyreadstat

from dask_sail import PartitionSpec, Predicate, Scan

READERS = {
    ".sav": pyreadstat.read_sav,
    ".zsav": pyreadstat.read_sav,
    ".por": pyreadstat.read_por,
    ".dta": pyreadstat.read_dta,
    ".xpt": pyreadstat.read_xport,
    ".sas7bdat": pyreadstat.read_sas7bdat,
}
NUMBERS = {"int8": pa.int8(), "int16": pa.int16(), "int32": pa.int32(), "float": pa.float32()}
# A date is a number with a display format, whose width and delimiter come last: DATE9, YYMMDDN8.
# Stata's may begin with a minus, for the left, and %d is the %td of old.
DATE = re.compile(
    r"(?:[AES]?DATE|(?:MMDDYY|DDMMYY|YYMMDD)[BCDNPS]?|(?:E|IS)8601DA)[\d.]*|%-?t?d.*",
    re.IGNORECASE,
)
MOMENT = re.compile(r"(?:DATETIME|YMDHMS|(?:E|IS)8601DT)[\d.]*|%-?tc.*")
BATCH = 20_000  # rows


class StatFile:
    """One partition per range of rows.

    Options: ``path``; ``rows`` per partition (1,000,000); ``encoding`` of text, where the file does
    not tell it. Labels of columns and of values stand in the metadata of the schema's fields.
    """

    def option_names(self) -> tuple[str, ...]:
        return "path", "rows", "encoding"

    def infer_schema(self, options: dict[str, str]) -> pa.Schema:
        told = metadata(options)
        return pa.schema([field_of(told, name) for name in told.column_names])

    def plan_partitions(self, options: dict[str, str]) -> list[PartitionSpec]:
        step = whole(options, "rows", 1_000_000)
        pinned = state(path_of(options))
        count = metadata(options).number_rows
        if count is None:  # xpt and por do not tell
            count = counted(options)
        return [
            {"start": start, "stop": min(start + step, count), **pinned}
            for start in range(0, count, step)
        ]

    def read_partition(
        self, spec: PartitionSpec, options: dict[str, str]
    ) -> Iterator[pa.RecordBatch]:
        schema = self.infer_schema(options)
        return self.scan_partition(spec, options, Scan(schema, tuple(schema.names)))

    def plan_scan(
        self, specs: Sequence[PartitionSpec], options: dict[str, str], scan: Scan
    ) -> tuple[Sequence[PartitionSpec], list[Predicate]]:
        return specs, []  # columns alone are chosen

    def scan_partition(
        self, spec: PartitionSpec, options: dict[str, str], scan: Scan
    ) -> Iterator[pa.RecordBatch]:
        path, stop = path_of(options), spec["stop"]
        stop = stop if scan.limit is None else min(stop, spec["start"] + scan.limit)
        if not scan.columns:
            yield pa.record_batch([pa.nulls(stop - spec["start"])], [""]).select([])
            return
        told = metadata(options)
        for start in range(spec["start"], stop, BATCH):
            count = min(BATCH, stop - start)
            columns, _ = read(options, row_offset=start, row_limit=count, usecols=[*scan.columns])
            if state(path) != {name: spec[name] for name in ("bytes", "changed")}:
                raise ValueError(f"{path.name} has changed since the read was planned; read anew")
            arrays = [column(columns[name], name, told) for name in scan.columns]
            yield pa.record_batch(arrays, list(scan.columns))

    def partition_statistics(
        self, specs: Sequence[PartitionSpec], options: dict[str, str]
    ) -> list[tuple[int, bool, None]]:
        return [(spec["stop"] - spec["start"], True, None) for spec in specs]


# ------------------------------------------------------------------------------- the file


def path_of(options: Mapping[str, str]) -> Path:
    path = Path(options.get("path", ""))
    if path.suffix.lower() not in READERS:
        kinds = ", ".join(READERS)
        raise ValueError(f"option 'path' must name a file of {kinds}, got {options.get('path')!r}")
    if not path.is_file():
        raise FileNotFoundError(f"option 'path': there is no file {str(path)!r} on this machine")
    return path


def read(options: Mapping[str, str], **what: Any) -> tuple[Any, Any]:
    path = path_of(options)
    # Dates stay numbers here: pyreadstat cuts off the time of day that one may have.
    how: dict[str, Any] = {"output_format": "dict", "disable_datetime_conversion": True}
    if path.suffix.lower() != ".por":
        how["encoding"] = options.get("encoding")
    elif "encoding" in options:
        raise ValueError("option 'encoding' is not for .por; leave it out")
    return READERS[path.suffix.lower()](path, **how, **what)


def metadata(options: Mapping[str, str]) -> Any:
    return read(options, metadataonly=True)[1]


def state(path: Path) -> dict[str, int]:
    found = path.stat()
    return {"bytes": found.st_size, "changed": found.st_mtime_ns}


def counted(options: Mapping[str, str]) -> int:
    name, rows = metadata(options).column_names[0], 0
    while True:
        columns, _ = read(options, row_offset=rows, row_limit=50 * BATCH, usecols=[name])
        rows += len(columns[name])
        if len(columns[name]) < 50 * BATCH:
            return rows


# ---------------------------------------------------------------------------------- types


def field_of(told: Any, name: str) -> pa.Field:
    facts = {"label": told.column_names_to_labels.get(name)}
    if labels := told.variable_value_labels.get(name):
        facts["value_labels"] = json.dumps({f"{value}": text for value, text in labels.items()})
    kept = {fact: text for fact, text in facts.items() if text}
    return pa.field(name, type_of(told, name), metadata=kept or None)


def type_of(told: Any, name: str) -> pa.DataType:
    kind, shown = told.readstat_variable_types[name], told.original_variable_types.get(name) or ""
    if kind.startswith("string"):
        return pa.string()
    if DATE.fullmatch(shown):
        return pa.date32()
    if MOMENT.fullmatch(shown):
        return pa.timestamp("us")
    return NUMBERS.get(kind, pa.float64())


def column(values: Sequence[Any], name: str, told: Any) -> pa.Array:
    kind = type_of(told, name)
    if not pa.types.is_temporal(kind):
        return pa.array(values, kind)
    epoch, per_second = dt.date(1960, 1, 1), 1
    if told.file_format in ("sav/zsav", "por"):  # whose days are counted in seconds
        epoch, per_day = dt.date(1582, 10, 14), 86_400
    else:
        per_day = 1
    if str(told.original_variable_types[name]).startswith(("%tc", "%-tc")):
        per_second = 1_000
    since = (epoch - dt.date(1970, 1, 1)).days
    if pa.types.is_date(kind):
        days = [None if value is None else whole_days(value / per_day, name) for value in values]
        return pa.array([None if n is None else n + since for n in days], pa.int32()).cast(kind)
    micros = 1_000_000 // per_second
    return pa.array(
        [None if v is None else round(v * micros) + since * 86_400_000_000 for v in values],
        pa.int64(),
    ).cast(kind)


def whole_days(days: float, name: str) -> int:
    if days != int(days):
        raise ValueError(f"{name!r} is a date by its format, and holds a time of day")
    return int(days)


def whole(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise ValueError(f"option {name!r} must be a number from 1 up, got {text!r}; e.g. '1000'")
    return int(text)
