"""Rates and time left, from clocks that are given."""

import math
from types import SimpleNamespace

import pytest

from train import config as configuration
from train import pace, peaks
from train.account import Account
from train.config import RunConfig


class Output:
    """A loss on its way."""

    def __init__(self):
        self.ready = False

    def is_ready(self) -> bool:
        return self.ready


def seconds(train: float, **others: float) -> dict[str, float]:
    return {"train": train, **others}


def made(config: RunConfig, *kinds: str) -> pace.Pace:
    """A pace with 10 tokens and 6 TFLOPs a step."""
    account = Account(
        seed=config.seed,
        config=configuration.to_dict(config),
        config_sha256=configuration.digest(config),
        N={"total": 1},
        D=10.0 * config.steps,
        unit="token",
        C={"forward": 6e12 * config.steps},
        epochs=None,
        data_sha256="",
    )
    used = [SimpleNamespace(device_kind=kind) for kind in kinds]
    return pace.Pace(config, account, {"": 24}, used)


def test_rates_are_of_the_steps_that_are_done_and_of_training_alone(tiny):
    told = made(tiny(steps=100), "TPU v5 lite", "TPU v5 lite")
    told.begin(1, seconds(5.0, compile=30.0))
    outputs = {step: Output() for step in range(2, 6)}
    for step, output in outputs.items():
        told.under_way(step, output)
    assert told.rates(seconds(6.0)) == {}  # none of them is done
    outputs[2].ready = outputs[3].ready = True
    rates = told.rates(seconds(7.0, evaluate=100.0, checkpoint=100.0))
    assert rates == {"tokens_per_second": 10.0, "mfu": pytest.approx(6e12 / (2 * 197e12))}
    assert told.rates(seconds(8.0)) == {}  # nothing more is done
    outputs[4].ready = outputs[5].ready = True
    assert told.rates(seconds(8.0))["tokens_per_second"] == 20.0


def test_no_share_of_a_peak_that_is_not_known(tiny):
    told = made(tiny(steps=100), "cpu")
    told.begin(1, seconds(0.0))
    told.under_way(2, SimpleNamespace(is_ready=lambda: True))
    assert told.rates(seconds(1.0)) == {"tokens_per_second": 10.0}
    assert told.speed(2, seconds(1.0)).mfu is None


def test_time_left_counts_evaluations_and_saves(tiny):
    config = tiny(steps=100, batch_size=4, **{"evaluation.every": 25, "checkpoint.every": 50})
    told = made(config, "cpu")
    assert math.isnan(told.speed(0, seconds(0.0)).seconds_left)
    told.begin(1, seconds(0.0))
    told.under_way(11, SimpleNamespace(is_ready=lambda: True))
    told.rates(seconds(20.0))  # 2 seconds a step
    # 24 examples forward cost as much as two steps of 4 there and back.
    assert told.speed(11, seconds(20.0)).seconds_left == pytest.approx(2 * 89 + 4 * 4)
    spent = seconds(20.0, evaluate=21.0, checkpoint=8.0)  # three evaluations, one save
    assert told.speed(76, spent).seconds_left == pytest.approx(2 * 24 + 7.0 + 8.0)


def test_the_record_has_the_medians():
    lines = [{"step": s, "tokens_per_second": r, "mfu": r / 10} for s, r in enumerate((1, 2, 9))]
    assert pace.typical(lines, "token") == {"throughput": 2, "mfu": 0.2}
    assert pace.typical([{"step": 1, "loss": 1.0}], "token") == {"throughput": None, "mfu": None}


@pytest.mark.parametrize(
    ("kind", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-40GB", 312e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", None),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None),
        ("TPU v5", 459e12),
        ("TPU v5 lite", 197e12),
        ("TPU v4 lite", None),
        ("cpu", None),
    ],
)
def test_peaks_go_by_the_names_that_jax_gives(kind, peak):
    assert peaks.peak(kind) == peak
