"""Names in a query, matched ignoring case, as Spark and DuckDB do.

DataFusion is told to take names as they are written, so each unquoted one is written here as the
table or column is spelt that it means. That changes the case of letters and nothing else: the text
keeps its length, so that positions in errors are those of the person's own text. Keywords may be
respelt as well, which is no change to them.

Mostly a name is spelt in one way in all tables that the query names, and in the query's aliases;
it is written so. Where there are several spellings, it depends on what is in scope, and sqlglot's
parser tells; its tree is looked at, never turned into SQL again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .clauses import check_clauses
from .errors import SQLAmbiguousNameError, SQLQueryError, place
from .tokens import SQLTokenError, TokenType, tokens, word_of

__all__ = ["fold", "spell", "tables_of"]

Tables = Mapping[str, Sequence[str]]


def fold(name: str) -> str:
    """Return what names that differ in case alone have in common.

    Letter by letter, so that lengths agree: letters whose other case has another length count as
    they are.
    """
    return "".join(one if len(one.lower()) != 1 else one.lower() for one in name)


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """A word of the query: its spelling, its place, and what stands around it."""

    name: str
    start: int
    quoted: bool
    named_here: bool  # is given to something: follows AS, or could
    called: bool  # stands before a parenthesis
    is_name: bool  # no keyword


def _occurrences(sql: str) -> list[_Occurrence]:
    found = tokens(sql)
    result = []
    for i, token in enumerate(found):
        word = word_of(token)
        if word is None:
            continue
        before = found[i - 1].token_type if i else None
        after = found[i + 1].token_type if i + 1 < len(found) else None
        is_name = word.quoted or token.token_type is TokenType.VAR
        named = (
            (before is TokenType.ALIAS and not _is_cast(found, i))
            or (before in _ENDS and is_name)
            or (after is TokenType.ALIAS and before in _BEFORE_CTE)
        )
        called = after is TokenType.L_PAREN
        result.append(_Occurrence(word.name, word.start, word.quoted, named, called, is_name))
    return result


_BEFORE_CTE = (TokenType.WITH, TokenType.RECURSIVE)
# After the end of an expression or of a table's name, a name can only be given to it.
_ENDS = (
    TokenType.VAR,
    TokenType.IDENTIFIER,
    TokenType.R_PAREN,
    TokenType.R_BRACKET,
    TokenType.STRING,
    TokenType.NUMBER,
    TokenType.END,
)


def _is_cast(found: list[Any], i: int) -> bool:
    """Whether the word after an AS is a type: ``cast(x as date)``."""
    depth = 0
    for j in range(i - 1, -1, -1):
        kind = found[j].token_type
        depth += (kind is TokenType.R_PAREN) - (kind is TokenType.L_PAREN)
        if depth < 0:
            return found[j - 1].text.lower() in ("cast", "try_cast") if j else False
    return False


def tables_of(sql: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of the names that a query may mean as tables."""
    known = defaultdict(list)
    for name in names:
        known[fold(name)].append(name)
    try:
        found = {(o.name, o.quoted): None for o in _occurrences(sql)}
    except SQLTokenError:
        return tuple(names)
    meant = (
        name
        for text, quoted in found
        for name in known.get(fold(text), ())
        if not quoted or name == text
    )
    return tuple(dict.fromkeys(meant))


def spell(sql: str, tables: Tables) -> str:
    """Return a query with every unquoted name spelt as the one table or column that it means.

    Parameters
    ----------
    sql
        One query.
    tables
        What is registered: names of tables, each with those of its columns.

    Raises
    ------
    SQLAmbiguousNameError
        If a name may mean several that differ in case alone.
    SQLNotSupportedError
        If DataFusion would leave a clause out.
    """
    try:
        found = _occurrences(sql)
    except SQLTokenError:
        return sql  # DataFusion says what is wrong, and where
    check_clauses(sql)
    meant = {name: tables[name] for name in tables_of(sql, tables)}
    spellings = _spellings(found, meant)
    several = {key: known for key, known in spellings.items() if len(known) > 1}
    _check_natural(sql, found, meant)
    agreed = _respelt(sql, found, spellings, {})
    if not _in_use(found, several):
        return agreed
    return _respelt(sql, found, spellings, _resolve(sql, agreed, found, meant, several))


def _spellings(found: list[_Occurrence], meant: Tables) -> dict[str, list[str]]:
    """How each name is spelt, in tables or where the query gives it; else where it stands first."""
    known: dict[str, dict[str, None]] = defaultdict(dict)
    for table, columns in meant.items():
        for name in (table, *columns):
            known[fold(name)][name] = None
    for one in found:
        if one.quoted or one.named_here:
            known[fold(one.name)][one.name] = None
    for one in found:
        if fold(one.name) not in known and not one.called and one.is_name:
            known[fold(one.name)][one.name] = None
    return {key: list(names) for key, names in known.items()}


