"""Pipeline parallelism: a stack of layers in stages, each on devices of its own.

GPipe (Huang et al. 2019, arXiv:1811.06965). A batch is divided into M microbatches; in each of
M + S - 1 ticks every one of S stages does its layers for one microbatch and passes the result on to
the next stage. In (S - 1) / (M + S - 1) of that time a stage has nothing to do, and computes what
nobody asks for. The backward pass is what autodiff makes of it: the same in reverse, once all
microbatches are through.

Before and after the stack (embedding, head, loss) the stages are no stages: they share the rows of
a batch as data-parallel devices do, so that nothing is computed twice. What waits for the first
stage comes nearer by one stage whenever that takes one, and what the last stage has done moves back
in the places that get free: nobody ever holds all rows (the layout is that of praxis and MaxText).
One tick sends two microbatches, one onward and one back.

Parameters that are split over fsdp are gathered in each tick, M + S - 1 times a step and not once.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from models.layers import placement


class Stages(nn.Module):
    """A scanned stack of layers, in stages.

    Its parameters are those of the stack and made by it: this module only applies them.
    """

    layers: Callable[[Any, jax.Array], jax.Array]  # (parameters of some of the layers, x) -> x

    def __call__(self, x_BxLxD: jax.Array, *_: None) -> tuple[jax.Array, None]:
        return run(self.layers, self.variables["params"], x_BxLxD), None


def run(
    layers: Callable[[Any, jax.Array], jax.Array], params: Any, x_BxLxD: jax.Array
) -> jax.Array:
    """All layers on [B, L, D], to float reassociation as if they were not in stages.

    Args:
      layers: applies as many layers as there are in the parameters it is given, to any rows.
      params: of all layers, stacked on a first axis that the stages divide.
      x_BxLxD: its rows are split over the stages among others, evenly for each microbatch.
    """
    place = placement.current()
    (stage,) = place.axes("layers")
    S, M = place.ways("layers"), place.microbatches or place.ways("layers")
    # Of axes that parameters are copied over, each device is traced for itself: so gradients are
    # added up once, after the last tick. Left to the compiler that could be in every tick.
    mine = (*place.copies(), stage)

    def local(params, x_BxLxD):
        me = jax.lax.axis_index(stage)
        onward, back = [(i, i + 1) for i in range(S - 1)], [(i + 1, i) for i in range(S - 1)]
        # Every Q-th row, so that each microbatch has an equal share of every device's rows.
        Q, (L, D) = M // S, x_BxLxD.shape[1:]
        waiting_QxbxLxD = x_BxLxD.reshape(-1, Q, L, D).swapaxes(0, 1)

        def tick(carry, now):
            waiting_QxbxLxD, handed_bxLxD = carry
            at = now % Q
            next_bxLxD = waiting_QxbxLxD[at]
            done_bxLxD = layers(params, jnp.where(me == 0, next_bxLxD, handed_bxLxD))
            nearer_bxLxD = jax.lax.ppermute(next_bxLxD, stage, back)
            freed_bxLxD = jnp.where(me == S - 1, done_bxLxD, nearer_bxLxD)
            handed_bxLxD = jax.lax.ppermute(done_bxLxD, stage, onward)
            return (waiting_QxbxLxD.at[at].set(freed_bxLxD), handed_bxLxD), None

        start = (waiting_QxbxLxD, jnp.zeros_like(waiting_QxbxLxD[0]))
        (done_QxbxLxD, _), _ = jax.lax.scan(tick, start, jnp.arange(M + S - 1))
        # The first to be done was put where tick S - 1 took its microbatch from.
        done_QxbxLxD = jnp.roll(done_QxbxLxD, 1 - S, axis=0)
        return done_QxbxLxD.swapaxes(0, 1).reshape(x_BxLxD.shape)

    rows = PartitionSpec(mine)
    split = jax.shard_map(
        local,
        mesh=place.rest(),
        in_specs=(PartitionSpec(stage), rows),
        out_specs=rows,
        axis_names=set(mine),
        check_vma=False,
    )
    return split(params, x_BxLxD)
