"""adversarial: images that cannot be told from those of the data, by two players.

The generator's images are paired with real ones, and the critic is to find the real one of each
pair more real (Jolicoeur-Martineau 2018, arXiv:1807.00734): f(D(G(z)) - D(x)) with
f(t) = -log(1 + e^-t).
Its slope at both is kept small, R1 and R2. Together these converge where the classic loss need not
(Huang et al. 2025, arXiv:2501.05441, section 2).

Neither player's objective says how good images are: it rises as the other one learns. The number of
record is the Frechet distance (Heusel et al. 2017, arXiv:1706.08500, equation 6) in what a frozen
classifier of the same data sees in as many images made as there are rows to evaluate on. It is
biased upwards by 1 / rows: hold it against others of as many rows and of the same classifier alone.
"""

import dataclasses
import functools
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from scipy.spatial import distance

import data
import models
from train.tasks import Losses, Picture, Section

if TYPE_CHECKING:
    from train.score import Bound

DRAWN = 64  # images of a page, of each kind
PLAYERS = ("generator", "critic")
OF_RECORD = "frechet"
RANGE = {
    "frechet": (0.0, math.inf),
    "precision": (1.0, 0.0),
    "recall": (1.0, 0.0),
    "variety": (1.0, 0.0),  # it may lie above, where more classes are made than there are
}

FEATURES = Path(data.__file__).parent / "features"
SEEN = "hidden"  # the layer of a classifier whose outputs are features
NEIGHBOURS = 3
NEAR = 5  # precision and recall are of one row in so many, as they cost its square
COLLAPSED = 0.5  # less variety than this is a collapse


@dataclasses.dataclass(frozen=True)
class Config:
    penalty: float  # of the critic's squared slope
    features: str  # a classifier: NAME of data/features/NAME.npz, see benchmarks/features.py
    sha256: str  # of that file: other features are another metric

    def __post_init__(self):
        if not self.penalty >= 0:
            raise ValueError(f"penalty: {self.penalty}; must be at least 0")
        there = sorted(path.stem for path in FEATURES.glob("*.npz"))
        if self.features not in there:
            raise ValueError(f"features: {self.features!r}; allowed: {', '.join(there)}")
        if (found := _read(self.features)[1]) != self.sha256:
            raise ValueError(f"sha256: {self.sha256!r}; the features have {found}")


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Pairs batch["image"] [B, H, W, C] with images made; batch["weight"] [B] is 0 for padding.

    "loss" is the pairing's, of the critic: log 2 where it cannot tell. told_apart: the share of
    pairs that it is right about. slope: its squared slope at the real image.
    """
    made = model(keys_B, method="make")
    on_made_B, slope_made_B = _judged(model, made)
    on_real_B, slope_real_B = _judged(model, batch["image"])
    weight_B, lead_B = batch["weight"], on_real_B - on_made_B
    pairing_B = jax.nn.softplus(-lead_B)
    critic_B = pairing_B + config.penalty / 2 * (slope_real_B + slope_made_B)
    return Losses(
        {"generator": jax.nn.softplus(lead_B) * weight_B, "critic": critic_B * weight_B},
        {
            "loss": pairing_B * weight_B,
            "told_apart": (lead_B > 0) * weight_B,
            "slope": slope_real_B * weight_B,
        },
        weight_B,
    )


def _judged(model: "Bound", image_BxHxWxC: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What the critic says of each image, and its squared slope there, [B] each.

    One derivative of the sum has them all, as no row sees another.
    """

    def judge(image):
        said_B = model(image, method="judge")
        return said_B, model.extra

    # What the model keeps is handed out: what is set inside a derivative may not be used outside.
    said_B, pull, model.extra = jax.vjp(judge, image_BxHxWxC, has_aux=True)
    (slope,) = pull(jnp.ones_like(said_B))
    return said_B, jnp.sum(jnp.square(slope), axis=(1, 2, 3))


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each row what the classifier sees in its image and in one made for it, and this one."""
    see = classifier(config.features)
    image = model(keys_B, method="make")
    made_BxF, class_B = see(image)
    real_BxF, real_class_B = see(batch["image"])
    return {
        "made": made_BxF,
        "real": real_BxF,
        "class": class_B,
        "real_class": real_class_B,
        "image": image.astype(jnp.float16),
    }


def show(
    config: Config,
    inputs: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> list[Section]:
    """The first images that were made, and the first real ones."""

    def drawn(images: np.ndarray) -> list[Picture]:
        return [Picture(facts["pixels"](x.astype(np.float32)), "") for x in images[:DRAWN]]

    note = "In no order: none were picked."
    return [
        Section("Made", note, None, drawn(kept["image"])),
        Section("Real", "The first of the evaluation set.", None, drawn(inputs["image"])),
    ]


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """How images made are like real ones.

    frechet: see above; floor: the same of one half of the real rows and the other. precision: how
    many images made lie where real ones do; recall: how many real ones where those made do
    (Kynkaanniemi et al. 2019, arXiv:1904.06991, equations 1 and 2). variety: how many classes are
    made, as e to the entropy of their shares, against the real ones; collapsed: 1 where it is low.
    """
    made, real = rows["made"].astype(np.float64), rows["real"].astype(np.float64)
    near = [x[: len(x) // NEAR] for x in (made, real)]
    variety = _effective(rows["class"]) / _effective(rows["real_class"])
    return {
        "frechet": frechet(made, real),
        "floor": frechet(real[::2], real[1::2]),
        "precision": _covered(near[0], near[1]),
        "recall": _covered(near[1], near[0]),
        "variety": variety,
        "collapsed": float(variety < COLLAPSED),
    }


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared distance of the Gaussians with the moments of [n, F] and [m, F] rows; NaN of one row,
    or where a feature is not finite."""
    if min(len(a), len(b)) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("nan")
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # The root of a b has the trace of the root of the symmetric a^1/2 b a^1/2.
    both = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b) - 2 * both)


