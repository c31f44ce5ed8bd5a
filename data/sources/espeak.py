"""Speech that the synthesiser eSpeak NG makes of texts: its library, in a process of its own.

The library is native code of a pinned wheel and the one part of a package that is run here. What it
says of a text depends on those that it said before, by a few samples; a fresh process with the same
texts in the same order gives the same bytes. So texts are spoken in lists, each in a new process.
Where each phoneme begins, the library says itself.
"""

import ctypes
import itertools
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.sources import wheel

ROOT = Path(__file__).parents[2]
PACKAGE, LIBRARY = "espeakng_loader", "libespeak-ng.so"
# espeak-ng/speak_lib.h
RETRIEVAL, SYNCHRONOUS_BUFFER, CHARACTERS, UTF8 = 1, 200, 1, 1
SAY_PHONEMES, END, PHONEME = 1, 0, 7  # an option, and kinds of events
STRESS = "',%="  # marks in the name of a phoneme
SECONDS = 600  # for a list to be spoken


class Spoken(NamedTuple):
    """A text as it was spoken."""

    samples: np.ndarray  # int16
    phonemes: list[str]  # the library's names of them, without stress
    starts: list[int]  # the sample with which each begins


class Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng/speak_lib.h."""

    _fields_ = (
        ("kind", ctypes.c_int),
        *((name, ctypes.c_int) for name in ("identifier", "place", "length", "time", "sample")),
        ("of_user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


def speak(texts: list[str], voices: str) -> tuple[list[Spoken], int]:
    """Each text in a voice of the library ("en-us"), or by turns in several, with a comma between
    them ("en-us,en-us+f4"); and the rate of the samples in Hz.

    Voices that breathe (en-us+f2, f3, f5 and Alicia are some) have noise in them that is another
    one each time: what is made of them can be used, but not made again.

    Raises ValueError where there is no such voice, OSError where the library cannot be fetched or
    does not work here.
    """
    names = voices.split(",")
    spoken = list(texts)
    with tempfile.TemporaryDirectory() as folder:
        for inside, content in wheel.members("espeakng", PACKAGE):
            if inside == LIBRARY or inside.startswith("espeak-ng-data/"):
                place = Path(folder) / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
        for turn, voice in enumerate(names):
            own = slice(turn, None, len(names))
            spoken[own], rate = _speak(texts[own], voice, folder)
    return spoken, rate


def _speak(texts: list[str], voice: str, folder: str) -> tuple[list[Spoken], int]:
    """Each text in one voice, by the library in a folder."""
    done = subprocess.run(
        [sys.executable, "-m", "data.sources.espeak"],
        input=json.dumps([folder, voice, texts]).encode(),
        cwd=ROOT,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode == 2:
        raise ValueError(f"data.source: espeak:{voice}; there is no such voice, as en-us is one")
    if done.returncode:
        reason = " ".join(done.stderr.decode(errors="replace").split())[-200:]
        raise OSError(f"data.source: espeak:{voice}; the library does not work here: {reason}")
    heading, _, audio = done.stdout.partition(b"\n")
    rate, lengths, phonemes = json.loads(heading)
    samples = np.split(np.frombuffer(audio, "<i2"), np.cumsum(lengths)[:-1])
    names = [[name.strip(STRESS) for _, name in one] for one in phonemes]
    starts = [[start for start, _ in one] for one in phonemes]
    return [Spoken(*each) for each in zip(samples, names, starts)], rate


def _main() -> int:
    """Of the process: [folder, voice, texts] as JSON to a line, [rate, lengths, of each text its
    phonemes as [start, name]], and samples."""
    folder, voice, texts = json.load(sys.stdin)
    library, said, phonemes = ctypes.CDLL(f"{folder}/{LIBRARY}"), [], []
    kinds = ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event)

    @ctypes.CFUNCTYPE(ctypes.c_int, *kinds)
    def hear(samples, count, events) -> int:
        if samples and count > 0:
            said[-1] += ctypes.string_at(samples, 2 * count)
        for event in itertools.takewhile(lambda event: event.kind != END, events):
            if event.kind == PHONEME:
                phonemes[-1].append([event.sample, event.name.decode(errors="replace")])
        return 0

    rate = library.espeak_Initialize(RETRIEVAL, SYNCHRONOUS_BUFFER, folder.encode(), SAY_PHONEMES)
    if rate <= 0:
        raise OSError("espeak_Initialize")
    library.espeak_SetSynthCallback(hear)
    if library.espeak_SetVoiceByName(voice.encode()):
        return 2
    for text in texts:
        said.append(bytearray())
        phonemes.append([])
        content = text.encode() + b"\0"
        error = library.espeak_Synth(content, len(content), 0, CHARACTERS, 0, UTF8, None, None)
        if error or library.espeak_Synchronize():
            raise OSError(f"espeak_Synth: {text!r}")
    lengths = [len(samples) // 2 for samples in said]
    sys.stdout.write(json.dumps([rate, lengths, phonemes]) + "\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(said))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
