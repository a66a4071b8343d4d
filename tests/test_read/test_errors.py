"""Each mistake is an error at once: it names the class, what was expected and what came."""

from __future__ import annotations

import datetime
import decimal
import os
import pickle
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import dask_sail
from dask_sail import errors
from dask_sail.options import SourceOptions


@pytest.fixture(autouse=True)
def _synchronous() -> Iterator[None]:
    with dask.config.set(scheduler="synchronous"):
        yield


class Good:
    def infer_schema(self, options: dict[str, str]) -> Any:
        return pa.schema([("n", pa.int64()), ("at", pa.timestamp("us"))])

    def plan_partitions(self, options: dict[str, str]) -> Any:
        return [{"i": 0}]

    def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
        yield pa.record_batch([[1], [None]], schema=self.infer_schema(options))


def test_a_missing_method_is_named() -> None:
    class NoPlan:
        infer_schema = Good.infer_schema
        read_partition = Good.read_partition

    with pytest.raises(errors.SourceDefinitionError, match=r"NoPlan.*lacks plan_partitions"):
        dd.read_python_source(NoPlan)


def test_constructor_arguments_are_refused() -> None:
    class Needy(Good):
        def __init__(self, host: str) -> None:
            self.host = host

    with pytest.raises(errors.SourceDefinitionError, match=r"Needy.*without arguments.*'host'"):
        dd.read_python_source(Needy)


def test_a_constructor_that_raises_is_no_missing_argument() -> None:
    class Broken(Good):
        def __init__(self) -> None:
            raise RuntimeError("no licence")

    with pytest.raises(errors.SourceDefinitionError, match=r"Broken\(\) raised RuntimeError"):
        dd.read_python_source(Broken)


def test_an_instance_in_place_of_its_class() -> None:
    with pytest.raises(errors.SourceDefinitionError, match="pass the class Good itself"):
        dd.read_python_source(Good())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("jdbk", "did you mean 'jdbc'"),
        ("JDBC", "did you mean 'jdbc'"),
        ("no_such_module:Thing", "module 'no_such_module' cannot be imported"),
        ("pathlib:Pat", "did you mean 'Path'"),
        ("pathlib:", "'pathlib:' names no class; write 'module:Class'"),
        ("pathlib:Path", "lacks infer_schema and plan_partitions and read_partition"),
    ],
)
def test_a_source_that_is_not_there(source: str, message: str) -> None:
    with pytest.raises(errors.PythonDataSourceError, match=message):
        dd.read_python_source(source)


def test_a_source_given_twice_or_by_half() -> None:
    with pytest.raises(errors.OptionError, match=r"python_class.*must be a name, got None"):
        dd.read_python_source(python_module="somewhere")
    with pytest.raises(errors.OptionError, match="is given beside the source"):
        dd.read_python_source(Good, python_module="somewhere", python_class="Good")
    with pytest.raises(errors.OptionError, match="source"):
        dd.read_python_source()


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"n": "int64"}, r"Changed.*must return a pyarrow.Schema, got a builtins.dict"),
        (None, "got None"),
        (pa.schema([("n", pa.int64()), ("n", pa.string())]), "several columns are called 'n'"),
    ],
)
def test_a_schema_that_is_none(schema: Any, message: str) -> None:
    class Changed(Good):
        def infer_schema(self, options: dict[str, str]) -> Any:
            return schema

    with pytest.raises(errors.SchemaError, match=message):
        dd.read_python_source(Changed)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ([{"i": np.int64(3)}], r"plan_partitions\(\)\[0\]\['i'\] is a numpy.int64"),
        ([{"i": 1}, {"at": datetime.date(2024, 1, 1)}], r"\[1\]\['at'\] is a datetime.date"),
        ([{1: "one"}], "has the key 1; JSON has str keys only"),
        ([{"x": float("nan")}], "is nan, which JSON cannot hold"),
        ([3], r"plan_partitions\(\)\[0\] must be a dict, got a builtins.int"),
        ({"i": 0}, "must return a list of dicts, one per partition, got a builtins.dict"),
        (None, "must return a list of dicts"),
    ],
)
def test_specs_that_json_cannot_hold(plan: Any, message: str) -> None:
    class Changed(Good):
        def plan_partitions(self, options: dict[str, str]) -> Any:
            return plan

    with pytest.raises(errors.PlanError, match=message) as raised:
        dd.read_python_source(Changed)
    assert "Changed" in raised.value.source


