#!/usr/bin/env bash
# Runs the tests in a fresh environment with the lowest or the highest versions that pyproject.toml
# allows (RESOLUTION: lowest-direct or highest), as uv resolves them; the tools of the tests are the
# newest ones. torch is the build for the CPU, without gigabytes of CUDA: the one that uv knows of, or,
# where that is out of reach, the locked release from where pip finds it (its find-links).
# With --if-reachable it does nothing where no index can be reached.
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
if ! "$fresh" -m pip install -qq --disable-pip-version-check --timeout 10 --retries 0 "uv>=0.6.9"; then
    $optional && echo "No index within reach offers uv." && exit 0
    exit 1
fi
locked=$(sed -n 's/^torch==//p' requirements.lock)
override=()
echo torch >"$folder/torch.in"
if UV_HTTP_TIMEOUT=10 UV_HTTP_RETRIES=0 "$fresh" -m uv pip compile -q --no-deps \
    --torch-backend cpu "$folder/torch.in" >/dev/null 2>&1; then
    export UV_TORCH_BACKEND=cpu
else
    wheel=$("$fresh" -m pip install -qq --disable-pip-version-check --dry-run --no-deps \
        --ignore-installed --report - "torch==$locked" 2>/dev/null |
        sed -nE 's/.*"url": ?"([^"]*(\+|%2B)cpu[^"]*)".*/\1/p') || true
    if [ -n "$wheel" ]; then
        echo "torch: the locked $locked, the only one within reach as a build for the CPU"
        echo "torch @ $wheel" >"$folder/override.txt"
        override=(--override "$folder/override.txt")
    fi
fi
"$fresh" -m uv pip compile -q pyproject.toml --python "$fresh" --extra pyqt6 --extra deploy \
    --resolution "$resolution" "${override[@]}" --output-file "$folder/versions.txt"
"$fresh" -m uv pip install -q --python "$fresh" --no-cache "${override[@]}" \
    -r "$folder/versions.txt"
"$fresh" -m uv pip install -q --python "$fresh" --no-cache "${override[@]}" \
    -c "$folder/versions.txt" --editable ".[pyqt6,test]"
# Warnings of old or new libraries are theirs.
scripts/windows.sh "$fresh" pyqt6 -q -W default --ignore=tests/widgets "$@"
scripts/windows.sh "$fresh" pyqt6 tests/widgets -q -W default "$@" -m "every_binding and not slow"
