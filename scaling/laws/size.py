"""Loss against parameters N and training examples D."""

from scaling.laws.law import Law, Parameter, coefficient, exponent, floor, power, scale, xp

_CHINCHILLA_DISTINCT = {"N": 3, "D": 3}


def chinchilla_natural(p, c):
    """Parameters in a table's own units, from those fitted to columns divided by `c`."""
    return {
        "E": p["E"] * c["loss"],
        "A": p["A"] * c["loss"] * power(c["N"], p["alpha"]),
        "B": p["B"] * c["loss"] * power(c["D"], p["beta"]),
        "alpha": p["alpha"],
        "beta": p["beta"],
    }


def _tied_natural(p, c):
    full = chinchilla_natural({**p, "beta": p["alpha"]}, c)
    return {name: full[name] for name in ("E", "A", "B", "alpha")}


def _no_floor_natural(p, c):
    full = chinchilla_natural({**p, "E": 0.0}, c)
    return {name: full[name] for name in ("A", "B", "alpha", "beta")}


def _power_natural(p, c):
    return {"A": p["A"] * c["loss"] * power(c["N"], p["alpha"]), "alpha": p["alpha"]}


def _kaplan_form(p, x):
    by_size = power(p["Nc"] / x["N"], p["alphaN"] / p["alphaD"])
    return power(by_size + p["Dc"] / x["D"], p["alphaD"])


def _kaplan_natural(p, c):
    # A factor on the loss is a factor s^(1/alphaD) on both terms inside the bracket.
    inside = power(c["loss"], 1 / p["alphaD"])
    return {
        "Nc": p["Nc"] * c["N"] * power(inside, p["alphaD"] / p["alphaN"]),
        "Dc": p["Dc"] * c["D"] * inside,
        "alphaN": p["alphaN"],
        "alphaD": p["alphaD"],
    }


def _coupled_natural(p, c):
    by_size = power(c["N"], p["alpha"])
    return {
        "E": p["E"] * c["loss"],
        "A": p["A"] * c["loss"] * power(by_size, p["k"]),
        "R": p["R"] * power(c["D"], p["beta"]) / by_size,
        "alpha": p["alpha"],
        "beta": p["beta"],
        "k": p["k"],
    }


def _coupled_no_floor_natural(p, c):
    full = _coupled_natural({**p, "E": 0.0}, c)
    return {name: full[name] for name in ("A", "R", "alpha", "beta", "k")}


def _two_plateaus_form(p, x):
    below = p["E"] + p["A"] * power(x["N"], -p["alpha"]) + p["B"] * power(x["D"], -p["alpha"])
    return below / xp.sqrt(1 + (below / p["L0"]) ** 2)


