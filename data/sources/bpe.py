"""A byte-level BPE (Sennrich et al. 2016; Radford et al. 2019) in a process of its own.

The library trains and encodes for minutes without a look at signals. Here it can be stopped at any
moment: its process ends with the block that uses it, and with this process, however that ends.

What passes between the two is a sequence of byte strings, each behind its length.
"""

import contextlib
import functools
import os
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

BYTES = 256
ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "data.sources.bpe")
LENGTH = struct.Struct("<q")
END = -1


@contextlib.contextmanager
def trained(
    texts: Iterable[bytes], size: int
) -> Iterator[tuple[Callable[[list[bytes]], list[np.ndarray]], list[bytes]]]:
    """A tokenizer of at most `size` tokens, trained on UTF-8 texts.

    Yields its encoder (a list of texts to one uint32 [T] each), and the bytes of each token. Raises
    OSError where its process ends, for example for want of memory.
    """
    with _process(str(size)) as process:
        pieces, _ = _learnt(process, texts)
        yield functools.partial(_encode, process), pieces


def written(texts: Iterable[bytes], size: int) -> tuple[list[bytes], bytes]:
    """The same tokenizer's tokens, and its tokenizer.json. Raises as `trained` does."""
    with _process(str(size)) as process:
        return _learnt(process, texts)


@contextlib.contextmanager
def loaded(path: Path) -> Iterator[Callable[[list[bytes]], list[np.ndarray]]]:
    """The encoder of a tokenizer.json, as `trained` gives one."""
    with _process(f"{path}") as process:
        yield functools.partial(_encode, process)


def _learnt(process: subprocess.Popen, texts: Iterable[bytes]) -> tuple[list[bytes], bytes]:
    _send(process.stdin, texts)
    *pieces, file = _receive(process.stdout)
    return pieces, file


def _encode(process: subprocess.Popen, texts: list[bytes]) -> list[np.ndarray]:
    _send(process.stdin, texts)
    return [np.frombuffer(ids, np.uint32) for ids in _receive(process.stdout)]


@contextlib.contextmanager
def _process(argument: str) -> Iterator[subprocess.Popen]:
    """The process that trains or loads a tokenizer. Raises OSError where it ends."""
    process = subprocess.Popen(
        [*COMMAND, argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,  # where this package is found, and no other of its name
        start_new_session=True,  # a signal to all processes of a terminal is ours to judge
    )
    try:
        yield process
    except (EOFError, BrokenPipeError):
        raise OSError(
            f"data.tokenizer: its process ended with exit code {process.wait()}"
        ) from None
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _send(pipe: BinaryIO, contents: Iterable[bytes]) -> None:
    for content in contents:
        pipe.write(LENGTH.pack(len(content)))
        pipe.write(content)
    pipe.write(LENGTH.pack(END))
    pipe.flush()


def _receive(pipe: BinaryIO) -> Iterator[bytes]:
    while (length := LENGTH.unpack(_exactly(pipe, LENGTH.size))[0]) != END:
        yield _exactly(pipe, length)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    content = pipe.read(length)
    if len(content) < length:
        raise EOFError
    return content


def _end_with(pipe: BinaryIO) -> None:
    """Ends this process when the other end of a pipe is closed."""
    poll = select.poll()
    poll.register(pipe, 0)  # asks for nothing, so that only the end is told
    poll.poll()
    os._exit(1)


def byte_of_character() -> dict[str, int]:
    """In a byte-level vocabulary every byte is written as one character: itself where that can be
    seen, else the next one from 256 on (Radford et al. 2019)."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), BYTES)]
    rest = [byte for byte in range(BYTES) if byte not in seen]
    return {chr(b): b for b in seen} | {chr(BYTES + i): b for i, b in enumerate(rest)}


def _serve(argument: str) -> None:
    """Trains or loads, then encodes until this process is ended."""
    from tokenizers import Tokenizer

    asked, answer = sys.stdin.buffer, sys.stdout.buffer
    threading.Thread(target=_end_with, args=[asked], daemon=True).start()
    if argument.isdecimal():
        tokenizer = _train(int(argument), asked, answer)
    else:
        try:
            tokenizer = Tokenizer.from_file(argument)
        except Exception as error:  # which is what the library raises
            sys.exit(f"data.tokenizer: {argument}: {error}")
    while True:
        texts = [text.decode() for text in _receive(asked)]
        encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        _send(answer, (np.asarray(one.ids, np.uint32).tobytes() for one in encoded))


def _train(size: int, asked: BinaryIO, answer: BinaryIO) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.train_from_iterator(
        (text.decode() for text in _receive(asked)),
        trainers.BpeTrainer(
            vocab_size=size,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    byte_of = byte_of_character()
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    pieces = (bytes(byte_of[character] for character in token) for token, _ in tokens)
    _send(answer, [*pieces, tokenizer.to_str().encode()])
    return tokenizer


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError):  # the other process is gone
        _serve(sys.argv[1])
