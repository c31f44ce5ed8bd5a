"""classify: cross-entropy of the class of a whole row, in nats per row."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from train.tasks import Losses, Picture, Section

if TYPE_CHECKING:
    from train.score import Bound

DRAWN = 96  # mistakes of a page
MOST_CLASSES = 30  # of a table of who is taken for whom
RANGE = {
    "accuracy": (1.0, 0.0),
    "error": (0.0, 1.0),
    "macro_f1": (1.0, 0.0),
    "auc": (1.0, 0.0),
    "brier": (0.0, 2.0),
}


@dataclasses.dataclass(frozen=True)
class Config:
    smoothing: float  # share of the probability asked for that is spread over all classes; 0 = none

    def __post_init__(self):
        if not 0 <= self.smoothing < 1:
            raise ValueError(f"smoothing: {self.smoothing}; must be in [0, 1)")


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Scores logits float [B, K] against batch["label"] int [B]; batch["weight"] [B] is 0 for
    padding. Labels are smoothed (Szegedy et al. 2016, section 7) in what is minimised alone.

    Of a row that is mixed batch["share"] [B] is of its label and the rest of
    batch["other_label"]; the larger part is the right class."""
    logits_BxK = model(batch).astype(jnp.float32)
    hot_BxK = _hot(batch, logits_BxK.shape[-1])
    asked_BxK = optax.smooth_labels(hot_BxK, config.smoothing)
    right_B = jnp.argmax(logits_BxK, axis=-1) == jnp.argmax(hot_BxK, axis=-1)
    weight_B = batch["weight"]
    return Losses(
        optax.softmax_cross_entropy(logits_BxK, asked_BxK) * weight_B,
        {
            "loss": optax.softmax_cross_entropy(logits_BxK, hot_BxK) * weight_B,
            "accuracy": right_B * weight_B,
        },
        weight_B,
    )


def _hot(batch: dict[str, jax.Array], classes: int) -> jax.Array:
    hot_BxK = jax.nn.one_hot(batch["label"], classes, dtype=jnp.float32)
    if "share" not in batch:
        return hot_BxK
    other_BxK = jax.nn.one_hot(batch["other_label"], classes, dtype=jnp.float32)
    share_Bx1 = batch["share"][:, None]
    return share_Bx1 * hot_BxK + (1 - share_Bx1) * other_BxK


def derived(config: Config, means: Mapping[str, float], facts: Mapping[str, Any]) -> dict:
    """The share of rows whose likeliest class is not theirs."""
    return {"error": 1 - means["accuracy"]}


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each row its class, and how likely the model takes each class to be."""
    chance_BxK = jax.nn.softmax(model(batch).astype(jnp.float32))
    return {"label": batch["label"], "chance": chance_BxK}


def summarise(config: Config, rows: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> dict:
    """What the classes say one by one.

    macro_f1: the mean of the classes' F1. recall/CLASS: the share of it that was found;
    precision/CLASS: of what was said to be of it, the share that is. auc: the area under the
    receiver's curve, of more than two classes the mean of each against the rest. brier: the squared
    errors of a row's chances (Brier 1950), low for a model that is right and knows when.
    A class that no row is of has no recall, one that none is said to be of no precision, and one of
    which both hold no F1; without rows of every class there is no auc.
    """
    from sklearn import metrics  # a second, which a run without classes need not wait

    label, classes = rows["label"], list(range(rows["chance"].shape[1]))
    said = rows["chance"].argmax(axis=1)
    # Of two classes too the squares of both are summed, which scikit-learn would halve.
    brier = metrics.brier_score_loss(label, rows["chance"], labels=classes, scale_by_half=False)
    options = {"labels": classes, "average": None, "zero_division": np.nan}
    names = facts.get("class_names", classes)
    found = {
        "macro_f1": float(np.nanmean(metrics.f1_score(label, said, **options))),
        "brier": float(brier),
    }
    if np.unique(label).size == len(classes):
        chance = rows["chance"][:, 1] if len(classes) == 2 else rows["chance"]
        found["auc"] = float(metrics.roc_auc_score(label, chance, multi_class="ovr"))
    for kind, score in (("recall", metrics.recall_score), ("precision", metrics.precision_score)):
        each = zip(names, score(label, said, **options))
        found |= {f"{kind}/{name}": float(x) for name, x in each if not np.isnan(x)}
    return found


def show(
    config: Config,
    inputs: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> list[Section]:
    """Which classes are taken for which, and the mistakes that the model was surest of."""
    label, chance = kept["label"], kept["chance"]
    said = chance.argmax(1)
    names = [str(name) for name in facts.get("class_names", range(chance.shape[1]))]
    sections = []
    if len(names) <= MOST_CLASSES:
        counts = np.zeros((len(names), len(names)), int)
        np.add.at(counts, (label, said), 1)
        rows = [[name, *map(str, row)] for name, row in zip(names, counts)]
        note = "Rows: what they are. Columns: what they were said to be."
        sections.append(Section("Classes", note, (("", *names), rows)))
    wrong = np.flatnonzero(said != label)
    wrong = wrong[np.argsort(-chance[wrong, said[wrong]], kind="stable")]
    note = f"{len(wrong):,} of {len(label):,} rows; those that the model was surest of first."
    told = [(i, names[label[i]], f"{names[said[i]]} {chance[i, said[i]]:.2f}") for i in wrong]
    if "image" in inputs and "pixels" in facts:
        drawn = [
            Picture(facts["pixels"](inputs["image"][i]), f"{i}: {real}, said {other}")
            for i, real, other in told[:DRAWN]
        ]
        return [*sections, Section("Mistakes", note, None, drawn)]
    columns, decode = ["row", "is", "said"], facts.get("decode")
    texts = "tokens" in inputs and decode is not None
    table = [[*row, *([decode(inputs["tokens"][row[0]])] if texts else [])] for row in told[:DRAWN]]
    return [*sections, Section("Mistakes", note, (columns + ["text"] * texts, table))]
