"""What a device does in an hour and what that hour costs: FLOPs, hours and money, one from another.

Peaks and memory are from the makers' data sheets. Prices are approximate public list prices without
commitment, each with its date; they change monthly and differ by region: override with --price.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaling.runs import numbers
from train.cli import InputError, nearest
from train.peaks import PEAKS

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
    "v100": Device(PEAKS["v100"], 16e9, None),
    "a100": Device(PEAKS["a100"], 80e9, 2.79, _LAMBDA, "2026-09"),
    "h100": Device(PEAKS["h100"], 80e9, 3.99, _LAMBDA, "2026-09"),
    "h200": Device(PEAKS["h200"], 141e9, None),
    "tpu_v4": Device(PEAKS["tpu_v4"], 32e9, 3.22, _GOOGLE, "2025-01"),
    "tpu_v5e": Device(PEAKS["tpu_v5e"], 16e9, 1.20, _GOOGLE, "2026-01"),
    "tpu_v5p": Device(PEAKS["tpu_v5p"], 95e9, 4.20, _GOOGLE, "2026-01"),
    "tpu_v6e": Device(PEAKS["tpu_v6e"], 32e9, None),
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
    throughput: float | str | None = None,
    price: float | None = None,
    mfu: float = MFU,
    devices: int = 1,
) -> Rate | None:
    """The rate of a known device, or of a given throughput; None where neither is given.

    Args:
      device: a name in `DEVICES`.
      throughput: achieved FLOP/s of one device, or the path of the record.json of a run that
        measured it; replaces peak times `mfu`.
      price: dollars per device-hour; replaces the table's.

    Raises:
      InputError: for an unknown device or a number that is not positive.
    """
    if device is not None and device not in DEVICES:
        raise InputError(f"--device: {device!r}; {nearest(device, DEVICES)}")
    source = "as given"
    if isinstance(throughput, str):
        throughput, source = _throughput(throughput)
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
        words.append(f"{throughput:.3g} FLOP/s each, {source}")
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


def _throughput(given: str) -> tuple[float, str]:
    """FLOP/s of one device, given as a number or measured by a run; and which of the two."""
    from train import record

    if not given.endswith(".json"):
        try:
            return float(given), "as given"
        except ValueError:
            raise InputError(
                f"--throughput: {given!r}; FLOP/s, or the record.json of a run"
            ) from None
    found = record.load(Path(given))
    seconds, flops = found.seconds.get("train"), found.C.get("forward")
    devices = found.device.get("devices", 1)
    measured = (seconds, flops, devices)
    if not all(isinstance(n, int | float) and np.isfinite(n) and n > 0 for n in measured):
        raise InputError(f"--throughput: {given}: has no seconds.train, C.forward or devices")
    return flops / seconds / devices, f"measured by {found.run}"


def spent(rate: Rate | None, flops: float) -> tuple[str, str]:
    """Wall time and cost of `flops` in words; '' where unknown."""
    if rate is None:
        return "", ""
    cost = rate.dollars(flops)
    return numbers.estimate(3600 * rate.hours(flops)), "" if cost is None else numbers.dollars(cost)
