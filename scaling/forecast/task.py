"""From size to loss to task: two fitted laws in a row, with the error of both carried through.

The two-step prediction of Gadre et al. 2024 (arXiv:2403.08540) and Bhagia et al. 2024
(arXiv:2412.04403): a law gives the loss at (N, D), a second one the task's error at that loss.
"""

from typing import Any

import numpy as np

from scaling.fit.fitted import Fit
from train.cli import InputError


def predict_task(
    loss_fit: Fit, task_fit: Fit, N: Any, D: Any, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Task prediction at (N, D) with its interval.

    Args:
      loss_fit: a law of N and D for the loss.
      task_fit: a law whose only column is the loss, for example 'task_error'.
      N, D: arrays that broadcast.
      seed: of the noise added to the losses (see below).

    Returns:
      The prediction and the ends of its interval at `task_fit.level`, of the broadcast shape. A
      draw of the first law is a curve; the loss that the second law reads is that of a run, so the
      first law's residual spread is added to every draw before it enters the second.

    Raises:
      InputError: where the laws do not fit together or have no bootstrap draws.
    """
    if tuple(task_fit.law.columns) != (loss_fit.law.target,):
        raise InputError(
            f"task law: {task_fit.law.name!r} reads {', '.join(task_fit.law.columns)}; it must "
            f"read {loss_fit.law.target} alone"
        )
    count = min(len(loss_fit.draws), len(task_fit.draws))
    if not count:
        raise InputError("bootstrap: a law has no draws; fit both with bootstrap > 0")
    name = loss_fit.law.target
    middle = task_fit.predict(**{name: loss_fit.predict(N, D)})
    losses = loss_fit.predict_draws(N, D)[:count]
    noise = np.random.default_rng([seed, 5]).standard_normal(losses.shape)
    losses = losses * np.exp(loss_fit.residual_std * noise)
    # The draws of the two fits are independent, so pairing them by number is a random pairing.
    spread = np.stack([task_fit.predict_draws(**{name: row})[k] for k, row in enumerate(losses)])
    low, high = task_fit.interval(spread)
    return middle, low, high
