"""What a compiled program costs one device, read from its text (XLA's HLO).

XLA's own totals (`Compiled.cost_analysis`) count the body of a loop once, and a model is a loop
over its layers. Here everything in a loop counts as often as the loop runs. Conventions:

- FLOPs are those of matrix products and convolutions (a multiply-add is two), as everywhere in this
  project, and of custom kernels that state theirs.
- Memory traffic is what an instruction reads from and writes to HBM; what the compiler keeps in
  on-chip memory is free. A slice of an array counts as the slice.
- A collective's bytes are what one device receives if the transfer is a ring: of S bytes over n
  devices all-gather and reduce-scatter take (n-1)/n S, all-reduce twice that (Thakur et al. 2005,
  "Optimization of Collective Communication Operations in MPICH"), all-to-all (n-1)/n S,
  collective-permute S. Between slices a TPU hands these to its host: they have no groups here.
- A transfer that goes on beside a computation is written three times, as its start, inside the
  computation and as its end, all with one `chain_id`: the start counts.
- A loop whose bound is not a constant counts once, and is reported.
"""

import dataclasses
import math
import re
from typing import NamedTuple

import numpy as np

from train.compile import hlo
from train.compile.hlo import Array, Computation, Instruction, Program

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")

# Instructions that move nothing: names for what is there, and the second halves of transfers.
_FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "after-all", "domain"),
    *("partition-id", "replica-id", "opt-barrier", "add-dependency", "get-dimension-size"),
}
_SLICES = {"dynamic-slice", "slice", "gather"}
_ASSUMPTIONS = ("AssumeGatherIndicesInBound",)


@dataclasses.dataclass(frozen=True)
class Collective:
    """A transfer that a step makes `count` times; `bytes` is what one device receives each time."""

    kind: str
    count: int
    bytes: float
    groups: tuple[tuple[int, ...], ...]  # positions in the mesh that talk; () if slices do


class Cost(NamedTuple):
    """What one step costs one device."""

    flops: float
    hbm_bytes: float
    collectives: tuple[Collective, ...]
    unknown_kernels: int  # custom kernels that do not state their FLOPs
    unknown_loops: int  # loops without a constant bound, counted once


def cost(text: str, devices: int, slices: int = 1) -> Cost:
    """The cost of a compiled program for `devices` devices in all, from `Compiled.as_text()`.

    Raises:
      ValueError: the text is not that of a compiled program, or is in a form not known here.
    """
    program, entry = hlo.parse(text)
    walk = _Walk(program, devices, slices)
    unknown = (LookupError, RecursionError, StopIteration, TypeError, ValueError, AttributeError)
    try:
        walk.computation(entry, 1, moves=True)
    except unknown as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"%{walk.at} is in a form not known here ({what})") from error
    return Cost(
        walk.flops,
        walk.hbm_bytes,
        tuple(walk.collectives),
        walk.unknown_kernels,
        walk.unknown_loops,
    )


