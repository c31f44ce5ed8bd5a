# ruff: noqa: E501
"""Runs compiled for TPUs that are not here. Those marked slow take a minute or more each."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from importlib import metadata

import jax
import pytest
from jax.experimental import topologies

from configs import gpt, gpt_large, moe
from tests.conftest import ROOT
from train import before, step
from train import config as configuration
from train.cli import InputError
from train.compile import ahead, topology
from train.compile.show import show

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs libtpu: pip install 'jax[tpu]'"
)
GiB = 2**30


@functools.cache
def compiled(name: str, slices: int = 1, **changes) -> ahead.Report:
    """The report on a run; "model__width=64" changes a field."""
    return ahead.compile_step(resolved(**changes), name, slices)


def resolved(**changes) -> configuration.RunConfig:
    config = (moe if "model__experts" in changes else gpt).recipe(64, 1e6)
    config.update_from_flattened_dict({k.replace("__", "."): v for k, v in changes.items()})
    config.evaluation.batch_size = config.batch_size
    config.model.dtype = "bfloat16"
    return configuration.resolve(config.to_dict())


@pytest.mark.parametrize(
    ("name", "slices", "says"),
    [
        ("v9:2x2", 1, "--topology: 'v9:2x2'; .*allowed: tpu7x, v5e, v5p, v6e"),
        ("v5e-8", 1, "did you mean 'v5e'"),
        ("v5e:8", 1, "KIND:AxB"),
        ("v5e:2x2", 0, "--slices: 0; at least 1"),
        pytest.param("v5e:0x2", 1, "--topology: 'v5e:0x2'; ", marks=needs_libtpu),
    ],
)
def test_a_topology_that_is_none_is_one_clear_line(name, slices, says):
    with pytest.raises(InputError, match=says):
        topology.devices(name, slices)


def test_without_libtpu_it_says_what_to_install(monkeypatch):
    def missing(**_):
        raise RuntimeError("Unable to find libtpu")

    monkeypatch.setattr(topologies, "get_topology_desc", missing)
    with pytest.raises(InputError, match=r"libtpu cannot be loaded .*pip install 'jax\[tpu\]==0"):
        topology.devices("v5e:2x2")


@needs_libtpu
def test_devices_of_slices():
    before = dict(os.environ)
    assert len(topology.devices("v5e:1x1")) == 1
    assert len(topology.devices("v5p:2x2x1")) == 4
    two = topology.devices("v5e:2x4", 2)
    assert sorted(device.slice_index for device in two) == [0] * 8 + [1] * 8
    assert dict(os.environ) == before  # workers that are started next may be on a TPU


def test_examples_need_no_data(tiny):
    config = tiny()
    ours, real = ahead.example_of(config), before.open_data(config).eval_batch(0, 1)
    assert {k: (v.shape, v.dtype) for k, v in ours.items()} == {
        k: (v.shape, v.dtype) for k, v in real.items()
    }
    long = tiny(**{"data.source": "folder:/nowhere", "data.sequence_length": 1 << 17})
    assert ahead.example_of(long)["tokens"].shape == (1, 1 << 17)


@pytest.mark.parametrize(
    ("says", "needs", "has"),
    [
        ("the total memory required for HLO temporaries (76.05G) exceeds available HBM (15.75G).", 76.05, 15.75),
        ("Ran out of memory in memory space hbm. Used 16.29G of 15.75G hbm. Exceeded", 16.29, 15.75),
        ("TPU TensorCore Hbm usage: 34.82G, SparseCore Hbm usage 174.10G, exceeding available bytes: 95.74G", 34.82, 95.74),
    ],
)  # fmt: skip
def test_what_the_compiler_says_of_memory(says, needs, has):
    memory = ahead._refused(jax.errors.JaxRuntimeError(f"RESOURCE_EXHAUSTED: {says}"))
    assert (memory.total / GiB, memory.available / GiB) == pytest.approx((needs, has))
    assert memory.arguments is None


def test_a_program_that_cannot_be_read_still_fits_or_does_not(capsys):
    memory = ahead.Memory(8 * GiB, 16 * GiB, *[2.0 * GiB] * 4)
    report = ahead.Report("v5e:1x1", 1, 1, {"data": 1}, 9, memory, None, 1.0, "%x is odd")
    show(report)
    first, verdict, why = capsys.readouterr().out.splitlines()
    assert first == "v5e:1x1: 1 device, mesh of one; N 9; compiled in 1 s"
    assert verdict.startswith("fits: 8.00 of 16.00 GiB of HBM; what a step costs is not known")
    assert why == "%x is odd"


def test_an_error_about_another_thing_is_not_about_memory():
    with pytest.raises(jax.errors.JaxRuntimeError, match="mosaic"):
        ahead._refused(jax.errors.JaxRuntimeError("INTERNAL: mosaic failed"))


@needs_libtpu
@pytest.mark.slow
def test_a_small_step_costs_what_can_be_counted_by_hand():
    # 64 wide, 2 layers: no kernel, all products are in the program.
    report = compiled("v5e:2x2", batch_size=4)
    config, cost = resolved(batch_size=4), report.cost
    assert report.devices == 4
    assert report.memory.fits
    assert report.memory.total < 0.1 * GiB
    # Parameters and both moments are float32; tiles make the compiler's arrays a bit larger.
    assert 12 * report.parameters < report.memory.arguments < 2 * 12 * report.parameters
    # Each gradient is reduced over four devices, in bfloat16 or float32; the tied embedding's, which
    # has two parts, perhaps twice.
    ((kind, axes, network, _, received),) = [
        (t.kind, t.axes, t.network, t.count, t.bytes) for t in cost.traffic
    ]
    assert (kind, axes, network) == ("all-reduce", "data", "ici")
    ring = 2 * 3 / 4 * report.parameters
    assert 2 * ring < received < 4 * ring * 1.3
    # Blocks are computed again in the backward pass: four passes of them, three of the rest. Half
    # of attention is masked, which the program computes all the same.
    assert cost.unknown_kernels == cost.unknown_loops == 0
    assert 1 < cost.flops / cost.model_flops < 5 / 3
    assert cost.mfu == pytest.approx(cost.model_flops / 197e12 / cost.seconds["step"])
    assert json.dumps(report.to_dict())
    # A compile for a TPU leaves nothing behind that a run here would meet.
    assert step.compile_for(config, ahead.example_of(config)).mesh.devices.flat[0].platform == "cpu"


SMALL = {
    "model__width": 512,
    "model__layers": 4,
    "model__heads": 8,
    "model__kv_heads": 8,
    "model__hidden": 2048,
    "model__vocab_size": 8192,
    "data__sequence_length": 512,
    "batch_size": 16,
    "mesh__data": 1,
}


def received(report: ahead.Report) -> dict[str, tuple[int, float]]:
    """Count and megabytes a step by kind and axes, those of at least 1% of all bytes."""
    least = sum(t.bytes for t in report.cost.traffic) / 100
    return {
        f"{t.kind} {t.axes}": (t.count, round(t.bytes / 1e6, 2))
        for t in report.cost.traffic
        if t.bytes >= least
    }


# What a step may send. An entry that is not here, or a larger one, is a regression of the sharding
# unless it can be explained; a smaller one is a find. By hand, in MB of 10^6 bytes; a layer has
# 3,145,728 weights (perceptron: two matrices of 1,048,576; attention: four of 262,144), the tied
# embedding 4,194,304.
#
# fsdp=8: a device receives 7/8 of what is gathered or scattered.
#   all-gather: 4 layers in bfloat16, forward and backward, 44.04; the embedding in float32, 14.68;
#   as the head in bfloat16, 7.34. 2 x 24 matrices and 2.
#   reduce-scatter and all-reduce: gradients of layers in bfloat16, but for one matrix of attention
#   in each, 20.19; of the embedding, 14.68 + 7.34. The matrix left out is reduced whole and then
#   sliced, which receives twice what a scatter would: 3.67; gains of norms: .04.
# data=2 fsdp=2 tensor=2: a device has half of each matrix after gathering the quarter it lacks, and
# 2,048 tokens, whose activations are 2.10 in bfloat16; over two devices an all-reduce of S bytes
# receives S.
#   all-gather: layers twice, 12.58; embedding 4.19; head 2.10.
#   all-reduce along tensor: 5 a layer (2 forward, of which the backward pass computes the first
#   again, and 2 backward) and the head's input, 21 times 2.10; the embedding in float32, 4.19; and
#   a few numbers a token for the loss, .02 in three.
#   reduce-scatter along fsdp, S/2: gradients of layers but for one matrix of attention 5.77 (that one
#   is reduced whole: all-reduce, 1.05), embedding 4.19, head 2.10.
#   all-reduce along data, S: the halves of halves that a device keeps, in bfloat16, 8.39.
#
# data=2 expert=8, two rows a device: a layer has 8 experts of two matrices of 524,288.
#   all-to-all: 8 experts x 256 slots x 2 rows in bfloat16 are 4.19, of which 7/8 come from elsewhere;
#   there and back, forward, computed again and backward, 6 times 4 layers.
#   all-reduce along data and expert, 15/8 S: attention in bfloat16 15.73, embedding 31.46, head 15.73,
#   routers and norms .16. Along data, S: gradients of a device's own experts in bfloat16, 8.39.
#
# stage=4 with 8 microbatches of two rows: 11 ticks, onward and back, forward and backward, 1.05 each.
#   all-reduce along stage, 3/2 S: embedding 25.17 and head 12.58, norms less than .01.
GOLDEN = {
    "fsdp": (
        "v5e:2x4",
        {"mesh__fsdp": 8},
        {
            "all-gather fsdp": (50, 66.06),
            "reduce-scatter fsdp": (6, 42.21),
            "all-reduce fsdp": (10, 3.71),
        },
    ),
    "mixed": (
        "v5e:2x4",
        {"mesh__data": 2, "mesh__fsdp": 2, "mesh__tensor": 2},
        {
            "all-reduce tensor": (25, 48.26),
            "all-gather fsdp": (50, 18.87),
            "reduce-scatter fsdp": (6, 12.06),
            "all-reduce data": (2, 8.4),
            "all-reduce fsdp": (8, 1.07),
        },
    ),
    "experts": (
        "v5e:4x4",
        {
            "mesh__data": 2,
            "mesh__expert": 8,
            "model__experts": 8,
            "model__hidden": 1024,
            "batch_size": 32,
        },
        {
            "all-to-all expert": (24, 88.08),
            "all-reduce data x expert": (11, 63.08),
            "all-reduce data": (4, 8.39),
        },
    ),
    "stages": (
        "v5e:2x2",
        {"mesh__stage": 4, "microbatches": 8},
        {"collective-permute stage": (44, 46.14), "all-reduce stage": (3, 37.76)},
    ),
}


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("case", GOLDEN)
def test_collectives_of_a_step_are_those_of_the_golden_table(case):
    if metadata.version("libtpu") != "0.0.42.1":
        pytest.skip("the table is that of libtpu 0.0.42.1; another compiler has its own")
    where, changes, expected = GOLDEN[case]
    found = received(compiled(where, **SMALL | changes))
    assert set(found) == set(expected)
    for kind, (count, megabytes) in expected.items():
        assert found[kind] == (count, pytest.approx(megabytes, rel=0.01)), kind


@needs_libtpu
@pytest.mark.slow
def test_fsdp_gathers_parameters_and_not_activations():
    report = compiled("v5e:2x4", **SMALL | {"mesh__fsdp": 8})
    sent = {t.kind: t.bytes for t in report.cost.traffic}
    # At most: each parameter three times as float32, each gradient reduced as float32.
    assert sent["all-gather"] < 3 * 4 * report.parameters
    assert sent["reduce-scatter"] + sent["all-reduce"] < 2 * 4 * report.parameters
    # An eighth of the state, of the work, and no more than the whole of the parameters in use.
    assert report.memory.arguments < 12 * report.parameters / 8 * 1.3
    assert report.cost.unknown_loops == 0
    assert report.cost.flops > 0.9 * report.cost.model_flops


@needs_libtpu
@pytest.mark.slow
def test_slices_exchange_gradients_over_the_slow_network():
    changes = SMALL | {"mesh__slice": 2, "mesh__fsdp": 4}
    report = compiled("v5e:2x2", 2, **changes)
    assert report.devices == 8
    between = [t for t in report.cost.traffic if t.network == "dcn"]
    assert {t.axes for t in between} == {"slice"}
    # Of each gradient a device exchanges the quarter that it keeps, in bfloat16 or float32.
    assert report.parameters / 4 * 2 * 0.9 < sum(t.bytes for t in between)
    assert sum(t.bytes for t in between) < report.parameters / 4 * 4 * 1.1
    assert report.cost.seconds["dcn"] > 0
    with pytest.raises(InputError, match=r"config\.mesh\.slice"):
        ahead.compile_step(resolved(**SMALL | {"mesh__fsdp": 8}), "v5e:2x2", 2)


@needs_libtpu
@pytest.mark.slow
def test_ring_attention_over_131072_tokens():
    changes = SMALL | {"batch_size": 1, "data__sequence_length": 1 << 17, "mesh__context": 16}
    report = compiled("v5e:4x4", **changes)
    assert report.memory.fits
    (passed,) = (t for t in report.cost.traffic if t.kind == "collective-permute")
    assert passed.axes == "context"
    # Keys and values in bfloat16 go round forward, computed again and backward; in the backward pass
    # their gradients go with them in float32. The last passes bring home what nobody needs there.
    of_one = 2 * 2 * (1 << 17) / 16 * 512
    assert 4 * 15 * 5 * of_one < passed.bytes < 4 * 16 * 5.1 * of_one
    # Scores stay in fast memory: written out, they alone would take ten times as long as products.
    assert report.cost.seconds["hbm"] < report.cost.seconds["compute"]


# Models of which one would want to know; the largest is Llama 3's. HBM by hand: 12 bytes a parameter
# over all devices.
MODELS = {
    "124M": ("v5e:1x1", {"width": 768, "layers": 12, "heads": 12, "hidden": 3072}, 1024, 8, {}),
    "1.3B": ("v5e:2x4", {"width": 2048, "layers": 24, "heads": 16, "hidden": 8192}, 2048, 16, {"mesh__fsdp": 8}),
    "8B": ("v5e:16x16", {"width": 4096, "layers": 32, "heads": 32, "kv_heads": 8, "hidden": 14336, "activation": "swiglu", "vocab_size": 128256, "tied": False}, 4096, 256, {"mesh__fsdp": 64, "mesh__tensor": 4}),
}  # fmt: skip


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_fit(name):
    where, model, length, batch, mesh = MODELS[name]
    model = {"kv_heads": model["heads"], "vocab_size": 50304} | model
    fields = {f"model__{field}": value for field, value in model.items()}
    fields |= {"data__sequence_length": length, "batch_size": batch, "mesh__data": 1} | mesh
    report = compiled(where, **fields)
    assert report.memory.fits
    state = 12 * report.parameters / report.devices
    assert state < report.memory.arguments < state * 1.2
    assert report.cost.unknown_loops == 0
    assert 0.05 < report.cost.mfu <= 1


@needs_libtpu
@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "where", "changes"),
    [
        ("124e6", "v5e:1x1", {"accumulate": 8}),
        ("1.3e9", "v5e:2x4", {"accumulate": 8}),
        ("8e9", "v5e:16x16", {"evaluation": {"every": 0, "batch_size": 256}}),
    ],
)
def test_the_recipe_of_real_size_fits(size, where, changes):
    config = gpt_large.get_config(f"size={size}").to_dict() | changes
    report = ahead.compile_step(configuration.resolve(config), where)
    assert report.memory.fits
    assert report.parameters == pytest.approx(float(size), rel=0.15)
    assert report.cost.unknown_loops == 0


@needs_libtpu
@pytest.mark.slow
def test_the_command():
    def command(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "train.compile", "--config=configs/gpt.py", *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=600,
        )

    # Logits of 2^16 windows of 512 tokens do not fit 16 GiB.
    much = ["--config.batch_size=65536", "--config.data.sequence_length=512"]
    refused = command("--topology=v5e:1x1", *much, "--config.evaluation.batch_size=1")
    assert refused.returncode == 1
    assert "does not fit" in refused.stdout
    assert "which has 15.75" in refused.stdout
    wrong = command("--topology=v5f:1x1")
    assert wrong.returncode == 2
    assert wrong.stderr.strip().startswith("error: --topology: 'v5f:1x1'")
    assert "Traceback" not in wrong.stderr
