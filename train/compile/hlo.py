"""The text of a compiled program (XLA's HLO), as `jax.stages.Compiled.as_text` gives it, parsed.

    %name = type opcode(%operand, ...), attributes

Only what `train.compile.cost` asks for is kept. (JAX has no public way to walk a compiled program,
and the private one gives names and opcodes, but neither shapes nor attributes.)
"""

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

_BITS = {"pred": 8, "token": 0, "opaque": 0} | {
    f"{kind}{bits}": bits for kind in "su" for bits in (1, 2, 4, 8, 16, 32, 64)
}
_BITS |= {"bf16": 16, "f16": 16, "f32": 32, "f64": 64, "c64": 64, "c128": 128}

_MOST = 1 << 28  # characters; a step of 8B parameters on 256 devices has a million
_BEGIN = re.compile(r"\s+(ROOT )?%[\w.\-]+ = ")
# A type has no letters between a space and a parenthesis, so that its end is where these stand.
_HEAD = re.compile(r"(ROOT )?%([\w.\-]+) = (.+?) ([a-z][\w\-]*)\(")
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"


class Array(NamedTuple):
    """An array in a program: its shape, its bytes, and whether it lies in HBM."""

    shape: tuple[int, ...]
    bytes: float
    hbm: bool


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One instruction; `arrays` are those of its result, `text` is what follows its operands."""

    name: str
    opcode: str
    arrays: tuple[Array, ...]
    operands: tuple[str, ...]
    literal: str  # what stands between the parentheses of a constant or parameter
    text: str
    root: bool


Computation = dict[str, Instruction]
Program = dict[str, Computation]


def parse(text: str) -> tuple[Program, str]:
    """Instructions by computation and name, and the name of the entry computation.

    Raises:
      ValueError: this is not the text of a compiled program.
    """
    if len(text) > _MOST:
        raise ValueError(f"a program of {len(text):,} characters; at most {_MOST:,}")
    program: Program = {}
    name, entry, lines = "", "", []
    for line in text.splitlines():
        if line[:1] in ("%", "E") and line.endswith("{"):
            name = line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%")
            entry = name if line.startswith("ENTRY") else entry
            lines = []
        elif line == "}":
            program[name] = {i.name: i for i in map(_instruction, lines)}
        elif _BEGIN.match(line):
            lines.append(line.strip())
        elif lines:  # what a kernel says of itself may have lines of its own
            lines[-1] += line
    if not entry:
        raise ValueError("not the text of a compiled program: it has no ENTRY")
    return program, entry


def _instruction(line: str) -> Instruction:
    head = _HEAD.match(line)
    if head is None:
        raise ValueError(f"not an instruction: {line[:120]}")
    closing = _closing(line, head.end() - 1)
    literal = line[head.end() : closing]
    return Instruction(
        name=head[2],
        opcode=head[4],
        arrays=tuple(_arrays(head[3])),
        operands=tuple(re.findall(r"%([\w.\-]+)", literal)),
        literal=literal,
        text=line[closing + 1 :],
        root=head[1] is not None,
    )


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis at `opening` closes."""
    depth = 0
    for found in re.compile(r"[()]").finditer(text, opening):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.start()
    raise ValueError(f"a parenthesis is left open: {text[:80]}")


def _arrays(text: str) -> Iterator[Array]:
    """The arrays of a type, e.g. `(f32[8,128]{1,0:T(8,128)S(1)}, u32[])`. S(0), or none, is HBM."""
    for kind, dimensions, layout in re.findall(r"\b([a-z]\w*)\[([\d,<=]*)\](\{[^}]*\})?", text):
        shape = tuple(int(d.lstrip("<=")) for d in dimensions.split(",") if d)
        bits = int(kind[1]) if kind.startswith(("f4", "f8")) else _BITS.get(kind)
        if bits is None:
            raise ValueError(f"elements of a type not known here: {kind}")
        space = re.search(r"S\((\d+)\)", layout)
        yield Array(shape, math.prod(shape) * bits / 8, space is None or space[1] == "0")


def called(it: Instruction, attribute: str) -> str:
    """The computation that an instruction names, e.g. as its `body`."""
    found = re.search(rf"\b{attribute}=%?([\w.\-]+)", it.text)
    if found is None:
        raise ValueError(f"a {it.opcode} that names no {attribute}")
    return found[1]


