# ruff: noqa: E501
"""The cost of a program read from its text, against programs whose cost is known."""

import jax
import jax.numpy as jnp
import pytest

from train.compile import cost as hlo_cost
from train.compile import hlo


def text_of(function, *shapes) -> str:
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return jax.jit(function).lower(*arguments).compile().as_text()


def test_products_in_loops_count_as_often_as_the_loops_run():
    def layers(x, w):
        def inner(x, _):
            return jnp.tanh(x @ w), None

        def outer(x, _):
            return jax.lax.scan(inner, x, None, length=3)[0] @ w, None

        return jax.lax.scan(outer, x, None, length=5)[0]

    cost = hlo_cost.cost(text_of(layers, (8, 16), (16, 16)), 1)
    assert cost.flops == 2 * 8 * 16 * 16 * (3 + 1) * 5
    assert cost.unknown_loops == 0
    assert not cost.collectives


def test_a_loop_without_a_constant_bound_counts_once_and_is_reported():
    def until(x, w):
        return jax.lax.while_loop(lambda x: jnp.sum(x) < 9, lambda x: x @ w, x)

    cost = hlo_cost.cost(text_of(until, (8, 16), (16, 16)), 1)
    assert cost.flops == 2 * 8 * 16 * 16
    assert cost.unknown_loops == 1


