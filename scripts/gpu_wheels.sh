#!/usr/bin/env bash
# Collects the wheels that scripts/gpu_report.sh needs into FOLDER, for a machine (Linux, x86-64,
# Python 3.12) that has torch, NumPy, SciPy and pytest, but no network: about 15 MiB.
# The versions are those of requirements.lock.
# Usage: scripts/gpu_wheels.sh FOLDER [pip, by default that of .venv]
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:?usage: scripts/gpu_wheels.sh FOLDER [pip]}
pip=${2:-.venv/bin/python -m pip}
packages=(monai zarr numcodecs donfig google-crc32c nibabel jaxtyping wadler-lindig beartype)

wanted=()
for package in "${packages[@]}"; do
    wanted+=("$(grep -iE "^${package//-/[-_]}==" requirements.lock)")
done
platforms=()
for glibc in 2_17 2_24 2_26 2_27 2_28 2_31; do
    platforms+=(--platform "manylinux_${glibc}_x86_64")
done
mkdir -p "$folder"
rm -f "$folder"/*.whl
$pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp "${platforms[@]}" --platform manylinux1_x86_64 \
    --platform manylinux2014_x86_64 --dest "$folder" "${wanted[@]}"
du -ch "$folder"/*.whl
