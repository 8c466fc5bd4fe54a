#!/usr/bin/env bash
# Measures on a GPU: tests, speed, waiting times, training quality, within --minutes (10).
# Needs a Python with torch and no network: scripts/gpu_wheels.sh collects WHEELS,
# scripts/gpu_data.py packs DATA. Writes OUT/gpu.md and a few OUT/*.json; installs
# nothing outside a temporary folder.
# Usage: scripts/gpu_report.sh WHEELS DATA OUT [--minutes 10] [--parts machine,checks,...]
#        [--device cpu --tiny]        (PYTHON names the interpreter, by default python3)
set -euo pipefail
usage="usage: scripts/gpu_report.sh WHEELS DATA OUT [--minutes N] [--parts A,B] [--device cpu] [--tiny]"
wheels=$(realpath "${1:?$usage}")
data=$(realpath -m "${2:?$usage}")
out=$(realpath -m "${3:?$usage}")
shift 3
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

installed=$(mktemp -d)
trap 'rm -rf "$installed"' EXIT
if compgen -G "$wheels/*.whl" >/dev/null; then
    "$python" -m pip install -q --disable-pip-version-check --no-index --no-deps --no-compile \
        --no-cache-dir --upgrade --target "$installed" "$wheels"/*.whl
fi
PYTHONPATH=$PWD:$installed${PYTHONPATH:+:$PYTHONPATH} MPLBACKEND=Agg \
    "$python" benchmarks/gpu/report.py --data "$data" --out "$out" "$@"
