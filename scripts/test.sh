#!/usr/bin/env bash
# Lint, types, examples and tests. All of them run even where an early one fails; the exit status is
# non-zero if any failed, and the last line is the summary of the tests without windows, which run
# beside those with windows and are shown after them.
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

main=$(mktemp)
trap 'kill -- -$main_id 2>/dev/null; rm -f "$main"' EXIT
set -m # a process group of its own, so that nothing of it is left when this is stopped
on_screen pyqt5 --ignore=tests/widgets "$@" >"$main" 2>&1 &
main_id=$!
set +m

check "ruff check" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy" "$bin/mypy"
check "examples in docstrings" \
    "$bin/python" -m pytest -q --doctest-modules napari_mlbseg --ignore=napari_mlbseg/widgets
check "window tests, PyQt6" on_screen pyqt6 tests/widgets "$@"
check "window tests, PyQt5" on_screen pyqt5 tests/widgets "$@"
check "window tests from start to end, PySide6" on_screen pyside6 tests/widgets "$@" "${quick[@]}"
check "window tests from start to end, a newer napari" scripts/newest.sh --if-newer
[ ${#failed[@]} -eq 0 ] || printf '!! failed: %s\n' "${failed[@]}"
echo "== all other tests"
tail -n +1 -f --pid="$main_id" "$main"
wait "$main_id" || failed+=("all other tests")
[ ${#failed[@]} -eq 0 ]
