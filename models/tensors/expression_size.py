"""How much there is to compute in an expression over sizes: `2**10**10` is short, and its value fills a memory.

torch evaluates what an archive says of its sizes, and multiplies it out. Counted on the tree, before anything is: how
many terms there are when it is multiplied out, and how many bits its largest number has.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

TERMS, BITS = 10_000, 4_096
HIGHEST = 64  # power, and places of a shift
OF_A_SIZE = 64  # bits
ADDED = {"Add"}
MULTIPLIED = {"Mul"}
RAISED = {"Pow", "PowByNatural", "FloatPow"}
SHIFTED = {"LShift"}
NUMBERS = {"Integer", "Float", "Rational"}


@dataclass(frozen=True)
class _Size:
    terms: float
    bits: float


class _TooMuchError(Exception):
    pass


def is_small(tree: ast.AST) -> bool:
    """Whether the expression is evaluated and multiplied out in no time."""
    try:
        size = _size(tree)
    except (_TooMuchError, RecursionError):
        return False
    return size.terms <= TERMS and size.bits <= BITS


def _size(node: ast.AST) -> _Size:
    if isinstance(node, ast.Constant):
        return _Size(1, _bits_of(node.value))
    if isinstance(node, ast.BinOp):
        return _of_operator(type(node.op), node.left, node.right)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return _of_call(node.func.id, node.args)
    return _largest([_size(child) for child in ast.iter_child_nodes(node)])


def _bits_of(value: object) -> float:
    """Of a number, or of a text that becomes one."""
    if isinstance(value, int):
        return value.bit_length()
    if isinstance(value, float):
        return OF_A_SIZE
    return max(OF_A_SIZE, 4 * len(value)) if isinstance(value, str) else 1


def _of_operator(kind: type[ast.operator], left: ast.expr, right: ast.expr) -> _Size:
    if kind is ast.Pow:
        return _raised(left, right)
    if kind is ast.LShift:
        return _shifted(left, right)
    sizes = [_size(left), _size(right)]
    if kind in (ast.Add, ast.Sub):
        return _sum(sizes)
    return _product(sizes) if kind in (ast.Mult, ast.Div, ast.FloorDiv) else _largest(sizes)


def _of_call(name: str, arguments: Sequence[ast.expr]) -> _Size:
    if name in RAISED | SHIFTED and len(arguments) == 2:
        return (_raised if name in RAISED else _shifted)(*arguments)
    sizes = [_size(argument) for argument in arguments]
    if name in ADDED:
        return _sum(sizes)
    return _product(sizes) if name in MULTIPLIED else _largest(sizes)


def _raised(base: ast.expr, exponent: ast.expr) -> _Size:
    size, power = _size(base), max(1.0, _number(exponent))
    return _checked(_Size(size.terms**power if size.terms > 1 else 1, size.bits * power))


def _shifted(base: ast.expr, places: ast.expr) -> _Size:
    size = _size(base)
    return _checked(_Size(size.terms, size.bits + _number(places)))


def _number(node: ast.expr) -> float:
    """The exponent of a power, which has to be written out, without its sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return _number(node.operand)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in NUMBERS and node.args:
        return _number(node.args[0])  # of a rational: its numerator, which is no less where the denominator is whole
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return _number(node.left)
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError as error:
            raise _TooMuchError from error
    if isinstance(value, int | float) and abs(value) <= HIGHEST:
        return abs(value)
    raise _TooMuchError


def _sum(sizes: Sequence[_Size]) -> _Size:
    bits = max((size.bits for size in sizes), default=0) + len(sizes)
    return _checked(_Size(sum(size.terms for size in sizes), bits))


def _product(sizes: Sequence[_Size]) -> _Size:
    terms, bits = 1.0, 0.0
    for size in sizes:
        terms, bits = terms * size.terms, bits + size.bits
        _checked(_Size(terms, bits))
    return _Size(terms, bits)


def _largest(sizes: Sequence[_Size]) -> _Size:
    return _Size(max((size.terms for size in sizes), default=1), max((size.bits for size in sizes), default=OF_A_SIZE))


def _checked(size: _Size) -> _Size:
    if size.terms > TERMS or size.bits > BITS:
        raise _TooMuchError
    return size
