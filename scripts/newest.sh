#!/usr/bin/env bash
# Runs the window tests marked every_binding in a fresh environment with the newest napari that the
# index offers, and the newest of everything else that pyproject.toml allows (torch as it is locked).
# With --if-newer it does nothing where that is the locked napari, or no index can be reached.
# Usage: scripts/newest.sh [--if-newer] [pytest arguments]   (PYTHON names the interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
locked=$(sed -n 's/^napari==//p' requirements.lock)
torch=$(sed -n 's/^torch==//p' requirements.lock)
wanted="napari>=$locked"

if [ "${1:-}" = --if-newer ]; then
    shift
    wanted="napari>$locked"
    if ! "$python" -m pip install -qq --disable-pip-version-check --timeout 10 --retries 0 \
        --ignore-installed --dry-run --no-deps "$wanted" >/dev/null 2>&1; then
        echo "No index within reach offers a newer napari than $locked, the locked one."
        exit 0
    fi
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder"
fresh=$folder/bin/python
"$fresh" -m pip install -qq --disable-pip-version-check \
    "torch==$torch" "$wanted" --editable ".[pyqt6,test]"
"$fresh" -c 'import importlib.metadata as m; print("napari", m.version("napari"))'
scripts/windows.sh "$fresh" pyqt6 tests/widgets -q "$@" -m "every_binding and not slow"
