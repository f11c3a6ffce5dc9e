#!/usr/bin/env python3
"""Whether two folders of one study hold the same results, time aside.

    scripts/slurm/same_tables.py LEFT RIGHT

Compares the ledgers line by line of the same hash, without the seconds that runs took, and the tables as CSV without the
columns of those. Exit 0: equal. 1: they differ, with the differences listed. 2: a folder cannot be read.
"""

import csv
import json
import sys
from pathlib import Path


def ledger(folder):
    rows = {}
    for line in (folder / "results.jsonl").read_text().splitlines():
        row = json.loads(line)
        for key in ("wall_seconds", "image_seconds"):
            row["summary"].pop(key, None)
        if rows.setdefault(row["config_sha256"], row) is not row:
            raise ValueError(f"{folder}: {row['config_sha256']} stands twice")
    return rows


def tables(folder):
    found = {}
    for path in sorted((folder / "tables").glob("*.csv")):
        head, *rows = csv.reader(path.read_text().splitlines())
        kept = [at for at, key in enumerate(head) if not key.startswith(("wall_seconds", "seconds_without_images"))]
        found[path.name] = [[row[at] for at in kept] for row in [head, *rows]]
    return found


def main():
    left, right = (Path(folder) for folder in sys.argv[1:3])
    try:
        sides = [(ledger(folder), tables(folder)) for folder in (left, right)]
    except (OSError, ValueError, KeyError) as error:
        print(f"same_tables.py: {error}", file=sys.stderr)
        return 2
    differences = []
    for what, (ours, theirs) in zip(("the ledger", "the tables"), zip(*sides)):
        if not ours:
            print(f"same_tables.py: {left}: {what} is empty", file=sys.stderr)
            return 2
        for key in sorted(ours.keys() | theirs.keys()):
            if ours.get(key) != theirs.get(key):
                differences.append(f"{what}, {key}:\n  {ours.get(key)}\n  {theirs.get(key)}")
    print("\n".join(differences) or f"equal: {len(sides[0][0])} runs, {len(sides[0][1])} tables")
    return 1 if differences else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main())
