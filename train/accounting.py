"""How big a model is and what a pass through it costs: the one place where N and C come from.

N is counted from the real parameter tree and C from the jaxpr of the real forward pass, so every
family is counted in the same way and has no formula of its own. This module imports nothing of
ours: `train` uses it to fill a record, `scaling` to plan one.

C of record ("forward") is three forward passes (one forward, two for the backward pass) of every
matrix product and convolution, in FLOPs (a multiply-add is two). Norms, softmax and lookups are not
counted. The other conventions are reported beside it, see `training_flops`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
from flax.core import meta
from jax.extend import core

GROUPS = ("embedding", "body", "head")
PARTS = ("encoder", "decoder")  # of the body, where a model has them


def count_parameters(
    params: Any, used: Mapping[str, float] = MappingProxyType({})
) -> dict[str, int]:
    """Parameters by group, in total, and those that one unit passes through.

    A leaf belongs to "embedding" or "head" if its path in the tree starts with that word, to "body"
    otherwise. What belongs to "encoder" or "decoder" is counted as such too.

    Args:
      params: a tree of arrays or ShapeDtypeStructs, in boxes with logical axis names or not.
      used: the share that a unit passes through of a leaf with this logical axis, all if it is not
        here: {"experts": k / E} where a router sends a token to k of E experts.

    Returns:
      {"embedding": n, "body": n, "head": n, "total": their sum, "active": of these used}, and
      "encoder" and "decoder", which are parts of the body, if there are such; "active_body" where a
      unit passes through a part of the embedding or the head alone.
    """
    counts: dict[str, int] = dict.fromkeys(GROUPS, 0)
    parts: dict[str, int] = {}
    active = active_body = 0.0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params, is_leaf=_is_box):
        first = str(getattr(path[0], "key", path[0])) if path else ""
        group = next((g for g in ("embedding", "head") if first.startswith(g)), "body")
        size = math.prod(meta.unbox(leaf).shape)
        counts[group] += size
        for part in filter(first.startswith, PARTS):
            parts[part] = parts.get(part, 0) + size
        passed = size * math.prod(used.get(axis, 1) for axis in getattr(leaf, "names", ()))
        active += passed
        active_body += passed if group == "body" else 0
    if round(active - active_body) < counts["embedding"] + counts["head"]:
        parts["active_body"] = round(active_body)
    return counts | {"total": sum(counts.values()), "active": round(active)} | parts


def _is_box(x: Any) -> bool:
    return isinstance(x, meta.AxisMetadata)


def forward_flops(function: Callable, params: Any, *inputs: Any) -> dict[str, int]:
    """FLOPs of `function(params, *inputs)`, from its jaxpr; nothing is compiled or run.

    Returns:
      {"weights": products with a parameter on one side, "attention": products of two activations}.
      An activation is anything that depends on `inputs`. `lax.scan` counts its body times its
      length and `lax.cond` its dearest branch.

    Raises:
      ValueError: a product inside `lax.while_loop`, whose trip count is unknown.
    """
    closed = jax.make_jaxpr(function)(params, *inputs)
    n_params = len(jax.tree.leaves(params))
    n_inputs = len(closed.jaxpr.invars) - n_params
    flops, _ = _walk(closed.jaxpr, [False] * n_params + [True] * n_inputs)
    return {"weights": flops[False], "attention": flops[True]}


def convolves(function: Callable, *inputs: Any) -> bool:
    """Whether a pure function has a convolution in it. Nothing is computed."""

    def inside(jaxpr: core.Jaxpr) -> bool:
        return any(
            eqn.primitive.name == "conv_general_dilated" or any(map(inside, _inner(eqn)))
            for eqn in jaxpr.eqns
        )

    return inside(jax.make_jaxpr(function)(*inputs).jaxpr)


def training_flops(
    parameters: Mapping[str, int], forward: Mapping[str, float], D: float
) -> dict[str, float]:
    """Training FLOPs C for D units under each convention in use.

    Args:
      parameters: from `count_parameters`.
      forward: from `forward_flops`, per unit of D.
      D: units trained on.

    Returns:
      forward: 3 (weights + attention) D, all matrix products; the C of record.
      causal: the same with attention halved, since a causal mask leaves half of it (PaLM, Llama
      reports). weights: 3 weights D, attention not counted. 6nd: 6 N D with all active parameters
      (Hoffmann et al. 2022). 6nd_body: 6 N D without embedding and head (Kaplan et al. 2020).
    """
    weights, attention = forward["weights"], forward["attention"]
    rest = parameters["active"] - parameters["embedding"] - parameters["head"]
    body = parameters.get("active_body", rest)
    return {
        "forward": 3.0 * (weights + attention) * D,
        "causal": 3.0 * (weights + attention / 2) * D,
        "weights": 3.0 * weights * D,
        "6nd": 6.0 * parameters["active"] * D,
        "6nd_body": 6.0 * body * D,
    }


def _walk(jaxpr: core.Jaxpr, active: list[bool]) -> tuple[dict[bool, int], list[bool]]:
    """FLOPs by whether both operands are activations; and which outputs are activations."""
    flops = {False: 0, True: 0}
    is_active = dict(zip(jaxpr.invars, active))

    def look(atom) -> bool:
        return not isinstance(atom, core.Literal) and is_active.get(atom, False)

    for eqn in jaxpr.eqns:
        ins = [look(v) for v in eqn.invars]
        name = eqn.primitive.name
        outs = [any(ins)] * len(eqn.outvars)
        if name == "dot_general":
            flops[all(ins)] += _dot(eqn)
        elif name == "conv_general_dilated":
            flops[all(ins)] += _convolution(eqn)
        elif name == "scan":
            inner, outs = _scan(eqn, ins)
            for kind in flops:
                flops[kind] += inner[kind] * eqn.params["length"]
        elif name == "cond":
            branches = [_walk(b.jaxpr, ins[1:]) for b in eqn.params["branches"]]
            dearest, _ = max(branches, key=lambda b: sum(b[0].values()))
            for kind in flops:
                flops[kind] += dearest[kind]
        else:
            for inner_jaxpr in _inner(eqn):
                # A call passes its operands through; anything else gets the conservative answer.
                same = len(inner_jaxpr.invars) == len(ins)
                inner, inner_outs = _walk(
                    inner_jaxpr, ins if same else [any(ins)] * len(inner_jaxpr.invars)
                )
                if name == "while" and sum(inner.values()):
                    raise ValueError(
                        "a matrix product inside lax.while_loop has no known trip count"
                    )
                for kind in flops:
                    flops[kind] += inner[kind]
                if same and len(inner_outs) == len(outs):
                    outs = inner_outs
        is_active.update(zip(eqn.outvars, outs))
    return flops, [look(v) for v in jaxpr.outvars]


def _scan(eqn, ins: list[bool]) -> tuple[dict[bool, int], list[bool]]:
    """FLOPs of one trip of a scan; a carry that becomes an activation on any trip is one on all."""
    trip = eqn.params["jaxpr"].jaxpr
    # By shape, as the names of scan's parameters differ between versions of JAX: what is scanned
    # over or stacked has an axis more outside, and carries stand before that.
    scanned = sum(a.aval.ndim > b.aval.ndim for a, b in zip(eqn.invars, trip.invars))
    carries = sum(a.aval.ndim == b.aval.ndim for a, b in zip(eqn.outvars, trip.outvars))
    carried = slice(len(ins) - scanned - carries, len(ins) - scanned)
    ins = list(ins)
    while True:
        flops, outs = _walk(trip, ins)
        carry = [a or b for a, b in zip(ins[carried], outs)]
        if carry == ins[carried]:
            return flops, outs
        ins[carried] = carry


def _inner(eqn) -> Iterator[core.Jaxpr]:
    """Jaxprs that a call-like equation (jit, remat, custom derivatives, ...) runs once."""
    for value in eqn.params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def _dot(eqn) -> int:
    (contract, _), (batch, _) = eqn.params["dimension_numbers"]
    a, b = (v.aval.shape for v in eqn.invars)
    shared = math.prod(a[i] for i in contract) * math.prod(a[i] for i in batch)
    return 2 * math.prod(a) * math.prod(b) // shared if shared else 0


def _convolution(eqn) -> int:
    # Each output element sums over the kernel's spatial extent and its input channels (already per
    # group).
    kernel = eqn.invars[1].aval.shape
    out_channels = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // max(out_channels, 1)
