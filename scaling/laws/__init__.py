"""The table of laws. A new law is one entry in one of these modules and one test."""

from scaling.laws.law import Law, Parameter
from scaling.laws.published import PUBLISHED, Published
from scaling.laws.size import SIZE_LAWS

LAWS: dict[str, Law] = {law.name: law for law in SIZE_LAWS}

__all__ = ["LAWS", "PUBLISHED", "Law", "Parameter", "Published"]
