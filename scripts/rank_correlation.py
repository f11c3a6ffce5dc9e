#!/usr/bin/env python3
"""How well errors tell the order of methods: Spearman's rank correlation with the points of top-1 lost.

    python3 scripts/rank_correlation.py experiments/ptq-cifar10/results.jsonl

One line for each protocol and bit width: the correlation over the methods' first seeds of the weights' and of the logits'
squared error with the drop, then the methods by weight error. Formats that keep a width of their own, and real images, are left
out, and tables of fewer than three methods. Needs nothing but Python 3.
"""

import json
import sys
from collections import defaultdict

LEFT_OUT = {"fp8", "ternary", "binary", "real"}


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


def main(path):
    tables = defaultdict(dict)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            run = json.loads(line)["summary"]
            if run["weight_mse"] and run["method"] not in LEFT_OUT:
                key = (run["protocol"], run["bits"])
                first = tables[key].setdefault(run["method"], run)
                tables[key][run["method"]] = min(first, run, key=lambda run: run["seed"])
    for (protocol, bits), methods in tables.items():
        if len(methods) < 3:
            continue
        runs = sorted(methods.values(), key=lambda run: run["weight_mse"])
        drops = [run["drop"] for run in runs]
        weights = spearman([run["weight_mse"] for run in runs], drops)
        logits = spearman([run["logit_mse"] for run in runs], drops)
        print(f"{protocol} {bits}: {len(runs)} methods, weights {weights:+.2f}, logits {logits:+.2f}")
        print("    " + ", ".join(f"{run['method']} {run['weight_mse']:.3g} ({run['drop']:.2f})" for run in runs))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
