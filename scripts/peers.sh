#!/usr/bin/env bash
# Makes the environment of the programs that benchmarks/peers.py compares with: nnU-Net and
# scikit-learn. It is their own; the project does not depend on them.
# Usage: scripts/peers.sh [FOLDER]   (by default build/peers; PYTHON names the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/peers}
torch=$(sed -n 's/^torch==//p' requirements.lock)

[ -x "$folder/bin/python" ] || "${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check \
    "torch==$torch" "nnunetv2==2.8.1" "scikit-learn==1.9.1"
"$folder/bin/python" -c '
import importlib.metadata as m
print(*(f"{name} {m.version(name)}" for name in ("nnunetv2", "scikit-learn", "torch")), sep=", ")'
