"""Splicing, on generated messages and on all nodes of real plans."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest
from datafusion import ExecutionPlan, SessionConfig, SessionContext
from hypothesis import assume, given
from hypothesis import strategies as st

from dask_sail.sqlengine.splice import SpliceError, Template, fields, varint


def encode(message: list) -> bytes:
    """Write a message by the rules of protobuf.dev/programming-guides/encoding."""
    out = b""
    for number, value in message:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        elif isinstance(value, float):
            out += varint(number << 3 | 1) + b"\1\2\3\4\5\6\7\x08"
        else:
            body = value if isinstance(value, bytes) else encode(value)
            out += varint(number << 3 | 2) + varint(len(body)) + body
    return out


numbers = st.integers(1, 2000)
texts = st.binary(max_size=200) | st.integers(0, 300).map(lambda n: b"x" * n)
messages = st.recursive(
    st.lists(st.tuples(numbers, st.integers(0, 2**64 - 1) | texts | st.just(1.5)), max_size=4),
    lambda inner: st.lists(st.tuples(numbers, inner | texts), max_size=4),
    max_leaves=12,
)
nodes = st.tuples(numbers, numbers, numbers)


@given(number=st.integers(0, 2**64 - 1))
def test_varint_is_what_the_specification_says(number):
    digits = varint(number)
    assert all(d & 128 for d in digits[:-1])
    assert digits[-1] < 128
    assert sum((d & 127) << 7 * i for i, d in enumerate(digits)) == number
    assert len(digits) == max(1, -(-number.bit_length() // 7))


def test_fields_tell_where_each_value_lies():
    # The examples of protobuf.dev/programming-guides/encoding.
    assert [f[:2] for f in fields(b"\x08\x96\x01")] == [(1, 0)]
    message = b"\x12\x07testing"
    (field,) = fields(message)
    assert (field.number, message[field.start : field.end]) == (2, b"testing")
    assert (message[field.head : field.tag_end], field.end) == (b"\x12", 9)


@pytest.mark.parametrize("bad", [b"\x12\x08testing", b"\x08", b"\x08\xff", b"\x0b", b"\x02\x00"])
def test_bytes_that_are_no_message_are_refused(bad):
    with pytest.raises(SpliceError):
        fields(bad)


@given(
    before=messages, children=st.lists(messages, min_size=1, max_size=3), after=messages, n=nodes
)
def test_children_give_way_to_whatever_fills_their_holes(before, children, after, n):
    """Every length around a hole is right again, whatever the lengths of old and new child."""

    def plan(kids):
        return encode([(n[0], [*before, *((n[1], kid) for kid in kids), *after])])

    old = [encode(child) for child in children]
    # Bytes that were there by chance come first, so the children are put where none can be.
    assume(not any(encode(v) in old for _, v in before if isinstance(v, list)))
    assume(not any(v in old for _, v in before if isinstance(v, bytes)))
    names = [f"h{i}" for i in range(len(old))]
    template = Template.compile(plan(children), list(zip(old, names, strict=True)), depth=2)
    assert template.holes == tuple(names)
    assert template.fill({k: [b] for k, b in zip(names, old, strict=True)}) == plan(children)
    for size in (0, 1, 126, 127, 128, 16_384):
        new = [b"\x7a" * size] * len(old)
        halves = {k: [b[: size // 3], b[size // 3 :]] for k, b in zip(names, new, strict=True)}
        assert template.fill(halves) == plan(new)
    assert pickle.loads(pickle.dumps(template)) == template


@given(outer=messages, inner=messages, leaf=messages, n=nodes)
def test_a_template_within_a_template_is_the_whole_plan(outer, inner, leaf, n):
    leaf_bytes = encode(leaf)
    middle = encode([(n[0], [(n[1], leaf_bytes), *inner])])
    whole = encode([(n[2], [(n[1], middle), *outer])])
    top = Template.compile(whole, [(middle, "middle")], depth=2)
    low = Template.compile(middle, [(leaf_bytes, "leaf")], depth=2)
    assert top.plug("middle", low).fill({"leaf": [leaf_bytes]}) == whole
    with pytest.raises(SpliceError, match="no hole 'other'"):
        top.plug("other", low)


def test_a_child_at_any_depth_is_found_without_a_depth():
    deep = encode([(1, [(2, 7), (3, [(4, b"xx"), (5, [(6, b"name")])])]), (7, b"name2")])
    template = Template.compile(deep, [(b"name", "n")])
    assert template.fill({"n": [b"longer name"]}) == encode(
        [(1, [(2, 7), (3, [(4, b"xx"), (5, [(6, b"longer name")])])]), (7, b"name2")]
    )


def test_a_text_that_looks_like_a_child_is_not_taken_for_it():
    child = b"\x0a\x00"
    plan = encode([(9, [(1, [(1, [(1, child)])]), (4, child)])])
    template = Template.compile(plan, [(child, "h")], depth=2)
    assert template.fill({"h": [b""]}) == encode([(9, [(1, [(1, [(1, child)])]), (4, b"")])])


def test_a_child_that_is_not_there_is_an_error():
    with pytest.raises(SpliceError, match="1 of 2 children"):
        Template.compile(encode([(1, [(2, b"ab")])]), [(b"ab", "a"), (b"cd", "c")])


def test_alike_children_are_cut_left_to_right():
    plan = encode([(1, [(1, b"same"), (2, b"same"), (3, b"same")])])
    template = Template.compile(plan, [(b"same", "a"), (b"same", "b")])
    assert template.fill({"a": [b"A"], "b": [b"BB"]}) == encode(
        [(1, [(1, b"A"), (2, b"BB"), (3, b"same")])]
    )


QUERIES = [
    "select a.k, count(*), sum(b.v) from a join b on a.k = b.k where a.v > 3 group by a.k",
    "select * from a x join a y on x.k = y.k",  # the same scan twice
    "select k from a union all select k from a union all select k from b",
    "select k, row_number() over (partition by v order by k) from a order by 1, 2 limit 3",
    "select k from a where v > (select avg(v) from b) and k not in (select k from b)",
    "select * from a left join b on a.v < b.v",
    "select count(*) from a, b",
    "select distinct on (k) k, v from a order by k, v",
    "select 1",
    "select count(*) from (values (1), (2)) t(x)",
    "select k, unnest(l) from a",
]


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    context = SessionContext(SessionConfig().with_target_partitions(3))
    schema = pa.schema({"k": pa.int64(), "v": pa.float64(), "l": pa.list_(pa.int32())})
    for name in "ab":
        folder = tmp_path_factory.mktemp(name)
        for i in range(2):
            with pa.ipc.new_file(folder / f"{i}.arrow", schema):
                pass
        context.register_arrow(name, str(folder), schema=schema)
    return context


@pytest.mark.parametrize("query", QUERIES)
def test_every_node_of_a_plan_is_an_exact_part_of_its_parent(context, query):
    def template(node: ExecutionPlan) -> Template:
        children = node.children()
        pairs = [(child.to_bytes(context), f"h{i}") for i, child in enumerate(children)]
        own = Template.compile(node.to_bytes(context), pairs, depth=2)
        for i, child in enumerate(children):
            own = own.plug(f"h{i}", template(child))
        return own

    plan = context.sql(query).execution_plan()
    assert template(plan).fill({}) == plan.to_bytes(context)