def test_specs_arrive_as_planned_and_fresh_each_time() -> None:
    class Changing(Good):
        def plan_partitions(self, options: dict[str, str]) -> Any:
            return [{"list": [1, {"a": None}], "text": "ü\n", "float": 0.1, "big": 2**70}]

        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            assert spec == self.plan_partitions(options)[0]
            spec["list"].clear()
            options.clear()
            yield from super().read_partition(spec, options)

    frame = dd.read_python_source(Changing, x="1")
    assert frame.n.compute().tolist() == frame.n.compute().tolist() == [1]


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (pa.record_batch([["x"], [None]], ["n", "at"]), r"'n'.*string.*int64"),
        (pa.record_batch([[1.5], [None]], ["n", "at"]), r"'n'.*double.*int64"),
        (pa.record_batch([[1]], ["n"]), r"'at'"),
        (pa.record_batch([[1], ["yesterday"]], ["n", "at"]), r"'at'.*string.*timestamp"),
        (pd.DataFrame({"n": [1]}), r"must yield pyarrow.RecordBatch, got a pandas"),
        ("row", r"must yield pyarrow.RecordBatch, got a builtins.str"),
    ],
)
def test_a_batch_that_cannot_become_the_schema(batch: Any, message: str) -> None:
    class Changed(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            yield batch

    with pytest.raises(errors.BatchError, match=message) as raised:
        dd.read_python_source(Changed).compute()
    assert "Changed" in raised.value.source
    assert raised.value.spec == {"i": 0}


def test_a_read_that_returns_nothing() -> None:
    class Changed(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            pass

    with pytest.raises(errors.BatchError, match=r"iterator of pyarrow.RecordBatch, got None"):
        dd.read_python_source(Changed).compute()


def test_statistics_divisions_and_scans_are_checked() -> None:
    class Wrong(Good):
        def partition_statistics(self, specs: Any, options: Any) -> Any:
            return []

        def divisions(self, specs: Any, options: Any, column: str) -> Any:
            return [1]

        def plan_scan(self, specs: Any, options: Any, scan: Any) -> Any:
            return [{"i": 7}], []

    with pytest.raises(errors.PlanError, match="one entry per spec, 1, got 0"):
        len(dd.read_python_source(Wrong))
    with pytest.raises(errors.PlanError, match="divisions must give 2 values"):
        dd.read_python_source(Wrong, index="n")
    for given, message in [
        (5, "must give 2 values, or None, got a builtins.int"),
        (["a", "b"], r"must be values of the index \(int64\): .*'a'"),
        ([2, 1], "must ascend"),
        ([1, None], "must be values of the index"),
    ]:
        Wrong.divisions = lambda *_, given=given: given  # type: ignore[method-assign]
        with pytest.raises(errors.PlanError, match=message):
            dd.read_python_source(Wrong, index="n")
    with pytest.raises(errors.PlanError, match="plan_scan must return some of the specs"):
        dd.read_python_source(Wrong, filters=[("n", ">", 0)])
    for answer in (None, [{"i": 0}], ([{"i": 0}], None), ([], [], [])):
        Wrong.plan_scan = lambda *_, answer=answer: answer  # type: ignore[method-assign]
        with pytest.raises(errors.PlanError, match=r"plan_scan must return .* and .* predicates"):
            dd.read_python_source(Wrong, filters=[("n", ">", 0)])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "must give one entry per spec, got None"),
        ([(-1, True, None)], r"\(\)\[0\] must be .*got \(-1, True, None\)"),
        ([(2.0, True, 1)], "must be .*12, True, 4096"),
        ([("2", True, 1)], "must be "),
        ([(2, "no", 1)], "must be "),
        ([(2, True, 1, 1)], "must be "),
        ([{"rows": 2, "exact": True, "nbytes": 1}], "must be "),
    ],
)
def test_statistics_that_are_none_are_refused(given: Any, message: str) -> None:
    class Wrong(Good):
        def partition_statistics(self, specs: Any, options: Any) -> Any:
            return given

    with pytest.raises(errors.PlanError, match=message):
        len(dd.read_python_source(Wrong))


