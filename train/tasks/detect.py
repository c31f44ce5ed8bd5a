"""detect: what is where, by boxes; the loss is that of an image, summed over what is in it.

Of every object the places near its centre, on the level that is for its size, are to find it
(Tian et al. 2019, FCOS, arXiv:1904.01355, with the centre sampling of its section 3.2 as its
authors' later version has it). The loss is of three parts, with fixed weights: focal classification
(Lin et al. 2017, "Focal loss for dense object detection", equation 5) and generalised IoU
(Rezatofighi et al. 2019, arXiv:1902.09630) at these places, as their mean over those of an object
and the sum over objects; and objectness at all places, the entropy of the IoU that the box there
has (0 where none is to be), as in YOLOX (Ge et al. 2021, arXiv:2107.08430). mAP is that of COCO,
see `average_precision`.
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

RANGE = {"map": (1.0, 0.0), "map_50": (1.0, 0.0), "map_75": (1.0, 0.0)}
DRAWN = 48  # images of a page, of each kind
SURE = 0.3  # how likely a box must be to be drawn
MOST = 50  # boxes that are said of an image
OVERLAPS = np.linspace(0.5, 0.95, 10)  # IoU that a box must have to be right
RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class Config:
    class_weight: float  # of the three parts of the loss
    box_weight: float
    object_weight: float
    focus: float  # gamma of the focal loss; 0: plain entropy
    radius: float  # in strides, from an object's centre, both ways: places that are to find it
    reach: float  # in strides: the longer side of the largest object that a level is for
    suppress: float  # of two boxes of a class that share more (IoU) the less likely is dropped

    def __post_init__(self):
        for field in ("class_weight", "box_weight", "object_weight", "focus"):
            if not 0 <= getattr(self, field) <= 100:
                raise ValueError(f"{field}: {getattr(self, field)}; must be in [0, 100]")
        for field in ("radius", "reach"):
            if not 0.5 <= getattr(self, field) <= 100:
                raise ValueError(f"{field}: {getattr(self, field)}; must be in [0.5, 100]")
        if not 0 < self.suppress <= 1:
            raise ValueError(f"suppress: {self.suppress}; must be in (0, 1]")


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores what `models.detector` says of P places against batch["box"] [B, K, 4] and
    batch["label"] int [B, K], of which those with batch["there"] [B, K] 0 are padding;
    batch["weight"] [B] is 0 for padding."""
    said = model(batch)
    mine_BxPxK = assigned(config, batch, said["centre"], said["stride"])
    count_BxK = mine_BxPxK.sum(1)
    # Of a place what it is for, a place that is for nothing being for what does not weigh.
    of_BxP = mine_BxPxK.argmax(-1)
    label_BxP = jnp.take_along_axis(batch["label"], of_BxP, axis=1)
    box_BxPx4 = jnp.take_along_axis(batch["box"], of_BxP[..., None], axis=1)
    share_BxP = (mine_BxPxK / jnp.maximum(count_BxK, 1)[:, None]).sum(-1)
    hot_BxPxC = jax.nn.one_hot(label_BxP, said["class"].shape[-1])
    nats_BxP = optax.sigmoid_focal_loss(said["class"], hot_BxPxC, gamma=config.focus).sum(-1)
    iou_BxP, giou_BxP = overlap(
        said["box"], jnp.where(share_BxP[..., None] > 0, box_BxPx4, said["box"])
    )
    right_BxP = jax.lax.stop_gradient(iou_BxP) * (share_BxP > 0)
    weight_B = batch["weight"]
    parts = {
        "class_loss": (nats_BxP * share_BxP).sum(1) * weight_B,
        "box_loss": ((1 - giou_BxP) * share_BxP).sum(1) * weight_B,
        "object_loss": optax.sigmoid_binary_cross_entropy(said["object"], right_BxP).sum(1)
        * weight_B,
    }
    weights = config.class_weight, config.box_weight, config.object_weight
    loss_B = sum(weight * part for weight, part in zip(weights, parts.values()))
    return Losses(loss_B, {"loss": loss_B, **parts}, weight_B)


def assigned(
    config: Config, batch: Mapping[str, jax.Array], centre_Px2: jax.Array, stride_P: jax.Array
) -> jax.Array:
    """Which places are to find which object, float32 [B, P, K]; each at most one, the smallest."""
    box_BxKx4 = batch["box"]
    size_BxKx2 = box_BxKx4[..., 2:] - box_BxKx4[..., :2]
    middle_BxKx2 = (box_BxKx4[..., 2:] + box_BxKx4[..., :2]) / 2
    away_BxPxKx2 = jnp.abs(middle_BxKx2[:, None] - centre_Px2[None, :, None])
    near_BxPxK = (away_BxPxKx2 < config.radius * stride_P[None, :, None, None]).all(-1)
    side_Bx1xK = size_BxKx2.max(-1)[:, None]
    most_1xPx1 = (config.reach * stride_P)[None, :, None]
    under_BxPxK = (side_Bx1xK <= most_1xPx1) | (most_1xPx1 == most_1xPx1.max())
    over_BxPxK = (side_Bx1xK > most_1xPx1 / 2) | (most_1xPx1 == most_1xPx1.min())
    may_BxPxK = near_BxPxK & under_BxPxK & over_BxPxK & (batch["there"] > 0)[:, None]
    area_BxPxK = jnp.where(may_BxPxK, size_BxKx2.prod(-1)[:, None], jnp.inf)
    first_BxPxK = jax.nn.one_hot(area_BxPxK.argmin(-1), area_BxPxK.shape[-1])
    return first_BxPxK * may_BxPxK


