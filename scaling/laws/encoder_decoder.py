"""Loss when an encoder and a decoder have sizes of their own."""

from scaling.laws.law import Law, coefficient, exponent, floor, power


def _natural(p, c):
    size = power(c["N_enc"], p["pe"]) * power(c["N_dec"], p["pd"])
    return {**p, "E": p["E"] * c["loss"], "A": p["A"] * c["loss"] * size}


ENCODER_DECODER_LAWS = (
    Law(
        name="encoder_decoder",
        formula="E + A N_enc^-pe N_dec^-pd",
        source="Ghorbani et al. 2021 (arXiv:2109.07740), bivariate law with its reference sizes "
        "taken into A; parameters without embedding and head, all runs on the same data",
        parameters=(floor(), coefficient("A"), exponent("pe"), exponent("pd")),
        form=lambda p, x: (
            p["E"] + p["A"] * power(x["N_enc"], -p["pe"]) * power(x["N_dec"], -p["pd"])
        ),
        natural=_natural,
        columns=("N_enc", "N_dec"),
        linear=("E", "A"),
        distinct={"N_enc": 3, "N_dec": 3},
    ),
)
