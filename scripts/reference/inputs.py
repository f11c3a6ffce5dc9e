"""Numbers that any language makes alike without a random generator, and JSON that holds them exactly."""

import json
import math
from pathlib import Path

import numpy as np

MULTIPLIER = 2654435761
INPUT_FORMULA = "x[i] = f32(((i * 2654435761) mod 2^32) / 2^32 * 4 - 2), evaluated in f64; i: flat index, row-major"
ZEROQ_FORMULA = "x[i] = f32((floor(((i * 2654435761) mod 2^32) / 2^32 * 254) - 127.5) / 5418.75), evaluated in f64; i: flat index, row-major"


def unit(count: int) -> np.ndarray:
    """u[i] = ((i * 2654435761) mod 2^32) / 2^32 in f64: the golden ratio's Weyl sequence, in [0, 1)."""
    i = np.arange(count, dtype=np.uint64)
    return ((i * np.uint64(MULTIPLIER)) % np.uint64(2**32)).astype(np.float64) / 2.0**32


def images(count: int) -> np.ndarray:
    """INPUT_FORMULA as f32 `[count, 3, 32, 32]`, in [-2, 2)."""
    return (unit(count * 3072) * 4 - 2).astype(np.float32).reshape(count, 3, 32, 32)


def zeroq_init(count: int) -> np.ndarray:
    """ZEROQ_FORMULA as f32 `[count, 3, 32, 32]`: ZeroQ's initial images."""
    return ((np.floor(unit(count * 3072) * 254) - 127.5) / 5418.75).astype(np.float32).reshape(count, 3, 32, 32)


def rounded(values, digits: int = 7):
    """Nested lists of the values, each to `digits` significant digits."""
    if isinstance(values, (list, tuple)):
        return [rounded(value, digits) for value in values]
    if hasattr(values, "tolist"):
        return rounded(values.tolist(), digits)
    return float(f"{values:.{digits}g}")


def exact(values) -> list[float]:
    """f32 values as f64, whose repr reads back to the same bits, as f64 and as f32."""
    return np.asarray(values, dtype=np.float32).astype(np.float64).tolist()


def write(path: Path, document: dict) -> None:
    """One key of the top level a line, without NaN and infinity."""
    lines = (f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'), allow_nan=False)}" for key, value in document.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    path.write_text(text)
    print(f"{path}: {len(text) / 1000:.1f} kB")


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """|a - b| / |b| in the L2 norm."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    return float(math.sqrt(((a - b) ** 2).sum()) / math.sqrt((b**2).sum()))