def overlap(one: jax.Array, other: jax.Array) -> tuple[jax.Array, jax.Array]:
    """IoU and generalised IoU of boxes [..., 4] that are wider and higher than nothing."""

    def area(low, high):
        return jnp.maximum(high - low, 0).prod(-1)

    both = area(
        jnp.maximum(one[..., :2], other[..., :2]), jnp.minimum(one[..., 2:], other[..., 2:])
    )
    around = area(
        jnp.minimum(one[..., :2], other[..., :2]), jnp.maximum(one[..., 2:], other[..., 2:])
    )
    either = area(one[..., :2], one[..., 2:]) + area(other[..., :2], other[..., 2:]) - both
    iou = both / either
    return iou, iou - (around - either) / around


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each image what is there, and its likeliest boxes with their classes and scores (of class
    and objectness the product), among which there are still many of the same thing."""
    said = model(batch)
    score_BxPxC = jax.nn.sigmoid(said["class"]) * jax.nn.sigmoid(said["object"])[..., None]
    B, P, C = score_BxPxC.shape
    score_BxM, place_BxM = jax.lax.top_k(score_BxPxC.reshape(B, P * C), min(MOST, P * C))
    box_BxMx4 = jnp.take_along_axis(said["box"], (place_BxM // C)[..., None], axis=1)
    found = {"said_box": box_BxMx4, "said_label": place_BxM % C, "score": score_BxM}
    return found | {name: batch[name] for name in ("box", "label", "there")}


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """map: the mean of the classes' average precision, and of ten IoUs from .5 to .95 that a box
    must have; map_50 and map_75: at these alone. ap/CLASS: that of a class, over the ten.

    A class that nothing is of has none.
    """
    score = np.where(distinct(rows, config.suppress), rows["score"], 0)
    found_TxC = average_precision(rows | {"score": score})
    classes = [c for c in range(found_TxC.shape[1]) if not np.isnan(found_TxC[:, c]).any()]
    if not classes:
        return {}
    names = facts.get("class_names", range(found_TxC.shape[1]))
    found = {
        "map": float(found_TxC[:, classes].mean()),
        "map_50": float(found_TxC[0, classes].mean()),
        "map_75": float(found_TxC[5, classes].mean()),
    }
    return found | {f"ap/{names[c]}": float(found_TxC[:, c].mean()) for c in classes}


def show(
    config: Config,
    inputs: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> list[Section]:
    """The first images with what is there and what was said; and those with the most mistakes."""
    said_nxM = distinct(kept, config.suppress) & (kept["score"] >= SURE)
    right_nxM, missed_nxK = matched(kept | {"score": np.where(said_nxM, kept["score"], 0)})
    wrong_n = (said_nxM & ~right_nxM).sum(1) + missed_nxK.sum(1)
    names = facts.get("class_names")

    def name(label: int) -> str:
        return str(names[label]) if names else f"class {label}"

    def picture(i: int) -> Picture:
        boxes = [
            Box(corners, "there", name(label))
            for corners, label, there in zip(kept["box"][i], kept["label"][i], kept["there"][i])
            if there
        ]
        words = [name(kept["label"][i, k]) + " missed" for k in np.flatnonzero(missed_nxK[i])]
        for m in np.flatnonzero(said_nxM[i]):
            what = f"{name(kept['said_label'][i, m])} {kept['score'][i, m]:.2f}"
            kind = "right" if right_nxM[i, m] else "wrong"
            boxes.append(Box(kept["said_box"][i, m], kind, what))
            words.append(what + ("" if right_nxM[i, m] else " wrong"))
        return Picture(facts["pixels"](inputs["image"][i]), f"{i}: {', '.join(words)}", boxes)

    note = (
        f"Dashed: what is there. Boxes of {SURE} or likelier: green where class and place (IoU "
        f"{OVERLAPS[0]}) are right, red where not."
    )
    worst = [int(i) for i in np.argsort(-wrong_n, kind="stable")[:DRAWN] if wrong_n[i]]
    first = range(min(DRAWN, len(wrong_n)))
    whole = f"{(wrong_n == 0).mean():.0%} of {len(wrong_n):,} images have none."
    return [
        Section("The first images", note, None, [picture(i) for i in first]),
        Section("Those with the most mistakes", whole, None, [picture(i) for i in worst]),
    ]


def matched(rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Which boxes are right at the first of OVERLAPS, bool [n, M], and what nobody found [n, K]."""
    order, right_nxMxT, taken_nxTxK = _taken(rows)
    right_nxM = np.zeros(order.shape, bool)
    np.put_along_axis(right_nxM, order, right_nxMxT[..., 0], axis=1)
    return right_nxM, (rows["there"] > 0) & ~taken_nxTxK[:, 0]