@pytest.mark.parametrize("told", [None, "ten rows", [1]])
def test_a_description_that_is_no_dict_is_refused(told: Any) -> None:
    class Wrong(Good):
        def describe_partition(self, spec: Any, options: Any, scan: Any) -> Any:
            return told

    with pytest.raises(errors.PlanError, match="describe_partition must return a dict"):
        dask_sail.inspect(Wrong)


def test_divisions_may_be_values_of_arrow_and_numpy() -> None:
    class Cut(Good):
        def divisions(self, specs: Any, options: Any, column: str) -> Any:
            cut = {"arrow": pa.array, "numpy": np.array, "python": tuple}[options["of"]]
            return cut([0, 5])

    for kind in ("arrow", "numpy", "python"):
        frame = dd.read_python_source(Cut, index="n", of=kind)
        assert frame.divisions == (0, 5)
        assert len(frame.loc[1:].compute()) == 1


def test_bytes_of_another_length_than_the_column_has() -> None:
    class Fixed(Good):
        def infer_schema(self, options: dict[str, str]) -> Any:
            return pa.schema([("id", pa.binary(3))])

        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            yield pa.record_batch([pa.array([b"abc"], pa.binary(3))], ["id"])

    with pytest.raises(errors.FilterError, match=r"b'ab'.*write 3 bytes"):
        dd.read_python_source(Fixed, filters=[("id", "==", b"ab")])
    frame = dd.read_python_source(Fixed)
    assert len(frame[frame.id == b"abc"]) == 1


def test_names_that_the_schema_lacks_come_with_the_nearest() -> None:
    with pytest.raises(errors.SchemaError, match="columns= names 'm'"):
        dd.read_python_source(Good, columns=["m"])
    with pytest.raises(errors.SchemaError, match=r"index='att' is no column.*did you mean 'at'"):
        dd.read_python_source(Good, index="att")
    with pytest.raises(errors.FilterError, match=r"'att'.*'at'"):
        dd.read_python_source(Good, filters=[("att", "==", 1)])


def test_bad_arguments() -> None:
    with pytest.raises(errors.OptionError, match=r"plan_on.*'client' or 'cluster', got 'server'"):
        dd.read_python_source(Good, plan_on="server")
    with pytest.raises(errors.OptionError, match=r"schema.*pyarrow.Schema"):
        dd.read_python_source(Good, schema={"n": "int"})  # type: ignore[arg-type]


def test_options_become_the_text_that_a_person_would_type() -> None:
    given = SourceOptions.gather(
        {"Text": "as is", "Path": Path("a") / "b"},
        {
            "yes": True,
            "int": np.int32(3),
            "float": 4.0,
            "big": 1e15,
            "decimal": decimal.Decimal("1.50"),
            "date": datetime.date(2024, 2, 29),
            "at": datetime.datetime(2024, 2, 29, 1, 2, 3, 4),
            "list": ["a", 1, None],
            "none": None,
        },
    )
    assert dict(given) == {
        "Text": "as is",
        "Path": "a/b",
        "yes": "true",
        "int": "3",
        "float": "4",
        "big": "1000000000000000",
        "decimal": "1.50",
        "date": "2024-02-29",
        "at": "2024-02-29 01:02:03.000004",
        "list": '["a", 1, null]',
    }


