"""The documentation is true: its examples run, its links lead somewhere, its tables are the code's.

``python tests/test_docs.py PAGE...`` runs the examples of some pages in the current folder;
without a page it writes the generated tables anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import doctest
import importlib
import importlib.util
import inspect
import io
import os
import pkgutil
import re
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from importlib.metadata import entry_points
from importlib.resources import files
from itertools import zip_longest
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
import pytest

import dask_sail
import dask_sail.errors
import jdbc
import jdbc.errors
from dask_sail.testing import PythonDataSourceSuite
from jdbc.arrow_types import parse_custom_schema
from jdbc.dialects import type_reference
from jdbc.options import option_reference
from jdbc.url import PROPERTIES

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
# Fragments that show style, not programs.
FRAGMENTS = (DOCS / "CONVENTIONS.md",)
PAGES = [ROOT / "README.md", *(p for p in sorted(DOCS.rglob("*.md")) if p not in FRAGMENTS)]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


# ------------------------------------------------------------------------------- the examples


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    ``line`` is that of its first line, from 0; ``not_run`` the reason why it is skipped; ``shown``
    the text block that follows it: what it must print, with ``...`` for what may vary.
    """

    language: str
    code: str
    line: int
    not_run: str | None
    shown: str | None


_FENCE = re.compile(
    r"(?:<!-- not run:(?P<reason>[^>]*)-->\s*)?^```(?P<language>[\w{}-]*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    result = []
    for one, after in zip_longest(found, found[1:]):
        follows = (
            after is not None
            and after["language"] == "text"
            and not text[one.end() : after.start()].strip()
        )
        line = text.count("\n", 0, one.start("code"))
        shown = after["code"] if after is not None and follows else None
        result.append(Block(one["language"], one["code"], line, one["reason"], shown))
    return result


RUNNING = [page for page in PAGES if any(b.language == "python" for b in blocks(page))]


def run_page(page: Path) -> None:
    """Run a page's blocks one after another, as one program would."""
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    run_blocks(page, main.__dict__)


def run_blocks(page: Path, names: dict[str, Any]) -> None:
    for block in blocks(page):
        if block.language == "python" and block.not_run is None:
            run_block(page, block, names)


def run_block(page: Path, block: Block, names: dict[str, Any]) -> None:
    where = f"{name_of(page)}, line {block.line + 1}"
    if block.code.startswith(">>> "):
        test = doctest.DocTestParser().get_doctest(
            block.code, {}, name_of(page), str(page), block.line
        )
        test.globs = names
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        assert runner.run(test, clear_globs=False).failed == 0, where
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        # Blank lines in front, so that a traceback names the page's own lines.
        source = "\n" * block.line + block.code
        exec(compile(source, str(page), "exec", dont_inherit=True), names)
    if block.shown is not None:
        assert doctest.OutputChecker().check_output(
            block.shown, printed.getvalue(), doctest.ELLIPSIS
        ), f"{where} prints\n{printed.getvalue()}\nnot\n{block.shown}"


@pytest.fixture(scope="module")
def shop(postgres: str) -> Iterator[dict[str, str]]:
    """Environment that names a PostgreSQL database with what ``docs/howto/databases.md`` makes."""
    import psycopg

    parts = urlsplit(postgres)
    with psycopg.connect(postgres, autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS sail_docs")
        server.execute("CREATE DATABASE sail_docs")
        with psycopg.connect(urlunsplit(parts._replace(path="/sail_docs"))) as database:
            for block in blocks(DOCS / "howto" / "databases.md"):
                if block.language == "sql":
                    database.execute(block.code.encode())
        yield {
            "PGURL": f"jdbc:postgresql://{parts.hostname}:{parts.port}/sail_docs",
            "PGUSER": unquote(parts.username or ""),
            "PGPASSWORD": unquote(parts.password or ""),
        }
        server.execute("DROP DATABASE sail_docs WITH (FORCE)")


def page_to_run(page: Path) -> Any:
    marks = [pytest.mark.java] if page.name == "spark.md" else []
    return pytest.param(page, id=name_of(page), marks=marks)


@pytest.mark.parametrize("page", list(map(page_to_run, RUNNING)))
def test_the_examples_of_a_page_run(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    needs_server = "PGURL" in page.read_text(encoding="utf-8")
    server = request.getfixturevalue("shop") if needs_server else {}
    result = subprocess.run(
        [sys.executable, __file__, str(page)],
        cwd=tmp_path,
        env={**os.environ, **server},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_example_that_is_not_run_says_why() -> None:
    left_out = [(page, block) for page in RUNNING for block in blocks(page) if block.not_run]
    for page, block in left_out:
        assert block.not_run is not None
        assert block.not_run.strip(), f"{name_of(page)}, line {block.line}"
    listed = (f"{name_of(p)}:{b.line}: {str(b.not_run).strip()}" for p, b in left_out)
    print("not run:", *listed, sep="\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("```python\n1 / 0\n```\n", "division by zero, at line 2$"),
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", r"line 2 prints\s+1\s+not\s+2"),
        ("```python\n>>> 1\n2\n```\n", "page.md, line 2"),
        ("```python\nx = 1\n```\n```python\nassert x == 2, 'it is 1'\n```\n", "it is 1"),
    ],
    ids=["raises", "prints another text", "doctest", "uses a name of the block before"],
)
def test_an_example_that_is_wrong_fails(text: str, complaint: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises((AssertionError, ZeroDivisionError)) as raised:
        run_blocks(page, {})
    said = f"{raised.value}, at line {raised.traceback[-1].lineno + 1}"
    assert re.search(complaint, said), said


# -------------------------------------------------------------------------------- docstrings


def modules() -> Iterator[ModuleType]:
    for package in (dask_sail, jdbc):
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if importlib.util.find_spec("pyspark") or ".spark" not in found.name:
                yield importlib.import_module(found.name)


def docstring_examples() -> list[doctest.DocTest]:
    # As in a session of the reader's own, where a class belongs to __main__.
    session = {"__name__": "__main__"}
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for module in modules() for test in finder.find(module, extraglobs=session)]
    return [test for test in found if test.examples]


@pytest.mark.parametrize("example", docstring_examples(), ids=lambda test: test.name)
def test_the_example_of_a_docstring_runs(example: doctest.DocTest) -> None:
    complaints: list[str] = []
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(
        example, out=complaints.append
    )
    assert outcome.attempted > 0
    assert outcome.failed == 0, "".join(complaints)


def sections(text: str) -> dict[str, str]:
    """The sections of a numpydoc docstring, by title."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.cleandoc(text), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def public() -> list[tuple[str, Any]]:
    return [(f"{m.__name__}.{n}", getattr(m, n)) for m in (dask_sail, jdbc) for n in m.__all__]


@pytest.mark.parametrize(("name", "thing"), public(), ids=[name for name, _ in public()])
def test_a_public_name_is_documented(name: str, thing: Any) -> None:
    if name == "dask_sail.PartitionSpec":  # an alias, which carries no docstring at run time
        return
    text = thing.__doc__ or ""
    assert text.strip()
    told = sections(text)
    described = told.get("Parameters", "") + told.get("Attributes", "")
    for parameter in needs_telling(thing):
        assert re.search(rf"\b{parameter}\b", described), f"{name}: {parameter}"
    if inspect.isclass(thing):
        for method, function in vars(thing).items():
            if not method.startswith("_") and inspect.isfunction(function):
                assert (function.__doc__ or "").strip(), f"{name}.{method}"


def needs_telling(thing: Any) -> list[str]:
    """Parameters of a function, fields of what is a bundle of values."""
    if inspect.isfunction(thing):
        # What is given to `inspect` beside the source is told there.
        return [p for p in inspect.signature(thing).parameters if p != "arguments"]
    if thing is jdbc.JDBCOptions:  # told by `option_reference`
        return []
    if dataclasses.is_dataclass(thing):
        return [field.name for field in dataclasses.fields(thing)]
    return list(getattr(thing, "_fields", ()))


# -------------------------------------------------------------------------------- the tables


def table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def cells(page: str, first_heading: str) -> list[list[str]]:
    """The rows of the table of a page whose first column has this heading."""
    lines = iter((ROOT / page).read_text(encoding="utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {first_heading} |"):
            break
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    assert found
    return found


def jdbc_options() -> str:
    rows = [[f"`{name}`", default, text] for name, default, text in option_reference()]
    return table(["option", "default", "meaning"], rows)


def driver_properties() -> str:
    rows = []
    for dialect in DIALECTS:
        for heading, names in (
            ("honoured", PROPERTIES[dialect].passed),
            ("ignored", PROPERTIES[dialect].ignored),
        ):
            listed = ", ".join(f"`{name}`" for name in sorted(names, key=lambda n: (n.lower(), n)))
            rows.append([DIALECTS[dialect], heading, listed])
    return table(["database", "", "properties"], rows)


def types_of(dialect: str) -> str:
    rows = [
        [", ".join(map(as_code, row.names)), as_code(str(row.arrow)), row.note]
        for row in type_reference()[dialect]
    ]
    return table([DIALECTS[dialect], "Arrow", "notes"], rows)


def as_code(name: str) -> str:
    """Mark the name of a type as code, but not words such as "every other"."""
    in_words = name.islower() and re.search(r"(?<!,) ", name)
    return name if in_words else f"`{name}`"


DIALECTS = {
    "postgresql": "PostgreSQL",
    "sqlite": "SQLite",
    "mysql": "MySQL and MariaDB",
    "duckdb": "DuckDB",
    "sqlserver": "SQL Server",
    "oracle": "Oracle",
    "redshift": "Redshift",
    "cockroachdb": "CockroachDB",
    "trino": "Trino",
    "snowflake": "Snowflake",
    "clickhouse": "ClickHouse",
}


def rules_of_a_source() -> str:
    tests = {n: t for n, t in vars(PythonDataSourceSuite).items() if n.startswith("test_")}
    rows = [[f"`{name}`", " ".join(test.__doc__.split())] for name, test in tests.items()]
    return table(["test", "rule"], rows)


GENERATED: dict[str, tuple[str, Callable[[], str]]] = {
    "the options of jdbc": ("docs/reference/options.md", jdbc_options),
    "the driver properties": ("docs/reference/options.md", driver_properties),
    "the rules of a source": ("docs/howto/test-a-source.md", rules_of_a_source),
    **{
        f"the types of {label}": ("docs/reference/types.md", partial(types_of, dialect))
        for dialect, label in DIALECTS.items()
    },
}


def generated(name: str, text: str) -> re.Match[str]:
    pattern = rf"(?<=<!-- generated: {name} -->\n).*?(?=<!-- end -->)"
    found = re.search(pattern, text, re.DOTALL)
    assert found, f"no place for {name}"
    return found


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_table_is_the_codes(name: str) -> None:
    page, make = GENERATED[name]
    text = (ROOT / page).read_text(encoding="utf-8")
    assert generated(name, text)[0] == make(), "run: python tests/test_docs.py"


def test_every_table_of_types_is_in_the_reference() -> None:
    assert set(type_reference()) == set(DIALECTS)


def write_tables() -> None:
    for name, (page, make) in GENERATED.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        old = generated(name, text)
        text = text[: old.start()] + make() + text[old.end() :]
        (ROOT / page).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("function", "heading"),
    [
        (dask_sail.read_python_source, "argument"),
        (dask_sail.read_sql, "argument of read_sql"),
    ],
)
def test_every_argument_is_in_the_reference(function: Callable[..., Any], heading: str) -> None:
    told = {
        name
        for first, *_ in cells("docs/reference/options.md", heading)
        for name in re.findall(r"`\**(\w+)`", first)
    }
    assert told == set(inspect.signature(function).parameters)


def test_an_option_whose_name_is_told_to_be_secret_is_not_shown() -> None:
    class Anything:
        def infer_schema(self, options: dict[str, str]) -> pa.Schema:
            return pa.schema([("n", pa.int64())])

        def plan_partitions(self, options: dict[str, str]) -> list[dict[str, Any]]:
            return []

        def read_partition(
            self, spec: dict[str, Any], options: dict[str, str]
        ) -> Iterator[pa.RecordBatch]:
            return iter(())

    rows = cells("docs/reference/options.md", "secret if the name")
    names = [(rule, name) for rule, those in rows for name in re.findall(r"`([^`]+)`", those)]
    assert len(names) > 10
    for rule, name in names:
        shown = str(dask_sail.inspect(Anything, options={name: "hush-hush", "colour": "blue"}))
        assert "blue" in shown
        assert ("hush-hush" in shown) == rule.startswith("none of these"), name


def test_sparks_other_options_are_ignored_or_refused_as_the_reference_tells() -> None:
    ignored, refused = cells("docs/reference/options.md", "what happens")
    base = {"url": "jdbc:sqlite:shop.db", "dbtable": "orders"}
    for name in re.findall(r"`(\w+)`", ignored[1]):
        with pytest.warns(jdbc.JDBCWarning, match=name):
            jdbc.JDBCOptions.parse({**base, name: "true"})
    for name in re.findall(r"`(\w+)`", refused[1]):
        with pytest.raises(jdbc.OptionError, match=f"{name}.*writing"):
            jdbc.JDBCOptions.parse({**base, name: "true"})


def test_every_error_is_in_the_reference() -> None:
    for package, page, heading in (
        ("dask_sail", "docs/reference/errors.md", "dask_sail error"),
        ("jdbc", "docs/reference/errors.md", "jdbc error"),
        ("dask_sail.sqlengine", "docs/reference/sql.md", "SQL error"),
    ):
        rows = cells(page, heading)
        names = [re.fullmatch(r"`(\w+)`", first) for first, *_ in rows]
        errors = importlib.import_module(f"{package}.errors")
        assert {name[1] for name in names if name} == {n for n in errors.__all__ if n[0].isupper()}
        for (_, bases, *_), name in zip(rows, names, strict=True):
            assert name
            kind = getattr(errors, name[1])
            assert re.findall(r"`(\w+)`", bases) == [base.__name__ for base in builtin_bases(kind)]


def builtin_bases(kind: type) -> list[type]:
    """The builtin exceptions that a kind of error also is, the general ones left out."""
    every = [base for base in kind.__mro__ if base.__module__ == "builtins"]
    general = (BaseException, Exception, object)
    return [
        base
        for base in every
        if base not in general and not any(o is not base and issubclass(o, base) for o in every)
    ]


def test_the_types_of_sqlite_are_those_that_the_reference_tells(tmp_path: Path) -> None:
    expected = {
        declared: arrow.strip("`")
        for names, arrow, *_ in cells("docs/reference/types.md", "SQLite")
        for declared in re.findall(r"`([^`]+)`", names)
        if " or " not in arrow  # as the stored values have it
    }
    assert len(expected) > 20
    columns = [f'"{declared}" {declared}' for declared in expected]
    with contextlib.closing(sqlite3.connect(tmp_path / "types.db")) as db:
        db.execute(f"CREATE TABLE every ({', '.join(columns)})")
    found = jdbc.JDBCArrowDataSource().infer_schema(
        {"url": f"jdbc:sqlite:{tmp_path}/types.db", "dbtable": "every"}
    )
    assert dict(zip(found.names, map(str, found.types), strict=True)) == expected


def test_the_types_of_customschema_are_those_that_the_reference_tells() -> None:
    rows = cells("docs/reference/types.md", "customSchema")
    for names, arrow, *_ in rows:
        for ddl in re.findall(r"`([^`]+)`", names):
            (parsed,) = parse_custom_schema(f"c {ddl}", ["c"]).values()
            assert str(parsed) == arrow.strip("`"), ddl


def typed(name: str, kind: pa.DataType, value: Any) -> tuple[pa.Field, Any]:
    """A column of a database's type, and a value to compare it with."""
    return pa.field("c", kind, metadata={"jdbc.type": name}), value


DAY = datetime.date(2025, 1, 31)
NOON = datetime.datetime(2025, 1, 31, 12)
# By the words of docs/explanation/push-down.md: columns of PostgreSQL, SQLite, MySQL, DuckDB.
COLUMNS: dict[str, tuple[list[tuple[pa.Field, Any]], ...]] = {
    "whole numbers, floats, `numeric`": (
        [
            typed("int8", pa.int64(), 1),
            typed("float8", pa.float64(), 1.5),
            typed("numeric(9,2)", pa.decimal128(9, 2), Decimal("1.50")),
        ],
        [
            typed("INTEGER", pa.int64(), 1),
            typed("REAL", pa.float64(), 1.5),
            typed("NUMERIC", pa.float64(), 1.5),
        ],
        [
            typed("bigint unsigned", pa.uint64(), 1),
            typed("year", pa.int16(), 2025),
            typed("float", pa.float32(), 1.5),
            typed("decimal(9,2)", pa.decimal128(9, 2), Decimal("1.50")),
        ],
        [
            typed("UBIGINT", pa.uint64(), 1),
            typed("HUGEINT", pa.decimal128(38, 0), Decimal(1)),
            typed("FLOAT", pa.float32(), 1.5),
            typed("DECIMAL(9,2)", pa.decimal128(9, 2), Decimal("1.50")),
        ],
    ),
    "text": (
        [typed("text", pa.string(), "a")],
        [typed("TEXT", pa.string(), "a")],
        [typed("varchar(9)", pa.string(), "a")],
        [typed("VARCHAR", pa.string(), "a")],
    ),
    "boolean": (
        [typed("bool", pa.bool_(), True)],
        [typed("BOOLEAN", pa.bool_(), True)],
        [],
        [typed("BOOLEAN", pa.bool_(), True)],
    ),
    "date": (
        [typed("date", pa.date32(), DAY)],
        [typed("DATE", pa.date32(), DAY)],
        [typed("date", pa.date32(), DAY)],
        [typed("DATE", pa.date32(), DAY)],
    ),
    "time": (
        [typed("time", pa.time64("us"), NOON.time())],
        [typed("TIME", pa.time64("us"), NOON.time())],
        [typed("time", pa.time64("us"), NOON.time())],
        [typed("TIME", pa.time64("us"), NOON.time())],
    ),
    "timestamp": (
        [
            typed("timestamp", pa.timestamp("us"), NOON),
            typed("timestamptz", pa.timestamp("us", "UTC"), NOON.replace(tzinfo=datetime.UTC)),
        ],
        [typed("TIMESTAMP", pa.timestamp("us"), NOON)],
        [
            typed("datetime", pa.timestamp("us"), NOON),
            typed("timestamp", pa.timestamp("us", "UTC"), NOON.replace(tzinfo=datetime.UTC)),
        ],
        [
            typed("TIMESTAMP_S", pa.timestamp("s"), NOON),
            typed("TIMESTAMP_NS", pa.timestamp("ns"), NOON),
            typed(
                "TIMESTAMP WITH TIME ZONE",
                pa.timestamp("us", "UTC"),
                NOON.replace(tzinfo=datetime.UTC),
            ),
        ],
    ),
    "bytes": (
        [typed("bytea", pa.binary(), b"a")],
        [typed("BLOB holding blob", pa.binary(), b"")],
        [typed("blob", pa.binary(), b"a")],
        [typed("BLOB", pa.binary(), b"a")],
    ),
    "other types, and columns that `customSchema` changed": (
        [typed("uuid", pa.string(), "a"), typed("int8", pa.decimal128(20, 0), Decimal(1))],
        [typed("INTEGER", pa.decimal128(20, 0), Decimal(1))],
        [typed("enum", pa.string(), "a"), typed("int", pa.decimal128(20, 0), Decimal(1))],
        [
            typed("ENUM", pa.string(), "a"),
            typed("TIME_NS", pa.time64("ns"), NOON.time()),
            typed("BIGINT", pa.decimal128(20, 0), Decimal(1)),
        ],
    ),
}
ASKED = {
    "all comparisons": {"==", "!=", "<", "<=", ">", ">=", "in", "not in"},
    "equality, `isin`": {"==", "!=", "in", "not in"},
    "`==`": {"=="},
    "nothing": set(),
    "nothing else": set(),
}


def test_databases_are_asked_what_the_page_on_push_down_tells() -> None:
    rows = cells("docs/explanation/push-down.md", "column")
    assert {words for words, *_ in rows} == {*COLUMNS, "any, `isna` and `notna`"}
    for words, *asked in rows:
        for dialect, told, columns in zip(DIALECTS, asked, COLUMNS.get(words, ()), strict=False):
            for field, value in columns:
                found = asked_for(dialect, field, value)
                assert found == ASKED[told] | {"is null", "not null"}, (dialect, field.metadata)


def asked_for(dialect: str, field: pa.Field, value: Any) -> set[str]:
    """The comparisons that a database applies to a column."""
    predicates = [
        dask_sail.Predicate("c", op, (value,) if op in ("in", "not in") else value)
        for op in ASKED["all comparisons"]
    ]
    predicates += [dask_sail.Predicate("c", "is null"), dask_sail.Predicate("c", "not null")]
    scan = dask_sail.Scan(pa.schema([field]), ("c",), tuple(predicates))
    _, accepted = jdbc.JDBCArrowDataSource().plan_scan([{"dialect": dialect}], {}, scan)
    return {predicate.op for predicate in accepted}


# ---------------------------------------------------------------------- links, names, commands


def slug(heading: str) -> str:
    """The anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    prose = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        assert leads_to.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", leads_to.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), target


def test_the_index_leads_to_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    linked = {(DOCS / path).resolve() for path in re.findall(r"\]\(([^)#\s]+\.md)\)", index)}
    missing = set(DOCS.rglob("*.md")) - linked - {DOCS / "index.md"}
    assert not missing


# Dotted like a name of the packages, but something else: an entry point group and a setting; and
# what cannot be imported without PySpark.
NO_NAMES = {"dask_sail.datasources", "dask_sail.attempts", "dask_sail.spark"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_full_name_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:dask_sail|jdbc)(?:\.\w+)+)(?:\([^`]*\))?`", text):
        if name not in NO_NAMES and not name.startswith("jdbc.type"):
            pkgutil.resolve_name(name)


def test_the_readmes_commands_are_those_that_ci_runs() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    searches = re.findall(r"=\$\((grep .* README\.md)\)", script)
    assert len(searches) == 2
    found = [
        subprocess.run(shlex.split(s), cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for s in searches
    ]
    assert found == [
        "pip install . && python -m dask_sail.demo\n",
        "pip install '.[test]' && pytest\n",
    ]
    alone = [block.code for block in blocks(ROOT / "README.md") if block.language == "sh"]
    assert set(found) <= set(alone)


# --------------------------------------------------------------------------- what is shipped


def test_the_packages_are_whole() -> None:
    (entry,) = entry_points(group="dask_sail.datasources", name="jdbc")
    assert entry.load() is jdbc.JDBCArrowDataSource
    assert all((files(package) / "py.typed").is_file() for package in ("dask_sail", "jdbc"))
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_no_file_holds_a_path_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git repository")
    # In pieces, or this file would hold them.
    paths = re.compile("|".join(f"/{folder}" for folder in ("work/", "root/", r"tmp/dev\b")))
    names = [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert "README.md" in names
    holding = [
        f"{name}: {found[0]}"
        for name in names
        if (found := paths.search((ROOT / name).read_text(encoding="utf-8", errors="replace")))
    ]
    assert not holding


def test_the_changelog_names_the_version() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (version,) = re.findall(r'^version = "(.*)"$', project, re.MULTILINE)
    heading = re.search(
        r"^## \[?(\S+?)\]? - (\S+)$", (DOCS / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    assert heading
    assert heading[1] == version
    assert heading[2] == "Unreleased" or datetime.date.fromisoformat(heading[2])


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        run_page(Path(argument).resolve())
    if not sys.argv[1:]:
        write_tables()
