"""Numbers in words: what a terminal and a page say of sizes, losses, times and money."""

import math

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NONE = "–"


def count(value: float) -> str:
    """Three digits, with K, M, B or T where that is shorter than a power of ten: 1.23M."""
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if 0.9995 * scale <= abs(value) < 9995e12:
            return f"{value / scale:.3g}{letter}"
    return f"{value:.3g}"


def plain(value: float) -> str:
    """Four digits as they are typed, for values that may be typed again."""
    return f"{value:.4g}"


def number(value: float | None, digits: int = 4) -> str:
    """A number of so many significant digits, without trailing zeros lost; `NONE` for none."""
    if value is None or math.isnan(value):
        return NONE
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or 1e-3 <= abs(value) < 10**digits:
        return f"{value:#.{digits}g}".rstrip(".").replace("-", "−")
    return scientific(value, digits)


def loss(value: float) -> str:
    """A loss for people: three decimals (runs scatter by more), and four digits where small."""
    return f"{value:.3f}" if abs(value) >= 1 else number(value)


def scientific(value: float, digits: int = 3) -> str:
    """For example 2.59×10¹⁵."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = str(int(exponent)).translate(_SUPERSCRIPT)
    return f"{mantissa.replace('-', '−')}×10{power}"


def percent(value: float, digits: int = 2) -> str:
    """A signed share, for example −0.31%."""
    return f"{100 * value:+.{digits}f}%".replace("-", "−")


def duration(seconds: float) -> str:
    """A time that was measured, for example 4 min 12 s."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def estimate(seconds: float) -> str:
    """A time that is estimated: three digits, from seconds to days."""
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds:.3g} s" if seconds < 60 else f"{seconds / 60:.3g} min"
    return f"{hours:.3g} h" if hours < 96 else f"{hours / 24:.3g} days"


def dollars(value: float) -> str:
    """Money, in cents below a hundred."""
    return f"${value:,.2f}" if value < 100 else f"${value:,.0f}"


def size(bytes_: float) -> str:
    """Bytes, for example 1.5 GB."""
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if bytes_ >= unit:
            return f"{bytes_ / unit:.3g} {name}"
    return f"{bytes_:.0f} B"
