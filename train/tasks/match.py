"""match: which of a trial's images is of the same identity, in nats per pair.

The loss of record is the contrastive entropy of van den Oord et al. 2018 (arXiv:1807.03748,
equation 4) with as many wrong candidates as a trial of the data has; what is minimised may be
another. Rows are trials, and do not look at one another. Recall and verification are of all that is
evaluated on at once.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from train.tasks import Box, Losses, Picture, Section

if TYPE_CHECKING:
    from train.score import Bound

OBJECTIVES = ("contrastive", "triplet", "arcface")
FALSE_ACCEPTS = 0.01
DRAWN, NEAREST = 32, 5  # identities of a page, of each kind, and images beside each
RANGE = {
    "top_1": (1.0, 0.0),
    "recall_at_1": (1.0, 0.0),
    "recall_at_5": (1.0, 0.0),
    "verification": (1.0, 0.0),
    "true_accepts": (1.0, 0.0),
}


@dataclasses.dataclass(frozen=True)
class Config:
    # "contrastive", the loss of record; "triplet" (FaceNet: Schroff et al. 2015, equation 1), of
    # the semi-hard negative of the trial; "arcface" (Deng et al. 2019, equation 3)
    objective: str
    temperature: float  # cosines are divided by it; arcface multiplies by its inverse
    margin: float  # triplet: of squared distances; arcface: of angles, in radians

    def __post_init__(self):
        if self.objective not in OBJECTIVES:
            allowed = ", ".join(OBJECTIVES)
            raise ValueError(f"objective: {self.objective!r}; allowed: {allowed}")
        if not 0.001 <= self.temperature <= 100:
            raise ValueError(f"temperature: {self.temperature}; must be in [0.001, 100]")
        if not 0 <= self.margin <= 2:
            raise ValueError(f"margin: {self.margin}; must be in [0, 2]")


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores embeddings of length 1 [B, T, 2, E], and with arcface cosines [B, T, 2, K] against
    batch["label"] int [B, T]; batch["weight"] [B] is 0 for padding.

    Each image is asked for among the T of the other sort, both ways; a pair has the mean of the
    two. An identity without a row of the head (label -1) has no arcface objective.
    """
    said = model(batch)
    z_BxTx2xE = said["embedding"]
    cosine_BxTxT = jnp.einsum("bie,bje->bij", z_BxTx2xE[:, :, 0], z_BxTx2xE[:, :, 1])
    both_Bx2xTxT = jnp.stack([cosine_BxTxT, cosine_BxTxT.swapaxes(1, 2)], axis=1)
    pairs = both_Bx2xTxT.shape[-1]
    right_Bx2xT = jnp.broadcast_to(jnp.arange(pairs), both_Bx2xTxT.shape[:-1])
    nats_Bx2xT = optax.softmax_cross_entropy_with_integer_labels(
        both_Bx2xTxT / config.temperature, right_Bx2xT
    )
    first_Bx2xT = both_Bx2xTxT.argmax(-1) == right_Bx2xT
    if config.objective == "triplet":
        asked = _triplet(both_Bx2xTxT, config.margin)
    elif config.objective == "arcface":
        asked = _arcface(config, said["cosine"], batch["label"]).swapaxes(1, 2)
    else:
        asked = nats_Bx2xT
    weight_B = batch["weight"]
    objective_B, loss_B, top_B = (
        x.sum(2).mean(1) * weight_B for x in (asked, nats_Bx2xT, first_Bx2xT)
    )
    return Losses(objective_B, {"loss": loss_B, "top_1": top_B}, weight_B * pairs)


def _triplet(cosine_Bx2xTxT: jax.Array, margin: float) -> jax.Array:
    """[B, 2, T]: the negative is the nearest that is further off than the positive; where there is
    none, the furthest (section 3.2)."""
    distance = 2 - 2 * cosine_Bx2xTxT
    positive = jnp.diagonal(distance, axis1=-2, axis2=-1)
    other = jnp.broadcast_to(~jnp.eye(distance.shape[-1], dtype=bool), distance.shape)
    further = other & (distance > positive[..., None])
    near = jnp.where(further, distance, jnp.inf).min(-1)
    far = jnp.where(other, distance, -jnp.inf).max(-1)
    return jax.nn.relu(positive - jnp.where(further.any(-1), near, far) + margin)


