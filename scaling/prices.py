"""What a device does in an hour and what that hour costs: FLOPs, hours and money, one from another.

Peaks and memory are from the makers' data sheets. Prices are approximate public list prices without
commitment, each with its date; they change monthly and differ by region: override with --price.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import flags

from train.cli import InputError, nearest

MFU = 0.4  # share of the peak that a well-tuned transformer reaches: an assumption, not a fact
STATE_BYTES = 16  # a parameter: float32 weight, gradient and the two moments of Adam


@dataclass(frozen=True)
class Device:
    """One accelerator.

    Attributes:
      peak: FLOP/s of dense bfloat16 matrix products (float16 where there is no bfloat16).
      memory: bytes.
      price: dollars an hour, approximate; None where no list price is known.
      source, date: of the price; year and month when it was seen.
    """

    peak: float
    memory: float
    price: float | None
    source: str = ""
    date: str = ""


_GOOGLE = "Google Cloud list price of a chip-hour on demand, US"
_LAMBDA = "Lambda list price of one GPU of an 8-GPU instance on demand"

DEVICES: dict[str, Device] = {
    "v100": Device(125e12, 16e9, None),
    "a100": Device(312e12, 80e9, 2.79, _LAMBDA, "2026-09"),
    "h100": Device(989e12, 80e9, 3.99, _LAMBDA, "2026-09"),
    "h200": Device(989e12, 141e9, None),
    "tpu_v4": Device(275e12, 32e9, 3.22, _GOOGLE, "2025-01"),
    "tpu_v5e": Device(197e12, 16e9, 1.20, _GOOGLE, "2026-01"),
    "tpu_v5p": Device(459e12, 95e9, 4.20, _GOOGLE, "2026-01"),
    "tpu_v6e": Device(918e12, 32e9, None),
}


@dataclass(frozen=True)
class Rate:
    """Throughput and price of the devices at hand.

    Attributes:
      flops: FLOP/s that one device achieves in training.
      devices: how many work side by side.
      price: dollars per device-hour, None if unknown.
      memory: bytes of one device, None if unknown.
      words: where the numbers come from, for people.
    """

    flops: float
    devices: int
    price: float | None
    memory: float | None
    words: str

    def hours(self, flops: float) -> float:
        """Wall time of `flops` in hours, all devices busy."""
        return flops / self.flops / self.devices / 3600

    def dollars(self, flops: float) -> float | None:
        """Cost of `flops`; None where there is no price."""
        return None if self.price is None else self.price * self.devices * self.hours(flops)


def rate(
    device: str | None = None,
    throughput: float | None = None,
    price: float | None = None,
    mfu: float = MFU,
    devices: int = 1,
) -> Rate | None:
    """The rate of a known device, or of a given throughput; None where neither is given.

    Args:
      device: a name in `DEVICES`.
      throughput: achieved FLOP/s of one device; replaces peak times `mfu`.
      price: dollars per device-hour; replaces the table's.

    Raises:
      InputError: for an unknown device or a number that is not positive.
    """
    if device is not None and device not in DEVICES:
        raise InputError(f"--device: {device!r}; {nearest(device, DEVICES)}")
    given = {"throughput": throughput, "price": price, "mfu": mfu, "devices": devices}
    for name, value in given.items():
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"--{name}: {value!r}; a positive number")
    if mfu > 1:
        raise InputError(f"--mfu: {mfu!r}; at most 1")
    if device is None and throughput is None:
        return None
    known = DEVICES[device] if device else Device(0.0, 0.0, None)
    words = [f"{devices} x {device or 'device'}"]
    if throughput is None:
        words.append(f"{known.peak:.3g} FLOP/s peak x {mfu:.0%} reached (assumed)")
    else:
        words.append(f"{throughput:.3g} FLOP/s each, as given")
    if price is not None:
        words.append(f"${price:.2f} per device-hour, as given")
    elif known.price is not None:
        words.append(f"about ${known.price:.2f} per device-hour ({known.source}, {known.date})")
    return Rate(
        throughput if throughput is not None else known.peak * mfu,
        devices,
        price if price is not None else known.price,
        known.memory or None,
        ", ".join(words),
    )


def define_flags() -> None:
    """The flags of `rate`, shared by the entry points that speak of hours and money."""
    flags.DEFINE_string("device", None, f"A device of the price table: {', '.join(DEVICES)}.")
    flags.DEFINE_float("throughput", None, "Achieved training FLOP/s of one device.")
    flags.DEFINE_float("price", None, "Dollars per device-hour.")
    flags.DEFINE_float("mfu", MFU, "Share of the peak reached, where --throughput is not given.")
    flags.DEFINE_integer("devices", 1, "Devices that work side by side.")


def rate_of(given: Any) -> Rate | None:
    """The rate that the flags ask for."""
    return rate(given.device, given.throughput, given.price, given.mfu, given.devices)


def spent(rate: Rate | None, flops: float) -> tuple[str, str]:
    """Wall time and cost of `flops` in words; '' where unknown."""
    if rate is None:
        return "", ""
    hours, dollars = rate.hours(flops), rate.dollars(flops)
    if hours < 1:
        time = f"{60 * hours:.3g} min"
    else:
        time = f"{hours:.3g} h" if hours < 96 else f"{hours / 24:.3g} days"
    return (
        time,
        "" if dollars is None else f"${dollars:,.2f}" if dollars < 100 else f"${dollars:,.0f}",
    )
