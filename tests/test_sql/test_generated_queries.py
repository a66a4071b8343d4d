"""Queries that nobody thought of: from a small grammar, against both references."""

from __future__ import annotations

from itertools import product
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

import dask_sail

NUMBERS = {"t": ["id", "g"], "u": ["id", "g"], "e": ["id", "g"]}
AGGREGATES = [
    "count(*)",
    "count({0})",
    "count(distinct {0})",
    "sum({0})",
    "min({1})",
    "max({1})",
    "avg({0})",
    "count(*) filter (where {0} > 2)",
    "bool_or({0} > 3)",
]


@st.composite
def conditions(draw: st.DrawFn, alias: str) -> str:
    """A condition on a row of one table; NULLs make some of them neither true nor false."""
    number, other = f"{alias}.{draw(st.sampled_from(['id', 'g']))}", f"{alias}.x"
    simple = draw(
        st.sampled_from(
            [
                f"{number} {draw(st.sampled_from(['<', '<=', '=', '<>', '>', '>=']))} "
                f"{draw(st.integers(-5, 200))}",
                f"{number} in (1, 2, 3, 5, 8)",
                f"{number} not in (1, 2, 99)",
                f"{number} between 2 and 60",
                f"{alias}.s is null",
                f"{alias}.s is not null",
                f"{alias}.s like '%u%'",
                f"{alias}.s in ('', 'a', 'ß')",
                f"{other} > 3.5",
                f"{number} is distinct from 3",
                f"coalesce({number}, 0) % 3 = 1",
            ]
        )
    )
    if draw(st.integers(0, 3)) == 0:
        also = draw(conditions(alias))
        return f"({simple} {draw(st.sampled_from(['and', 'or']))} {also})"
    return f"not ({simple})" if draw(st.integers(0, 5)) == 0 else simple


@st.composite
def sources(draw: st.DrawFn, alias: str) -> str:
    """A table, or a query in its place, with the columns id, g, s and x."""
    name = draw(st.sampled_from(["t", "t", "u", "u", "e"]))
    kind = draw(st.integers(0, 6))
    if kind == 0:
        return f"(select id, g, s, x from {name} q where {draw(conditions('q'))}) {alias}"
    if kind == 1:
        return f"(select distinct g as id, g, s, 1.5 as x from {name}) {alias}"
    if kind == 2:
        return f"(select max(id) as id, g, min(s) as s, 0.5 as x from {name} group by g) {alias}"
    if kind == 3:
        return (
            f"(select id, g, s, x from {name} union all select id + 1000, g, s, x from u) {alias}"
        )
    return f"{name} {alias}"


@st.composite
def filters(draw: st.DrawFn, alias: str) -> str:
    """WHERE, at times with a subquery."""
    kind = draw(st.integers(0, 7))
    if kind == 0:
        return ""
    if kind == 1:
        return f" where {alias}.g in (select g from u where {draw(conditions('u'))})"
    if kind == 2:
        return f" where {alias}.g not in (select g from u where {draw(conditions('u'))})"
    if kind == 3:
        word = draw(st.sampled_from(["exists", "not exists"]))
        return f" where {word} (select 1 from u where u.g = {alias}.g and {draw(conditions('u'))})"
    if kind == 4:
        return f" where {alias}.id > (select avg(id) from u where u.g = {alias}.g)"
    return f" where {draw(conditions(alias))}"


@st.composite
def joins(draw: st.DrawFn) -> str:
    """FROM with one or two sources, a and b."""
    first = draw(sources("a"))
    if draw(st.booleans()):
        return f" from {first}"
    kind = draw(
        st.sampled_from(["join", "left join", "right join", "full join", "left join", "cross join"])
    )
    second = draw(sources("b"))
    if kind == "cross join":
        few = f"(select * from {first} where a.id < 20) a"
        return f" from {few} cross join (select * from {second} where b.id < 9) b"
    on = draw(
        st.sampled_from(
            [
                "a.id = b.id",
                "a.id = b.id and a.g = b.g",
                "a.id = b.id and a.x > b.x",
                "a.g = b.id",
                "a.id = b.id + 1 and a.s = b.s",
                "a.id is not distinct from b.g",
            ]
        )
    )
    return f" from {first} {kind} {second} on {on}"


