"""The table of calibrate-only accuracies (bits x images x range estimator) from finished runs, beside reference values.

    python scripts/reference_table.py results/runs > results/tables/reference-cifar10.md

Reads summary.json of the runs `cifar10-w<b>a<b>` with and without `--set quant.activation.range=min-max` (see
results/README.md for the commands). Standard library only.
"""

import json
import statistics
import sys
from pathlib import Path

# An independent PyTorch reference written from the same formulas: one seed, 64 images, 500 ZeroQ iterations.
REFERENCE = {
    "W8A8": {"noise min-max": 91.70, "noise mse": 91.69, "zeroq min-max": 91.82, "zeroq mse": 91.83, "real min-max": 91.72, "real mse": 91.76},
    "W4A8": {"noise min-max": 90.48, "noise mse": 90.55, "zeroq min-max": 90.44, "zeroq mse": 90.52, "real min-max": 90.64, "real mse": 90.55},
    "W4A4": {"noise min-max": 81.87, "noise mse": 87.76, "zeroq min-max": 87.51, "zeroq mse": 88.87, "real min-max": 86.58, "real mse": 88.97},
    "W3A3": {"noise min-max": 37.23, "noise mse": 73.61, "zeroq min-max": 63.36, "zeroq mse": 76.55, "real min-max": 53.03, "real mse": 75.62},
}
MIN_MAX = "+quant.activation.range=min-max"


def main(runs: Path) -> int:
    found: dict[tuple[str, str], list[float]] = {}
    for path in sorted(runs.glob("cifar10-w*/*/seed-*/summary.json")):
        summary = json.loads(path.read_text())
        name, method = summary["experiment"], summary["method"]
        estimator = "min-max" if name.endswith(MIN_MAX) else "mse"
        if name.removesuffix(MIN_MAX).count("+") or method not in ("noise", "zeroq", "real"):
            continue
        if summary["student_top1"] is not None and "first" not in summary["dataset"]:
            found.setdefault((summary["bits"], f"{method} {estimator}"), []).append(summary["student_top1"])
    if not found:
        print(f"no finished calibrate-only run of CIFAR-10 below {runs}", file=sys.stderr)
        return 1
    columns = list(REFERENCE["W8A8"])
    print("ResNet-20 on CIFAR-10 (`resnet20-cifar10`, 91.73 %), protocol `gdfq`, calibrate only, 64 images: top-1 in %, mean ± std (n − 1)")
    print("over seeds, and below it the independent PyTorch reference (one seed). `real` uses data.\n")
    print("| | n | " + " | ".join(columns) + " |")
    print("|---|--:|" + "--:|" * len(columns))
    for bits, reference in REFERENCE.items():
        cells, counts = [], set()
        for column in columns:
            values = found.get((bits, column), [])
            counts.add(len(values))
            spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.2f}{spread}" if values else "–")
        print(f"| {bits} | {'/'.join(str(count) for count in sorted(counts))} | " + " | ".join(cells) + " |")
        print("| reference | 1 | " + " | ".join(f"{reference[column]:.2f}" for column in columns) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "results/runs")))
