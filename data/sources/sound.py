"""Recordings as numbers: WAV files, and how much of each pitch there is from moment to moment."""

import wave
from pathlib import Path
from typing import BinaryIO

import numpy as np

VERSION = 1
WINDOW = 0.025  # seconds that a frame is computed from
LOWEST, HIGHEST = 60.0, 4000.0  # Hz that are heard
FLOOR = 1e-6  # of the mean energy of a recording: what is softer is silence
MOST_SECONDS = 3600


def read_wav(place: Path | BinaryIO, name: object) -> tuple[np.ndarray, int]:
    """The samples, int16, and their rate in Hz, of a WAV file of 16 bits.

    Args:
      place: a path or an open file; of several channels the mean is heard.
      name: what errors call it.

    Raises:
      ValueError, OSError: in one line, what is no such file, too short, too long or not there, or
        has fewer samples a second than it takes to hear HIGHEST.
    """
    try:
        with wave.open(str(place) if isinstance(place, Path) else place) as file:
            rate, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            content = file.readframes(min(file.getnframes(), MOST_SECONDS * rate + 1))
    except FileNotFoundError:
        raise FileNotFoundError(f"{name}; there is no such file") from None
    except (wave.Error, EOFError, ValueError) as error:
        reason = str(error) or "it ends"
        raise ValueError(f"{name} is no WAV file of PCM samples: {reason}") from None
    if width != 2:
        raise ValueError(f"{name} has samples of {8 * width} bits; allowed: 16")
    if rate < 2 * HIGHEST:
        raise ValueError(f"{name} has {rate} samples a second; allowed: at least {2 * HIGHEST:.0f}")
    samples = np.frombuffer(content[: len(content) // (2 * channels) * 2 * channels], "<i2")
    seconds = len(samples) / channels / rate
    if not WINDOW <= seconds <= MOST_SECONDS:
        allowed = f"{WINDOW} to {MOST_SECONDS}"
        raise ValueError(f"{name} has {seconds:.4g} seconds of sound; allowed: {allowed}")
    return samples.reshape(-1, channels).mean(1).astype(np.int16), rate


def log_mel(samples: np.ndarray, rate: int, mels: int, hop: float) -> np.ndarray:
    """Log energies of bands of pitch, float32 [frames, mels].

    Bands are triangles, evenly spaced on the mel scale 2595 log10(1 + Hz / 700) (Davis and
    Mermelstein 1980; the constants are O'Shaughnessy's). Each has mean 0 and variance 1 in a
    recording: how loud it is, and how its microphone colours it, are not heard.

    Args:
      samples: of at least a WINDOW.
      rate: in Hz.
      mels: bands.
      hop: milliseconds from a frame to the next.
    """
    size, step = round(WINDOW * rate), hop / 1000 * rate
    starts = (np.arange(1 + int((len(samples) - size) / step)) * step).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float32), size)[starts]
    points = 1 << (size - 1).bit_length()
    power = np.abs(np.fft.rfft(frames * np.hanning(size).astype(np.float32), points)) ** 2
    energies = power @ _bands(rate, points, mels)
    heard = np.log(energies + FLOOR * energies.mean() + 1e-30)
    spread = heard.std(axis=0)
    return ((heard - heard.mean(axis=0)) / np.maximum(spread, 1e-3)).astype(np.float32)


def _bands(rate: int, points: int, mels: int) -> np.ndarray:
    """How much of each frequency of a transform a band has, [points / 2 + 1, mels]."""
    ends = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
    edges = 700 * (10 ** (np.linspace(*ends, mels + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(points, 1 / rate)[:, None]
    up, down = (hertz - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - hertz) / np.diff(edges)[1:]
    return np.clip(np.minimum(up, down), 0, None)
