set positional-arguments

# flex (CPU), wgpu (GPU) or ndarray: `just device=wgpu exp shapes10-w4a8`
device := `sh scripts/device.sh`

backend := replace_regex(device, ":.*", "")
features := if backend == "flex" { "" } else { "--no-default-features --features " + backend }
# Freed memory goes back to the system after a minute, not a second: a training step asks for the same pages again.
export MIMALLOC_PURGE_DELAY := env("MIMALLOC_PURGE_DELAY", "60000")

blindfold := "cargo run --release -p blindfold-runner " + features + " --"

[private]
default:
    @just --list --unsorted

# Run an experiment, all methods of it: `just exp cifar100-w4a8 --seeds 1..3`
[group('experiments')]
exp NAME *ARGS:
    {{ blindfold }} exp --device {{ device }} "$@"

# Every experiment at its smoke size, into a scratch folder
[group('experiments')]
smoke *ARGS:
    #!/usr/bin/env bash
    set -euo pipefail
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    for config in configs/*.toml; do
        {{ blindfold }} exp "$(basename "$config" .toml)" --fast --device {{ device }} --out "$out" "$@"
    done

# What there is: `just list`, `just list methods`, `just list losses`
[group('look')]
list *ARGS:
    {{ blindfold }} list "$@"

# One experiment, method or plugin: `just describe loss kl`
[group('look')]
describe *ARGS:
    {{ blindfold }} describe "$@"

# The resolved configuration: `just config cifar10-w4a4 --set quant.weight_bits=3`
[group('look')]
config NAME *ARGS:
    {{ blindfold }} config "$@"

# Devices, folders, data, teachers, and what is missing
[group('look')]
doctor:
    {{ blindfold }} doctor

# A study, all of its runs, tables and figure: `just study ptq-cifar10`
[group('experiments')]
study *ARGS:
    {{ blindfold }} study --device {{ device }} "$@"

# Table of finished runs: `just compare cifar100-w4a8`, with --write into results/tables/
[group('results')]
compare *ARGS:
    {{ blindfold }} compare "$@"

# The leaderboard, and from it all tables and figures: `just tables`, `just tables --check`, `just tables --import FOLDER`
[group('results')]
tables *ARGS:
    {{ blindfold }} tables "$@"

# A metric over time, in the terminal: `just plot cifar10-w4a4 --tag loss/kl`, with --svg into a file
[group('results')]
plot *ARGS:
    {{ blindfold }} plot "$@"

# One page of HTML about a run: `just report cifar10-w4a4/zeroq-kd/seed-1`
[group('results')]
report *ARGS:
    {{ blindfold }} report "$@"

# Which layer costs how much, weights or activations: `just analyze cifar10-w4a4 --method brecq`
[group('results')]
analyze NAME *ARGS:
    {{ blindfold }} analyze --device {{ device }} "$@"

# How far from the teacher at most: `just bounds cifar10-w4a4 --method minmax --radius 2`
[group('results')]
bounds NAME *ARGS:
    {{ blindfold }} bounds --device {{ device }} "$@"

# The curves of all runs in TensorBoard
[group('results')]
tb *ARGS:
    @command -v tensorboard >/dev/null || { echo "tensorboard is not installed: pip install -r scripts/requirements-tensorboard.txt" >&2; exit 1; }
    tensorboard --logdir results/runs "$@"

# Data sets: `just data list`, `just data fetch cifar10`
[group('data and teachers')]
data *ARGS:
    {{ blindfold }} data "$@"

# Teachers: `just teacher list`, `just teacher verify resnet20-cifar10`
[group('data and teachers')]
teacher *ARGS:
    {{ blindfold }} teacher "$@"

# All tests
[group('development')]
test *ARGS:
    cargo test --release --workspace "$@"

# Format, clippy, rustdoc, licences and advisories (where cargo-deny is installed), tests
[group('development')]
check: && test
    cargo fmt --all --check
    cargo clippy --release --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps
    if command -v cargo-deny >/dev/null; then cargo deny check; else echo "cargo-deny is not installed: skipped"; fi

# A loss inside this repository, from the template: `just new-loss my-loss`
[group('development')]
new-loss NAME:
    {{ blindfold }} new loss "$1"
    cargo fmt -p blindfold-distill

# The JSON schema by which editors complete and check the TOML files: configs/schema.json
[group('development')]
schema:
    {{ blindfold }} config --schema > configs/schema.json.new
    mv configs/schema.json.new configs/schema.json

# A shell's completion script: `just completions bash`
[group('development')]
completions SHELL:
    @{{ blindfold }} completions "$1"

# A small study by a Slurm of its own, one task killed, another preempted, against the same study here
[group('development')]
check-slurm *ARGS:
    scripts/check_slurm.sh "$@"

# Speed against PyTorch on the same machine
[group('development')]
bench *ARGS:
    scripts/bench.sh --device {{ device }} "$@"