def _check_natural(sql: str, found: list[_Occurrence], meant: Tables) -> None:
    """Refuse NATURAL JOIN where it would not see that two columns are the same.

    Where all columns differ, it gives all pairs of rows.
    """
    natural = next((o for o in found if o.name.lower() == "natural" and not o.is_name), None)
    if natural is None:
        return
    spelt: dict[str, dict[str, None]] = defaultdict(dict)
    for columns in meant.values():
        for name in columns:
            spelt[fold(name)][name] = None
    several = [" and ".join(names) for names in spelt.values() if len(names) > 1]
    if several:
        raise SQLAmbiguousNameError(
            f"NATURAL JOIN compares names, and some differ in case alone: {', '.join(several)}; "
            "write ON",
            *place(sql, natural.start),
        )


def _in_use(found: list[_Occurrence], several: Mapping[str, Any]) -> bool:
    return any(fold(one.name) in several for one in found if not one.quoted and not one.named_here)


def _respelt(
    sql: str,
    found: list[_Occurrence],
    spellings: Mapping[str, list[str]],
    resolved: Mapping[int, str],
) -> str:
    pieces, end = [], 0
    for one in found:
        if one.quoted:
            continue
        known = spellings.get(fold(one.name), ())
        if one.start in resolved:
            name = resolved[one.start]
        elif len(known) == 1:
            name = known[0]
        else:  # table functions are found by their small letters alone
            name = one.name.lower() if one.called and not known else one.name
        if len(name) == len(one.name):
            pieces += [sql[end : one.start], name]
            end = one.start + len(name)
    return "".join([*pieces, sql[end:]])


# Names with several spellings


def _resolve(
    sql: str,
    agreed: str,
    found: list[_Occurrence],
    tables: Tables,
    several: Mapping[str, list[str]],
) -> dict[int, str]:
    """Return how each use of such a name is spelt, by where it stands.

    ``agreed`` is the query with all other names spelt, since sqlglot compares them exactly.
    """
    from sqlglot import parse_one
    from sqlglot.errors import SqlglotError

    from .tokens import DataFusionDialect

    names = _Scopes(sql, tables, several)
    try:
        names.resolve(parse_one(agreed, dialect=DataFusionDialect))
    except (SqlglotError, RecursionError):
        # What sqlglot cannot parse may well be a query, but nothing tells what its names mean.
        names.spelt.clear()
        names.seen.clear()
    for one in found:
        key = fold(one.name)
        if one.quoted or one.named_here or key not in several or one.start in names.seen:
            continue
        if one.is_name and not one.called:
            raise names.ambiguous(one.name, one.start, several[key])
    return names.spelt


