"""The table of laws. A new law is one entry in one of these modules and one test case."""

from scaling.laws.architecture import ARCHITECTURE_LAWS
from scaling.laws.curves import CURVE_LAWS
from scaling.laws.encoder_decoder import ENCODER_DECODER_LAWS
from scaling.laws.law import Law, Parameter
from scaling.laws.mixtures import MIXTURE_LAWS
from scaling.laws.published import PUBLISHED, Published
from scaling.laws.size import SIZE_LAWS
from scaling.laws.training import TRAINING_LAWS
from scaling.laws.transfer import TRANSFER_LAWS

LAWS: dict[str, Law] = {
    law.name: law
    for law in (
        *SIZE_LAWS,
        *CURVE_LAWS,
        *TRAINING_LAWS,
        *ARCHITECTURE_LAWS,
        *ENCODER_DECODER_LAWS,
        *MIXTURE_LAWS,
        *TRANSFER_LAWS,
    )
}

__all__ = ["LAWS", "PUBLISHED", "Law", "Parameter", "Published"]
