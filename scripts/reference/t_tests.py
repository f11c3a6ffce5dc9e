"""Intervals and paired tests that crates/runner/src/record/{stat,paired}.rs are held against.

    python scripts/reference/t_tests.py > crates/runner/tests/data/t-tests.json

Needs scipy.
"""

import json

from scipy import stats

INTERVALS = [[90.0, 91.0, 93.5], [4.76, 2.25], [0.1, 0.1, 0.2, 0.4, -0.3], [88.1, 88.4, 87.9, 88.8, 88.0, 88.3, 88.2, 88.6, 87.7, 88.5]]
PAIRS = [
    ([90.0, 91.0, 93.5], [89.0, 90.5, 91.0]),
    ([2.25, 2.31, 2.19], [4.76, 4.91, 4.68]),
    ([1.0, 2.0], [1.5, 3.5]),
    ([70.1, 69.8, 70.4, 70.0, 69.9], [69.9, 69.9, 70.1, 70.2, 69.8]),
    ([76.2, 76.5, 76.0, 76.3], [73.5, 73.3, 73.8, 73.6]),
]


def interval(values):
    low, high = stats.t.interval(0.95, len(values) - 1, loc=stats.tmean(values), scale=stats.sem(values))
    return {"values": values, "low": float(low), "high": float(high)}


def paired(a, b):
    return {"a": a, "b": b, "p": float(stats.ttest_rel(a, b).pvalue)}


print(json.dumps({"intervals": [interval(v) for v in INTERVALS], "paired": [paired(*p) for p in PAIRS]}, indent=1))