def trips(program: Program, inside: Computation, loop: Instruction) -> int | None:
    """How often a loop runs: stated by the compiler, or where it counts from one constant up to
    another by a third; None otherwise."""
    stated = re.search(r"known_trip_count\D+(\d+)", loop.text)
    if stated:
        return int(stated[1])
    condition = program[called(loop, "condition")]
    test = _root(condition)
    if test.opcode == "fusion":  # of the comparison alone: its operands stand in the same order
        direction = _root(program[called(test, "calls")]).text
    else:
        direction = test.text
    if "direction=LT" not in direction or len(test.operands) != 2:
        return None
    counter, limit = (condition[o] for o in test.operands)
    if limit.opcode != "constant" or counter.opcode != "get-tuple-element":
        return None
    start = inside[loop.operands[0]]
    place = int(re.search(r"index=(\d+)", counter.text)[1])
    if start.opcode != "tuple":
        return None
    first = inside[start.operands[place]]
    while first.opcode in ("copy", "bitcast") and first.operands:
        first = inside[first.operands[0]]
    each = _increment(program, program[called(loop, "body")], place)
    if first.opcode != "constant" or not each or each < 1:
        return None
    return max(0, math.ceil((int(limit.literal) - int(first.literal)) / each))


def _increment(program: Program, body: Computation, place: int) -> int | None:
    """What a turn of a loop adds to the array at this place of its state; None: nothing plain.

    It is 2 where the compiler has unrolled the loop by two.
    """

    def terms(inside: Computation, it: Instruction, given: Sequence[Any]) -> tuple[int, int] | None:
        """The value of an instruction as (times the old one, plus)."""
        operands = [inside[name] for name in it.operands]
        if it.opcode == "constant":
            return 0, int(it.literal)
        if it.opcode == "get-tuple-element" and operands[0].opcode == "parameter":
            return (1, 0) if f"index={place}" in it.text.split(", ") else None
        if it.opcode == "parameter":
            return given[int(it.literal)]
        found = [terms(inside, operand, given) for operand in operands]
        if None in found:
            return None
        if it.opcode in ("copy", "bitcast"):
            return found[0]
        if it.opcode == "fusion":
            of = program[called(it, "calls")]
            return terms(of, _root(of), found)
        return tuple(map(sum, zip(*found))) if it.opcode == "add" else None

    handed_on = _root(body)
    if handed_on.opcode != "tuple":
        return None
    found = terms(body, body[handed_on.operands[place]], ())
    return found[1] if found and found[0] == 1 else None


def _root(computation: Computation) -> Instruction:
    return next(i for i in computation.values() if i.root)


def groups(text: str, devices: int) -> tuple[tuple[int, ...], ...]:
    """The groups of a collective, in any of the forms they are written in."""
    pairs = re.search(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}", text)
    listed = re.search(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}", text)
    for found in (pairs, listed):
        if found:
            groups = re.findall(r"\{([\d,]+)\}", found[1])
            every = (tuple(range(devices)),)
            return tuple(tuple(map(int, g.split(","))) for g in groups) or every
    iota = re.search(rf"replica_groups=\[([\d,]+)\]<={_IOTA}", text)
    if iota:
        ids = _iota(*iota.groups()[1:]).reshape(_numbers(iota[1]))
        return tuple(map(tuple, ids.tolist()))
    mesh = re.search(
        rf"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({_IOTA}\))?\s*\{{([^}}]*)\}}", text
    )
    if mesh is None:
        raise ValueError(f"replica groups in a form not known here: {text[:200]}")
    axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
    sizes = [int(size) for size in axes.values()]
    ids = _iota(mesh[2], mesh[3]) if mesh[2] else np.arange(devices)
    names = re.findall(r"'(\w+)'(?::\((\d+)\)(\d+))?", mesh[4])
    return _along(ids, list(axes), sizes, names)


def _along(
    ids: np.ndarray, axes: list[str], sizes: list[int], names: Sequence[tuple[str, str, str]]
) -> tuple[tuple[int, ...], ...]:
    """Groups that vary along named axes; ('a', 2, 4) is the part of a after its first 2 parts."""
    shape, chosen = [], []
    for axis, size in zip(axes, sizes):
        parts = sorted((int(b), int(n)) for name, b, n in names if name == axis and n)
        whole = any(name == axis and not n for name, _, n in names)
        done = 1
        for before, count in parts or ([(1, size)] if whole else []):
            shape += [before // done, count]
            chosen.append(len(shape) - 1)
            done = before * count
        shape.append(size // done)
    rest = [i for i in range(len(shape)) if i not in chosen]
    width = math.prod(shape[i] for i in chosen)
    return tuple(
        map(tuple, ids.reshape(shape).transpose(rest + chosen).reshape(-1, width).tolist())
    )


def _iota(shape: str, permutation: str | None) -> np.ndarray:
    """The numbers from 0 in a shape, transposed, flat: `[2,4]T(1,0)` is 0 4 1 5 2 6 3 7."""
    ids = np.arange(math.prod(_numbers(shape))).reshape(_numbers(shape))
    return (ids.transpose(_numbers(permutation)) if permutation else ids).ravel()


def _numbers(text: str) -> list[int]:
    return [int(n) for n in text.split(",")]
