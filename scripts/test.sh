#!/usr/bin/env bash
# Lint, types, examples and tests, in two lanes beside each other: in one the windows under PyQt6 and
# PyQt5, in the other those under PySide6 and the tests without windows. All of them run even where an
# early one fails; the exit status is non-zero if any failed, and the last line is the summary of the
# tests without windows.
# Usage: scripts/test.sh VENV [pytest arguments]
set -uo pipefail
bin=${1:?usage: scripts/test.sh VENV [pytest arguments]}/bin
shift

# What every binding has to show; the last -m counts.
quick=(-m "every_binding and not slow")

failed=()
check() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}
on_screen() {
    scripts/windows.sh "$bin/python" "$@"
}

other_lane() {
    local status=0
    echo "== window tests from start to end, PySide6"
    on_screen pyside6 tests/widgets "$@" "${quick[@]}" || status=1
    echo "== window tests from start to end, a newer napari"
    scripts/newest.sh --if-newer || status=1
    echo "== all other tests"
    on_screen pyqt5 --ignore=tests/widgets "$@" || status=1
    return $status
}

other=$(mktemp)
trap 'kill -- -$other_id 2>/dev/null; rm -f "$other"' EXIT
set -m # a process group of its own, so that nothing of it is left when this is stopped
other_lane "$@" >"$other" 2>&1 &
other_id=$!
set +m

check "ruff check" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy" "$bin/mypy"
check "examples in docstrings" \
    "$bin/python" -m pytest -q --doctest-modules napari_mlbseg --ignore=napari_mlbseg/widgets
check "window tests, PyQt6" on_screen pyqt6 tests/widgets "$@"
check "window tests, PyQt5" on_screen pyqt5 tests/widgets "$@"
[ ${#failed[@]} -eq 0 ] || printf '!! failed: %s\n' "${failed[@]}"
tail -n +1 -f --pid="$other_id" "$other"
wait "$other_id" || failed+=("the other lane")
[ ${#failed[@]} -eq 0 ]