# What a TPU's compiler writes, cut down: a loop of 4 layers, whose bound stands in its condition;
# a slice of stacked weights and an update of stacked results inside of fusions; a product with a
# batch axis among the spatial ones; and a reduce-scatter as a fusion.
PROGRAM = """
HloModule jit_train, is_scheduled=true

%slice_part (p.0: f32[4,8,128], p.1: s32[]) -> f32[8,128] {
  %p.1 = s32[]{:T(128)} parameter(1)
  %p.0 = f32[4,8,128]{2,1,0:T(8,128)} parameter(0)
  %z = s32[]{:T(128)} constant(0)
  %ds = f32[1,8,128]{2,1,0:T(8,128)} dynamic-slice(%p.0, %p.1, %z, %z), dynamic_slice_sizes={1,8,128}
  ROOT %b = f32[8,128]{1,0:T(8,128)} bitcast(%ds)
}

%update_part (u.0: f32[4,8,128], u.1: f32[8,128], u.2: s32[]) -> f32[4,8,128] {
  %u.2 = s32[]{:T(128)} parameter(2)
  %u.1 = f32[8,128]{1,0:T(8,128)} parameter(1)
  %u.0 = f32[4,8,128]{2,1,0:T(8,128)} parameter(0)
  %z.1 = s32[]{:T(128)} constant(0)
  %row = f32[1,8,128]{2,1,0:T(8,128)} bitcast(%u.1)
  ROOT %dus = f32[4,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%u.0, %row, %u.2, %z.1, %z.1)
}

%all-reduce-scatter (input: f32[8,128]) -> f32[4,128] {
  %input = f32[8,128]{1,0:T(8,128)} parameter(0)
  %ar = f32[8,128]{1,0:T(8,128)} all-reduce(%input), replica_groups={{0,1},{2,3}}, to_apply=%add
  %at = u32[] partition-id()
  ROOT %rest = f32[4,128]{1,0:T(8,128)} dynamic-slice(%ar, %at), dynamic_slice_sizes={4,128}
}

%gather (n.0: f32[4,128]) -> (f32[4,128], f32[8,128]) {
  %n.0 = f32[4,128]{1,0:T(8,128)} parameter(0)
  %part = f32[8,128]{1,0:T(8,128)} all-gather(%n.0), channel_id=9, replica_groups=[2,2]<=[4], frontend_attributes={chain_id="1"}
  ROOT %both = (f32[4,128]{1,0:T(8,128)}, f32[8,128]{1,0:T(8,128)}) tuple(%n.0, %part)
}

%condition (c: (s32[], f32[4,8,128], f32[4,8,128])) -> pred[] {
  %limit = s32[]{:T(128)} constant(4)
  %c = (s32[]{:T(128)}, f32[4,8,128]{2,1,0:T(8,128)}, f32[4,8,128]{2,1,0:T(8,128)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%c), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

%body (t: (s32[], f32[4,8,128], f32[4,8,128])) -> (s32[], f32[4,8,128], f32[4,8,128]) {
  %t = (s32[]{:T(128)}, f32[4,8,128]{2,1,0:T(8,128)}, /*index=2*/f32[4,8,128]{2,1,0:T(8,128)}) parameter(0)
  %i = s32[]{:T(128)S(6)} get-tuple-element(%t), index=0
  %weights = f32[4,8,128]{2,1,0:T(8,128)} get-tuple-element(%t), index=1
  %kept = f32[4,8,128]{2,1,0:T(8,128)} get-tuple-element(%t), index=2
  %one = s32[]{:T(128)S(6)} constant(1)
  %w = f32[8,128]{1,0:T(8,128)S(1)} fusion(%weights, %i), kind=kLoop, calls=%slice_part
  %g = f32[8,128]{1,0:T(8,128)S(1)} all-reduce(%w), replica_groups=mesh['a'=2,'b'=2] {'b'}, to_apply=%add
  %new = f32[4,8,128]{2,1,0:T(8,128)} fusion(%kept, %g, %i), kind=kLoop, calls=%update_part
  %next = s32[]{:T(128)S(6)} add(%i, %one)
  ROOT %out = (s32[]{:T(128)}, f32[4,8,128]{2,1,0:T(8,128)}, f32[4,8,128]{2,1,0:T(8,128)}) tuple(%next, %weights, %new)
}

ENTRY %main (x: f32[4,8,128], y: f32[4,8,128]) -> f32[4,8,8] {
  %x = f32[4,8,128]{2,1,0:T(8,128)} parameter(0)
  %y = f32[4,8,128]{2,1,0:T(8,128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %start = (s32[]{:T(128)}, f32[4,8,128]{2,1,0:T(8,128)}, f32[4,8,128]{2,1,0:T(8,128)}) tuple(%zero, %x, %y)
  %loop = (s32[]{:T(128)}, f32[4,8,128]{2,1,0:T(8,128)}, f32[4,8,128]{2,1,0:T(8,128)}) while(%start), condition=%condition, body=%body
  %first = f32[8,128]{1,0:T(8,128)S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %kernel = f32[8,128]{1,0:S(1)} custom-call(%first), custom_call_target="tpu_custom_call", frontend_attributes={about="{
"of_itself": {}
}"}, metadata={op_name="splash"}
  %stated = f32[8,128]{1,0:S(1)} custom-call(%first), custom_call_target="tpu_custom_call", backend_config={"custom_call_config": {"body": "x", "cost_estimate": {"flops": 1000, "bytes_accessed": 9}}}
  %shard = f32[4,128]{1,0:S(1)} custom-call(), custom_call_target="AllocateBuffer"
  %async-collective-start.1 = (f32[4,128]{1,0:S(1)}, f32[8,128]{1,0:T(8,128)}) fusion(%shard), kind=kCustom, calls=%gather
  %g.0 = f32[4,128]{1,0:S(1)} get-tuple-element(%async-collective-start.1), index=0
  %async-collective-done.1 = (f32[4,128]{1,0:S(1)}, f32[8,128]{1,0:T(8,128)}) fusion(%g.0), kind=kCustom, calls=%gather
  %rs = f32[4,128]{1,0:T(8,128)S(1)} fusion(%first), kind=kCustom, calls=%all-reduce-scatter
  %ag = (f32[4,128]{1,0:S(1)}, f32[8,128]{1,0:S(1)}) all-gather-start(%rs), replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}
  %recv = (f32[8,128]{1,0:T(8,128)}, u32[], token[]) recv(%zero), is_host_transfer=true, frontend_attributes={_xla_host_transfer_rendezvous="all-reduce.7_0"}
  ROOT %qk = f32[4,8,8]{2,1,0:T(8,128)} convolution(%x, %y), window={size=4 stride=3 lhs_dilate=4}, dim_labels=0bf_0oi->0bf
}
"""


def test_a_tpu_program():
    cost = hlo_cost.cost(PROGRAM, 4, slices=2)
    row, whole = 8 * 128 * 4, 4 * 8 * 128 * 4
    # Four products of [8, 128] and [128, 8], which the convolution has as a dilated window.
    # A kernel says that it has 1000 more, another says nothing.
    assert cost.flops == 4 * 2 * 8 * 128 * 8 + 1000
    assert cost.unknown_kernels == 1
    # In the loop, a slice is read and a slice written; then what came by recv and by the
    # asynchronous transfer, and the product.
    assert cost.hbm_bytes == 4 * (row + row) + 2 * row + 2 * whole + 4 * 8 * 8 * 4
    found = [(c.kind, c.count, c.bytes, c.groups) for c in cost.collectives]
    assert found == [
        ("all-reduce", 4, 2 * row / 2, ((0, 1), (2, 3))),
        ("all-gather", 1, row / 2, ((0, 1), (2, 3))),
        ("reduce-scatter", 1, row / 2, ((0, 1), (2, 3))),
        ("all-gather", 1, row / 2, ((0, 2), (1, 3))),
        ("all-reduce", 1, row, ()),
    ]


