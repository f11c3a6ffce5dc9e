"""Holds configs/schema.json against the JSON Schema standard and the repository's files, by the package jsonschema.

    pip install -r scripts/requirements-schema.txt      # Python 3.11 or newer
    python scripts/check_schema.py [SCHEMA]

Exit 0: the schema is a valid draft 2020-12 schema, every file is valid, and every file with one key misspelt is not. 1: not so,
with the places. The tests of crates/runner hold the same with a check of their own.
"""

import copy
import json
import sys
import tomllib
from pathlib import Path

from jsonschema import Draft202012Validator

ROOT = Path(__file__).resolve().parent.parent
FILES = ["configs/*.toml", "configs/base/*.toml", "configs/methods/*.toml", "experiments/*/study.toml"]
# Tables whose keys are names that the writer chose.
FREE = [("methods",), ("published",), ("study", "seeds_of"), ("study", "axes"), ("study", "published")]


def keys(value, at=()):
    """Every key of a value with the way to its table."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield at, key
            yield from keys(inner, (*at, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from keys(inner, (*at, index))


def is_free(at):
    names = tuple(part for part in at if isinstance(part, str))
    return any(names == free or (free[0] == "study" and names[: len(free)] == free) for free in FREE)


def misspelt(table, at, key):
    table = copy.deepcopy(table)
    place = table
    for part in at:
        place = place[part]
    place[key + "x"] = place.pop(key)
    return table


def main():
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "configs/schema.json"
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    files = sorted(file for pattern in FILES for file in ROOT.glob(pattern))
    faults = tried = 0
    for file in files:
        table = tomllib.loads(file.read_text())
        for error in validator.iter_errors(table):
            print(f"{file.relative_to(ROOT)}: {error.json_path}: {error.message}")
            faults += 1
        for at, key in keys(table):
            if is_free(at):
                continue
            tried += 1
            if validator.is_valid(misspelt(table, at, key)):
                print(f"{file.relative_to(ROOT)}: {'.'.join(map(str, at))}: `{key}x` for `{key}` is taken")
                faults += 1
    print(f"{len(files)} files, {tried} misspelt keys, {faults} faults")
    sys.exit(1 if faults or not files else 0)


if __name__ == "__main__":
    main()