def distinct(rows: Mapping[str, np.ndarray], most: float) -> np.ndarray:
    """Which of each image's boxes are left, bool [n, M], where of two of a class that share more
    than `most` (IoU) the less likely is dropped, the likeliest first (non-maximum suppression)."""
    box_nxMx4, label_nxM = rows["said_box"], rows["said_label"]
    left_nxM = np.ones(label_nxM.shape, bool)
    for m in range(left_nxM.shape[1] - 1):
        later = slice(m + 1, None)
        alike = (label_nxM[:, later] == label_nxM[:, m, None]) & left_nxM[:, m, None]
        row, place = np.nonzero(alike & left_nxM[:, later])
        pairs = box_nxMx4[row, None, m], box_nxMx4[row, None, m + 1 + place]
        left_nxM[row, m + 1 + place] = shared(*pairs)[:, 0, 0] <= most
    return left_nxM


def shared(one_nxMx4: np.ndarray, other_nxKx4: np.ndarray) -> np.ndarray:
    """IoU [n, M, K] of the boxes of each image; of one without an area 0."""
    one, other = one_nxMx4[:, :, None], other_nxKx4[:, None]
    sides = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    both = np.maximum(sides, 0).prod(-1)
    areas = [np.maximum(x[..., 2:] - x[..., :2], 0).prod(-1) for x in (one, other)]
    either = areas[0] + areas[1] - both
    return np.divide(both, either, out=np.zeros_like(both), where=either > 0)


def average_precision(rows: Mapping[str, np.ndarray]) -> np.ndarray:
    """Average precision [T, C] at each of OVERLAPS of every class; NaN of one that nothing is of.

    As COCO's evaluation has it: the boxes said of an image, the likeliest first, each take what is
    there of their class, is not taken yet and shares most with them, if that is enough; precision,
    made to fall with recall, is averaged over 101 recalls.

    Args:
      rows: `said_box` [n, M, 4], `said_label` [n, M] and `score` [n, M], of which those with 0 do
        not count; `box` [n, K, 4], `label` [n, K] and `there` [n, K], 0 for padding.
    """
    order, right_nxMxT, _ = _taken(rows)
    score, said = (np.take_along_axis(rows[name], order, 1) for name in ("score", "said_label"))
    there = rows["there"] > 0
    classes = 1 + max(int(said.max(initial=0)), int(rows["label"][there].max(initial=0)))
    return np.stack(
        [
            _of_class(
                score[chosen := (said == c) & (score > 0)],
                right_nxMxT[chosen],
                int((there & (rows["label"] == c)).sum()),
            )
            for c in range(classes)
        ],
        axis=1,
    )


def _taken(rows: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How boxes are ordered, the likeliest first [n, M]; in this order, which are right at each of
    OVERLAPS [n, M, T]; and what was found [n, T, K]."""
    order = np.argsort(-rows["score"], axis=1, kind="stable")
    score, said = (np.take_along_axis(rows[name], order, 1) for name in ("score", "said_label"))
    box = np.take_along_axis(rows["said_box"], order[..., None], 1)
    iou_nxMxK = shared(box.astype(np.float64), rows["box"].astype(np.float64))
    alike_nxMxK = said[..., None] == rows["label"][:, None]
    alike_nxMxK &= (rows["there"] > 0)[:, None] & (score > 0)[..., None]
    iou_nxMxK = np.where(alike_nxMxK, iou_nxMxK, -1)
    n, M, K = iou_nxMxK.shape
    taken_nxTxK = np.zeros((n, len(OVERLAPS), K), bool)
    right_nxMxT = np.zeros((n, M, len(OVERLAPS)), bool)
    for m in range(M):
        iou_nxTxK = np.where(taken_nxTxK, -1, iou_nxMxK[:, m, None])
        best_nxT = K - 1 - iou_nxTxK[..., ::-1].argmax(-1)  # of equal ones the last, as COCO does
        enough = np.take_along_axis(iou_nxTxK, best_nxT[..., None], -1)[..., 0] >= OVERLAPS
        right_nxMxT[:, m] = enough
        taken_nxTxK |= enough[..., None] & (np.arange(K) == best_nxT[..., None])
    return order, right_nxMxT, taken_nxTxK


def _of_class(score_D: np.ndarray, right_DxT: np.ndarray, there: int) -> np.ndarray:
    """Average precision [T] of what was said of a class, in the order of images."""
    if not there:
        return np.full(len(OVERLAPS), np.nan)
    hits_DxT = right_DxT[np.argsort(-score_D, kind="stable")].cumsum(0)
    precision_DxT = hits_DxT / np.arange(1, len(hits_DxT) + 1)[:, None]
    precision_DxT = np.maximum.accumulate(precision_DxT[::-1])[::-1]
    found = []
    for hits, precision in zip(hits_DxT.T, precision_DxT.T):
        places = np.searchsorted(hits / there, RECALLS)
        found.append(np.append(precision, 0)[places].mean())
    return np.array(found)
