"""rename: rename inputs and outputs of the signature as the user asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from converter.analysis.variables import FLUSH
from converter.errors import OptionError
from converter.ir import Program, Signature


def rename(program: Program, names: Mapping[str, str]) -> Program:
    """Replace the names of inputs and outputs that are keys of ``names``.

    Raises OptionError for a key that is neither an input nor an output, or for names that collide.
    """
    if not names:
        return program
    signature = program.signature
    known = (*signature.inputs, *signature.outputs)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise OptionError(
            f"cannot rename {', '.join(unknown)}: the inputs are {', '.join(signature.inputs)}, the "
            f"outputs {', '.join(signature.outputs)}"
        )
    inputs, outputs = (
        tuple(names.get(name, name) for name in side) for side in (signature.inputs, signature.outputs)
    )
    for what, side in (("inputs", inputs), ("outputs", outputs)):
        repeated = sorted({name for name in side if side.count(name) > 1})
        if repeated:
            raise OptionError(
                f"cannot rename: several {what} would be called {', '.join(repeated)}; choose different names"
            )
    renamed = replace(signature, inputs=inputs, outputs=outputs)
    others = (
        _renamed(other, names) if other.key == FLUSH else other
        for other in program.signatures
        if other is not signature
    )
    return replace(program, signatures=(renamed, *others))


def _renamed(signature: Signature, names: Mapping[str, str]) -> Signature:
    """Return the signature that takes the end of a sequence; its names are those of the main one and one more."""
    inputs, outputs = (
        tuple(names.get(name, name) for name in side) for side in (signature.inputs, signature.outputs)
    )
    return replace(signature, inputs=inputs, outputs=outputs)


def renamed(program: Program, names: Mapping[str, str]) -> bool:
    """True if every name is the new one."""
    return not names or set(names.values()) <= {*program.signature.inputs, *program.signature.outputs}