class _Scopes:
    """Resolves names with several spellings by what is in scope where they stand.

    Attributes
    ----------
    spelt
        How the names that were found are spelt, by where they stand.
    seen
        Where all names stand that were looked at, those included that stay as they are.
    """

    def __init__(self, sql: str, tables: Tables, several: Mapping[str, list[str]]) -> None:
        self.sql = sql
        self.tables = tables
        self.by_fold: dict[str, list[str]] = defaultdict(list)
        for name in tables:
            self.by_fold[fold(name)].append(name)
        self.several = several
        self.spelt: dict[int, str] = {}
        self.seen: set[int] = set()
        self.outputs: dict[int, list[str]] = {}

    def ambiguous(self, name: str, start: int | None, known: Iterable[str]) -> SQLQueryError:
        choices = " or ".join(f'"{one}"' for one in dict.fromkeys(known))
        message = f"{name!r} may mean {choices}; write the one that is meant, in double quotes"
        return SQLAmbiguousNameError(message, *place(self.sql, start))

    def resolve(self, tree: Any) -> None:
        from sqlglot import exp
        from sqlglot.optimizer.scope import traverse_scope

        for join in tree.find_all(exp.Join):
            self._check_join(join)
        for alias in tree.find_all(exp.Alias, exp.TableAlias):
            self._keep(alias)
        for scope in traverse_scope(tree):
            for table in scope.find_all(exp.Table):
                self._table(table, scope)
            for column in scope.find_all(exp.Column):
                self._column(column, scope)
            self.outputs[id(scope)] = list(self._outputs_of(scope))

    def _check_join(self, join: Any) -> None:
        """Joins that compare names have no place for the two spellings of one."""
        for name in join.args.get("using") or ():
            if fold(name.name) in self.several:
                known = self.several[fold(name.name)]
                raise SQLAmbiguousNameError(
                    f"USING ({name.name}) compares columns that are spelt {' and '.join(known)}; "
                    "write ON, with the table in front of each",
                    *place(self.sql, name.meta.get("start")),
                )
        if join.method.upper() == "NATURAL":
            known = [" and ".join(names) for names in self.several.values()]
            raise SQLAmbiguousNameError(
                f"NATURAL JOIN compares names, and some differ in case alone: {', '.join(known)}; "
                "write ON"
            )

    def _keep(self, alias: Any) -> None:
        for name in (
            alias.args.get("alias"),
            alias.args.get("this"),
            *(alias.args.get("columns") or ()),
        ):
            if hasattr(name, "quoted") and "start" in name.meta:
                self.seen.add(name.meta["start"])

    def _write(self, identifier: Any, name: str) -> None:
        start = identifier.meta.get("start")
        if start is None:
            return
        self.seen.add(start)
        if not identifier.quoted and fold(identifier.name) in self.several:
            self.spelt[start] = name

    def _table(self, table: Any, scope: Any) -> None:
        identifier = table.this
        if not hasattr(identifier, "quoted"):
            return  # a table function
        name = self._common(identifier.name, scope) or self._registered(identifier)
        if name is not None:
            self._write(identifier, name)

    def _common(self, name: str, scope: Any) -> str | None:
        """Name of the CTE that is meant, or None."""
        while scope is not None:
            for one in scope.cte_sources:
                if fold(one) == fold(name):
                    return str(one)
            scope = scope.parent
        return None

    def _registered(self, identifier: Any) -> str | None:
        if identifier.quoted:
            return str(identifier.name) if identifier.name in self.tables else None
        known = self.by_fold.get(fold(identifier.name), [])
        if len(known) > 1:
            raise self.ambiguous(identifier.name, identifier.meta.get("start"), known)
        return known[0] if known else None

    def _column(self, column: Any, scope: Any) -> None:
        qualifier, identifier = column.args.get("table"), column.this
        if not hasattr(identifier, "quoted"):
            return  # a star
        if qualifier is not None:
            source = self._source(qualifier.name, scope)
            if source is None:
                return
            name, columns = source
            self._write(qualifier, name)
            self._pick(identifier, [columns])
            return
        ordering = _orders_result(column, scope)
        here: Any = scope
        while here is not None:
            sources = [self._columns(*one, here) for one in self._sources(here)]
            given = [[one.alias for one in _aliases(here)]]
            if here.set_operation_scopes:
                given = [list(self._outputs_of(here))]
            # ORDER BY means the result's columns first, all else those of the tables.
            for known in (given, sources) if ordering else (sources, given):
                if self._pick(identifier, known):
                    return
            here, ordering = here.parent, False

    def _pick(self, identifier: Any, sources: Iterable[Iterable[str]]) -> bool:
        key = fold(identifier.name)
        known = [one for columns in sources for one in columns if fold(one) == key]
        if identifier.quoted:
            known = [one for one in known if one == identifier.name]
        if len(set(known)) > 1:
            raise self.ambiguous(identifier.name, identifier.meta.get("start"), known)
        if known:
            self._write(identifier, known[0])
        return bool(known)

    def _sources(self, scope: Any) -> Iterator[tuple[str, Any]]:
        selected = getattr(scope, "selected_sources", {})
        for name, (_, source) in selected.items():
            yield name, source

    def _source(self, name: str, scope: Any) -> tuple[str, list[str]] | None:
        """Spelling and columns of what a qualifier means, in this scope or one around it."""
        while scope is not None:
            for one, source in self._sources(scope):
                if fold(one) == fold(name):
                    return self._qualifier(one, source), self._columns(one, source, scope)
            scope = scope.parent
        return None

    def _qualifier(self, name: str, source: Any) -> str:
        table = getattr(source, "this", None)
        if hasattr(table, "quoted") and not source.alias:
            return self._registered(table) or name
        return name

    def _columns(self, name: str, source: Any, scope: Any) -> list[str]:
        node = scope.selected_sources[name][0]
        given = [str(one) for one in getattr(node, "alias_column_names", ())]
        if id(source) in self.outputs:
            columns = self.outputs[id(source)]
            given = given or _column_names(source)
        else:
            table = getattr(source, "this", None)
            registered = self._registered(table) if hasattr(table, "quoted") else None
            columns = list(self.tables.get(registered, ())) if registered is not None else []
        return [*given, *columns[len(given) :]]

    def _outputs_of(self, scope: Any) -> Iterator[str]:
        from sqlglot import exp

        if scope.set_operation_scopes:
            yield from self.outputs.get(id(scope.set_operation_scopes[0]), ())
            return
        for one in getattr(scope.expression, "selects", ()):
            if isinstance(one, exp.Star):
                for name, source in self._sources(scope):
                    yield from self._columns(name, source, scope)
            elif isinstance(one, exp.Column) and isinstance(one.this, exp.Star):
                found = self._source(one.table, scope)
                yield from found[1] if found else ()
            elif isinstance(one, exp.Column):
                yield self.spelt.get(one.this.meta.get("start"), one.name)
            else:
                yield one.alias_or_name


def _aliases(scope: Any) -> list[Any]:
    from sqlglot import exp

    return [one for one in getattr(scope.expression, "selects", ()) if isinstance(one, exp.Alias)]


def _orders_result(column: Any, scope: Any) -> bool:
    """Whether a name stands alone in the ORDER BY of its query."""
    from sqlglot import exp

    ordered = column.parent
    around = ordered.parent if isinstance(ordered, exp.Ordered) else None
    return isinstance(around, exp.Order) and around.parent is scope.expression


def _column_names(source: Any) -> list[str]:
    """Names that a CTE gives its columns: ``with q(a, b) as ...``."""
    around = getattr(source.expression, "parent", None)
    return [str(one) for one in getattr(around, "alias_column_names", ())]
