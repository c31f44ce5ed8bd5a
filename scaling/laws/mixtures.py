"""Loss on one domain against the proportions of all domains in what was trained on."""

from scaling.laws.law import Law, coefficient, floor, signed, xp

MOST = 5  # domains


def mixture(domains: int) -> Law:
    """The law of so many domains: the last one is what the columns r1, r2, .. leave."""
    columns = tuple(f"r{i}" for i in range(1, domains))
    rates = tuple(f"t{i}" for i in range(1, domains))
    terms = " + ".join(f"{rate} {column}" for rate, column in zip(rates, columns))
    return Law(
        name=f"mixture{domains}",
        formula=f"E + K exp({terms})",
        source="Ye et al. 2024 (arXiv:2403.16952), eq. 1 and 6, one fit a domain whose loss it is",
        parameters=(floor(), coefficient("K"), *(signed(rate, 3.0) for rate in rates)),
        form=lambda p, x: (
            p["E"] + p["K"] * xp.exp(sum(p[t] * x[r] for t, r in zip(rates, columns)))
        ),
        natural=lambda p, c: {**p, "E": p["E"] * c["loss"], "K": p["K"] * c["loss"]},
        columns=columns,
        linear=("E", "K"),
        distinct=dict.fromkeys(columns, 3),
        nonnegative=columns,
    )


MIXTURE_LAWS = tuple(map(mixture, range(2, MOST + 1)))
