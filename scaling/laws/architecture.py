"""Loss when more than the size changes: shape, experts, sparsity, precision."""

from scaling.laws.law import Law, Parameter, coefficient, exponent, floor, power, scale, signed, xp
from scaling.laws.size import chinchilla_natural


def _width_depth_natural(p, c):
    columns = {"A": ("width", "alpha"), "B": ("depth", "beta")}
    columns |= {"G": ("N", "gamma"), "H": ("D", "delta")}
    natural = {**p, "E": p["E"] * c["loss"]}
    for name, (column, power_name) in columns.items():
        natural[name] = p[name] * c["loss"] * power(c[column], p[power_name])
    return natural


def _experts_hat(p, experts):
    """Experts after saturation: `start` of them help like one, never more than `most` count."""
    return 1 / (1 / (experts - 1 + 1 / (1 / p["start"] - 1 / p["most"])) + 1 / p["most"])


def _routed_form(p, x):
    size, experts = xp.log(x["N"]), xp.log(_experts_hat(p, x["experts"]))
    return xp.exp(p["d"] - p["a"] * size - p["b"] * experts + p["c"] * size * experts)


def _routed_natural(p, c):
    size = xp.log(c["N"])
    return {
        **p,
        "b": p["b"] + p["c"] * size,
        "d": p["d"] + p["a"] * size + xp.log(c["loss"]),
    }


def _sparsity_form(p, x):
    active = 1 - x["S"]
    return (
        p["E"]
        + p["A"] * power(x["N"], -p["alpha"])
        + p["B"] * power(x["D"], -p["beta"])
        + p["G"] * power(active, p["lam"])
        + p["H"] * power(active, p["delta"]) * power(x["N"], -p["gamma"])
    )


def _sparsity_natural(p, c):
    return {
        **p,
        **chinchilla_natural(p, c),
        "G": p["G"] * c["loss"],
        "H": p["H"] * c["loss"] * power(c["N"], p["gamma"]),
    }


def _precision_form(p, x):
    size = x["N"]
    for kind in ("w", "a", "kv"):
        size = size * -xp.expm1(-x[f"P{kind}"] / p[f"gamma_{kind}"])
    return p["E"] + p["A"] * power(size, -p["alpha"]) + p["B"] * power(x["D"], -p["beta"])


def _quantisation_natural(p, c):
    size, data = power(c["N"], p["gammaN"]), power(c["D"], -p["gammaD"])
    return {**p, "A": p["A"] * c["degradation"] * size * data}


def _bits(name: str) -> Parameter:
    return Parameter(name, "log", start=(0.5, 8.0), bounds=(0.05, 100.0))


