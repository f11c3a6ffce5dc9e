"""The two results of scripts/bench.sh as one markdown table.

    python table.py BLINDFOLD.json TORCH.json

The last column is blindfold's speed over PyTorch's: above 1, blindfold is the faster one.
"""

import json
import sys
from pathlib import Path

# Key, name, unit, whether more is faster.
ROWS = [
    ("evaluation_images_per_s", "evaluation", "images/s", True),
    ("zeroq_step_ms", "ZeroQ step, batch 64", "ms", False),
    ("distill_step_ms", "distillation step, batch 128", "ms", False),
]


def read(path: str) -> dict:
    """The last line that is a JSON object: what stands before it is not for us."""
    for line in reversed(Path(path).read_text().splitlines()):
        if line.startswith("{") and line.endswith("}"):
            return json.loads(line)
    return json.loads(Path(path).read_text())


def main() -> None:
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    ours, torch = read(sys.argv[1]), read(sys.argv[2])
    missing = [f"{path}: {key}" for path, result in zip(sys.argv[1:], (ours, torch)) for key, *_ in ROWS if key not in result]
    if missing:
        raise SystemExit("no figure for " + ", ".join(missing))
    print(f"ResNet-20, 3x32x32. blindfold: {ours['device']}, {ours['threads']} threads. ", end="")
    print(f"PyTorch {torch['torch']}: {torch['device']}, {torch['threads']} threads.\n")
    print("| | blindfold | PyTorch | speed over PyTorch's |")
    print("|---|--:|--:|--:|")
    for key, name, unit, more_is_faster in ROWS:
        a, b = ours[key], torch[key]
        speed = a / b if more_is_faster else b / a
        print(f"| {name} | {a:,.1f} {unit} | {b:,.1f} {unit} | {speed:.2f} |")
    load = torch.get("load_average")
    if load is not None and load > torch["threads"] + 1:
        print(f"\nThe machine was busy (load average {load:.1f}): measure again when it is quiet.")


if __name__ == "__main__":
    main()
