"""Reference values of the augmentations in crates/synth, computed by NumPy in double precision.

    python scripts/reference/augmentations.py > crates/synth/tests/data/augmentations.json

Written with NumPy 2; needs nothing else.
"""

import json

import numpy as np

random = np.random.default_rng(20241122)


def rounded(*shape):
    """Values on a grid of 1/64: exact in single precision, so both sides start from the same numbers."""
    return np.round(random.standard_normal(shape) * 64) / 64


def low_pass(images, cutoff):
    """The centred spectrum of each plane times exp(-D^2 / (2 cutoff^2)), D: distance from the centre in pixels."""
    height, width = images.shape[-2:]
    rows = np.arange(height)[:, None] - height // 2
    columns = np.arange(width)[None, :] - width // 2
    gain = np.exp(-(rows**2 + columns**2) / (2 * cutoff**2))
    spectrum = np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1)) * gain
    filtered = np.fft.ifft2(np.fft.ifftshift(spectrum, axes=(-2, -1)))
    assert np.abs(filtered.imag).max() < 1e-12
    return filtered.real


def case(shape, cutoff):
    images = rounded(*shape)
    numbers = lambda values: [round(value, 10) for value in values.ravel().tolist()]
    return {"shape": shape, "cutoff": cutoff, "images": numbers(images), "values": numbers(low_pass(images, cutoff))}


cases = [case([2, 2, 6, 5], 1.25), case([1, 1, 8, 8], 2.5), case([1, 2, 1, 7], 0.75)]
print(
    json.dumps(
        {
            "written_by": "scripts/reference/augmentations.py; do not edit",
            "numpy": np.__version__,
            "low_pass": cases,
        },
        separators=(",", ":"),
    ).replace(',"', ',\n"')
)