@pytest.mark.parametrize(
    "value", [1.5, {"a": 1}, object(), float("inf"), b"bytes", {1}, pd.NaT, Fraction(10**17 + 1)]
)
def test_options_without_one_plain_spelling_are_refused(value: Any) -> None:
    with pytest.raises(errors.OptionError, match="option 'x' must be text"):
        dd.read_python_source(Good, x=value)


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(errors.OptionError, match=r"'URL' is given twice \(also as 'url'\)"):
        dd.read_python_source(Good, options={"url": "a"}, URL="b")


class Named(Good):
    """Names its options; anything that it is asked beside is too late."""

    def infer_schema(self, options: dict[str, str]) -> Any:
        assert set(map(str.lower, options)) <= {"url", "pagesize", "token"}
        return super().infer_schema(options)

    def plan_partitions(self, options: dict[str, str]) -> Any:
        assert set(map(str.lower, options)) <= {"url", "pagesize", "token"}
        return super().plan_partitions(options)

    def option_names(self) -> Any:
        return {"url", "pageSize", "token"}


@pytest.mark.parametrize(
    ("option", "fix"),
    [
        ("pagesise", "did you mean 'pageSize'?"),
        ("PAGE_SIZE", "did you mean 'pageSize'?"),
        ("colour", "it takes 'pageSize', 'token', 'url'"),
    ],
)
@pytest.mark.parametrize("schema", [None, pa.schema([("n", pa.int64())])])
def test_a_misspelt_option_of_a_source_that_names_its_own(
    option: str, fix: str, schema: pa.Schema | None
) -> None:
    given = {"url": "https://a.example", option: "s3cret-value"}
    with pytest.raises(errors.OptionError) as found:
        dd.read_python_source(Named, options=given, schema=schema)
    assert found.value.option == option
    assert str(found.value) == f"option {option!r} is none of the source 'Named'; {fix}"
    back = pickle.loads(pickle.dumps(found.value))
    assert "s3cret" not in f"{back!r} {vars(found.value)} {found.value.__context__}"


def test_a_misspelt_option_is_refused_where_the_cluster_plans() -> None:
    with pytest.raises(errors.OptionError, match=r"'pagesise' is none .*mean 'pageSize'"):
        dd.read_python_source(Named, url="a", pagesise="20", plan_on="cluster")


def test_names_of_options_match_ignoring_case() -> None:
    frame = dd.read_python_source(Named, URL="a", PageSize=20, TOKEN=None)
    assert frame.n.compute().tolist() == [1]


def test_a_source_may_take_no_option_at_all() -> None:
    class Alone(Good):
        def option_names(self) -> Any:
            return ()

    assert len(dd.read_python_source(Alone)) == 1
    with pytest.raises(errors.OptionError, match=r"'url' is none of the source .*it takes none$"):
        dd.read_python_source(Alone, url="a")


@pytest.mark.parametrize("names", [{"url": "where"}, ["url"], ("url",), frozenset({"url"})])
def test_names_of_options_are_any_collection(names: Any) -> None:
    class Some(Good):
        def option_names(self) -> Any:
            return names

    assert len(dd.read_python_source(Some, url="a")) == 1
    with pytest.raises(errors.OptionError, match=r"'ulr' is none .*did you mean 'url'"):
        dd.read_python_source(Some, ulr="a")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (None, "return a collection of str, got None"),
        ("url", r"return a collection of str, got a builtins\.str"),
        (b"url", r"return a collection of str, got a builtins\.bytes"),
        (iter(["url"]), r"return a collection of str, got a builtins\.list_iterator"),
        (["url", 3], r"give str alone, got a builtins\.int"),
    ],
)
def test_names_of_options_that_are_none(names: Any, message: str) -> None:
    class Wrong(Good):
        def option_names(self) -> Any:
            return names

    with pytest.raises(errors.PlanError, match=f"Wrong: option_names must {message}"):
        dd.read_python_source(Wrong, url="a")


