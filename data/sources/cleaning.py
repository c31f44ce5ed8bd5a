"""What of texts is altered, and which are left out, before they are split and trained on.

How alike two texts are is the Jaccard index of their shingles: all 8 bytes that follow one another,
in one case and with single spaces. It is estimated from 128 minima of hashes (MinHash: Broder 1997,
"On the resemblance and containment of documents"), so with a standard error of at most .044; what
to compare at all is found by bands of them (Leskovec, Rajaraman and Ullman, "Mining of massive
datasets", section 3.4). Texts that are nearly the same are common, and models learn them by heart
(Lee et al. 2022, "Deduplicating training data makes language models better").

A text takes some 1.4 kB of memory however long it is. Nothing is drawn, so what is kept is a
function of the texts and their order.
"""

import dataclasses
import hashlib
import unicodedata
from collections import Counter
from collections.abc import Iterable

import numpy as np

FORMS = ("none", "NFC", "NFKC")
SHINGLE = 8  # bytes, which are a number of 64 bits; the book advises 5 for mails, 9 for articles
HASHES = 128
MISSED = 0.01  # of pairs that are just as alike as said, at most this share is not compared
AT_ONCE = 512  # shingles, whose hashes stay in the processor's cache
LEAST = 0.5  # any less alike are texts of one kind
VERSION = 1  # of all this
# An odd multiplier and an offset for each hash.
WORDS = np.frombuffer(hashlib.shake_128(b"minhash").digest(16 * HASHES), "<u8").reshape(HASHES, 2)
MULTIPLIERS, OFFSETS = WORDS[:, 0] | np.uint64(1), WORDS[:, 1]


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """How texts are cleaned. Where anything is asked for, copies of a text are left out too."""

    unicode: str  # "NFC" or "NFKC", the form that texts are brought into (UAX 15), or "none"
    shortest: int  # texts of fewer bytes are left out; 0 = none
    longest: int  # texts of more bytes are left out; 0 = none
    # Texts as alike as this to an earlier one are left out: 1 = the same but for case and spaces,
    # 0.8 = nearly the same; 0 = none.
    similar: float

    def __post_init__(self):
        if self.unicode not in FORMS:
            raise ValueError(f"unicode: {self.unicode!r}; allowed: {', '.join(FORMS)}")
        if self.shortest < 0:
            raise ValueError(f"shortest: {self.shortest}; allowed: at least 0")
        if self.longest and self.longest < max(1, self.shortest):
            raise ValueError(f"longest: {self.longest}; allowed: 0 (any), or at least the shortest")
        if self.similar and not LEAST <= self.similar <= 1:
            raise ValueError(f"similar: {self.similar}; allowed: 0 (any), or {LEAST} to 1")

    def normal(self, text: str) -> str:
        """A text in its Unicode form."""
        return text if self.unicode == "none" else unicodedata.normalize(self.unicode, text)

    def identity(self) -> list:
        """What a cache's name holds of this: nothing where nothing is asked for."""
        return [] if self == NOTHING else [VERSION, dataclasses.asdict(self)]

    def kept(self, rows: Iterable[tuple[str, ...]]) -> tuple[np.ndarray, str]:
        """Which rows stay, bool [n], and in words how many do not; "" where all do.

        A row is one text or several, in their Unicode form; each must be long and short enough, and
        they are alike together.
        """
        why, seen, prints = [], set(), []
        for texts in rows:
            whole = "\n".join(map(same, texts) if self.similar else texts).encode()
            digest = hashlib.sha256(whole).digest()
            why.append(self._refused(texts) or ("like others" if digest in seen else ""))
            if not why[-1]:
                seen.add(digest)
                if 0 < self.similar < 1:
                    prints.append(signature(whole))
        stays = np.array([not reason for reason in why], bool)
        if prints:
            again = np.flatnonzero(stays)[~_distinct(np.stack(prints), self.similar)]
            stays[again] = False
            why += ["like others"] * len(again)
        counts = [f"{count:,} {reason}" for reason, count in Counter(why).items() if reason]
        left_out = f"{(~stays).sum():,} of {len(stays):,} left out"
        return stays, f"{left_out}: {', '.join(counts)}" if counts else ""

    def _refused(self, texts: tuple[str, ...]) -> str:
        sizes = [len(text.encode()) for text in texts]
        if min(sizes) < self.shortest or not all(text.strip() for text in texts):
            return "too short"
        return "too long" if self.longest and max(sizes) > self.longest else ""


NOTHING = Cleaning(unicode="none", shortest=0, longest=0, similar=0.0)
# What a data set's NEWER has of this, see data.newer.
NEWER = {"cleaning": dataclasses.asdict(NOTHING)}


def same(text: str) -> str:
    """What is equal of texts that differ in case and spaces alone."""
    return " ".join(text.casefold().split())


def signature(text: bytes) -> np.ndarray:
    """The least of each hash over all shingles of a text, uint32 [128]: MinHash."""
    text = text.ljust(SHINGLE, b"\0")
    shingles = np.ndarray(len(text) - SHINGLE + 1, "<u8", text, strides=1)
    least = np.full(HASHES, np.iinfo(np.uint32).max, np.uint32)
    for start in range(0, len(shingles), AT_ONCE):
        mixed = shingles[start : start + AT_ONCE] * np.uint64(0x9E3779B97F4A7C15)  # modulo 2**64
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed ^= mixed >> np.uint64(32)
        hashes = mixed * MULTIPLIERS[:, None] + OFFSETS[:, None]
        np.minimum(least, (hashes.min(axis=1) >> np.uint64(32)).astype(np.uint32), out=least)
    return least


def _band(similar: float) -> int:
    """Hashes in a band: the most, for the fewest comparisons, with which few pairs are missed."""

    def missed(size: int) -> float:
        return (1 - similar**size) ** (HASHES // size)

    return max(size for size in range(1, 17) if missed(size) <= MISSED)


def _distinct(signatures: np.ndarray, similar: float) -> np.ndarray:
    """Which of the signatures uint32 [n, 128] are as alike as that to none before them, bool [n].

    Two are compared where all hashes of a band are equal; the share of all that are is how alike.
    Of those that stay no two that are compared are as alike.
    """
    size, stays = _band(similar), np.ones(len(signatures), bool)
    for start in range(0, HASHES - size + 1, size):
        rows = np.flatnonzero(stays)
        band = signatures[rows, start : start + size].astype(np.uint64)
        keys = (band * MULTIPLIERS[:size]).sum(axis=1)  # equal ones of unequal bands do no harm
        _, group, count = np.unique(keys, return_inverse=True, return_counts=True)
        rows, group = rows[count[group] > 1], group[count[group] > 1]
        rows, group = rows[np.argsort(group, kind="stable")], np.sort(group)
        for members in np.split(rows, np.flatnonzero(np.diff(group)) + 1):
            while len(members) > 1:
                first, members = members[0], members[1:]
                alike = (signatures[members] == signatures[first]).mean(axis=1) >= similar
                stays[members[alike]] = False
                members = members[~alike]
    return stays