SIZE_LAWS = (
    Law(
        name="power",
        formula="A N^-alpha",
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.1, A = Nc^alpha",
        parameters=(coefficient("A"), exponent("alpha")),
        form=lambda p, x: p["A"] * power(x["N"], -p["alpha"]),
        natural=_power_natural,
        columns=("N",),
        linear=("A",),
        distinct={"N": 2},
    ),
    Law(
        name="power_floor",
        formula="E + A N^-alpha",
        source="Henighan et al. 2020 (arXiv:2010.14701), eq. 1.1",
        parameters=(floor(), coefficient("A"), exponent("alpha")),
        form=lambda p, x: p["E"] + p["A"] * power(x["N"], -p["alpha"]),
        natural=lambda p, c: {"E": p["E"] * c["loss"], **_power_natural(p, c)},
        columns=("N",),
        linear=("E", "A"),
        distinct={"N": 3},
    ),
    Law(
        name="chinchilla",
        formula="E + A N^-alpha + B D^-beta",
        source="Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2",
        parameters=(
            floor(),
            coefficient("A"),
            coefficient("B"),
            exponent("alpha"),
            exponent("beta"),
        ),
        form=lambda p, x: (
            p["E"] + p["A"] * power(x["N"], -p["alpha"]) + p["B"] * power(x["D"], -p["beta"])
        ),
        natural=chinchilla_natural,
        linear=("E", "A", "B"),
        distinct=_CHINCHILLA_DISTINCT,
    ),
    Law(
        name="tied",
        formula="E + A N^-alpha + B D^-alpha",
        source="Gadre et al. 2024 (arXiv:2403.08540), eq. 4 written in N and D",
        parameters=(floor(), coefficient("A"), coefficient("B"), exponent("alpha")),
        form=lambda p, x: (
            p["E"] + p["A"] * power(x["N"], -p["alpha"]) + p["B"] * power(x["D"], -p["alpha"])
        ),
        natural=_tied_natural,
        linear=("E", "A", "B"),
        distinct={"N": 2, "D": 2},
    ),
    Law(
        name="coupled",
        formula="E + A (N^-alpha + R D^-beta)^k",
        source="Chinchilla with interaction: k = 1 is Hoffmann et al. 2022 (arXiv:2203.15556) eq. "
        "2, E = 0 and beta = 1 is Kaplan et al. 2020 (arXiv:2001.08361) eq. 1.5",
        parameters=(
            floor(),
            coefficient("A"),
            scale("R", 0.1, 10.0),
            exponent("alpha"),
            exponent("beta"),
            Parameter("k", "log", start=(0.3, 3.0), bounds=(0.02, 50.0)),
        ),
        form=lambda p, x: (
            p["E"]
            + p["A"]
            * power(power(x["N"], -p["alpha"]) + p["R"] * power(x["D"], -p["beta"]), p["k"])
        ),
        natural=_coupled_natural,
        linear=("E", "A"),
        distinct=_CHINCHILLA_DISTINCT,
    ),
    Law(
        name="coupled_no_floor",
        formula="A (N^-alpha + R D^-beta)^k",
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.5 with an exponent of its own for D",
        parameters=(
            coefficient("A"),
            scale("R", 0.1, 10.0),
            exponent("alpha"),
            exponent("beta"),
            Parameter("k", "log", start=(0.05, 1.0), bounds=(0.005, 50.0)),
        ),
        form=lambda p, x: (
            p["A"] * power(power(x["N"], -p["alpha"]) + p["R"] * power(x["D"], -p["beta"]), p["k"])
        ),
        natural=_coupled_no_floor_natural,
        linear=("A",),
        distinct=_CHINCHILLA_DISTINCT,
    ),
    Law(
        name="kaplan",
        formula="((Nc/N)^(alphaN/alphaD) + Dc/D)^alphaD",
        source="Kaplan et al. 2020 (arXiv:2001.08361), eq. 1.5",
        parameters=(
            scale("Nc", 1e-2, 10.0),
            scale("Dc", 1e-2, 10.0),
            exponent("alphaN"),
            exponent("alphaD"),
        ),
        form=_kaplan_form,
        natural=_kaplan_natural,
        distinct={"N": 2, "D": 2},
    ),
    Law(
        name="no_floor",
        formula="A N^-alpha + B D^-beta",
        source="Hoffmann et al. 2022 (arXiv:2203.15556), eq. 2 with E = 0",
        parameters=(coefficient("A"), coefficient("B"), exponent("alpha"), exponent("beta")),
        form=lambda p, x: p["A"] * power(x["N"], -p["alpha"]) + p["B"] * power(x["D"], -p["beta"]),
        natural=_no_floor_natural,
        linear=("A", "B"),
        distinct={"N": 2, "D": 2},
    ),
    Law(
        name="two_plateaus",
        formula="e / sqrt(1 + (e / L0)^2), e = E + A N^-alpha + B D^-alpha",
        source="Rosenfeld et al. 2020 (arXiv:1909.12673), from chance L0 to a floor; here with "
        "one exponent",
        parameters=(
            floor(),
            coefficient("A"),
            coefficient("B"),
            exponent("alpha"),
            Parameter("L0", "log", start=(1.2, 5.0), bounds=(1.0, 1e3)),
        ),
        form=_two_plateaus_form,
        natural=lambda p, c: {**_tied_natural(p, c), "L0": p["L0"] * c["loss"]},
        distinct={"N": 2, "D": 2},
    ),
)
