"""moe: gpt, with a mixture of experts in place of each perceptron.

A router sends every token to k of E experts. Probabilities are a softmax over all experts, in
float32. What the chosen ones give is weighted by their probabilities over the sum of these (GShard,
Lepikhin et al. 2020, arXiv:2006.16668; the same as a softmax over the chosen alone, Shazeer et al.
2017, arXiv:1701.06538); with k = 1, where that is no function of the router, by the probability
itself (Switch, Fedus et al. 2021, arXiv:2101.03961, equation 2).

Rows of a batch are routed each on their own, so capacity, what is dropped and the auxiliary losses
are the same on any mesh and however a batch is divided. An expert takes the first C = capacity k L
/ E tokens of a row that chose it, rounded up; what comes later skips that expert. So no token
displaces an earlier one, and logits stay causal at any capacity. From a capacity of E / k on
nothing is dropped; but all slots are computed, filled or not, so a token costs capacity x k experts
(never more than E), and that is what is counted as FLOPs. A token that is written alone finds its
experts free, and of a prompt each part that is read at a time has slots of its own: where a pass
over the whole text drops some, its logits are others.

Shape letters: B rows, L length, D model width, F hidden width of an expert, E experts, k choices of
a token, C slots of an expert for a row.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from models import gpt
from models.layers import placement, quantized, transformer
from models.layers.placement import spread
from models.layers.weights import gathered, weight

NEWER = gpt.NEWER


@dataclasses.dataclass(frozen=True)
class Config(gpt.Config):
    """`hidden` is the width of one expert."""

    experts: int  # E
    top_k: int  # k, experts a token is sent to
    capacity: float  # slots, as a multiple of what even routing needs; E / k = nothing is dropped
    balance_loss: float  # weight, in each layer, of `balance`; 0.01 in Switch
    router_z_loss: float  # weight, in each layer, of `router_z`; 0.001 in ST-MoE

    def __post_init__(self):
        super().__post_init__()
        if self.experts < 1:
            raise ValueError(f"experts: {self.experts}; must be at least 1")
        if not 1 <= self.top_k <= self.experts:
            raise ValueError(f"top_k: {self.top_k}; must be in [1, {self.experts}], the experts")
        if self.capacity <= 0:
            raise ValueError(f"capacity: {self.capacity}; must be above 0")
        for field in ("balance_loss", "router_z_loss"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field}: {getattr(self, field)}; must be at least 0")

    @property
    def used(self) -> dict[str, float]:
        """The share of parameters with this logical axis that a token passes through."""
        return {"experts": self.top_k / self.experts}


class Model(gpt.Model):
    """batch["tokens"] int [B, L] -> logits float32 [B, L, V]."""

    config: Config

    def perceptron(self) -> Callable[..., nn.Module]:
        """What stands in a block where gpt has a perceptron."""
        c = self.config
        return functools.partial(
            Experts,
            experts=c.experts,
            top_k=c.top_k,
            capacity=c.capacity,
            balance_loss=c.balance_loss,
            router_z_loss=c.router_z_loss,
        )


class Experts(nn.Module):
    """A mixture of perceptrons, [B, L, D] -> [B, L, D].

    Adds its auxiliary losses, weighted, to the collection "losses": float32 [B], to be minimised
    per unit beside the task's objective; and to "metrics" the share of choices that found their
    expert full, float32 [B].
    """

    shape: transformer.Shape
    experts: int
    top_k: int
    capacity: float
    balance_loss: float
    router_z_loss: float

    @nn.compact
    def __call__(self, x_BxLxD: jax.Array) -> jax.Array:
        (_, L, D), F, E = x_BxLxD.shape, self.shape.hidden, self.experts
        router_DxE = weight(self, "router", {"embed": D}, {None: E})
        # On TPU and GPU a product of float32 is one of fewer bits, unless said otherwise.
        logits_BxLxE = jnp.einsum(
            "bld,de->ble",
            x_BxLxD.astype(jnp.float32),
            gathered(router_DxE, ("embed", None), jnp.float32),
            precision="highest",
        )
        gate_BxLxk, choice_BxLxk = choose(logits_BxLxE, self.top_k)
        self.sow(
            "losses",
            "router",
            self.balance_loss * balance(logits_BxLxE, choice_BxLxk)
            + self.router_z_loss * router_z(logits_BxLxE),
        )
        C = min(L, math.ceil(self.capacity * self.top_k * L / E))
        slot_BxLxk = jax.vmap(lambda choice_Lxk: slots(choice_Lxk, E, C))(choice_BxLxk)
        self.sow("metrics", "dropped", jnp.mean(slot_BxLxk == E * C, axis=(1, 2)))

        embed, hidden = {"embed": D}, {"hidden": F}
        matrix = functools.partial(transformer.matrix, self, each={"experts": E})
        w = {"in": matrix("in", embed, hidden)}
        if self.shape.activation == "swiglu":
            w["gate"] = matrix("gate", embed, hidden)
        w["out"] = matrix("out", hidden, embed, gain=self.shape.out_gain)
        place = placement.current()
        local = functools.partial(
            _on_one_device,
            product=functools.partial(quantized.einsum, self.shape.quantize),
            names=tuple(w),
            experts=E,
            capacity=C,
            expert_axes=place.axes("experts") if place else (),
            hidden_axes=place.axes("hidden") if place else (),
        )
        rows = ("batch", None, None)
        split = {"in": ("experts", None, "hidden"), "out": ("experts", "hidden", None)}
        y_BxLxD = placement.each_device(
            local,
            (x_BxLxD, gate_BxLxk, slot_BxLxk, *w.values()),
            (rows, rows, rows, *(split.get(name, split["in"]) for name in w)),
        )
        return spread(y_BxLxD, "batch", "length", None)


def choose(logits_BxLxE: jax.Array, top_k: int) -> tuple[jax.Array, jax.Array]:
    """The weights float32 [B, L, k] and the numbers int [B, L, k] of the experts of each token."""
    # Not jax.lax.top_k: where rows are split over devices, XLA:CPU would gather them all first.
    order_BxLxE = jnp.argsort(jax.lax.stop_gradient(-logits_BxLxE), axis=-1, stable=True)
    choice_BxLxk = order_BxLxE[..., :top_k]
    p_BxLxE = jax.nn.softmax(logits_BxLxE, axis=-1)
    gate_BxLxk = jnp.take_along_axis(p_BxLxE, choice_BxLxk, axis=-1)
    if top_k > 1:
        gate_BxLxk /= jnp.sum(gate_BxLxk, axis=-1, keepdims=True)
    return gate_BxLxk, choice_BxLxk


def balance(logits_BxLxE: jax.Array, choice_BxLxk: jax.Array) -> jax.Array:
    """Load-balancing loss float32 [B]: E sum_e f_e p_e (Switch, equation 4).

    f is the share of a row's choices that fall on an expert, dropped or not, and p its mean
    probability. 1 if either is even, E / k if all tokens choose the same experts and are sure.
    """
    E = logits_BxLxE.shape[-1]
    hot_BxLxkxE = jax.nn.one_hot(choice_BxLxk, E, dtype=jnp.float32)
    share_BxE = jnp.mean(hot_BxLxkxE, axis=(1, 2))
    p_BxE = jnp.mean(jax.nn.softmax(logits_BxLxE, axis=-1), axis=1)
    return E * jnp.sum(share_BxE * p_BxE, axis=-1)


def router_z(logits_BxLxE: jax.Array) -> jax.Array:
    """Router z-loss float32 [B]: mean of log(Z)^2 over a row (ST-MoE, Zoph et al. 2022,
    arXiv:2202.08906, equation 5). It keeps the router's logits small."""
    return jnp.mean(jnp.square(jax.nn.logsumexp(logits_BxLxE, axis=-1)), axis=-1)


