"""Which inputs of a program are indices into a table, and how many rows the table has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from converter.ir import Op, Program, TfliteOp, Trait, Value, as_tflite, attributes, has


def index_bounds(program: Program) -> dict[str, int]:
    """Return for each input of ``program`` that is an index the least number of rows of a table that it reaches.

    Values are followed through ops that keep, move or choose elements (Keras chooses between an index and one that
    counts from the end), casts and clips. Indices that are computed in another way have no bound here.
    """
    signature, main = program.signature, program.main
    names = dict(zip(main.inputs, signature.inputs, strict=True))
    sources: dict[Value, frozenset[Value]] = {value: frozenset({value}) for value in main.inputs}
    bounds: dict[Value, int] = {}
    for op in main.ops:
        if not isinstance(op, TfliteOp):
            continue
        for value, rows in _indices(op):
            for source in sources.get(value, ()):
                bounds[source] = min(rows, bounds.get(source, rows))
        followed = _followed(op, sources)
        if followed:
            sources.update(dict.fromkeys(op.results, followed))
    return {names[value]: rows for value, rows in bounds.items()}


def _indices(op: Op) -> Iterable[tuple[Value, int]]:
    """Yield each operand of ``op`` that holds indices, with the number of rows that it may index."""
    if not isinstance(op, TfliteOp) or len(op.operands) < 2:
        return
    if op.builtin == "GATHER":
        table, indices = op.operand(0), op.operand(1)
        shape = table.type.shape
        rows = shape[attributes.axis(op) % len(shape)] if shape else None
    elif op.builtin == "EMBEDDING_LOOKUP":
        indices, table = op.operand(0), op.operand(1)
        rows = table.type.shape[0] if table.type.shape else None
    else:
        return
    if rows:
        yield indices, rows


def _followed(op: TfliteOp, sources: Mapping[Value, frozenset[Value]]) -> frozenset[Value]:
    """Return the inputs whose elements the results of ``op`` hold."""
    keeps = has(op, Trait.RESHAPES | Trait.REPEATS | Trait.MOVES)
    is_choice = as_tflite(op, "SELECT", "SELECT_V2") is not None
    if not keeps and not is_choice and as_tflite(op, "CAST", "MAXIMUM", "MINIMUM") is None:
        return frozenset()
    held = op.operands[1:] if is_choice else op.operands
    return frozenset().union(*(sources.get(value, frozenset()) for value in held if value is not None))
