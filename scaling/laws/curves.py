"""Loss along one training, or against one size with breaks: curves that are no single power."""

from scaling.laws.law import Law, Parameter, coefficient, exponent, floor, power, scale, signed, xp

_SHARPNESS = (0.02, 5.0)


def _m4_form(p, x):
    """Root of (L - E) = beta N^-c (L0 - L)^alpha, found in the logit of (L - E) / (L0 - E)."""
    height = p["L0"] - p["E"]
    aim = xp.log(p["beta"]) - p["c"] * xp.log(x["N"]) + (p["alpha"] - 1) * xp.log(height)

    def newton(z):
        share = xp.sigmoid(z)
        rise = -xp.softplus(-z) + p["alpha"] * xp.softplus(z) - aim
        return z - rise / ((1 - share) + p["alpha"] * share)

    goal = z = xp.stop_gradient(aim)
    alpha = xp.stop_gradient(p["alpha"])
    for _ in range(25):  # monotone and nearly linear on either side: Newton cannot leave
        share = xp.sigmoid(z)
        rise = -xp.softplus(-z) + alpha * xp.softplus(z) - goal
        z = xp.stop_gradient(z - rise / ((1 - share) + alpha * share))
    # One differentiated step more makes the derivatives exact at the root.
    return p["E"] + height * xp.sigmoid(newton(z))


def _m4_natural(p, c):
    return {
        "E": p["E"] * c["loss"],
        "L0": p["L0"] * c["loss"],
        "beta": p["beta"] * power(c["N"], p["c"]) * power(c["loss"], 1 - p["alpha"]),
        "c": p["c"],
        "alpha": p["alpha"],
    }


def _break(x, place, sharpness, change):
    """(1 + (x/place)^(1/sharpness))^(-change sharpness), without overflow far above the break."""
    return xp.exp(-change * sharpness * xp.softplus(xp.log(x / place) / sharpness))


def _bnsl1_form(p, x):
    bend = _break(x["N"], p["d1"], p["f1"], p["c1"])
    return p["E"] + p["b"] * power(x["N"], -p["c0"]) * bend


def _bnsl2_form(p, x):
    bend = _break(x["N"], p["d1"] * p["ratio"], p["f2"], p["c2"])
    bend = bend * _break(x["N"], p["d1"], p["f1"], p["c1"])
    return p["E"] + p["b"] * power(x["N"], -p["c0"]) * bend


def _bnsl_natural(p, c):
    return {
        **p,
        "E": p["E"] * c["loss"],
        "b": p["b"] * c["loss"] * power(c["N"], p["c0"]),
        "d1": p["d1"] * c["N"],
    }


def _annealing_natural(p, c):
    return {
        "L0": p["L0"] * c["loss"],
        "A": p["A"] * c["loss"] * power(c["S1"], p["alpha"]),
        "C": p["C"] * c["loss"],
        "alpha": p["alpha"],
    }


def _multi_power_form(p, x):
    # Rows x knots: every earlier drop of the learning rate has lowered the loss by now.
    reach = p["C"] * power(x["after"], -p["gamma"]) * x["rest"]
    gain = xp.sum(x["drop"] * (1 - power(1 + reach, -p["beta"])), axis=-1)
    return p["L0"] + p["A"] * power(x["S1"] + p["SW"], -p["alpha"]) - p["B"] * gain


def _multi_power_natural(p, c):
    return {
        **p,
        "L0": p["L0"] * c["loss"],
        "A": p["A"] * c["loss"] * power(c["S1"], p["alpha"]),
        "SW": p["SW"] * c["S1"],
        "B": p["B"] * c["loss"],
        "C": p["C"] / c["S1"],
    }


def _sharpness(name: str) -> Parameter:
    return Parameter(name, "log", start=(0.1, 1.0), bounds=_SHARPNESS)