def _arcface(config: Config, cosine_BxTx2xK: jax.Array, label_BxT: jax.Array) -> jax.Array:
    """[B, T, 2]: cross-entropy of the identity, whose angle is made larger by the margin."""
    hot = jax.nn.one_hot(label_BxT, cosine_BxTx2xK.shape[-1])[:, :, None]
    sine = jnp.sqrt(jnp.maximum(1 - jnp.square(cosine_BxTx2xK), 1e-6))
    turned = cosine_BxTx2xK * jnp.cos(config.margin) - sine * jnp.sin(config.margin)
    # Past a half turn the cosine would rise again: there the angle costs as it does without sine.
    turned = jnp.where(
        cosine_BxTx2xK > -jnp.cos(config.margin),
        turned,
        cosine_BxTx2xK - config.margin * jnp.sin(config.margin),
    )
    logits = jnp.where(hot > 0, turned, cosine_BxTx2xK) / config.temperature
    return optax.softmax_cross_entropy(logits, jnp.broadcast_to(hot, logits.shape))


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each trial the embeddings of its images [B, T, 2, E]."""
    return {"embedding": model(batch)["embedding"]}


def show(
    config: Config,
    inputs: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> list[Section]:
    """First images of identities, and the second images that are nearest to each, of all."""
    z_2xNxE = np.moveaxis(kept["embedding"], 2, 0)
    z_2xNxE = z_2xNxE.reshape(2, -1, z_2xNxE.shape[-1])
    image_Nx2 = inputs["image"].reshape(-1, *inputs["image"].shape[2:])
    cosine_NxN = z_2xNxE[0] @ z_2xNxE[1].T
    nearest_Nx5 = np.argsort(-cosine_NxN, axis=1, kind="stable")[:, :NEAREST]

    def picture(i: int) -> Picture:
        found = nearest_Nx5[i]
        images = [image_Nx2[i, 0], *(image_Nx2[j, 1] for j in found)]
        side = images[0].shape[1]
        boxes = [
            Box(
                (side * place, 0, side * (place + 1), images[0].shape[0]),
                "right" if j == i else "wrong",
                f"cosine {cosine_NxN[i, j]:.2f}",
            )
            for place, j in enumerate(found, 1)
        ]
        right = np.flatnonzero(found == i)
        said = f"number {right[0] + 1}" if len(right) else f"beyond the first {len(found)}"
        row = np.concatenate([facts["pixels"](x) for x in images], axis=1)
        return Picture(row, f"{i}: its own is {said}", boxes)

    wrong = np.flatnonzero(nearest_Nx5[:, 0] != np.arange(len(nearest_Nx5)))
    note = (
        "At the left a first image, then the nearest second images; green is of the same identity. "
        f"Of {len(nearest_Nx5):,} identities {len(wrong):,} have another one nearest."
    )
    first = range(min(DRAWN, len(nearest_Nx5)))
    return [
        Section("The first identities", note, None, [picture(i) for i in first]),
        Section("Mistakes", "", None, [picture(int(i)) for i in wrong[:DRAWN]]),
    ]


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """What the cosines of all first images with all second ones say.

    recall_at_1, recall_at_5: how often an image's other one is the nearest of all, or among the
    five nearest, both ways. true_accepts: the share of pairs of one identity above the cosine that
    a hundredth of the pairs of two exceeds (TAR at a FAR of 1e-2). verification: how often same and
    different are told apart, by the cosine that does it best for the other half of the identities;
    the two kinds count alike.
    """
    z_2xNxE = np.moveaxis(rows["embedding"], 2, 0)
    return verified(z_2xNxE.reshape(2, -1, z_2xNxE.shape[-1]))


def verified(z_2xNxE: np.ndarray) -> dict[str, float]:
    """The metrics of `summarise` of N identities, two vectors of length 1 of each."""
    from sklearn import metrics  # a second, which a run without identities need not wait

    cosine_NxN = z_2xNxE[0] @ z_2xNxE[1].T
    n, half = len(cosine_NxN), len(cosine_NxN) // 2
    found = {}
    for k in (1, 5):
        both = [
            metrics.top_k_accuracy_score(np.arange(n), x, k=k, labels=np.arange(n))
            for x in (cosine_NxN, cosine_NxN.T)
        ]
        found[f"recall_at_{k}"] = float(np.mean(both))
    false, true, _ = metrics.roc_curve(np.eye(n).ravel(), cosine_NxN.ravel())
    found["true_accepts"] = float(true[false <= FALSE_ACCEPTS].max())
    sides = [cosine_NxN[:half, :half], cosine_NxN[half:, half:]]
    right = []
    for own, other in (sides, sides[::-1]):
        false, true, cosines = metrics.roc_curve(np.eye(len(other)).ravel(), other.ravel())
        said = own >= cosines[np.argmax(true - false)]
        right.append(metrics.balanced_accuracy_score(np.eye(len(own)).ravel(), said.ravel()))
    found["verification"] = float(np.mean(right))
    return found
