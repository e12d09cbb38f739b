"""Mutants: a function with one small change each, which a test should notice."""

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

Function = ast.FunctionDef | ast.AsyncFunctionDef

SWAPPED: dict[type[ast.AST], list[type[ast.AST]]] = {
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Eq: [ast.NotEq],
    ast.NotEq: [ast.Eq],
    ast.Is: [ast.IsNot],
    ast.IsNot: [ast.Is],
    ast.In: [ast.NotIn],
    ast.NotIn: [ast.In],
    ast.And: [ast.Or],
    ast.Or: [ast.And],
    ast.Add: [ast.Sub],
    ast.Sub: [ast.Add],
    ast.Mult: [ast.Div],
    ast.Div: [ast.Mult],
    ast.FloorDiv: [ast.Mult],
    ast.Mod: [ast.Mult],
    ast.Pow: [ast.Mult],
    ast.BitOr: [ast.BitAnd],
    ast.BitAnd: [ast.BitOr],
    ast.Continue: [ast.Break],
    ast.Break: [ast.Continue],
    ast.Raise: [ast.Pass],
}


@dataclass(frozen=True)
class Mutant:
    """A change to a function of a module, and the function's code with it."""

    function: str
    line: int
    before: str
    after: str
    code: CodeType

    @property
    def label(self) -> str:
        """What it is known by among those of its file."""
        return f"{self.function}: {self.after}"


@dataclass(frozen=True)
class _Place:
    """Where a node is held, and the statement that it is part of."""

    holder: ast.AST
    field: str
    index: int | None
    around: "_Place | None"

    @property
    def statement(self) -> "_Place":
        return self if self.around is None or isinstance(self.node, ast.stmt) else self.around

    @property
    def node(self) -> ast.AST:
        held = getattr(self.holder, self.field)
        node: ast.AST = held if self.index is None else held[self.index]
        return node

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.holder, self.field, node)
        else:
            getattr(self.holder, self.field)[self.index] = node


def mutants(source: str, filename: str) -> Iterator[Mutant]:
    """Make each mutant of each function: of its body, as what is above runs but once, on import."""
    for node in ast.parse(source).body:
        # Alone, it compiles far sooner than the whole module would, once for each mutant.
        yield from _mutants(ast.Module([node], []), filename)


def _mutants(tree: ast.Module, filename: str) -> Iterator[Mutant]:
    for name, function in _functions(tree):
        original, seen = code_of(tree, filename, name), Counter[str]()
        for place in _places(function):
            old, shown = place.node, place.statement
            before, line = _header(shown.node), getattr(shown.node, "lineno", 0)
            for new in _changes(old):
                place.put(ast.fix_missing_locations(ast.copy_location(new, old)))
                after, code = _header(shown.node), code_of(tree, filename, name)
                place.put(old)
                # A function can't take over code that closes over something else.
                if code.co_freevars == original.co_freevars:
                    seen[after] += 1
                    repeated = f"  # {seen[after]}" * (seen[after] > 1)
                    yield Mutant(name, line, before, after + repeated, code)


def code_of(tree: ast.Module, filename: str, name: str) -> CodeType:
    """Compile a module, without running it, and return the code of one of its functions."""
    found = [compile(tree, filename, "exec", dont_inherit=True)]
    for code in found:
        if code.co_qualname == name:
            return code
        found += [const for const in code.co_consts if isinstance(const, CodeType)]
    raise LookupError(name)


def _functions(holder: ast.Module | ast.ClassDef) -> Iterator[tuple[str, Function]]:
    for node in holder.body:
        if isinstance(node, Function):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", function) for name, function in _functions(node))


def _places(node: ast.AST, around: _Place | None = None) -> Iterator[_Place]:
    """Find what may be changed: all but annotations, what is logged, and the words of f-strings."""
    fields = ["body"] if isinstance(node, Function) else node._fields
    for field in fields:
        held = getattr(node, field)
        for index, child in enumerate(held) if isinstance(held, list) else [(None, held)]:
            if not isinstance(child, ast.AST) or field == "annotation" or _is_idle(child):
                continue
            place = _Place(node, field, index, around)
            yield place
            if not isinstance(child, ast.JoinedStr):
                yield from _places(child, place.statement)


def _is_idle(node: ast.AST) -> bool:
    match node:
        case ast.Expr(ast.Constant()) | ast.Expr(ast.Call(ast.Attribute(ast.Name("log")))):
            return True
    return False


def _header(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0]


def _changes(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.BoolOp(op, values):
            left = _each_dropped(values)
            yield from (rest[0] if len(rest) == 1 else ast.BoolOp(op, rest) for rest in left)
        case ast.UnaryOp(_, operand):
            yield operand
        case ast.Constant():
            yield from _other_constants(node.value)
        case ast.JoinedStr():
            yield ast.Constant("XX")
        case ast.Call():
            yield from _other_calls(node)
        case ast.IfExp(_, body, orelse):
            yield from (body, orelse)
        case ast.Tuple(elts, ast.Load()) | ast.List(elts, ast.Load()) | ast.Set(elts):
            yield from (_copy(node, elts=rest) for rest in _each_dropped(elts))
        case ast.Dict(keys, values):
            pairs = _each_dropped(list(zip(keys, values, strict=True)))
            yield from (ast.Dict([k for k, _ in rest], [v for _, v in rest]) for rest in pairs)
        case ast.If() | ast.While() if not isinstance(node.test, ast.Compare | ast.BoolOp):
            yield _copy(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.With(_, body):
            yield ast.If(ast.Constant(True), body, [])
        case ast.Return(value) if value is not None and ast.unparse(value) != "None":
            yield ast.Return(None)
        case ast.Expr() | ast.AugAssign() | ast.Assign([ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case _:
            yield from (new() for new in SWAPPED.get(type(node), []))


def _each_dropped(items: list[Any]) -> Iterator[list[Any]]:
    yield from (items[:index] + items[index + 1 :] for index in range(len(items)))


def _copy(node: ast.AST, **changes: object) -> ast.AST:
    fields = {name: getattr(node, name) for name in node._fields}
    return type(node)(**fields | changes)


def _other_constants(value: object) -> Iterator[ast.AST]:
    match value:
        case bool():
            yield ast.Constant(not value)
        case int() | float():
            yield ast.Constant(value + 1)
        case str():
            yield ast.Constant(value + "XX")


def _other_calls(call: ast.Call) -> Iterator[ast.AST]:
    """Lose an argument, or a method's call."""
    for index, argument in enumerate(call.args):
        if not isinstance(argument, ast.Starred) and ast.unparse(argument) != "None":
            args = [*call.args[:index], ast.Constant(None), *call.args[index + 1 :]]
            yield _copy(call, args=args)
    yield from (_copy(call, keywords=rest) for rest in _each_dropped(call.keywords))
    if isinstance(call.func, ast.Attribute):
        yield call.func.value
