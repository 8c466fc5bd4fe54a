#!/usr/bin/env bash
# Installs the build of torch for the CPU: PyPI's brings gigabytes of CUDA with it on Linux. Of the
# same version pip prefers the one with "+cpu" behind it, wherever it finds it; where the index of
# torch cannot be reached, what the other indexes have is taken. TORCH_INDEX names another index.
# Usage: scripts/torch_cpu.sh PYTHON VERSION
set -euo pipefail
python=${1:?usage: scripts/torch_cpu.sh PYTHON VERSION}
version=${2:?usage: scripts/torch_cpu.sh PYTHON VERSION}
"$python" -m pip install -qq --disable-pip-version-check --no-deps --timeout 15 --retries 1 \
    --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" "torch==$version"
