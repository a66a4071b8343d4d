"""Filters reach the source where both sides mean the same, and the rows stay the same."""

from __future__ import annotations

import datetime as dt
import json
import operator
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

NAN, INF = float("nan"), float("inf")
DAY, MOMENT = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, 30, 15, 250_000)
NIGHT = dt.datetime(2024, 2, 29)

TABLE = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5, 6, 1000, None], pa.int64()),
        "u": pa.array([0, 1, 2, 3, 4, 5, 2**64 - 1, None], pa.uint64()),
        "f": pa.array([NAN, -0.0, 0.0, 0.1, 1.5, -INF, INF, None], pa.float64()),
        "g": pa.array([NAN, -0.0, 0.0, 0.1, 1.5, -INF, INF, None], pa.float32()),
        "s": pa.array(["", "a", "b", "B", "é", "a", "5", None], pa.large_string()),
        "b": pa.array([True, False, True, False, True, None, True, None]),
        "d": pa.array([DAY, dt.date(1, 1, 1), DAY, None, DAY, None, DAY, None], pa.date32()),
        "t": pa.array([MOMENT, None, *[NIGHT] * 5, None], pa.timestamp("ns")),
        "z": pa.array([MOMENT, None, *[NIGHT] * 5, None], pa.timestamp("us", "UTC")),
        "p": pa.array(
            [Decimal(v) for v in ("5.40", "5.00", "-1.00", "0.01", "9.99", "1", "2")] + [None],
            pa.decimal128(9, 2),
        ),
        "y": pa.array([b"", b"a", b"b", b"\xff", b"a", b"a", b"a", None], pa.binary()),
    }
)

# A condition, and what of it the source is asked for: on Spark, and on Lakesail.
ALL, NOTHING = "all", "nothing"
CONDITIONS: list[tuple[str, str, str]] = [
    ("id = 3", ALL, ALL),
    ("id <=> 3", ALL, NOTHING),
    ("id <> 3", ALL, ALL),
    ("id < 3", ALL, ALL),
    ("id >= 3 AND id <= 5", ALL, ALL),
    ("id > 5", ALL, ALL),
    ("3 < id", ALL, ALL),
    ("id IN (1, 3, 77)", ALL, NOTHING),
    ("id IN (1, 3, NULL)", ALL, NOTHING),
    ("id NOT IN (1, 3)", ALL, ALL),
    ("id NOT IN (1, NULL)", NOTHING, ALL),
    ("id IS NULL", ALL, NOTHING),
    ("id IS NOT NULL", ALL, ALL),
    ("NOT (id = 3)", ALL, ALL),
    ("id = 3 OR s = 'a'", NOTHING, NOTHING),
    ("id + 1 = 3", NOTHING, NOTHING),
    ("u = 18446744073709551615", ALL, NOTHING),
    ("u < 3", ALL, NOTHING),
    ("f = 0", ALL, NOTHING),
    ("f <> 1.5D", ALL, NOTHING),
    ("f < 1", ALL, NOTHING),
    ("f <= 0.1D", ALL, NOTHING),
    ("f > 1", NOTHING, NOTHING),
    ("f >= 1.5D", NOTHING, NOTHING),
    ("f = double('NaN')", NOTHING, NOTHING),
    ("f = double('Infinity')", ALL, NOTHING),
    ("f IS NULL", ALL, NOTHING),
    ("g < float(1)", ALL, NOTHING),
    ("g = float(0.1)", ALL, NOTHING),
    ("g > float(1)", NOTHING, NOTHING),
    ("s = 'a'", ALL, ALL),
    ("s > 'B'", ALL, ALL),
    ("s <> 'a'", ALL, ALL),
    ("s IN ('a', 'é')", ALL, NOTHING),
    ("s LIKE 'a%'", NOTHING, NOTHING),
    ("s = ''", ALL, ALL),
    ("b", ALL, NOTHING),
    ("b = false", ALL, NOTHING),
    ("d = DATE'2024-02-29'", ALL, NOTHING),
    ("d < DATE'2000-01-01'", ALL, NOTHING),
    ("t > TIMESTAMP_NTZ'2024-02-29 12:00:00'", ALL, NOTHING),
    ("z > TIMESTAMP'2024-02-29 12:00:00'", ALL, NOTHING),
    ("z = TIMESTAMP'2024-02-29 12:30:15.25'", ALL, NOTHING),
    ("p = 5.40", ALL, NOTHING),
    ("p < 5", ALL, NOTHING),
    ("p IN (5.40, 5.00)", ALL, NOTHING),
    ("y = X'61'", ALL, NOTHING),
    # A cast that an engine drops on its way to the source would lose rows.
    ("CAST(p AS INT) = 5", NOTHING, NOTHING),
    ("CAST(p AS DECIMAL(9, 0)) = 5", NOTHING, NOTHING),
    ("CAST(f AS FLOAT) = float(0.1)", NOTHING, NOTHING),
    ("CAST(id AS STRING) = '3'", NOTHING, ALL),
    ("CAST(b AS INT) = 1", ALL, NOTHING),
    ("CAST(t AS DATE) = DATE'2024-02-29'", ALL, NOTHING),
    ("TRY_CAST(s AS INT) IS NULL", NOTHING, NOTHING),
    ("TRY_CAST(s AS INT) = 5", NOTHING, NOTHING),
]