ARCHITECTURE_LAWS = (
    Law(
        name="width_depth",
        formula="E + A width^-alpha + B depth^-beta + G N^-gamma + H D^-delta",
        source="McLeish et al. 2025 (arXiv:2502.06857), width-depth law",
        parameters=(
            floor(),
            *map(coefficient, "ABGH"),
            *map(exponent, ("alpha", "beta", "gamma", "delta")),
        ),
        form=lambda p, x: (
            p["E"]
            + p["A"] * power(x["width"], -p["alpha"])
            + p["B"] * power(x["depth"], -p["beta"])
            + p["G"] * power(x["N"], -p["gamma"])
            + p["H"] * power(x["D"], -p["delta"])
        ),
        natural=_width_depth_natural,
        columns=("N", "D", "width", "depth"),
        linear=("E", "A", "B", "G", "H"),
        distinct={"N": 3, "D": 3, "width": 3, "depth": 3},
    ),
    Law(
        name="routed",
        formula="exp(d - a ln N - b ln X + c ln N ln X), "
        "1/X = 1/(experts - 1 + 1/(1/start - 1/most)) + 1/most",
        source="Clark et al. 2022 (arXiv:2202.01169), eq. 1 with experts that saturate, "
        "natural logarithms",
        parameters=(
            Parameter("a", "log", start=(0.02, 0.5), bounds=(1e-4, 3.0)),
            signed("b", 0.2),
            signed("c", 0.05),
            signed("d", 0.5),
            Parameter("start", "log", start=(1.0, 4.0), bounds=(0.5, 50.0)),
            Parameter("most", "log", start=(100.0, 2e3), bounds=(51.0, 1e8)),
        ),
        form=_routed_form,
        natural=_routed_natural,
        columns=("N", "experts"),
        distinct={"N": 2, "experts": 4},
        uncentred=("experts",),
    ),
    Law(
        name="experts",
        formula="E + A N^-alpha experts^-beta",
        source="power law of Clark et al. 2022 (arXiv:2202.01169), eq. 1 without interaction, with "
        "a floor",
        parameters=(floor(), coefficient("A"), exponent("alpha"), exponent("beta")),
        form=lambda p, x: (
            p["E"] + p["A"] * power(x["N"], -p["alpha"]) * power(x["experts"], -p["beta"])
        ),
        natural=lambda p, c: {
            **p,
            "E": p["E"] * c["loss"],
            "A": p["A"] * c["loss"] * power(c["N"], p["alpha"]),
        },
        columns=("N", "experts"),
        linear=("E", "A"),
        distinct={"N": 3, "experts": 2},
        uncentred=("experts",),
    ),
    Law(
        name="sparsity",
        formula="E + A N^-alpha + B D^-beta + G (1-S)^lam + H (1-S)^delta N^-gamma",
        source="Abnar et al. 2025 (arXiv:2501.12370), parametric law; lam and delta of either sign",
        parameters=(
            floor(),
            *map(coefficient, "ABGH"),
            exponent("alpha"),
            exponent("beta"),
            exponent("gamma"),
            signed("lam", 1.0),
            signed("delta", 1.0),
        ),
        form=_sparsity_form,
        natural=_sparsity_natural,
        columns=("N", "D", "S"),
        linear=("E", "A", "B", "G", "H"),
        distinct={"N": 3, "D": 3, "S": 3},
        nonnegative=("S",),
    ),
    Law(
        name="precision",
        formula="E + A Neff^-alpha + B D^-beta, Neff = N prod_i (1 - exp(-P_i/gamma_i)), "
        "i = weights w, activations a, cache kv; P in bits",
        source="Kumar et al. 2024 (arXiv:2411.04330), section 4: training in low precision",
        parameters=(
            floor(),
            coefficient("A"),
            coefficient("B"),
            exponent("alpha"),
            exponent("beta"),
            *map(_bits, ("gamma_w", "gamma_a", "gamma_kv")),
        ),
        form=_precision_form,
        natural=lambda p, c: {**p, **chinchilla_natural(p, c)},
        columns=("N", "D", "Pw", "Pa", "Pkv"),
        linear=("E", "A", "B"),
        distinct={"N": 3, "D": 3, "Pw": 2, "Pa": 2, "Pkv": 2},
        uncentred=("Pw", "Pa", "Pkv"),
    ),
    Law(
        name="quantisation",
        formula="A D^gammaD N^-gammaN exp(-P/gamma)",
        source="Kumar et al. 2024 (arXiv:2411.04330), section 3: loss added by quantising to P "
        "bits after training",
        parameters=(scale("A", 0.1, 100.0), exponent("gammaD"), exponent("gammaN"), _bits("gamma")),
        form=lambda p, x: (
            p["A"]
            * power(x["D"], p["gammaD"])
            * power(x["N"], -p["gammaN"])
            * xp.exp(-x["P"] / p["gamma"])
        ),
        natural=_quantisation_natural,
        columns=("N", "D", "P"),
        target="degradation",
        linear=("A",),
        distinct={"N": 2, "D": 2, "P": 2},
        uncentred=("P",),
    ),
)
