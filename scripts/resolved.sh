#!/usr/bin/env bash
# Runs the tests in a fresh environment with the lowest or the highest versions that pyproject.toml
# allows (RESOLUTION: lowest-direct or highest), as uv resolves them; the tools of the tests are the
# newest ones. With --if-reachable it does nothing where no index can be reached. TORCH names
# another version of torch, such as a build for the CPU.
# Usage: scripts/resolved.sh RESOLUTION [--if-reachable] [pytest arguments]   (PYTHON: interpreter)
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
resolution=${1:?usage: scripts/resolved.sh RESOLUTION [--if-reachable] [pytest arguments]}
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder"
fresh=$folder/bin/python
optional=false
if [ "${1:-}" = --if-reachable ]; then
    optional=true
    shift
fi
if ! "$fresh" -m pip install -qq --disable-pip-version-check --timeout 10 --retries 0 "uv>=0.5"; then
    $optional && echo "No index within reach offers uv." && exit 0
    exit 1
fi
if [ -n "${TORCH:-}" ]; then
    echo "torch==$TORCH" >"$folder/override.txt"
    export UV_OVERRIDE=$folder/override.txt
fi
"$fresh" -m uv pip compile -q pyproject.toml --python "$fresh" --extra pyqt6 --extra deploy \
    --resolution "$resolution" --output-file "$folder/versions.txt"
"$fresh" -m uv pip install -q --python "$fresh" --no-cache -r "$folder/versions.txt"
"$fresh" -m uv pip install -q --python "$fresh" --no-cache -c "$folder/versions.txt" \
    --editable ".[pyqt6,test]"
# Warnings of old or new libraries are theirs.
scripts/windows.sh "$fresh" pyqt6 -q -W default --ignore=tests/widgets "$@"
scripts/windows.sh "$fresh" pyqt6 tests/widgets -q -W default "$@" -m "every_binding and not slow"
