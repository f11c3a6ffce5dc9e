#!/usr/bin/env bash
# Speed of blindfold beside PyTorch: the same computation, one after the other, with the same number of threads.
#
#   scripts/bench.sh [--device flex|wgpu|ndarray] [--seconds N]
#
# PyTorch comes from the Python at hand (PYTHON=... names another) or, where that has none, from a virtual environment
# below target/ that is made once. On wgpu the other side is PyTorch on CUDA.
set -euo pipefail
cd "$(dirname "$0")/.."

device=flex
seconds=8
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=${2:?"--device needs a name"}; shift 2 ;;
        --seconds) seconds=${2:?"--seconds needs a number"}; shift 2 ;;
        *) echo "bench.sh: unknown argument $1; there are --device NAME and --seconds N" >&2; exit 2 ;;
    esac
done

backend=${device%%:*}
features=()
[ "$backend" = flex ] || features=(--no-default-features --features "$backend")

python=${PYTHON:-python3}
if ! "$python" -c 'import torch' 2>/dev/null; then
    if [ "$backend" = wgpu ]; then
        venv=target/bench-venv-cuda wheels=()
    else
        venv=target/bench-venv wheels=(--extra-index-url https://download.pytorch.org/whl/cpu)
    fi
    if [ ! -e "$venv/complete" ]; then
        "$python" -m venv "$venv"
        "$venv/bin/pip" install --quiet --requirement scripts/bench/requirements.txt "${wheels[@]}"
        touch "$venv/complete"
    fi
    python=$venv/bin/python
fi

cargo build --release -p blindfold-runner "${features[@]}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

echo "blindfold on $device ..." >&2
"${CARGO_TARGET_DIR:-target}/release/blindfold" bench --json --device "$device" >"$scratch/blindfold.json"
threads=$("$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))["threads"])' "$scratch/blindfold.json")

torch_device=cpu
[ "$backend" = wgpu ] && torch_device=cuda
echo "PyTorch on $torch_device, $threads threads ..." >&2
"$python" scripts/bench/torch_bench.py --json --threads "$threads" --device "$torch_device" --seconds "$seconds" >"$scratch/torch.json"

"$python" scripts/bench/table.py "$scratch/blindfold.json" "$scratch/torch.json"
