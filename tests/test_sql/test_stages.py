"""Plans cut into stages, each run for itself, against DataFusion in one process."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from datafusion import Accumulator, udaf

from dask_sail.sqlengine import run_stage, stages
from dask_sail.sqlengine.functions import PythonFunction
from dask_sail.sqlengine.plan import FileGroups, Stage, TablePartitions

VECTORS = Path(__file__).parents[1] / "vectors"
QUERIES = [
    line.strip().rstrip(";")
    for name in ("sql_queries.sql", "sql_more_queries.sql")
    for line in (VECTORS / name).read_text(encoding="utf-8").splitlines()
    if line.strip()
]
SETTINGS = [(n, broadcast) for n in (1, 2, 4, 9) for broadcast in ("off", "small", "always")]
VIEWS = {"few": "SELECT id, g, s FROM t WHERE id < 50", "seen": "SELECT * FROM few WHERE g > 0"}
#: A minimum or maximum by groups, if there is a NaN, depends on the order of rows in DataFusion 55.
NAN_MATTERS = re.compile(r"\b(min|max)\(x\).*\bgroup by\b")


class Biggest(Accumulator):
    """A Python aggregate that takes one partial state at a time, as it gets them without groups."""

    def __init__(self) -> None:
        self.value = -1

    def update(self, values: pa.Array) -> None:
        self.value = max([self.value, *values.drop_null().to_pylist()])

    def merge(self, states: list[pa.Array]) -> None:
        self.value = max(self.value, states[0][0].as_py())

    def state(self) -> list[pa.Scalar]:
        return [pa.scalar(self.value)]

    def evaluate(self) -> pa.Scalar:
        return pa.scalar(self.value)


@pytest.fixture(scope="module")
def tables(corpus):
    return corpus.tables()


@pytest.fixture(scope="module")
def tables_without_nan(tables):
    def fill(part):
        x = part["x"]
        return part.set_column(3, "x", pc.if_else(pc.is_nan(x), 2.5, x))

    return {name: tuple(map(fill, parts)) for name, parts in tables.items()}


@pytest.fixture(scope="module")
def references(corpus, tables, tables_without_nan):
    def reference(named):
        whole = {name: pa.concat_tables(parts) for name, parts in named.items()}
        ctx = corpus.datafusion_reference(whole)
        ints = pa.int64()
        ctx.register_udaf(udaf(Biggest, ints, ints, [ints], "immutable", "biggest"))
        for name, sql in VIEWS.items():
            ctx.sql(f"CREATE VIEW {name} AS {sql}")
        return ctx

    return {True: reference(tables_without_nan), False: reference(tables)}


@pytest.fixture(scope="module")
def planners(corpus, in_process, tables):
    ints = pa.int64()
    functions = [
        PythonFunction.scalar("dbl", corpus.double, [pa.float64()], pa.float64()),
        PythonFunction.aggregate("biggest", Biggest, [ints], ints, [ints]),
    ]
    return {
        (n, broadcast): in_process.planner_over(
            tables, views=VIEWS, functions=functions, target_partitions=n, broadcast=broadcast
        )
        for n, broadcast in SETTINGS
    }


@pytest.mark.parametrize("sql", QUERIES)
def test_stages_give_what_one_process_gives(
    sql, corpus, in_process, tables, tables_without_nan, references, planners
):
    if not corpus.datafusion_knows(sql):
        pytest.skip("DataFusion's parser refuses it")
    avoids_nan = NAN_MATTERS.search(sql) is not None
    data = tables_without_nan if avoids_nan else tables
    wanted = references[avoids_nan].sql(sql).to_arrow_table()
    # A third of the settings: one kind of broadcast, or each with another number of partitions.
    turn = QUERIES.index(sql)
    for setting in SETTINGS[turn % 3 :: 3] if turn % 2 else SETTINGS[turn % 3 :: 4]:
        plan = planners[setting].plan(sql)
        if "recursive" in sql:
            assert "RecursiveQueryExec" in plan.fallback
            continue
        got = pa.concat_tables(in_process.execute(plan, data))
        assert plan.ordered == corpus.is_ordered(sql) or not got.num_rows
        corpus.compare(got, wanted, sql)


@pytest.mark.parametrize("broadcast", ["off", "small", "always"])
def test_tpch(broadcast, corpus, in_process, tpch, tpch_tables):
    reference = corpus.datafusion_reference(tpch_tables)
    parts = {}
    for name, table in tpch_tables.items():
        rows = -(-table.num_rows // 3)
        count = 1 if table.num_rows < 100 else 3
        parts[name] = [table.slice(i * rows, rows) for i in range(count)] if count > 1 else [table]
    planner = in_process.planner_over(parts, target_partitions=4, broadcast=broadcast)
    for number in range(1, 23):
        sql = corpus.tpch_query(tpch, number)
        wanted = reference.sql(sql).to_arrow_table()
        corpus.compare(in_process.answer(planner, parts, sql), wanted, sql)
        gathered = [stage.gathered for stage in planner.plan(sql).stages if stage.gathered]
        # A NULL anywhere in what NOT IN looks at decides for all rows.
        assert len(gathered) == (number == 16), f"query {number}: {gathered}"


# The shape of stages


JOINS = [
    sql
    for sql in QUERIES
    if re.search(r"\b(join|in \(select|exists)\b", sql, re.IGNORECASE)
    and not re.search(r"\b(dbl|biggest|recursive)\b", sql)
]


@pytest.mark.parametrize("sql", JOINS)
@pytest.mark.parametrize("broadcast", ["off", "small"])
def test_joins_give_the_same_with_their_sides_turned_round(
    sql, broadcast, corpus, in_process, tables, references, monkeypatch
):
    monkeypatch.setattr(stages, "_SMALLER", 0)  # whatever seems to be smaller
    planner = in_process.planner_over(tables, views=VIEWS, broadcast=broadcast)
    wanted = references[False].sql(sql).to_arrow_table()
    corpus.compare(in_process.answer(planner, tables, sql), wanted, sql)


def test_the_smaller_side_of_a_join_is_held(shape):
    for tables in ("t JOIN u", "u JOIN t"):
        made = shape(f"SELECT t.id, t.dec, t.ts, u.x FROM {tables} USING (id)")
        (join,) = [stage for stage in made if "join" in stage.name]
        held, _ = (made[hole.producer.stage] for hole in join.inputs.values())
        assert "Table: u" in held.operators, tables


def test_a_join_whose_order_something_relies_on_is_left_as_it_is(shape):
    ranked = "SELECT g, row_number() OVER (PARTITION BY g ORDER BY id) AS n FROM u"
    made = shape(f"SELECT t.id, t.dec, n FROM t JOIN ({ranked}) v ON t.g = v.g")
    (join,) = [stage for stage in made if "join" in stage.name]
    held, _ = (made[hole.producer.stage] for hole in join.inputs.values())
    assert "Table: t" in held.operators


@pytest.fixture
def shape(in_process, tables):
    """The stages of a query over t, u and e, by default without broadcasts."""

    def stages_of(sql: str, **settings) -> tuple[Stage, ...]:
        settings = {"broadcast": "off"} | settings
        plan = in_process.planner_over(tables, **settings).plan(sql)
        assert plan.fallback is None
        return plan.stages

    return stages_of


def test_a_grouping_is_two_stages_around_an_exchange(shape):
    partial, final = shape("SELECT g, sum(id) FROM t WHERE x < 3 GROUP BY g")
    assert (partial.name, partial.exchange, partial.outputs) == ("scan_filter_aggregate", "hash", 4)
    assert (final.name, final.exchange, final.outputs) == ("aggregate", None, 1)
    assert [hole.mode for hole in final.inputs.values()] == ["part"]
    assert partial.chunked
    assert not final.chunked


@pytest.mark.parametrize(
    ("sql", "chunked"),
    [
        ("SELECT id + 1 FROM t WHERE x < 3", True),
        ("SELECT count(*) FROM t", True),
        ("SELECT unnest(l) FROM t", True),
        ("SELECT max(id) FROM t WHERE s = 'a' LIMIT 3", True),
        ("SELECT first_value(id ORDER BY x) FROM t", True),
        ("SELECT array_agg(id ORDER BY x) FROM t", False),
        ("SELECT g, array_agg(id ORDER BY x) FROM t GROUP BY g", False),
        ("SELECT id FROM t ORDER BY id", False),
        ("SELECT id FROM t ORDER BY id LIMIT 3", False),
        ("SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) FROM t", False),
    ],
)
def test_only_what_takes_rows_piece_by_piece_is_run_so(sql, chunked, shape):
    first = next(s for s in shape(sql) if _reads_a_table(s))
    assert first.chunked is chunked


@pytest.mark.parametrize(
    "aggregates",
    [
        "count(*), sum(id), avg(dec), sum(dec), min(s), max(dt), bool_or(b), bit_xor(id)",
        "count(distinct s), sum(id) FILTER (WHERE s <> 'a'), stddev(id), corr(id, length(s))",
        "median(id), approx_distinct(s), max(ts), covar_samp(id, g), any_value(g * 0)",
        "array_sort(array_agg(id)), regr_slope(id, length(s)), bit_and(id), var_pop(id)",
    ],
)
@pytest.mark.parametrize("keys", ["g", "cat, g", "dec % 3, s", "l", "1"])
def test_states_of_pieces_become_one(aggregates, keys, in_process, tables, references, corpus):
    """Whatever the states are, those of a group are put together as DataFusion does it."""
    group = "" if keys == "1" else f" GROUP BY {keys}"
    sql = f"SELECT {keys}, {aggregates} FROM t{group}"
    planner = in_process.planner_over(tables)
    (first, *_) = planner.plan(sql).stages
    assert first.chunked
    assert (first.reducer is not None) == bool(group)
    whole = pa.concat_tables(tables["t"]).select(first.inputs["in0"].schema.names)
    pieces = [whole.slice(i, 50) for i in range(0, whole.num_rows, 50)]
    counts = []
    for most in (0, 1 << 30):
        room = run_stage.Room(states=most)
        fingerprint = planner.plan(sql).fingerprint
        with run_stage.StageRun(first, fingerprint, (), room) as run:
            for piece in pieces:
                run.add({"in0": [[piece]]})
            counts.append(sum(table.num_rows for table in run.result()))
    if group:
        assert counts[0] < counts[1]
    else:
        assert counts == [len(pieces)] * 2
    wanted = references[False].sql(sql).to_arrow_table()
    corpus.compare(in_process.answer(planner, tables, sql), wanted, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT DISTINCT g FROM t LIMIT 3",  # it gives three groups, and no others
        "SELECT g, biggest(id) FROM t GROUP BY g",  # who knows what its states are
        "SELECT g, count(*) FROM t WHERE id > (SELECT min(id) FROM u) GROUP BY g",
        "SELECT g, max(x) OVER (PARTITION BY g) FROM t",
    ],
)
def test_other_states_are_left_alone(sql, planners):
    assert all(stage.reducer is None for stage in planners[4, "off"].plan(sql).stages)


def _reads_a_table(stage: Stage) -> bool:
    return any(isinstance(hole.producer, TablePartitions) for hole in stage.inputs.values())


def test_equal_parts_of_a_plan_are_one_stage(shape):
    counted = "(SELECT g, count(*) n FROM t GROUP BY g)"
    twice = shape(f"SELECT a.g, b.g FROM {counted} a JOIN {counted} b ON a.n = b.n")
    assert sum(_reads_a_table(stage) for stage in twice) == 1
    volatile = shape("SELECT random() FROM t UNION ALL SELECT random() FROM t")
    assert len(volatile) == 2


def test_a_join_that_gives_unmatched_rows_of_its_left_side_runs_whole(shape):
    gathered = [s for s in shape("SELECT t.id, u.id FROM t LEFT JOIN u ON t.x < u.x") if s.gathered]
    assert len(gathered) == 1
    assert "left side (Left)" in gathered[0].gathered
    assert {hole.mode for hole in gathered[0].inputs.values()} == {"cat"}


def test_an_unknown_operator_gets_all_of_its_inputs(shape, monkeypatch, corpus, in_process, tables):
    monkeypatch.setattr(stages, "_LOCAL", stages._LOCAL - {"SortMergeJoinExec", "UnnestExec"})
    sql = "SELECT v, count(*) FROM (SELECT id, unnest(l) v FROM t) GROUP BY v"
    (gathered,) = [stage for stage in shape(sql) if stage.gathered]
    assert gathered.gathered == "UnnestExec is not known to run in parts"
    assert "UnnestExec" in gathered.operators
    got = in_process.answer(in_process.planner_over(tables), tables, sql)
    assert sum(got["count(*)"].to_pylist()) == sum(
        len(v) for v in pa.concat_tables(tables["t"])["l"].to_pylist() if v
    )


@pytest.mark.parametrize(
    ("settings", "exchanges"),
    [
        ({"broadcast": "off"}, 2),
        ({"broadcast": "small"}, 0),
        ({"broadcast": "always"}, 0),
        ({"broadcast": "small", "broadcast_bytes": 10}, 2),
        ({"broadcast": "small", "known": {"rows": None, "bytes": None}}, 2),
    ],
)
def test_a_small_side_goes_to_every_task(settings, exchanges, shape):
    joined = shape("SELECT t.id, u.id FROM t JOIN u ON t.g = u.g", **settings)
    assert sum(stage.exchange == "hash" for stage in joined) == exchanges
    if not exchanges:
        modes = [hole.mode for hole in joined[-1].inputs.values()]
        assert sorted(modes) == ["cat", "part"]


def test_no_broadcast_below_what_relies_on_the_partitioning(shape):
    sql = "SELECT t.g, count(*) FROM t JOIN u ON t.g = u.g GROUP BY t.g"
    for stage in shape(sql, broadcast="always"):
        if "SinglePartitioned" in stage.operators and "Join" in stage.operators:
            assert [hole.mode for hole in stage.inputs.values()] == ["part", "part"]
            break
    else:
        pytest.fail("no stage joins and then aggregates without an exchange")


def test_stages_come_after_those_they_read(shape):
    sql = "SELECT a.g FROM t a JOIN u b ON a.g = b.g JOIN t c ON b.id = c.id UNION SELECT g FROM e"
    for number, stage in enumerate(shape(sql)):
        for hole in stage.inputs.values():
            assert getattr(hole.producer, "stage", -1) < number


def test_a_limit_holds_for_the_whole_result(in_process, tables):
    tables = tables | {"one": (pa.concat_tables(tables["u"]),)}
    planner = in_process.planner_over(tables)
    for sql, rows in (
        ("SELECT id FROM t LIMIT 7", 7),
        ("SELECT id FROM t WHERE id >= 0 LIMIT 7", 7),
        ("SELECT id FROM t LIMIT 7 OFFSET 597", 3),
        ("SELECT id + g FROM t LIMIT 8", 8),
        ("SELECT t.id FROM t JOIN u ON t.id = u.id LIMIT 9", 9),
        ("SELECT id FROM one LIMIT 7", 7),
        ("SELECT id FROM one LIMIT 7 OFFSET 298", 2),
        ("SELECT count(*) FROM (SELECT id FROM one LIMIT 7) a JOIN one ON true", 1),
    ):
        assert in_process.answer(planner, tables, sql).num_rows == rows, sql


# Parquet


@pytest.fixture
def lake(tmp_path, tables):
    """Two folders, day=1 and day=2, of Parquet files in several row groups."""
    for day, number in ((1, 0), (1, 3), (2, 4)):
        folder = tmp_path / f"day={day}"
        folder.mkdir(exist_ok=True)
        pq.write_table(
            tables["t"][number].drop(["cat"]), folder / f"{number}.parquet", row_group_size=40
        )
    return tmp_path


def _parquet_planner(*paths, **settings):
    from dask_sail.sqlengine.parquet import described
    from dask_sail.sqlengine.plan import Settings
    from dask_sail.sqlengine.planner import Planner

    return Planner(
        {"lake": described("lake", paths)}, {}, (), Settings(target_partitions=3, **settings)
    )


@pytest.mark.parametrize("largest", [10**9, 3000])
def test_parquet_is_read_by_the_stages(largest, lake, tables, in_process, monkeypatch):
    monkeypatch.setattr(stages, "_LARGEST_GROUP", largest)
    rows = pa.concat_tables([tables["t"][i] for i in (0, 3, 4)])
    planner = _parquet_planner(lake)
    plan = planner.plan("SELECT sum(id), count(*), max(s) FROM lake")
    groups = [
        hole.producer.groups
        for stage in plan.stages
        for hole in stage.inputs.values()
        if isinstance(hole.producer, FileGroups)
    ]
    assert (len(groups[0]) > 3) == (largest == 3000)
    (got,) = pa.concat_tables(in_process.execute(plan, {})).to_pylist()
    assert list(got.values()) == [
        pc.sum(rows["id"]).as_py(),
        rows.num_rows,
        max(s for s in rows["s"].to_pylist() if s is not None),
    ]


def test_parquet_folders_are_columns_and_prune(lake, tables, in_process):
    planner = _parquet_planner(lake)
    sql = "SELECT day, count(*) n FROM lake GROUP BY day ORDER BY day"
    sizes = [tables["t"][0].num_rows + tables["t"][3].num_rows, tables["t"][4].num_rows]
    assert in_process.answer(planner, {}, sql)["n"].to_pylist() == sizes
    pruned = planner.plan("SELECT id FROM lake WHERE day = '2' AND id > 5")
    (hole,) = pruned.stages[0].inputs.values()
    assert not any(b"day%3D1" in group or b"day=1" in group for group in hole.producer.groups)
    ids = [i for i in tables["t"][4]["id"].to_pylist() if i > 5]
    assert sorted(pa.concat_tables(in_process.execute(pruned, {}))["id"].to_pylist()) == sorted(ids)


def test_parquet_files_by_name_and_by_pattern(lake, tables, in_process):
    count = "SELECT count(*) n FROM lake"
    files = [lake / "day=1" / "0.parquet", lake / "day=2" / "4.parquet"]
    expected = tables["t"][0].num_rows + tables["t"][4].num_rows
    assert in_process.answer(_parquet_planner(*files), {}, count)["n"].to_pylist() == [expected]
    pattern = _parquet_planner(lake / "day=1" / "*.parquet")
    expected = tables["t"][0].num_rows + tables["t"][3].num_rows
    assert in_process.answer(pattern, {}, count)["n"].to_pylist() == [expected]