class _Walk:
    """Adds up a program, each computation as often as it is run."""

    def __init__(self, program: Program, devices: int, slices: int):
        self.program, self.devices, self.slices = program, devices, slices
        self.collectives: list[Collective] = []
        self.flops = self.hbm_bytes = 0.0
        self.unknown_kernels = self.unknown_loops = 0
        self.at = ""  # the instruction under way, for errors

    def computation(self, name: str, times: int, moves: bool, begins: bool = False) -> None:
        """`moves`: its instructions read and write memory, those inside a fusion do not; `begins`:
        it is the start of a transfer."""
        inside = self.program[name]
        for it in inside.values():
            self.at = it.name
            if it.opcode == "while":
                trips = hlo.trips(self.program, inside, it)
                self.unknown_loops += trips is None
                self.computation(
                    hlo.called(it, "body"), times * (1 if trips is None else trips), moves
                )
                continue
            if it.opcode == "conditional":
                self.dearest(it, times, moves)
                continue
            # An async-start has what it runs in a computation of its own, as a call has.
            if it.opcode in ("fusion", "call", "async-start"):
                self.call(inside, it, times, moves)
                continue
            if begins or not _goes_on(it):
                self.instruction(inside, it, times, moves)

    def call(self, inside: Computation, it: Instruction, times: int, moves: bool) -> None:
        fused, begins = it.opcode == "fusion", it.name.startswith("async-collective-start")
        called = hlo.called(it, "calls" if "calls=" in it.text else "to_apply")
        if not self.scattered(inside, it, called, times):
            self.computation(called, times, moves and not fused, begins)
        if fused and moves:
            size = _in_hbm(it.arrays) if begins else _fused(self.program, inside, it)
            self.hbm_bytes += times * size

    def instruction(self, inside: Computation, it: Instruction, times: int, moves: bool) -> None:
        if it.opcode == "convolution":
            self.flops += times * _convolution(it, *(inside[o].arrays[0] for o in it.operands))
        elif it.opcode == "dot":
            self.flops += times * _dot(it, inside[it.operands[0]].arrays[0])
        elif it.opcode == "custom-call" and "tpu_custom_call" in it.text:
            stated = re.search(r"cost_estimate[^}]*?flops\W+(\d+)", it.text)
            self.flops += times * (int(stated[1]) if stated else 0)
            self.unknown_kernels += stated is None
        kind = it.opcode.removesuffix("-start").replace("ragged-", "")
        through_host = re.search(r'_host_transfer_rendezvous="([a-z\-]+)', it.text)
        if kind in KINDS:
            groups = hlo.groups(it.text, self.devices)
            self.collect(kind, _operand_bytes(inside, it), groups, times)
        elif it.opcode == "recv" and through_host:
            kind, slices = through_host[1].rstrip("-"), self.slices
            received = it.arrays[0].bytes * (2 * (slices - 1) / slices if "reduce" in kind else 1)
            self.collectives.append(Collective(kind, times, received, ()))
        if moves:
            self.hbm_bytes += times * _moved(inside, it)

    def dearest(self, it: Instruction, times: int, moves: bool) -> None:
        """Counts the branch with the most FLOPs."""
        named = re.search(r"branch_computations=\{([^}]*)\}", it.text)
        text = named[1] if named else re.sub(r"(true|false)_computation=", "", it.text)
        walks = []
        for branch in re.findall(r"%([\w.\-]+)", text):
            if branch in self.program:
                walk = _Walk(self.program, self.devices, self.slices)
                walk.computation(branch, times, moves)
                walks.append(walk)
        best = max(walks, key=lambda walk: walk.flops)
        self.flops += best.flops
        self.hbm_bytes += best.hbm_bytes
        self.collectives += best.collectives
        self.unknown_kernels += best.unknown_kernels
        self.unknown_loops += best.unknown_loops

    def scattered(self, inside: Computation, it: Instruction, called: str, times: int) -> bool:
        """Counts a reduce-scatter, which a TPU has as a fusion of an all-reduce and a slice."""
        if not called.startswith("all-reduce-scatter"):
            return False
        (reduce,) = (i for i in self.program[called].values() if i.opcode == "all-reduce")
        groups = hlo.groups(reduce.text, self.devices)
        self.collect("reduce-scatter", _operand_bytes(inside, it), groups, times)
        return True

    def collect(
        self, kind: str, size: float, groups: tuple[tuple[int, ...], ...], times: int
    ) -> None:
        n = max(len(group) for group in groups)
        received = {
            "all-gather": size * (n - 1),
            "all-reduce": 2 * size * (n - 1) / n,
            "reduce-scatter": size * (n - 1) / n,
            "all-to-all": size * (n - 1) / n,
            "collective-permute": size,
        }[kind]
        self.collectives.append(Collective(kind, times, received, groups))


def _operand_bytes(inside: Computation, it: Instruction) -> float:
    return sum(sum(a.bytes for a in inside[o].arrays) for o in it.operands)


def _goes_on(it: Instruction) -> bool:
    """Whether this is a part of a transfer that goes on beside a computation."""
    return "chain_id=" in it.text and it.opcode in KINDS


def _moved(inside: Computation, it: Instruction) -> float:
    """Bytes that an instruction, not a fusion, reads from HBM and writes to it."""
    if it.opcode in _FREE or it.opcode.endswith("-done") or _names_only(it):
        return 0.0
    if it.opcode in ("copy-start", "slice-start"):  # source and destination, in either order
        ends = it.arrays[:2]
        return min(end.bytes for end in ends) * sum(end.hbm for end in ends)
    if it.opcode in ("send", "recv"):
        return it.arrays[0].bytes * it.arrays[0].hbm
    if it.opcode.endswith("-start"):  # its type has its operands in it
        return _in_hbm(it.arrays)
    operands = [array for o in it.operands for array in inside[o].arrays]
    if it.opcode in _SLICES:
        part = it.arrays[0]
        return part.bytes * (part.hbm + operands[0].hbm)
    if it.opcode == "dynamic-update-slice":  # in place
        return operands[1].bytes * (operands[1].hbm + operands[0].hbm)
    return _in_hbm(operands) + _in_hbm(it.arrays)


