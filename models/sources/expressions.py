"""A condition on the columns of a table, as a pipeline file says it: parsed by a grammar of its own, never evaluated as
code.

    condition  := either ("or" either)*            either := part ("and" part)*
    part       := "not" part | "(" condition ")" | comparison
    comparison := column ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=") value
                | column ["not"] "in" "(" value ("," value)* ")"
                | column "is" ["not"] "empty"
    column     := a name, or any text in backticks
    value      := a number | 'text' | true | false | another column

A cell that is empty, or no number where a number is asked for, makes a comparison neither true nor false: only a row
for which the whole condition is true is chosen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from mlratchet.models.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MOST_CHARACTERS = 2_000
DEEPEST = 40  # brackets in brackets
TOKEN = re.compile(
    r"\s*(?:(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])|(?P<text>'(?:[^']|'')*')|(?P<quoted>`[^`]+`)"
    r"|(?P<name>[^\W\d]\w*(?:[.@-]\w+)*)|(?P<mark><=|>=|!=|==|[=<>(),]))"
)
WORDS = frozenset({"and", "or", "not", "in", "is", "empty", "true", "false"})
COMPARISONS = {"=": "equal", "==": "equal", "!=": "not_equal"} | {
    "<": "less", "<=": "less_equal", ">": "greater", ">=": "greater_equal",
}  # fmt: skip
NUMBER_CELL = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
COMMA_CELL = r"^\s*[+-]?(\d{1,3}(,\d{3})+(\.\d*)?|[\d.]*\d,\d*)\s*$"
Mask = Any  # pa.ChunkedArray of booleans, null where it is neither
Test = Callable[["pa.Table"], Mask]


class ExpressionError(ValueError):
    """The text is no condition; the message says where and what was expected."""


@dataclass(frozen=True, kw_only=True)
class RowCondition:
    """A condition that was parsed."""

    text: str
    columns: tuple[str, ...]
    test: Test

    def chosen(self, table: pa.Table) -> pa.Table:
        """The rows for which it is true. Raises ``KeyError`` for a column that the table lacks."""
        return table.filter(self.test(table))


def parse_condition(text: str) -> RowCondition:
    """Raises ``ExpressionError`` for what the grammar does not know."""
    if len(text) > MOST_CHARACTERS:
        raise ExpressionError(f"{len(text)} characters, expected at most {MOST_CHARACTERS}")
    return _Parser(text).whole()


class _Parser:
    """One text, read from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._columns: dict[str, None] = {}
        self._kind, self._word = "", ""
        self._next()

    def whole(self) -> RowCondition:
        """All of it."""
        test = self._any()
        if self._kind != "end":
            self._refuse("'and', 'or' or the end")
        return RowCondition(text=self._text, columns=tuple(self._columns), test=test)

    def _next(self) -> None:
        if not self._text[self._at :].strip():
            self._kind, self._word = "end", ""
            return
        found = TOKEN.match(self._text, self._at)
        if found is None:
            self._kind, self._word = "other", self._text[self._at :].strip()[:20]
            self._refuse("a column, a number, 'text' or a comparison")
        self._kind, self._word = str(found.lastgroup), found[str(found.lastgroup)]
        if self._kind == "name" and self._word.lower() in WORDS:
            self._kind, self._word = "word", self._word.lower()
        self._at = found.end()

    def _refuse(self, expected: str) -> NoReturn:
        got = repr(self._word) if self._word else "the end"
        raise ExpressionError(f"{self._text[:200]!r}: got {got}, expected {expected}")

    def _takes(self, *words: str) -> bool:
        if self._kind in ("word", "mark") and self._word in words:
            self._next()
            return True
        return False

    def _any(self) -> Test:
        tests = [self._all()]
        while self._takes("or"):
            tests.append(self._all())
        return _joined(tests, "or_kleene")

    def _all(self) -> Test:
        tests = [self._part()]
        while self._takes("and"):
            tests.append(self._part())
        return _joined(tests, "and_kleene")

    def _part(self) -> Test:
        self._depth += 1
        if self._depth > DEEPEST:
            raise ExpressionError(f"{self._text[:60]!r}: more than {DEEPEST} brackets in brackets")
        if self._takes("not"):
            test = _inverted(self._part())
        elif self._takes("("):
            test = self._any()
            if not self._takes(")"):
                self._refuse("')'")
        else:
            test = self._comparison()
        self._depth -= 1
        return test

    def _column(self) -> str:
        if self._kind not in ("name", "quoted"):
            self._refuse("a column")
        name = self._word.strip("`") if self._kind == "quoted" else self._word
        self._columns[name] = None
        self._next()
        return name

    def _comparison(self) -> Test:
        column = self._column()
        if self._takes("is"):
            negated = self._takes("not")
            if not self._takes("empty"):
                self._refuse("'empty'")
            return _inverted(_emptiness(column)) if negated else _emptiness(column)
        negated = self._takes("not")
        if self._takes("in"):
            test = self._membership(column)
            return _inverted(test) if negated else test
        if negated or self._kind != "mark" or self._word not in COMPARISONS:
            self._refuse("'in'" if negated else f"one of {', '.join(COMPARISONS)}, 'in' or 'is'")
        function = COMPARISONS[self._word]
        self._next()
        if self._kind in ("name", "quoted"):
            return _columns_compared(column, function, self._column())
        return _compared(column, function, self._value())

    def _value(self) -> float | str | bool:
        kind, word = self._kind, self._word
        value: float | str | bool
        if kind == "number":
            value = float(word)
        elif kind == "text":
            value = word[1:-1].replace("''", "'")
        elif kind == "word" and word in ("true", "false"):
            value = word == "true"
        else:
            self._refuse("a number, 'text', true or false")
        self._next()
        return value

    def _membership(self, column: str) -> Test:
        if not self._takes("("):
            self._refuse("'('")
        tests = [_compared(column, "equal", self._value())]
        while self._takes(","):
            tests.append(_compared(column, "equal", self._value()))
        if not self._takes(")"):
            self._refuse("',' or ')'")
        return _joined(tests, "or_kleene")


