"""Log-mel spectrograms: how loud each band of pitch is, frame by frame.

In float64 throughout, so that the last bit of float32 does not hang on the processor. Mel scale as HTK has it,
mel = 2595 log10(1 + f / 700) (Young et al., The HTK Book, 5.4), triangles of height 1, periodic Hann window.

Shape legend: S samples of a sound, T frames, K frequencies, M bands.
"""

from __future__ import annotations

from typing import Any

import numpy as np

FLOOR = 1e-10  # power below which nothing is heard

Array = np.ndarray[Any, Any]


def filters(*, bands: int, points: int, rate_hz: int, low_hz: float, high_hz: float) -> Array:
    """(M, K) weights of the frequencies of a transform over `points` samples."""
    edges_mel = np.linspace(_mel(low_hz), _mel(high_hz), bands + 2)
    edges = 700.0 * (10.0 ** (edges_mel / 2595.0) - 1.0)
    frequencies_K = np.arange(points // 2 + 1) * (rate_hz / points)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies_K - low) / (middle - low), (high - frequencies_K) / (high - middle)
    return np.maximum(0.0, np.minimum(rising, falling))


def _mel(hz: float) -> float:
    return float(2595.0 * np.log10(1.0 + hz / 700.0))


def log_mel(sound_S: Array, *, window: int, hop: int, weights_MK: Array) -> Array:
    """(T, M) float64: the natural logarithm of the power of each band; at least one frame."""
    points = 2 * (weights_MK.shape[1] - 1)
    short = max(0, window - len(sound_S))
    framed_TS = np.lib.stride_tricks.sliding_window_view(np.pad(sound_S, (0, short)), window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    spectrum_TK = np.fft.rfft(framed_TS * hann, n=points)
    power_TK = spectrum_TK.real**2 + spectrum_TK.imag**2
    return np.log(np.maximum(power_TK @ weights_MK.T, FLOOR))
