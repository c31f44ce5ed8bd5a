"""Speech that the synthesiser eSpeak NG makes of texts: its library, in a process of its own.

The library is native code of a pinned wheel and the one part of a package that is run here. What it
says of a text depends on those that it said before, by a few samples; a fresh process with the same
texts in the same order gives the same bytes. So texts are spoken in lists, each in a new process.
"""

import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from data.sources import wheel

ROOT = Path(__file__).parents[2]
PACKAGE, LIBRARY = "espeakng_loader", "libespeak-ng.so"
# espeak-ng/speak_lib.h
RETRIEVAL, SYNCHRONOUS_BUFFER, CHARACTERS, UTF8 = 1, 200, 1, 1
SECONDS = 600  # for a list to be spoken


def speak(texts: list[str], voice: str) -> tuple[list[np.ndarray], int]:
    """Each text in a voice of the library ("en-us"), int16 samples; and their rate in Hz.

    Raises ValueError where there is no such voice, OSError where the library cannot be fetched or
    does not work here.
    """
    with tempfile.TemporaryDirectory() as folder:
        for inside, content in wheel.members("espeakng", PACKAGE):
            if inside == LIBRARY or inside.startswith("espeak-ng-data/"):
                place = Path(folder) / inside
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
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
    rate, *lengths = json.loads(heading)
    ends = np.cumsum(lengths)
    return np.split(np.frombuffer(audio, "<i2"), ends[:-1]), rate


def _main() -> int:
    """Of the process: [folder, voice, texts] as JSON to [rate, lengths] in a line, and samples."""
    folder, voice, texts = json.load(sys.stdin)
    library, said = ctypes.CDLL(f"{folder}/{LIBRARY}"), []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def hear(samples, count, _) -> int:
        if samples and count > 0:
            said[-1] += ctypes.string_at(samples, 2 * count)
        return 0

    rate = library.espeak_Initialize(RETRIEVAL, SYNCHRONOUS_BUFFER, folder.encode(), 0)
    if rate <= 0:
        raise OSError("espeak_Initialize")
    library.espeak_SetSynthCallback(hear)
    if library.espeak_SetVoiceByName(voice.encode()):
        return 2
    for text in texts:
        said.append(bytearray())
        content = text.encode() + b"\0"
        error = library.espeak_Synth(content, len(content), 0, CHARACTERS, 0, UTF8, None, None)
        if error or library.espeak_Synchronize():
            raise OSError(f"espeak_Synth: {text!r}")
    sys.stdout.write(json.dumps([rate, *(len(samples) // 2 for samples in said)]) + "\n")
    sys.stdout.flush()
    sys.stdout.buffer.write(b"".join(said))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
