"""The flags of a budget and of the devices that spend it, the same wherever one is planned."""

from typing import Any

import numpy as np
from absl import flags

from scaling.plan.prices import DEVICES, MFU, Rate, rate
from train.cli import LARGEST, InputError, define_path

# Flags defined here are then those of the entry point, which --help lists.
flags.disclaim_key_flags()


def define_flags() -> None:
    """The flags of `rate`, shared by the entry points that speak of hours and money."""
    flags.DEFINE_string("device", None, f"A device of the price table: {', '.join(DEVICES)}.")
    define_path(
        "throughput", None, "Achieved training FLOP/s of one device, or a record.json with it."
    )
    flags.DEFINE_float("price", None, "Dollars per device-hour.")
    flags.DEFINE_float("mfu", MFU, "Share of the peak reached, where --throughput is not given.")
    flags.DEFINE_integer(
        "devices", 1, "Devices that work side by side.", lower_bound=1, upper_bound=10_000_000
    )


def rate_of(given: Any) -> Rate | None:
    """The rate that the flags ask for."""
    return rate(given.device, given.throughput, given.price, given.mfu, given.devices)


def define_budget_flags() -> None:
    """The flags of `budget_of`."""
    flags.DEFINE_float("flops", None, "The budget in training FLOPs.")
    flags.DEFINE_float("hours", None, "The budget in device-hours.")
    flags.DEFINE_float("days", None, "The budget in days of all --devices together.")
    flags.DEFINE_float("money", None, "The budget in dollars.")


def budget_of(given: Any, rate: Rate | None) -> float | None:
    """FLOPs of the budget that the flags give in one of four ways; None where they give none.

    Raises:
      InputError: for two budgets, one out of range, or one that no rate makes FLOPs of.
    """
    names = ("flops", "hours", "days", "money")
    named = {name: getattr(given, name) for name in names}
    chosen = [name for name, value in named.items() if value is not None]
    if not chosen:
        return None
    if len(chosen) > 1:
        raise InputError(f"--{', --'.join(names)}: {len(chosen)} given; one is the budget")
    (name,) = chosen
    value = flops = named[name]
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"--{name}: {value!r}; a positive number")
    if name != "flops":
        if rate is None:
            raise InputError(f"--{name}: needs --device or --throughput to become FLOPs")
        if name == "money" and rate.price is None:
            raise InputError("--money: no price is known for this device; give --price")
        hours = {"hours": 1, "days": 24 * rate.devices, "money": 1 / (rate.price or 1)}
        flops = value * hours[name] * 3600 * rate.flops
    if not 1 < flops < LARGEST:
        raise InputError(f"--{name}: {value!r} is {flops:.3g} FLOPs; above 1, below {LARGEST:g}")
    return flops