@pytest.mark.parametrize(
    ("constant", "added", "turns", "unknown"),
    [
        (1, "add(%i, %one)", 4, 0),
        (2, "add(%one, %i)", 2, 0),  # unrolled by two
        (3, "fusion(%i, %one), kind=kLoop, calls=%sum", 2, 0),
        (1, "multiply(%i, %one)", 1, 1),
        (1, "add(%one, %one)", 1, 1),
        (0, "add(%i, %one)", 1, 1),
    ],
)
def test_turns_are_counted_by_what_each_adds(constant, added, turns, unknown):
    fusion = """
%sum (a: s32[], b: s32[]) -> s32[] {
  %a = s32[]{:T(128)} parameter(0)
  %b = s32[]{:T(128)} parameter(1)
  ROOT %c = s32[]{:T(128)} add(%a, %b)
}

%condition ("""
    program = PROGRAM.replace("\n%condition (", fusion)
    program = program.replace("S(6)} constant(1)", f"S(6)}} constant({constant})")
    found = hlo_cost.cost(program.replace("add(%i, %one)", added), 4)
    assert next(c.count for c in found.collectives) == turns
    assert found.unknown_loops == unknown


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ("replica_groups={{0,3},{1,2}}, x", ((0, 3), (1, 2))),
        ("replica_groups={}, x", ((0, 1, 2, 3),)),
        ("source_target_pairs={{0,1},{1,0}}", ((0, 1), (1, 0))),
        ("replica_groups=[2,2]<=[4]", ((0, 1), (2, 3))),
        ("replica_groups=[1,4]<=[4], x", ((0, 1, 2, 3),)),
        ("replica_groups=[2,2]<=[2,2]T(1,0), x", ((0, 2), (1, 3))),
        ("replica_groups=mesh['a'=2,'b'=2] {'a'}", ((0, 2), (1, 3))),
        ("replica_groups=mesh['a'=2,'b'=2] {'a','b'}", ((0, 1, 2, 3),)),
        ("replica_groups=mesh['a'=2,'b'=2], device_ids=([2,2]T(1,0)) {'a'}", ((0, 1), (2, 3))),
        ("replica_groups=mesh['a'=4] {'a':(1)2}", ((0, 2), (1, 3))),
        ("replica_groups=mesh['a'=4] {'a':(2)2}", ((0, 1), (2, 3))),
    ],
)
def test_groups_in_all_their_forms(written, groups):
    assert hlo.groups(written, 4) == groups


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        (PROGRAM, "nothing", "no ENTRY"),
        ("ENTRY %main", "%main", "no ENTRY"),
        ("add(%i, %one)", "add(%i, %one", "a parenthesis is left open"),
        ("%next = s32[]{:T(128)S(6)} add(", "%next = s32[] (", "not an instruction: %next = s32"),
        ("%one = s32[]", "%one = q7[]", "a type not known here: q7"),
        ("get-tuple-element(%c), index=0", "get-tuple-element(%c)", "%loop is in a form not known"),
        ("condition=%condition, ", "", "%loop .*: a while that names no condition"),
        ("replica_groups=mesh['a'=2", "replica_groups=banana['a'=2", "%g .*: replica groups in"),
        ("convolution(%x, %y)", "convolution(%x, %gone)", "%qk .*KeyError: 'gone'"),
        (", dim_labels=0bf_0oi->0bf", "", "%qk is in a form not known here .AttributeError"),
        ("calls=%gather\n", "calls=%main\n", "not known here .RecursionError"),
    ],
)
def test_what_is_not_a_program_is_refused_in_one_line(was, now, says):
    assert was in PROGRAM
    with pytest.raises(ValueError, match=says) as refused:
        hlo_cost.cost(PROGRAM.replace(was, now), 4)
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)


def test_a_program_without_end_is_refused(monkeypatch):
    monkeypatch.setattr(hlo, "_MOST", 1000)
    with pytest.raises(ValueError, match="characters; at most 1,000"):
        hlo.parse(PROGRAM)
