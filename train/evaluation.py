"""What the losses of a validation set say: their mean, its error, and whether it has risen."""

import math

import numpy as np

import data

_ERRORS = 10  # a rise of so many standard errors is no chance


def mean_and_error(loss: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """Mean loss per unit, and its standard error over examples.

    Sums are exact (`math.fsum`), so the result does not depend on how the validation set was cut
    into batches. The error is that of a ratio of sums (Cochran 1977, equation 2.39): examples vary,
    their units are given.

    Args:
      loss: [n], summed over an example's units.
      units: [n]; 0 for padding.
    """
    loss, units = loss[units > 0].astype(np.float64), units[units > 0].astype(np.float64)
    total, n = math.fsum(units), len(units)
    mean = math.fsum(loss) / total
    if n < 2:
        return mean, math.inf
    spread = math.fsum(np.square(loss - mean * units)) / (n - 1)
    return mean, math.sqrt(spread * n) / total


def far_above(loss: float, initial: float, error: float) -> bool:
    """Whether a loss has risen by more than the initial one, and more than chance could do.

    Twice the initial loss, where losses are positive. No run that learns comes near; one whose
    updates are too large keeps growing. The standard error `error` of `initial` gives the scale
    where that is near zero, as a log-density may be.
    """
    return loss - initial > max(abs(initial), _ERRORS * error)


def bits_per_byte(loss: float | None, dataset: data.Dataset) -> float | None:
    """A loss in nats per token as bits per byte of the text; None where either is not there."""
    if loss is None or not dataset.facts.get("eval_bytes"):
        return None
    tokens = dataset.eval_rows * dataset.units_per_row
    return loss / math.log(2) * tokens / dataset.facts["eval_bytes"]