def _covered(a: np.ndarray, b: np.ndarray) -> float:
    """The share of rows of `a` that are as near to one of `b` as its nearest neighbours are."""
    if len(b) <= NEIGHBOURS:
        return float("nan")
    radius = np.partition(distance.cdist(b, b, "sqeuclidean"), NEIGHBOURS, axis=1)[:, NEIGHBOURS]
    return float((distance.cdist(a, b, "sqeuclidean") <= radius).any(axis=1).mean())


def _effective(classes: np.ndarray) -> float:
    share = np.unique(classes, return_counts=True)[1] / len(classes)
    return float(np.exp(-np.sum(share * np.log(share))))


def classifier(name: str) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
    """images [B, H, W, C] in standard deviations -> features float32 [B, F], classes int32 [B]."""
    content, _ = _read(name)
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = dict(file)
    chosen = json.loads(str(arrays.pop("model")))
    family = models.load(chosen.pop("name"))
    module, variables = family.Model(family.Config(**chosen)), _nested(arrays)

    def see(image_BxHxWxC):
        logits_BxK, kept = module.apply(
            variables,
            {"image": image_BxHxWxC},
            capture_intermediates=lambda layer, method: layer.name == SEEN,
            mutable=["intermediates"],
        )
        (features_BxF,) = kept["intermediates"][SEEN]["__call__"]
        return features_BxF.astype(jnp.float32), jnp.argmax(logits_BxK, axis=-1).astype(jnp.int32)

    return see


def _nested(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return traverse_util.unflatten_dict(dict(arrays), sep="/")


@functools.cache
def _read(name: str) -> tuple[bytes, str]:
    """A file of features, and its sha256."""
    content = (FEATURES / f"{name}.npz").read_bytes()
    return content, hashlib.sha256(content).hexdigest()
