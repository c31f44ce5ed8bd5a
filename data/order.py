"""The order of training examples: a pseudo-random permutation that can be read at any place.

A Feistel network over 2k bits is a bijection for any round function (Luby and Rackoff 1988, "How to
construct pseudorandom permutations"); k is the least with 4**k >= n, and an output >= n is fed back
until it falls below n (cycle walking: Black and Rogaway 2002), which happens after fewer than four
steps on average. No state and no table: any step of any epoch is a random access.
"""

import hashlib
from collections.abc import Iterable

import numpy as np

VERSION = 2  # of the order, a part of the digest of all data that are read in it
ROUNDS = 6
ROW_DOMAIN = 2  # of the counter-based generators of a seed; data.regression has 0 and 1


def permute(positions: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """Where a permutation of range(n), keyed by (seed, epoch), sends each of `positions`.

    positions: integers in [0, n), any shape; the result is int64 of the same shape. n < 2**62.
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    # One odd multiplier and one offset a round, each round's from a hash of its own.
    keys = (f"{VERSION}/{seed}/{epoch}/{i}".encode() for i in range(ROUNDS))
    hashes = b"".join(hashlib.sha256(key).digest()[:16] for key in keys)
    words = np.frombuffer(hashes, dtype="<u8").reshape(ROUNDS, 2)
    result = np.array(positions, dtype=np.uint64)
    walking = np.ones(result.shape, bool)
    while walking.any():
        values = result[walking]
        left, right = values >> half, values & mask
        for multiplier, offset in words:
            mixed = (right ^ offset) * (multiplier | np.uint64(1))  # wraps modulo 2**64
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        result[walking] = (left << half) | right
        walking &= result >= np.uint64(n)
    return result.astype(np.int64)


def shard_rows(batch_size: int, shard: tuple[int, int]) -> range:
    """The rows of a global batch that host `shard` = (k, K) holds: k*B/K up to (k+1)*B/K.

    Raises ValueError unless 0 <= k < K and K divides the batch.
    """
    index, count = shard
    if not 0 <= index < count:
        raise ValueError(f"shard: {shard}; allowed: (k, K) with 0 <= k < K")
    if batch_size < 1 or batch_size % count:
        raise ValueError(f"batch_size: {batch_size}; allowed: a positive multiple of {count} hosts")
    rows = batch_size // count
    return range(index * rows, (index + 1) * rows)


def example_indices(
    seed: int, step: int, batch_size: int, shard: tuple[int, int], n: int
) -> np.ndarray:
    """The examples, int64 [B / K], that batch `step` of an n-example training set holds.

    Example number i = step * batch_size + row has position i % n in epoch i // n, whatever the
    batch size and the number of hosts.
    """
    rows = shard_rows(batch_size, shard)
    numbers = step * batch_size + np.arange(rows.start, rows.stop, dtype=np.int64)
    epochs, positions = np.divmod(numbers, n)
    result = np.empty_like(numbers)
    for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
        chosen = epochs == epoch
        result[chosen] = permute(positions[chosen], n, seed, epoch)
    return result


def rngs(seed: int, step: int, rows: Iterable[int]) -> list[np.random.Generator]:
    """A generator for each of the `rows` of global batch `step`: for augmentation, or synthesis.

    It is a function of (seed, step, row) alone, so what is drawn survives a resume and does not
    depend on the number of hosts. No two share a draw before the 2**64th (counter-based: Salmon et
    al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
    """
    key = np.array([seed, ROW_DOMAIN], np.uint64)
    counters = (np.array([0, 0, row, step], np.uint64) for row in rows)
    return [np.random.Generator(np.random.Philox(key=key, counter=each)) for each in counters]


def eval_rows(index: int, batch_size: int, n: int) -> range:
    """The evaluation examples of batch `index`: fewer than `batch_size` in the last one.

    Raises ValueError where there is no such batch.
    """
    if batch_size < 1 or not 0 <= index * batch_size < n:
        raise ValueError(f"eval batch {index} of size {batch_size}: there are {n} examples")
    return range(index * batch_size, min((index + 1) * batch_size, n))


def pad(batch: dict[str, np.ndarray], batch_size: int) -> dict[str, np.ndarray]:
    """The batch with rows of zeros (weight 0 among them) after its own up to `batch_size`."""
    missing = batch_size - len(batch["weight"])
    if not missing:
        return batch
    return {
        name: np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])
        for name, rows in batch.items()
    }
