"""How to train: repeated data, learning rate and batch size, steps against examples."""

from scaling.laws.law import Law, Parameter, coefficient, exponent, floor, power, scale, signed, xp
from scaling.laws.size import chinchilla_natural


def _worth(unique, repeats, decay):
    """What `repeats` further passes over `unique` are worth, in fresh units of it."""
    return unique * (1 + decay * -xp.expm1(-repeats / decay))


def _data_constrained_form(p, x):
    unique = xp.minimum(x["U"], x["D"])
    ratio = power(p["alpha"] * p["A"] / (p["beta"] * p["B"]), 1 / (p["alpha"] + p["beta"]))
    enough = ratio * power(unique * ratio, p["beta"] / p["alpha"])  # best N for `unique` tokens
    useful = xp.minimum(enough, x["N"])
    data = _worth(unique, x["D"] / unique - 1, p["RD"])
    size = _worth(useful, x["N"] / useful - 1, p["RN"])
    return p["E"] + p["A"] * power(size, -p["alpha"]) + p["B"] * power(data, -p["beta"])


def _setting_natural(target):
    def natural(p, c):
        scaled = p["K"] * c[target]
        for column, name in (("N", "a"), ("D", "b")):
            if name in p:
                scaled = scaled * power(c[column], -p[name])
        return {**p, "K": scaled}

    return natural


def _surface_form(p, x):
    size, data = xp.log(x["N"]), xp.log(x["D"])
    rate = xp.log(x["lr"]) - p["r0"] - p["rN"] * size - p["rD"] * data
    batch = xp.log(x["batch"]) - p["b0"] - p["bN"] * size - p["bD"] * data
    bowl = p["hr"] * rate**2 + p["hb"] * batch**2
    bowl = bowl + 2 * p["tilt"] * xp.sqrt(p["hr"] * p["hb"]) * rate * batch
    least = p["E"] + p["A"] * power(x["N"], -p["alpha"]) + p["B"] * power(x["D"], -p["beta"])
    return least + bowl


def _surface_natural(p, c):
    size, data = xp.log(c["N"]), xp.log(c["D"])
    return {
        **p,
        **chinchilla_natural(p, c),
        "hr": p["hr"] * c["loss"],
        "hb": p["hb"] * c["loss"],
        "r0": p["r0"] + xp.log(c["lr"]) - p["rN"] * size - p["rD"] * data,
        "b0": p["b0"] + xp.log(c["batch"]) - p["bN"] * size - p["bD"] * data,
    }


_SETTING = scale("K", 0.1, 10.0)
_STEEPNESS = {"start": (1e-3, 0.1), "bounds": (1e-9, 1e3)}

TRAINING_LAWS = (
    Law(
        name="data_constrained",
        formula="E + A N'^-alpha + B D'^-beta, D' = U (1 + RD (1 - exp(-(D/U - 1)/RD))), "
        "N' likewise from the best N for U tokens with RN",
        source="Muennighoff et al. 2023 (arXiv:2305.16264), section 3",
        parameters=(
            floor(),
            coefficient("A"),
            coefficient("B"),
            exponent("alpha"),
            exponent("beta"),
            Parameter("RD", "log", start=(1.0, 100.0), bounds=(1e-2, 1e6)),
            Parameter("RN", "log", start=(1.0, 100.0), bounds=(1e-2, 1e6)),
        ),
        form=_data_constrained_form,
        natural=lambda p, c: {**p, **chinchilla_natural(p, c)},
        columns=("N", "D", "U"),
        distinct={"N": 3, "D": 3},
        centred_as={"U": "D"},
    ),
    Law(
        name="step_lr",
        formula="K N^a D^b",
        source="Li et al. 2025 (arXiv:2503.04715), eq. 1: best learning rate",
        parameters=(_SETTING, signed("a", 1.0), signed("b", 1.0)),
        form=lambda p, x: p["K"] * power(x["N"], p["a"]) * power(x["D"], p["b"]),
        natural=_setting_natural("lr"),
        target="lr",
        linear=("K",),
        distinct={"N": 2, "D": 2},
    ),
    Law(
        name="step_batch",
        formula="K D^b",
        source="Li et al. 2025 (arXiv:2503.04715), eq. 1: best batch in training examples",
        parameters=(_SETTING, signed("b", 1.0)),
        form=lambda p, x: p["K"] * power(x["D"], p["b"]),
        natural=_setting_natural("batch"),
        columns=("D",),
        target="batch",
        linear=("K",),
        distinct={"D": 2},
    ),
    Law(
        name="lr_batch_surface",
        formula="E + A N^-alpha + B D^-beta + hr r^2 + hb q^2 + 2 tilt sqrt(hr hb) r q, "
        "r = ln lr - r0 - rN ln N - rD ln D, q = ln batch - b0 - bN ln N - bD ln D",
        source="quadratic surface around the best setting; its valley is Li et al. 2025 "
        "(arXiv:2503.04715), eq. 1",
        parameters=(
            floor(),
            coefficient("A"),
            coefficient("B"),
            exponent("alpha"),
            exponent("beta"),
            Parameter("hr", "log", **_STEEPNESS),
            Parameter("hb", "log", **_STEEPNESS),
            Parameter("tilt", "identity", start=(-0.5, 0.5), bounds=(-0.999, 0.999)),
            *(signed(name, 0.5) for name in ("r0", "rN", "rD", "b0", "bN", "bD")),
        ),
        form=_surface_form,
        natural=_surface_natural,
        columns=("N", "D", "lr", "batch"),
        linear=("E", "A", "B"),
        distinct={"N": 3, "D": 3, "lr": 3, "batch": 3},
    ),
    Law(
        name="critical_batch",
        formula="Smin (1 + Bcrit / batch)",
        source="McCandlish et al. 2018 (arXiv:1812.06162), section 2: steps to one loss",
        parameters=(scale("Smin", 0.1, 2.0), scale("Bcrit", 0.05, 20.0)),
        form=lambda p, x: p["Smin"] * (1 + p["Bcrit"] / x["batch"]),
        natural=lambda p, c: {"Smin": p["Smin"] * c["steps"], "Bcrit": p["Bcrit"] * c["batch"]},
        columns=("batch",),
        target="steps",
        linear=("Smin",),
        distinct={"batch": 2},
    ),
)
