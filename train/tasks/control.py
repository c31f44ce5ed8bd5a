"""control: decisions on a road, scored by what comes of them; the loss is of a drive.

The world (data.sources.road) is inside: a row is where a drive begins, and the model is asked once
for each of its decisions. In training actions are drawn, and made likelier by how much better the
drive went on than the others from the same start did at the same time: REINFORCE (Williams 1992)
with the baseline of Kool, van Hoof and Welling 2019 ("Buy 4 REINFORCE samples, get a baseline for
free!"). What comes later is discounted: of what a decision has done, most is seen soon. A batch is
driven by the policy as it is and used once: the gradient is that of the first step of PPO (Schulman
et al. 2017, arXiv:1707.06347), whose ratio is 1 there, so that nothing is clipped (Huang et al.
2022, arXiv:2205.09123). In evaluation the likeliest action is taken.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from data.sources import road, road_view
from train.tasks import Losses, Picture, Section

if TYPE_CHECKING:
    from train.score import Bound

DIVISIBLE = False
DRAWN = 6  # drives of a page, of each kind
VIEW = road_view.View(height=48, width=480, behind=40.0, ahead=80.0)
RANGE = {
    "return": (float(road.DECISIONS), -road.CRASH),
    "crashed": (0.0, 1.0),
    "metres": (road.DECISIONS * road.FASTEST, 0.0),
}


@dataclasses.dataclass(frozen=True)
class Config:
    discount: float  # of what is earned a decision later
    entropy: float  # what a nat of a decision's entropy is worth, in what a drive earns

    def __post_init__(self):
        if not 0 <= self.discount <= 1:
            raise ValueError(f"discount: {self.discount}; must be in [0, 1]")
        if not 0 <= self.entropy <= 100:
            raise ValueError(f"entropy: {self.entropy}; must be in [0, 100]")

    def fits(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError where the data's decisions are not those of the road."""
        if tuple(facts["class_names"]) != road.ACTIONS:
            raise ValueError(f"name: 'control'; it is for decisions {', '.join(road.ACTIONS)}")


class Driven(NamedTuple):
    """Drives, float32 [T, B]; nothing comes of one that has ended."""

    world: road.World  # before each decision, [T, B, ...]
    earned: jax.Array
    metres: jax.Array
    chance: jax.Array  # the logarithm of that of what was done
    entropy: jax.Array  # of the decision, nats


def losses(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> Losses:
    """Drives from the worlds of batch["start"] uint32 [B, 2]; batch["weight"] [B] is 0 for padding.

    "loss" is what a drive at full speed earns less what this one does, "return"; with "metres" and
    "crashed", 0 or 1. In training the entropy of its decisions too, nats.
    """
    driven, last = drive(model, batch["start"], keys_B)
    weight_B, return_B = batch["weight"], driven.earned.sum(0)
    sums = {
        "loss": road.DECISIONS - return_B,
        "return": return_B,
        "metres": driven.metres.sum(0),
        "crashed": 1.0 - last.alive,
    }
    objective_B = sums["loss"]
    if model.train:
        alive_TxB = driven.world.alive.astype(jnp.float32)
        better_TxB = alive_TxB * advantage(config, driven.earned, batch["start"])
        entropy_TxB = alive_TxB * driven.entropy
        objective_B = -(better_TxB * driven.chance + config.entropy * entropy_TxB).sum(0)
        sums["entropy"] = entropy_TxB.sum(0) / alive_TxB.sum(0)
    return Losses(objective_B * weight_B, {k: x * weight_B for k, x in sums.items()}, weight_B)


def examine(config: Config, model: "Bound", batch: dict[str, jax.Array], keys_B: Any) -> dict:
    """Of each drive where all cars were before its decisions [B, T, V], and whether it had not
    ended, and what it has earned [B, T]."""
    driven, _ = drive(model, batch["start"], keys_B)
    seen = {"x": driven.world.x, "y": driven.world.y, "alive": driven.world.alive}
    return {k: x.swapaxes(0, 1) for k, x in (seen | {"earned": driven.earned}).items()}


def show(
    config: Config,
    inputs: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    facts: Mapping[str, Any],
) -> list[Section]:
    """Films of the first drives, and of those that earned least."""

    def films(chosen: np.ndarray) -> list[Picture]:
        return [_film(kept, int(i)) for i in chosen[:DRAWN]]

    order = np.argsort(kept["earned"].sum(1), kind="stable")
    note = "Its own car is blue, and red once it has crashed; a decision takes a second."
    return [
        Section("The first drives", note, None, films(np.arange(len(order)))),
        Section("Those that earned least", "", None, films(order)),
    ]


def _film(kept: Mapping[str, np.ndarray], i: int) -> Picture:
    columns = dict.fromkeys(road.World._fields) | {k: kept[k][i] for k in ("x", "y", "alive")}
    pictures = road_view.film(VIEW, road.World(**columns))
    caption = f"{i}: return {kept['earned'][i].sum():.1f}"
    return Picture(pictures[0], caption, gif=road_view.gif(pictures))


def drive(model: "Bound", start_Bx2: jax.Array, keys_B: jax.Array) -> tuple[Driven, road.World]:
    """Drives, and the worlds that they end in. No gradient goes through a world."""
    worlds = jax.vmap(road.start)(jax.random.wrap_key_data(start_Bx2))

    def decide(worlds: road.World, t: jax.Array) -> tuple[road.World, Driven]:
        logits_BxA = model({"cars": jax.vmap(road.observe)(worlds)}).astype(jnp.float32)
        chance_BxA = jax.nn.log_softmax(logits_BxA)
        action_B = jnp.argmax(logits_BxA, axis=-1)
        if model.train:
            keys = jax.vmap(jax.random.fold_in, (0, None))(keys_B, t)
            action_B = jax.vmap(jax.random.categorical)(keys, logits_BxA)
        after, earned_B = jax.vmap(road.step)(worlds, action_B)
        done_B = jnp.take_along_axis(chance_BxA, action_B[:, None], axis=-1)[:, 0]
        return after, Driven(
            worlds,
            earned_B,
            (after.x[:, 0] - worlds.x[:, 0]) % road.RING,
            done_B,
            -(jnp.exp(chance_BxA) * chance_BxA).sum(-1),
        )

    last, driven = jax.lax.scan(decide, worlds, jnp.arange(road.DECISIONS))
    return driven, last


def advantage(config: Config, earned_TxB: jax.Array, start_Bx2: jax.Array) -> jax.Array:
    """What came after each decision, discounted, less the mean of that of the other drives of the
    batch that have the same start [T, B]; less nothing where there is none."""

    def back(later_B: jax.Array, earned_B: jax.Array) -> tuple[jax.Array, jax.Array]:
        to_go_B = earned_B + config.discount * later_B
        return to_go_B, to_go_B

    nothing_B = jnp.zeros(earned_TxB.shape[1])
    _, to_go_TxB = jax.lax.scan(back, nothing_B, earned_TxB, reverse=True)
    alike_BxB = (start_Bx2[:, None] == start_Bx2[None]).all(-1)
    other_BxB = alike_BxB & ~jnp.eye(len(start_Bx2), dtype=bool)
    share_BxB = other_BxB / jnp.maximum(other_BxB.sum(0), 1)[None]
    return jax.lax.stop_gradient(to_go_TxB - to_go_TxB @ share_BxB)
