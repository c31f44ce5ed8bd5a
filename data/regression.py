"""Linear regression: an endless synthetic task whose scaling exponents are known, or a real table.

source = "spectrum": x_j ~ N(0, j^-spectrum) for j = 1..P, independent; y = <w, x> + noise N(0, 1)
with w_j = +-j^(-teacher/2), the signs fixed. The best predictor that sees only the first N features
has mean squared error

    L(N) = noise^2 + sum_{j>N} j^-(spectrum + teacher)  ~  noise^2 + N^-(a - 1) / (a - 1),
    a = spectrum + teacher > 1

(for N << P), so the exponent in N is a - 1 by construction (source and capacity conditions:
Caponnetto and De Vito 2007, "Optimal rates for the regularized least-squares algorithm"; as a model
of neural scaling: Bahri et al. 2021, "Explaining neural scaling laws"). Example i of seed s is read
off a counter-based generator at place i, so it does not depend on batch size or number of hosts.

source = "csv:PATH": see data/table.py.
"""

import dataclasses
import hashlib
import math

import numpy as np

from data import order, table

TEACHER_SEED, EVAL_SEED = 17, 23
TRAIN, EVAL = 0, 1  # the domains of the generator's counter
MAX_FEATURES = 1 << 20
MAX_SCALE = 1e15  # its square times the features is far from the end of float32


@dataclasses.dataclass(frozen=True)
class Config:
    """What to regress on."""

    source: str  # "spectrum" or "csv:PATH"
    features: int  # P: columns of x; for a table 0 = all, otherwise the first P
    eval_examples: int  # size of the evaluation set; for a table at most this many, 0 = all
    spectrum: float  # spectrum only: variance of feature j is j^-spectrum
    teacher: float  # spectrum only: squared weight of feature j is j^-teacher
    noise: float  # spectrum only: standard deviation of the noise on y
    target: str  # csv only: the name of the column to predict


class SpectrumDataset:
    """The synthetic task; see the module's docstring."""

    unit = "sample"
    units_per_row = 1
    train_rows = None
    note = ""

    def __init__(self, config: Config):
        self.noise = config.noise
        self.eval_rows, self.facts = config.eval_examples, {}
        index = np.arange(1, config.features + 1, dtype=np.float64)
        signs = np.random.default_rng(TEACHER_SEED).choice([-1.0, 1.0], config.features)
        self.scales = index ** (-config.spectrum / 2)  # standard deviation of each feature [P]
        self.teacher = signs * index ** (-config.teacher / 2)  # w [P]
        decided = f"spectrum 1 {dataclasses.astuple(config)} {TEACHER_SEED} {EVAL_SEED}"
        self.digest = hashlib.sha256(decided.encode()).hexdigest()
        # Scales are folded into both, so that a batch is one draw and one product.
        self._scales = self.scales.astype(np.float32)
        self._teacher = (self.scales * self.teacher).astype(np.float32)

    def population_loss(self, n_features: int) -> float:
        """Population mean squared error of the best predictor from the first `n_features`."""
        return self.noise**2 + float(np.sum((self.scales * self.teacher)[n_features:] ** 2))

    def train_batch(
        self, seed: int, step: int, batch_size: int, shard: tuple[int, int] = (0, 1)
    ) -> dict[str, np.ndarray]:
        """See data.Dataset. No example is ever repeated."""
        rows = order.shard_rows(batch_size, shard)
        first = step * batch_size + rows.start
        return self._draw(seed, TRAIN, range(first, first + len(rows)))

    def eval_batch(self, index: int, batch_size: int) -> dict[str, np.ndarray]:
        """See data.Dataset."""
        rows = order.eval_rows(index, batch_size, self.eval_rows)
        return order.pad(self._draw(EVAL_SEED, EVAL, rows), batch_size)

    def _draw(self, seed: int, domain: int, examples: range) -> dict[str, np.ndarray]:
        normal = normals(seed, domain, examples, len(self._scales) + 1)
        z_BxP = normal[:, :-1]
        # A product with BLAS would round differently for other batch sizes; this sum is by row.
        y_B = (z_BxP * self._teacher).sum(axis=1) + np.float32(self.noise) * normal[:, -1]
        return {"x": z_BxP * self._scales, "y": y_B, "weight": np.ones(len(y_B), np.float32)}


def normals(seed: int, domain: int, rows: range, width: int) -> np.ndarray:
    """Standard normal float32 [rows, width]; row i is a function of (seed, domain, i) alone.

    Box and Muller's transform of a counter-based generator, which can start anywhere (Salmon et al.
    2011, "Parallel random numbers: as easy as 1, 2, 3"); NumPy's own normals take a varying number
    of draws. Uniforms have 24 bits, so that no value is beyond 5.9.
    """
    counts = -(-width // 8)  # one count of Philox is 4 draws of 64 bits, or 8 normals
    generator = np.random.Philox(key=[seed, domain], counter=rows.start * counts)
    draws = generator.random_raw(len(rows) * counts * 4).view(np.uint32) >> np.uint32(8)
    uniform = draws.view(np.int32).astype(np.float32).reshape(len(rows), 2, counts * 4)
    radius = np.sqrt(-2 * np.log((uniform[:, 0] + np.float32(0.5)) * np.float32(2**-24)))
    angle = uniform[:, 1] * np.float32(2 * np.pi * 2**-24)
    pair = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pair[:, :width]


def open(config: Config) -> SpectrumDataset | table.TableDataset:
    """Opens the task (ValueError or OSError, in one line, where it is wrong or not there)."""
    if config.source.startswith("csv:"):
        path = config.source.removeprefix("csv:")
        return table.TableDataset(path, config.target, config.features, config.eval_examples)
    if config.source != "spectrum":
        raise ValueError(f"data.source: {config.source!r}; allowed: spectrum, csv:PATH")
    if not 1 <= config.features <= MAX_FEATURES:
        raise ValueError(f"data.features: {config.features}; allowed: 1 to {MAX_FEATURES}")
    if config.eval_examples < 1:
        raise ValueError(f"data.eval_examples: {config.eval_examples}; allowed: at least 1")
    if not 0 <= config.noise <= MAX_SCALE:
        raise ValueError(f"data.noise: {config.noise}; allowed: 0 to {MAX_SCALE:g}")
    if not config.spectrum + config.teacher > 1:
        raise ValueError(
            f"data.teacher: {config.teacher} with spectrum {config.spectrum}; "
            "allowed: spectrum + teacher > 1 (else the loss has no limit as features grow)"
        )
    for field in ("spectrum", "teacher"):
        largest = -getattr(config, field) / 2 * math.log(config.features)
        if not largest <= math.log(MAX_SCALE):
            raise ValueError(
                f"data.{field}: {getattr(config, field)} with {config.features} features; "
                f"allowed: what keeps them below {MAX_SCALE:g}"
            )
    return SpectrumDataset(config)
