"""Two laws in a row carry the error of both."""

import numpy as np
import pandas as pd
import pytest

from scaling.fit.fitting import fit
from scaling.forecast.task import predict_task
from train.cli import InputError


def surface(N, D):
    return 1.8 + 500.0 * N**-0.3527 + 1500.0 * D**-0.3527


def error(loss):
    return 0.86 - 2.2 * np.exp(-0.75 * loss)


def study(seed, loss_noise, task_noise, count=40):
    rng = np.random.default_rng(seed)
    N = np.exp(rng.uniform(np.log(1e7), np.log(1e9), count))
    D = np.exp(rng.uniform(np.log(1e9), np.log(3e10), count))
    loss = surface(N, D) * np.exp(loss_noise * rng.standard_normal(count))
    task = error(loss) * np.exp(task_noise * rng.standard_normal(count))
    return pd.DataFrame({"N": N, "D": D, "loss": loss, "error": task})


def both(seed=0, loss_noise=0.003, task_noise=0.003):
    runs = study(seed, loss_noise, task_noise)
    first = fit(runs, "tied", bootstrap=100, starts=16)
    return first, fit(runs, "task_error", bootstrap=100, starts=16)


def test_without_noise_the_chain_is_exact():
    middle, low, high = predict_task(*both(0, 0.0, 0.0), np.array([3e9, 1e10]), 1e11)
    np.testing.assert_allclose(middle, error(surface(np.array([3e9, 1e10]), 1e11)), rtol=1e-6)
    np.testing.assert_allclose(low, high, rtol=1e-5)


def test_each_stage_widens_the_interval():
    widths = {}
    for stage, noises in {"loss": (0.01, 1e-9), "task": (1e-9, 0.01), "both": (0.01, 0.01)}.items():
        _, low, high = predict_task(*both(1, *noises), 3e9, 1e11)
        widths[stage] = float(high - low)
    assert widths["both"] > 1.1 * max(widths["loss"], widths["task"])
    assert min(widths.values()) > 1e-4


def test_laws_that_do_not_follow_each_other_are_refused():
    first, second = both()
    with pytest.raises(InputError, match="must read loss alone"):
        predict_task(first, first, 1e9, 1e10)
    with pytest.raises(InputError, match="must read error alone"):
        predict_task(second, second, 1e9, 1e10)