def slots(choice_Lxk: jax.Array, experts: int, capacity: int) -> jax.Array:
    """Where the tokens of a row stand in slots [E x C], int [L, k]; E x C where they do not.

    Each expert takes tokens in their order, until it is full.
    """
    chosen_LxE = jnp.sum(jax.nn.one_hot(choice_Lxk, experts, dtype=jnp.int32), axis=1)
    before_LxE = jnp.cumsum(chosen_LxE, axis=0) - chosen_LxE
    before_Lxk = jnp.take_along_axis(before_LxE, choice_Lxk, axis=1)
    return jnp.where(before_Lxk < capacity, choice_Lxk * capacity + before_Lxk, experts * capacity)


def _on_one_device(
    x_BxLxD: jax.Array,
    gate_BxLxk: jax.Array,
    slot_BxLxk: jax.Array,
    *weights: jax.Array,
    product: Callable[[str, jax.Array, jax.Array], jax.Array],
    names: tuple[str, ...],
    experts: int,
    capacity: int,
    expert_axes: tuple[str, ...],
    hidden_axes: tuple[str, ...],
) -> jax.Array:
    """The mixture for a device's rows, whose tokens go to where their experts are and come back."""
    (_, L, D), E, C = x_BxLxD.shape, experts, capacity
    w = dict(zip(names, weights))

    def gather(x_LxD, slot_Lxk):
        token_S = jnp.full(E * C, L).at[slot_Lxk].set(jnp.arange(L)[:, None], mode="drop")
        return x_LxD.at[token_S].get(mode="fill", fill_value=0).reshape(E, C, D)

    x_ExBxCxD = jax.vmap(gather, out_axes=1)(x_BxLxD, slot_BxLxk)
    if expert_axes:  # our rows for all experts -> all rows for our experts
        x_ExBxCxD = jax.lax.all_to_all(x_ExBxCxD, expert_axes, 0, 1, tiled=True)
    here, rows = x_ExBxCxD.shape[:2]
    x_ExSxD = x_ExBxCxD.reshape(here, rows * C, D)
    h_ExSxF = product("esd,edf->esf", x_ExSxD, w["in"])
    if "gate" in w:
        h_ExSxF = nn.silu(product("esd,edf->esf", x_ExSxD, w["gate"])) * h_ExSxF
    else:
        h_ExSxF = nn.gelu(h_ExSxF)
    y_ExBxCxD = product("esf,efd->esd", h_ExSxF, w["out"]).reshape(here, rows, C, D)
    if expert_axes:
        y_ExBxCxD = jax.lax.all_to_all(y_ExBxCxD, expert_axes, 1, 0, tiled=True)

    def combine(y_ExCxD, slot_Lxk, gate_Lxk):
        y_LxkxD = y_ExCxD.reshape(E * C, D).at[slot_Lxk].get(mode="fill", fill_value=0)
        return jnp.sum(y_LxkxD * gate_Lxk[..., None], axis=1).astype(y_ExCxD.dtype)

    y_BxLxD = jax.vmap(combine, in_axes=(1, 0, 0))(y_ExBxCxD, slot_BxLxk, gate_BxLxk)
    # Where hidden units are split these are sums over a part of them.
    return jax.lax.psum(y_BxLxD, hidden_axes) if hidden_axes else y_BxLxD