def test_what_option_names_raises_tells_no_secret() -> None:
    class Raising(Good):
        def option_names(self) -> Any:
            raise RuntimeError("no names for hunter2-Tr0ub4dor")

    with pytest.raises(errors.SourceCallError, match="option_names raised RuntimeError") as found:
        dd.read_python_source(Raising, password="hunter2-Tr0ub4dor")
    assert "hunter2" not in str(found.value)
    assert found.value.__context__ is None


def test_a_source_is_handed_a_real_dict_that_ignores_case() -> None:
    seen = {}

    class Asking(Good):
        def infer_schema(self, options: dict[str, str]) -> Any:
            import json

            seen.update(
                isinstance=isinstance(options, dict),
                items=dict(options),
                json=json.loads(json.dumps(options)),
                lower=options["endpoint"],
                upper=options.get("ENDPOINT"),
                has="EndPoint" in options,
                copy=options.copy()["endpoint"],
                popped=options.pop("ENDPOINT"),
                left=len(options),
            )
            return super().infer_schema(options)

    dd.read_python_source(Asking, endPoint="e", N=1)
    assert seen == {
        "isinstance": True,
        "items": {"endPoint": "e", "N": "1"},
        "json": {"endPoint": "e", "N": "1"},
        "lower": "e",
        "upper": "e",
        "has": True,
        "copy": "e",
        "popped": "e",
        "left": 1,
    }