def _names_only(it: Instruction) -> bool:
    """Whether a custom call is a note from the compiler to itself."""
    target = re.search(r'custom_call_target="(\w+)"', it.text)
    return bool(target) and target[1] in ("AllocateBuffer", "ConcatBitcast", *_ASSUMPTIONS)


def _in_hbm(arrays) -> float:
    return sum(array.bytes for array in arrays if array.hbm)


def _fused(program: Program, inside: Computation, it: Instruction) -> float:
    """Bytes that a fusion reads from HBM and writes to it."""
    body = program[hlo.called(it, "calls")]
    read = 0.0
    for place, operand in enumerate(it.operands):
        size = _in_hbm(inside[operand].arrays)
        if size:
            read += _touched(program, body, _parameter(body, place), size)
    (root,) = (i for i in body.values() if i.root)
    results = [body[o] for o in root.operands] if root.opcode == "tuple" else [root]
    written = sum(
        _written(program, body, result) for result, array in zip(results, it.arrays) if array.hbm
    )
    return read + written


def _parameter(body: Computation, place: int) -> str:
    return next(
        i.name for i in body.values() if i.opcode == "parameter" and i.literal == str(place)
    )


def _touched(program: Program, body: Computation, name: str, whole: float) -> float:
    """How much of an operand a fusion reads: slices if it does nothing but slice it."""
    read = 0.0
    for user in body.values():
        if name not in user.operands or _goes_on(user):
            continue
        if user.opcode in _SLICES and user.operands[0] == name:
            read += user.arrays[0].bytes
        elif user.opcode == "bitcast":
            read += _touched(program, body, user.name, whole)
        elif user.opcode == "fusion":
            inner = program[hlo.called(user, "calls")]
            place = user.operands.index(name)
            read += _touched(program, inner, _parameter(inner, place), whole)
        elif not (user.opcode == "dynamic-update-slice" and user.operands[0] == name):
            return whole
    return min(read, whole)


def _written(program: Program, body: Computation, it: Instruction) -> float:
    """How much of a result a fusion writes: the update if it only updates a part."""
    if it.opcode == "parameter" or _goes_on(it):
        return 0.0
    if it.opcode == "bitcast":
        return _written(program, body, body[it.operands[0]])
    if it.opcode == "dynamic-update-slice":
        return body[it.operands[1]].arrays[0].bytes
    if it.opcode == "fusion" and len(it.arrays) == 1:
        inner = program[hlo.called(it, "calls")]
        return _written(program, inner, next(i for i in inner.values() if i.root))
    return sum(array.bytes for array in it.arrays)


def _dot(it: Instruction, lhs: Array) -> float:
    contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", it.text)[1]
    shared = math.prod(lhs.shape[int(d)] for d in contracted.split(",") if d)
    return 2.0 * math.prod(it.arrays[0].shape) * shared


def _convolution(it: Instruction, lhs: Array, rhs: Array) -> float:
    """FLOPs of a convolution, padding and dilation left out: a TPU has matrix products in this form
    with batch axes among the spatial ones, where most of the window falls on padding."""
    left, right, out = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", it.text).groups()
    window = re.search(r"window=\{([^}]*)\}", it.text)
    fields = dict(part.split("=") for part in window[1].split()) if window else {}
    spatial = sorted(label for label in out if label.isdigit())
    flops = 2.0 * rhs.shape[right.index("i")]
    for label in "bf":
        flops *= it.arrays[0].shape[out.index(label)]

    def field(name: str, place: int, otherwise: str) -> list[int]:
        values = fields.get(name, "x".join([otherwise] * len(spatial))).split("x")
        return [int(n) for n in values[place].split("_")]

    for place, label in enumerate(spatial):
        (stride,), (low, _) = field("stride", place, "1"), field("pad", place, "0_0")
        (spread,), (dilation,) = field("lhs_dilate", place, "1"), field("rhs_dilate", place, "1")
        length = (lhs.shape[left.index(label)] - 1) * spread + 1
        starts = np.arange(it.arrays[0].shape[out.index(label)]) * stride - low
        pairs = 0
        for offset in range(rhs.shape[right.index(label)]):
            at = starts + offset * dilation
            pairs += int(np.sum((at >= 0) & (at < length) & (at % spread == 0)))
        flops *= pairs
    return flops