@st.composite
def blocks(draw: st.DrawFn) -> tuple[str, int]:
    """A SELECT without an order, and how many columns it has."""
    start = draw(joins())
    where = draw(filters("a"))
    last = "b" if " b" in start and "join" in start else "a"
    kind = draw(st.integers(0, 4))
    if kind <= 1:
        chosen = draw(st.lists(st.sampled_from(AGGREGATES), min_size=1, max_size=3, unique=True))
        columns = [a.format(f"{last}.g", f"{last}.s") for a in chosen]
        keys = draw(st.sampled_from([[], ["a.g"], ["a.s"], ["a.g", f"{last}.s"]]))
        group = f" group by {', '.join(keys)}" if keys else ""
        if keys and draw(st.integers(0, 4)) == 0:
            group = f" group by {draw(st.sampled_from(['rollup', 'cube']))} ({', '.join(keys)})"
        having = " having count(*) > 1" if keys and draw(st.integers(0, 3)) == 0 else ""
        listed = [f"{c} as c{i}" for i, c in enumerate([*keys, *columns])]
        return f"select {', '.join(listed)}{start}{where}{group}{having}", len(listed)
    if kind == 2:
        window = draw(
            st.sampled_from(
                [
                    "row_number() over (partition by a.g order by a.id, {0}.id)",
                    "rank() over (order by a.g nulls first)",
                    "sum(a.id) over (partition by a.s)",
                    "count(*) over (partition by a.g order by a.id)",
                    "lag(a.id) over (order by a.id, {0}.id, a.s, {0}.s, a.g)",
                    "max(a.id) over (partition by a.s order by a.id rows between 2 preceding and 1 "
                    "following)",
                ]
            )
        ).format(last)
        # Rows that the order does not tell apart would have their numbers in any order.
        tied = "row_number" in window or "lag" in window or "rows" in window
        chosen = "a.id" if not tied else "a.g"
        if tied:
            return (
                f"select count(*) as c0, max(w) as c1 from (select {window} as w{start}{where})",
                2,
            )
        return f"select {chosen} as c0, {window} as c1{start}{where}", 2
    word = "distinct " if kind == 3 else ""
    return f"select {word}a.id as c0, a.s as c1, {last}.g as c2{start}{where}", 3


@st.composite
def queries(draw: st.DrawFn) -> str:
    """A whole query."""
    block, width = draw(blocks())
    kind = draw(st.integers(0, 5))
    if kind == 0:
        other, width_of_other = draw(blocks())
        if width == width_of_other == 3 and "count" not in block + other:
            word = draw(st.sampled_from(["union", "union all", "intersect", "except"]))
            return f"{block} {word} {other}"
    if kind == 1:
        columns = ", ".join(f"c{i}" for i in range(width))
        limit = draw(st.integers(0, 40))
        return f"select * from ({block}) q order by {columns} limit {limit}"
    if kind == 2:
        return f"with q as ({block}) select count(*) as n, count(c0) as m from q"
    return block


GRID = list(product((1, 2, 4, 9), ("off", "small", "always")))


def check_queries(
    corpus: ModuleType, contexts: dict[Any, dask_sail.SQLContext], examples: int, references: Any
) -> None:
    datafusion, duckdb = references

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(sql=queries(), setting=st.sampled_from(list(contexts)))
    def check(sql: str, setting: Any) -> None:
        try:
            want = datafusion.sql(sql).to_arrow_table()
        except Exception as error:
            event(f"DataFusion refuses: {str(error)[:40]}")
            return
        got = contexts[setting].to_arrow(sql)
        corpus.compare(got, want, sql)
        corpus.compare(got, duckdb.sql(sql).to_arrow_table(), sql, types=False)

    check()


@pytest.fixture(scope="module")
def contexts(pieces: dict[str, Any]) -> dict[Any, dask_sail.SQLContext]:
    return {
        (partitions, broadcast): dask_sail.SQLContext(
            pieces, target_partitions=partitions, broadcast=broadcast
        )
        for partitions, broadcast in GRID
    }


@pytest.mark.slow
def test_generated_queries(
    corpus: ModuleType, contexts: Any, datafusion_reference: Any, duckdb_reference: Any
) -> None:
    check_queries(corpus, contexts, 400, (datafusion_reference, duckdb_reference))
