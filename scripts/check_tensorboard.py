"""Opens a run folder as TensorBoard does and holds its events against metrics.jsonl and samples/.

    python check_tensorboard.py RUN_FOLDER [--plot OUT.png [--tags 'loss/*' student/top1 ...]]

Every metric of metrics.jsonl must stand in the events under its tag, as often, at the same steps, in the same order and
with the same number rounded to f32; nothing else may stand there; every picture samples/<name>-<step>.png must be an
image `samples/<name>` at that step. Values that JSON writes as null (NaN, infinity) are not in the events.
Exit 0: all agree. 1: they do not, and the differences are listed. 2: the folder cannot be read.
"""

import argparse
import fnmatch
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

RESERVED = {"step", "phase", "epoch", "wall"}
SHOWN = 10


class Unreadable(Exception):
    """What was named cannot be read or drawn."""


def read_metrics(path: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, list[tuple[str, int, float]]]]:
    """(step, value) by tag of all finite values, and (phase, step, value) by tag for plotting."""
    events, plotted = defaultdict(list), defaultdict(list)
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            record = json.loads(line)
            step, phase = record["step"], record["phase"]
        except (ValueError, KeyError, TypeError) as error:
            raise Unreadable(f"{path}:{number}: not a record: {error!r}: {line[:80]}") from error
        for tag, value in record.items():
            if tag not in RESERVED and value is not None and math.isfinite(value):
                events[tag].append((step, value))
                plotted[tag].append((phase, step, value))
    return dict(events), dict(plotted)


def read_samples(folder: Path) -> dict[str, list[int]]:
    pictures = defaultdict(list)
    for path in sorted(folder.glob("*-*.png")):
        name, _, step = path.stem.rpartition("-")
        if step.isdigit():
            pictures[f"samples/{name}"].append(int(step))
    return dict(pictures)


def read_events(folder: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, list[int]]]:
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, TENSORS, EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={SCALARS: 0, IMAGES: 0, TENSORS: 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    scalars = {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in tags["scalars"]}
    for tag in tags["tensors"]:
        events = accumulator.Tensors(tag)
        scalars[tag] = [(event.step, float(event.tensor_proto.float_val[0])) for event in events if event.tensor_proto.float_val]
    images = {tag: [event.step for event in accumulator.Images(tag)] for tag in tags["images"]}
    return scalars, images


def compare(metrics: dict, events: dict, samples: dict, images: dict) -> list[str]:
    faults = []
    for tag in sorted(metrics.keys() - events.keys()):
        faults.append(f"{tag}: {len(metrics[tag])} values in metrics.jsonl, none in the events")
    for tag in sorted(events.keys() - metrics.keys()):
        faults.append(f"{tag}: {len(events[tag])} events, none in metrics.jsonl")
    for tag in sorted(metrics.keys() & events.keys()):
        wanted, found = metrics[tag], events[tag]
        if len(wanted) != len(found):
            faults.append(f"{tag}: {len(wanted)} values in metrics.jsonl, {len(found)} events")
            continue
        with np.errstate(over="ignore"):
            pairs = [(step, float(np.float32(value))) for step, value in wanted]
        wrong = [(a, b) for a, b in zip(pairs, found) if a != (b[0], b[1])]
        if wrong:
            faults.append(f"{tag}: {len(wanted)} values, {len(wrong)} differ, the first: metrics.jsonl {wrong[0][0]}, event {wrong[0][1]}")
    for tag in sorted(samples.keys() | images.keys()):
        if sorted(samples.get(tag, [])) != sorted(images.get(tag, [])):
            faults.append(f"{tag}: pictures at steps {samples.get(tag, [])}, image events at {images.get(tag, [])}")
    return faults


def plot(metrics: dict[str, list[tuple[str, int, float]]], patterns: list[str], out: Path, title: str) -> int:
    """Small multiples, one panel a tag, one line a phase; returns the number of panels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    curves = {tag: points for tag, points in metrics.items() if len({step for _, step, _ in points}) > 1}
    tags = []
    for pattern in patterns or ["*"]:
        tags += [tag for tag in sorted(curves) if fnmatch.fnmatchcase(tag, pattern) and tag not in tags]
    if not tags:
        raise Unreadable(f"no curve matches {patterns}: there are {', '.join(sorted(curves)) or 'none'}")
    columns = min(3, len(tags))
    rows = -(-len(tags) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.2 * columns, 2.7 * rows), squeeze=False, layout="constrained")
    phases = sorted({phase for tag in tags for phase, _, _ in curves[tag]})
    colours = dict(zip(phases, ("#ff7043", "#0077bb", "#009988", "#cc3311", "#ee3377")))
    for axis, tag in zip(axes.flat, tags):
        for phase in phases:
            points = [(step, value) for p, step, value in curves[tag] if p == phase]
            if points:
                marker = "o" if len(points) < 30 else None
                axis.plot(*zip(*points), color=colours[phase], linewidth=1.4, marker=marker, markersize=2.5, label=phase)
        values = [value for _, _, value in curves[tag]]
        if min(values) > 0 and max(values) / min(values) > 100:
            axis.set_yscale("log")
        axis.set_title(tag, fontsize=9, loc="left")
        axis.tick_params(labelsize=7, colors="#555555")
        axis.grid(color="#e4e4e4", linewidth=0.7)
        axis.set_axisbelow(True)
        for side in ("top", "right", "left", "bottom"):
            axis.spines[side].set_visible(False)
    for axis in list(axes.flat)[len(tags) :]:
        axis.set_visible(False)
    handles = [plt.Line2D([], [], color=colours[phase], label=phase) for phase in phases]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(phases), fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    return len(tags)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("--plot", type=Path, metavar="OUT.png", help="draw the curves of metrics.jsonl")
    parser.add_argument("--tags", nargs="+", default=[], metavar="PATTERN", help="which curves, in this order; * stands for any text")
    arguments = parser.parse_args()
    folder = arguments.folder
    files = list(folder.glob("events.out.tfevents.*"))
    if not (folder / "metrics.jsonl").is_file():
        raise Unreadable(f"{folder}/metrics.jsonl is not there: name a run folder, results/runs/<experiment>/<method>/seed-<n>")
    if not files:
        raise Unreadable(f"{folder} has no events.out.tfevents.*")
    metrics, plotted = read_metrics(folder / "metrics.jsonl")
    events, images = read_events(folder)
    samples = read_samples(folder / "samples")
    faults = compare(metrics, events, samples, images)
    if len(files) > 1:
        faults.append(f"{len(files)} event files; a run folder has one")
    for fault in faults[:SHOWN]:
        print(f"MISMATCH {fault}")
    if len(faults) > SHOWN:
        print(f"... and {len(faults) - SHOWN} more")
    pictures = sum(map(len, images.values()))
    print(f"{folder}: {len(events)} tags, {sum(map(len, events.values()))} scalar events, {pictures} pictures: {'MISMATCH' if faults else 'all as in metrics.jsonl'}")
    if arguments.plot:
        panels = plot(plotted, arguments.tags, arguments.plot, "/".join(folder.resolve().parts[-3:]))
        print(f"{arguments.plot}: {panels} curves")
    return int(bool(faults))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Unreadable as error:
        print(error, file=sys.stderr)
        sys.exit(2)
