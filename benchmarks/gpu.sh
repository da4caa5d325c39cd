#!/usr/bin/env bash
# What only a machine with CUDA GPUs can show: kernels, exact against exact, both engines against the bare loop, one
# training. Rows as JSON, one a line, on stdout and in FILE.
#
#   benchmarks/gpu.sh --fill [3.12]   beforehand, where there is a network: wheels for that Python, and the digits
#   benchmarks/gpu.sh [FILE]          there: Python with torch, numpy and safetensors; no network, no services needed
#
# Takes under 8 minutes. GPU_FOLDER (.gpu) holds what was filled; DEVICE=cpu tries the script itself without a GPU.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${GPU_FOLDER:-.gpu}
python=${PYTHON:-python3}

if [ "${1:-}" = "--fill" ]; then
  mkdir -p "$folder/wheels"
  .venv/bin/python -m pip download --quiet --dest "$folder/wheels" --only-binary=:all: --python-version "${2:-3.12}" \
    "pydantic==$(.venv/bin/python -c 'import pydantic; print(pydantic.VERSION)')" psutil pillow
  .venv/bin/python benchmarks/gpu/digits.py "$folder/digits.npz"
  du -sh "$folder"
  exit 0
fi

test -f "$folder/digits.npz" || { echo "$folder is empty: run benchmarks/gpu.sh --fill first" >&2; exit 2; }
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$python" -m pip install --quiet --no-index --no-deps --target "$site" "$folder"/wheels/*.whl
export PYTHONPATH=".src:$site" PYTHONDONTWRITEBYTECODE=1 CUBLAS_WORKSPACE_CONFIG=:4096:8 OMP_NUM_THREADS=1
"$python" benchmarks/gpu/measure.py --digits "$folder/digits.npz" --device "${DEVICE:-cuda}" --out "${1:-benchmarks/results/gpu.jsonl}"
