"""Which documents are held out for validation: by their names, else by a hash, in fair shares.

A hash of a document's key decides, never its place, so that a document stays on its side when
others are added. Where documents are few or uneven the hash may hold out next to nothing or most of
the text; then whole documents are chosen in the order of their hashes until their share of the
bytes is near 5%, and where none is small enough, the end of every document is held out.
"""

import hashlib
import re
from pathlib import PurePath

import numpy as np

SHARE = 0.05
LEAST, MOST = 0.01, 0.2  # shares of the bytes that are taken as they come
# What a name says of a document. Of two copies the one of the lower side is kept.
VALIDATION, TEST, TRAIN, UNNAMED = range(4)
WORDS = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "eval": VALIDATION,
    "test": TEST,
}
BY_NAME, BY_HASH = "by name", "by a hash of the content"
BY_SIZE, BY_TAIL = "chosen for their size", "the end of every document"


def draw(key: str | bytes) -> int:
    """A pseudo-random number below 2^64 that is a function of the key."""
    key = key.encode() if isinstance(key, str) else key
    return int.from_bytes(hashlib.sha256(b"split/" + key).digest()[:8], "big")


def is_validation(key: str | bytes) -> bool:
    """Whether documents of this key are held out: 5% of all keys."""
    return draw(key) < SHARE * 2**64


def named_side(path: PurePath) -> int:
    """The side that a file's name gives, or else the innermost of its folders that gives one.

    A name gives a side by its first or its last word, words being what stands between the
    characters `-`, `_`, `.` and digits: val.txt, train-00000-of-00005.jsonl, stories_valid.txt.
    """
    stem = path.name.split(".jsonl")[0].removesuffix(path.suffix)
    for name in (stem, *path.parent.parts[::-1]):
        words = [word for word in re.split(r"[-_.\d]+", name.lower()) if word not in ("", "of")]
        for word in words[:1] + words[-1:]:
            if word in WORDS:
                return WORDS[word]
    return UNNAMED


def held_out(
    size: np.ndarray, draws: np.ndarray, named: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray, str]:
    """Chooses the documents to hold out.

    Args:
      size: bytes of each document [n].
      draws: `draw` of each document's key, uint64 [n].
      named: side that each document's name gives [n].

    Returns:
      Which are held out, bool [n], or None where the end of every document is; which are for
      neither side, bool [n]; and how this was decided, in words.
    """
    for side in (VALIDATION, TEST):
        chosen = named == side
        # Where a validation side is named, a test side is for neither.
        rest = ~chosen & (named != TEST)
        if chosen.any() and rest.any():
            return chosen, ~chosen & ~rest, BY_NAME
    nobody, free, total = np.zeros(len(size), bool), named != TRAIN, size.sum()

    def is_fair(chosen: np.ndarray) -> bool:
        return LEAST * total <= size[chosen].sum() <= MOST * total

    chosen = free & (draws < np.uint64(SHARE * 2**64))
    if is_fair(chosen):
        return chosen, nobody, BY_HASH
    for most in (2 * SHARE, MOST):
        chosen, taken = nobody.copy(), 0
        for i in np.argsort(draws):
            if free[i] and taken < SHARE * total and taken + size[i] <= most * total:
                chosen[i], taken = True, taken + size[i]
        if is_fair(chosen):
            return chosen, nobody, BY_SIZE
    return None, nobody, BY_TAIL


def cut(text: bytes) -> int:
    """Where the last 5% of a text begins: after a line if one ends nearby, else at a character."""
    place = int(len(text) * (1 - SHARE))
    before = text.rfind(b"\n", int(len(text) * (1 - 2 * SHARE)), place) + 1
    if after := text.find(b"\n", place, len(text) - 1) + 1:
        return after
    if before:
        return before
    while place > 0 and text[place] & 0xC0 == 0x80:  # inside a character of UTF-8
        place -= 1
    return place