@pytest.fixture(scope="module")
def places(engine: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """The file that sources read, in two batches, and the same rows as the engine's own table."""
    path = str(tmp_path_factory.mktemp("filters") / "table.arrow")
    with pa.OSFile(path, "w") as sink, pa.ipc.new_file(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=4)
    # Not its cache, whose statistics lose NaN to filters such as f > 1.
    frame = engine.read("Stored", file=path)
    plain = engine.session.createDataFrame(frame.toArrow(), schema=frame.schema)
    return path, plain


def rows(frame: Any) -> Counter[str]:
    return Counter(map(repr, frame.toArrow().to_pylist()))


def asked(seen: Path) -> list[tuple[int, list[str], list[str]]]:
    """What each read of a partition was asked for: batch, columns, predicates."""
    return [json.loads(line) for line in seen.read_text().splitlines()] if seen.exists() else []


@pytest.mark.parametrize(("condition", "on_spark", "on_lakesail"), CONDITIONS)
def test_a_filter_keeps_its_rows(
    condition: str, on_spark: str, on_lakesail: str, engine: Any, places: Any, tmp_path: Path
) -> None:
    path, plain = places
    frame = engine.read("Filtering", file=path, seen=tmp_path / "seen")
    with engine.pushing():
        found = rows(frame.filter(condition))
    assert found == rows(plain.filter(condition))
    expected = on_spark if engine.name == "spark" else on_lakesail
    predicates = [p for _, _, those in asked(tmp_path / "seen") for p in those]
    # IS NOT NULL, which engines add to nearly everything, does no harm.
    told = [p for p in predicates if not p.endswith("not null")]
    if "IS NOT NULL" in condition:
        told = predicates
    assert bool(told) == (expected == ALL), predicates


def test_nothing_is_pushed_unless_spark_is_told_to(
    engine: Any, places: Any, tmp_path: Path
) -> None:
    if engine.name == "lakesail":
        return  # which always does
    frame = engine.read("Filtering", file=places[0], seen=tmp_path / "seen")
    assert frame.filter("id = 3").count() == 1
    assert [those for _, _, those in asked(tmp_path / "seen")] == [[], []]


def test_partitions_without_wanted_rows_are_not_read(
    engine: Any, places: Any, tmp_path: Path
) -> None:
    frame = engine.read("Filtering", file=places[0], seen=tmp_path / "seen")
    with engine.pushing():
        assert [row.id for row in frame.filter("id >= 1000").collect()] == [1000]
    assert {batch for batch, _, _ in asked(tmp_path / "seen")} == {1}


def test_what_the_source_does_not_accept_spark_applies(
    engine: Any, places: Any, tmp_path: Path
) -> None:
    path, plain = places
    condition = "id < 6 AND s = 'a'"
    with engine.pushing():
        found = rows(engine.read("Halves", file=path, seen=tmp_path / "seen").filter(condition))
    assert found == rows(plain.filter(condition))
    assert sum(found.values()) == 1


def test_a_column_of_another_type_than_the_sources_is_not_asked_for(
    engine: Any, places: Any, tmp_path: Path
) -> None:
    reader = engine.session.read.format("python").schema("id decimal(20,0), s string")
    options = {"python_module": "sources_for_spark", "python_class": "Filtering"}
    frame = reader.options(**options, file=places[0], seen=tmp_path / "seen").load()
    with engine.pushing():
        assert [row.id for row in frame.filter("id = 3").collect()] == [Decimal(3)]
        assert [row.id for row in frame.filter("s = 'b'").collect()] == [Decimal(3)]
    told = asked(tmp_path / "seen")
    assert all(columns == ["id", "s"] for _, columns, _ in told)
    assert not [p for _, _, those in told for p in those if p.startswith("id ==")]
    assert [p for _, _, those in told for p in those if p == "s == 'b'"]


def test_a_source_of_three_methods_is_filtered_by_spark(engine: Any, places: Any) -> None:
    path, plain = places
    with engine.pushing():
        found = rows(engine.read("Stored", file=path).filter("id > 2 AND f < 1"))
    assert found == rows(plain.filter("id > 2 AND f < 1"))
    assert sum(found.values()) == 3


def test_a_reader_travels_light(
    engine: Any, stored: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import cloudpickle

    monkeypatch.syspath_prepend(Path(__file__).parent)

    from dask_sail.spark import PythonSource

    path = stored(pa.table({"n": list(range(5000))}), 1)
    source = PythonSource(
        {"python_module": "sources_for_spark", "python_class": "Stored", "file": path}
    )
    schema = source.schema()
    few, many = source.reader(schema), source.reader(schema)
    assert len(many.partitions()) == 5000
    assert abs(len(cloudpickle.dumps(many)) - len(cloudpickle.dumps(few))) < 100


@pytest.mark.parametrize("op", ["=", "<"])
@pytest.mark.parametrize("day", ["1582-10-05", "1582-10-15"])
def test_days_that_the_old_calendar_left_out_are_days(
    engine: Any, stored: Callable[..., str], tmp_path: Path, day: str, op: str
) -> None:
    days = [dt.date(1582, 10, 1) + dt.timedelta(days=n) for n in range(20)]
    frame = engine.read("Filtering", file=stored({"d": pa.array(days)}), seen=tmp_path / "seen")
    compare = {"=": operator.eq, "<": operator.lt}[op]
    wanted = [each for each in days if compare(each, dt.date.fromisoformat(day))]
    with engine.pushing():
        found = [row.d for row in frame.filter(f"d {op} DATE'{day}'").collect()]
    assert sorted(found) == wanted