CURVE_LAWS = (
    Law(
        name="m4",
        formula="root of (L - E) / (L0 - L)^alpha = beta N^-c",
        source="Alabdulmohsin et al. 2022 (arXiv:2209.06640), estimator M4",
        parameters=(
            floor(),
            Parameter("L0", "log", start=(1.2, 5.0), bounds=(1.0, 1e3)),
            scale("beta", 0.05, 5.0),
            exponent("c"),
            Parameter("alpha", "log", start=(0.2, 3.0), bounds=(0.01, 20.0)),
        ),
        form=_m4_form,
        natural=_m4_natural,
        columns=("N",),
        distinct={"N": 5},
    ),
    Law(
        name="bnsl1",
        formula="E + b N^-c0 (1 + (N/d1)^(1/f1))^(-c1 f1)",
        source="Caballero et al. 2023 (arXiv:2210.14891), eq. 1 with one break",
        parameters=(
            floor(),
            coefficient("b"),
            exponent("c0"),
            signed("c1", 0.5),
            scale("d1", 0.05, 20.0),
            _sharpness("f1"),
        ),
        form=_bnsl1_form,
        natural=_bnsl_natural,
        columns=("N",),
        linear=("E", "b"),
        distinct={"N": 6},
    ),
    Law(
        name="bnsl2",
        formula="E + b N^-c0 (1 + (N/d1)^(1/f1))^(-c1 f1) (1 + (N/(d1 ratio))^(1/f2))^(-c2 f2)",
        source="Caballero et al. 2023 (arXiv:2210.14891), eq. 1 with two breaks, d2 = d1 ratio",
        parameters=(
            floor(),
            coefficient("b"),
            exponent("c0"),
            signed("c1", 0.5),
            signed("c2", 0.5),
            scale("d1", 0.01, 2.0),
            # Above 1, or the two breaks could change places.
            Parameter("ratio", "log", start=(3.0, 300.0), bounds=(1.0, 1e9)),
            _sharpness("f1"),
            _sharpness("f2"),
        ),
        form=_bnsl2_form,
        natural=_bnsl_natural,
        columns=("N",),
        linear=("E", "b"),
        distinct={"N": 9},
    ),
    Law(
        name="annealing",
        formula="L0 + A S1^-alpha - C S2",
        source="Tissue et al. 2024 (arXiv:2408.11029), eq. 1; S1, S2 from scaling.runs.schedules",
        parameters=(floor("L0"), coefficient("A"), scale("C", 0.01, 10.0), exponent("alpha")),
        form=lambda p, x: p["L0"] + p["A"] * power(x["S1"], -p["alpha"]) - p["C"] * x["S2"],
        natural=_annealing_natural,
        columns=("S1", "S2"),
        linear=("L0", "A", "C"),
        distinct={"S1": 3, "S2": 2},
        nonnegative=("S2",),
        schedules=True,
    ),
    Law(
        name="multi_power",
        formula="L0 + A (S1 + SW)^-alpha "
        "- B sum_k drop_k (1 - (1 + C after_k^-gamma rest_k)^-beta)",
        source="Luo et al. 2025 (arXiv:2503.12811), multi-power law; see scaling.runs.schedules",
        parameters=(
            floor("L0"),
            coefficient("A"),
            scale("SW", 0.01, 0.5),
            scale("B", 10.0, 1e3),
            scale("C", 0.1, 10.0),
            exponent("alpha"),
            Parameter("beta", "log", start=(0.1, 1.0), bounds=(1e-2, 10.0)),
            Parameter("gamma", "log", start=(0.1, 1.0), bounds=(1e-2, 5.0)),
        ),
        form=_multi_power_form,
        natural=_multi_power_natural,
        columns=("S1", "drop", "after", "rest"),
        linear=("L0", "A", "B"),
        distinct={"S1": 8},
        uncentred=("drop", "after"),
        centred_as={"rest": "S1"},
        wide=("drop", "after", "rest"),
        schedules=True,
    ),
)
