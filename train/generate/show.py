"""What `python -m train.generate` prints: texts as they come."""

import sys
import unicodedata
from collections.abc import Callable, Iterable

import numpy as np

from train.generate.writing import Written

_UNKNOWN = "\ufffd"  # stands for bytes that are no character, or not yet


def show_texts(
    begun: list[str], parts: Iterable[Written], decode: Callable[[np.ndarray], str]
) -> Written:
    """Prints texts from their beginnings on, one as it is written, several when they are. Gives
    the last of the parts.

    Args:
      begun: what each begins with.
      parts: all so far, again and again; of several texts, or if what is written may still change,
        once.
      decode: token ids to text.
    """
    if len(begun) == 1:
        print(printable(begun[0]), end="", flush=True)
        said = ""
        for part in parts:
            text = decode(part.tokens[0])
            whole = text.rstrip(_UNKNOWN)  # a character's last bytes may be yet to come
            print(printable(whole[len(said) :]), end="", flush=True)
            said = whole
        print(printable(text[len(said) :]), flush=True)
        return part
    (part,) = parts
    for n, (beginning, tokens) in enumerate(zip(begun, part.tokens), 1):
        print(f"--- {n}\n{printable(beginning + decode(tokens))}")
    return part


def show_full(last: Written, room: int, most: int) -> None:
    """Says of how many texts the context ended before they did."""
    full = sum(
        not ended and (not most or len(tokens) < most)
        for tokens, ended in zip(last.tokens, last.ended)
    )
    if full:
        text = "the text stops" if len(last.tokens) == 1 else f"{full} texts stop"
        print(
            f"note: {text} where the context does that the run was trained on, {room} tokens",
            file=sys.stderr,
        )


def printable(text: str) -> str:
    """A text in which all that would steer a terminal is escaped, but for tabs and new lines."""
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c)[0] == "C" and c not in "\t\n"
        else c
        for c in text
    )