EXAMPLES = [
    errors.OptionError("n", "must be a number, got 'x'", "write 1"),
    errors.FilterError("no such column"),
    errors.SourceNotFoundError("src", "is nowhere"),
    errors.SourceDefinitionError("src", "lacks a method"),
    errors.SchemaError("src", "is none"),
    errors.PlanError("src", "is none"),
    errors.ReadOnlyError("it does not write"),
    errors.ClusterError("scheduler lacks it"),
    errors.SnapshotError("src", "is lost"),
    errors.BatchError("src", {"i": 1}, "does not fit"),
    errors.DivisionError("src", {"i": 1}, "outside"),
    errors.SourceCallError("src", None, "raised", "ValueError", "Traceback ...", False),
    errors.PartitionReadError("src", {"i": 1}, "raised", "ValueError", "Traceback ...", True),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_every_kind_comes_back_whole_from_pickle(error: errors.PythonDataSourceError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.args == error.args
    assert isinstance(copy, dask_sail.PythonDataSourceError)


def test_every_kind_is_among_the_examples() -> None:
    kinds = {getattr(errors, name) for name in errors.__all__} - {errors.PythonDataSourceError}
    assert kinds == {type(error) for error in EXAMPLES}


def test_a_panic_that_is_no_exception_becomes_an_error() -> None:
    class Panic(BaseException):
        pass

    class Panicking(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            raise Panic("rust")
            yield

    with pytest.raises(errors.PartitionReadError, match="Panic: rust"):
        dd.read_python_source(Panicking).compute()


def test_a_chained_cause_is_told_as_well() -> None:
    class Chained(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            try:
                {}["key"]
            except KeyError as error:
                raise ValueError("no such page") from error
            yield

    with pytest.raises(errors.PartitionReadError) as raised:
        dd.read_python_source(Chained).compute()
    assert "KeyError: 'key'" in raised.value.traceback_text
    assert raised.value.__cause__ is None


def test_a_source_that_exits_is_an_error_and_ends_no_worker() -> None:
    class Exits(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            raise SystemExit("no such meter")

    frame = dd.read_python_source(Exits)
    with pytest.raises(errors.PartitionReadError, match="raised SystemExit: no such meter"):
        frame.compute(scheduler="threads")


class _NoText(Exception):
    def __str__(self) -> str:
        raise ValueError("hunter2 within the text")


class _NoAttributes(Exception):
    @property
    def explains_itself(self) -> bool:
        raise RuntimeError("hunter2 within an attribute")

    transient = explains_itself


@pytest.mark.parametrize("where", ["infer_schema", "plan_partitions", "read_partition"])
@pytest.mark.parametrize("kind", [_NoText, _NoAttributes])
def test_an_error_that_cannot_be_asked_is_told_all_the_same(
    kind: type[Exception], where: str
) -> None:
    def fail(self: Any, *given: Any) -> Any:
        raise kind("hunter2")

    source = type("Odd", (Good,), {where: fail})
    with pytest.raises(errors.SourceCallError, match=f"{where} raised .*{kind.__name__}") as raised:
        dd.read_python_source(source, password="hunter2").compute()
    assert "in fail" in raised.value.traceback_text
    assert raised.value.transient is False
    chained = raised.value.__cause__ or raised.value.__context__
    assert chained is None
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
def test_what_would_end_a_worker_or_hang_a_client_is_an_error(
    kind: type[BaseException], late: bool, scheduler: str
) -> None:
    class Odd(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            if not late:
                raise kind("hunter2")
            return self.batches(options)

        def batches(self, options: dict[str, str]) -> Any:
            yield pa.record_batch([[1], [None]], schema=self.infer_schema(options))
            raise kind("hunter2")

    frame = dd.read_python_source(Odd, password="hunter2")
    with pytest.raises(errors.PartitionReadError, match=rf"raised {kind.__name__}: \*\*\*"):
        frame.compute(scheduler=scheduler)


def test_a_person_who_interrupts_a_read_in_the_main_thread_stops_it() -> None:
    class Interrupted(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            signal.raise_signal(signal.SIGINT)
            yield pa.record_batch([[1], [None]], schema=self.infer_schema(options))

    with pytest.raises(KeyboardInterrupt):
        dd.read_python_source(Interrupted).compute(scheduler="synchronous")


def test_a_constructor_that_fails_where_rows_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Licensed(Good):
        def __init__(self) -> None:
            if os.environ.get("LICENCE") == "gone":
                raise ConnectionError("no licence for hunter2")

    with dask.config.set({"dask_sail.attempts": 2}):
        frame = dd.read_python_source(Licensed, password="hunter2")
    monkeypatch.setenv("LICENCE", "gone")
    message = r"Licensed, partition \{'i': 0\}: __init__ raised ConnectionError: no licence for \*"
    with pytest.raises(errors.PartitionReadError, match=message) as raised:
        frame.compute()
    assert (raised.value.transient, raised.value.error_type) == (True, "ConnectionError")
    assert "in __init__" in raised.value.traceback_text
    with pytest.raises(errors.SourceCallError, match=r"__init__ raised ConnectionError"):
        dask_sail.inspect(frame)


def test_a_file_name_that_is_no_text_is_planned_and_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"m\xe4rz.csv")  # of a system that did not write UTF-8

    class Files(Good):
        def plan_partitions(self, options: dict[str, str]) -> Any:
            return [{"file": name}]

        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            assert spec == {"file": name}
            yield from super().read_partition(spec, options)

    frame = dd.read_python_source(Files)
    assert frame.n.compute(scheduler="processes").tolist() == [1]
    assert "m\\udce4rz.csv" in str(dask_sail.inspect(frame))


def test_specs_without_end_are_refused() -> None:
    endless: dict[str, Any] = {}
    endless["next"] = endless
    for spec in (endless, {"n": 10**5000}):

        class Changed(Good):
            def plan_partitions(self, options: dict[str, str]) -> Any:
                return [spec]  # noqa: B023 - called within the loop

        with pytest.raises(errors.PlanError, match=r"plan_partitions\(\)\[0\] "):
            dd.read_python_source(Changed)


@pytest.mark.parametrize(
    "given", [pd.DataFrame({"n": [1]}), {"n": [1]}, "n"], ids=["frame", "dict", "text"]
)
def test_what_is_given_whole_in_place_of_batches_is_named(given: Any) -> None:
    class Whole(Good):
        def read_partition(self, spec: dict[str, Any], options: dict[str, str]) -> Any:
            return given

    told = rf"must yield pyarrow.RecordBatch, got a [\w.]*{type(given).__name__}, which yields a "
    with pytest.raises(errors.BatchError, match=told):
        dd.read_python_source(Whole).compute()