def _joined(tests: list[Test], function: str) -> Test:
    if len(tests) == 1:
        return tests[0]

    def test(table: pa.Table) -> Mask:
        import pyarrow as pa
        import pyarrow.compute as pc
        from mlratchet.models.schema.cells import one_array

        mask = tests[0](table)
        for one in tests[1:]:  # asked of the rows of which it decides: what it refuses may stand in others
            undecided = one_array(pc.fill_null(pc.invert(mask) if function == "or_kleene" else mask, True))
            rows = table.filter(undecided)
            told = pa.repeat(pa.scalar(function == "or_kleene"), table.num_rows)
            if rows.num_rows:
                told = pc.replace_with_mask(told, undecided, one_array(one(rows)))
            mask = pc.call_function(function, [one_array(mask), told])
        return mask

    return test


def _inverted(test: Test) -> Test:
    def inverted(table: pa.Table) -> Mask:
        import pyarrow.compute as pc

        return pc.invert(test(table))

    return inverted


def _emptiness(column: str) -> Test:
    def test(table: pa.Table) -> Mask:
        import pyarrow.compute as pc

        return pc.is_null(_as_text(table[column]))

    return test


def _compared(column: str, function: str, value: float | str | bool) -> Test:
    def test(table: pa.Table) -> Mask:
        import pyarrow as pa
        import pyarrow.compute as pc

        cells = table[column]
        if isinstance(value, bool):
            cells = cells if pa.types.is_boolean(cells.type) else pc.equal(pc.utf8_lower(_as_text(cells)), "true")
        else:
            cells = _as_numbers(cells, column) if isinstance(value, float) else _as_text(cells)
        return pc.call_function(function, [cells, pa.scalar(value, cells.type)])

    return test


def _columns_compared(left: str, function: str, right: str) -> Test:
    def test(table: pa.Table) -> Mask:
        import pyarrow.compute as pc

        one, other = table[left], table[right]
        if _is_number(one.type) or _is_number(other.type):
            return pc.call_function(function, [_as_numbers(one, left), _as_numbers(other, right)])
        return pc.call_function(function, [_as_text(one), _as_text(other)])

    return test


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _as_numbers(cells: Any, column: str) -> Any:
    """float64; null for a cell that is none. Raises ``DataError`` for numbers with commas: what such a comma is,
    nobody has decided where rows are chosen."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if _is_number(cells.type):
        return pc.cast(cells, pa.float64(), safe=False)
    text = _as_text(cells)
    commas = pc.drop_null(text.filter(pc.match_substring_regex(text, COMMA_CELL)))
    if len(commas):
        raise DataError(
            f"source.select.rows: column {column!r} has numbers with commas, as {commas[0].as_py()[:60]!r}, which are "
            "not compared with a number; deliver it with decimal points and no thousands, or choose by another column"
        )
    good = pc.match_substring_regex(text, NUMBER_CELL)
    return pc.cast(pc.utf8_trim_whitespace(pc.if_else(pc.fill_null(good, False), text, None)), pa.float64())


def _as_text(cells: Any) -> Any:
    """Text; null for an empty cell. A moment begins with its date, as ISO 8601 writes it, and so compares with one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_binary(cells.type) or pa.types.is_large_binary(cells.type):
        return pc.if_else(pc.is_null(cells), None, pa.scalar("bytes"))
    text = cells if pa.types.is_string(cells.type) else pc.cast(cells, pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
