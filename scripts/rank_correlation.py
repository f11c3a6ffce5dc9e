#!/usr/bin/env python3
"""How well errors tell the order of methods: Spearman's rank correlation with the points of top-1 lost.

    python3 scripts/rank_correlation.py experiments/ptq-cifar10/results.jsonl

One line for each protocol and bit width: the correlation over methods of the weights' and of the logits' squared error with the drop
(means over each method's seeds), then the methods by weight error. Formats that keep a width of their own or add terms up, and real
images, are left out, and tables of fewer than three methods. Needs nothing but Python 3.
"""

import json
import sys
from collections import defaultdict

LEFT_OUT = {"fp8", "rex", "ternary", "binary", "real"}


def ranks(values):
    """The rank of each value; equal ones share the mean of theirs."""
    ordered = sorted(values)
    return [ordered.index(value) + (ordered.count(value) - 1) / 2 for value in values]


def spearman(left, right):
    left, right = ranks(left), ranks(right)
    mean = (len(left) - 1) / 2
    shared = sum((a - mean) * (b - mean) for a, b in zip(left, right))
    spread = sum((a - mean) ** 2 for a in left) * sum((b - mean) ** 2 for b in right)
    return shared / spread**0.5 if spread else float("nan")


def mean(runs):
    """One run with the means of several."""
    figures = ("weight_mse", "logit_mse", "drop")
    return {"method": runs[0]["method"], **{name: sum(run[name] for run in runs) / len(runs) for name in figures}}


def main(path):
    tables = defaultdict(lambda: defaultdict(list))
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)["summary"]
            if run["weight_mse"] and run["method"] not in LEFT_OUT:
                tables[run["protocol"], run["bits"]][run["method"]].append(run)
    for (protocol, bits), methods in tables.items():
        if len(methods) < 3:
            continue
        rows = sorted(map(mean, methods.values()), key=lambda row: row["weight_mse"])
        drops = [row["drop"] for row in rows]
        weights = spearman([row["weight_mse"] for row in rows], drops)
        logits = spearman([row["logit_mse"] for row in rows], drops)
        print(f"{protocol} {bits}: {len(rows)} methods, weights {weights:+.2f}, logits {logits:+.2f}")
        print("    " + ", ".join(f"{row['method']} {row['weight_mse']:.3g} ({row['drop']:.2f})" for row in rows))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
