#!/usr/bin/env bash
# Lint, types, examples and tests, in three lanes beside each other, since tests also wait for the disk:
# windows under PyQt6; windows under PyQt5 and PySide6, then the package as a whole; all other tests.
# What the other two wrote is shown after the first. All of them run even where an early one fails; the
# exit status is non-zero if any failed, and the last line is the summary of all other tests.
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
# What is accepted is brought down to the disk at once, and tests wait for that thousands of times: where
# memory has room for what they write, it stands in for the disk.
room_kib=$(df --output=avail /dev/shm 2>/dev/null | tail -n 1)
[ "${room_kib:-0}" -gt $((4 * 1024 * 1024)) ] && memory=/dev/shm || memory=
written=$(mktemp -d ${memory:+-p "$memory"})
chmod 711 "$written" # one test is another user
on_screen() {
    TMPDIR=$written scripts/windows.sh "$bin/python" "$@"
}

# Those of the command line, the documents and the rest of the package as a whole. Benchmarks are among all
# others, so that the lanes end together.
whole=(tests/test_[!b]*.py)
second_lane() {
    local status=0
    echo "== window tests, PyQt5"
    on_screen pyqt5 tests/widgets "$@" || status=1
    echo "== window tests from start to end, PySide6"
    on_screen pyside6 tests/widgets "$@" "${quick[@]}" || status=1
    echo "== window tests from start to end, a newer napari"
    scripts/newest.sh --if-newer || status=1
    echo "== tests of the package as a whole"
    on_screen pyqt5 "${whole[@]}" "$@" || status=1
    return $status
}
without_windows() {
    echo "== all other tests"
    on_screen pyqt5 --ignore=tests/widgets "${whole[@]/#/--ignore=}" "$@"
}

logs=$(mktemp -d)
trap 'kill -- -$windows_id -$others_id 2>/dev/null; rm -rf "$logs" "$written"' EXIT
set -m # process groups of their own, so that nothing of them is left when this is stopped
second_lane "$@" >"$logs/windows" 2>&1 &
windows_id=$!
without_windows "$@" >"$logs/others" 2>&1 &
others_id=$!
set +m

check "ruff check" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy" "$bin/mypy"
check "examples in docstrings" \
    "$bin/python" -m pytest -q --doctest-modules napari_mlbseg --ignore=napari_mlbseg/widgets
check "window tests, PyQt6" on_screen pyqt6 tests/widgets "$@"
tail -n +1 -f --pid="$windows_id" "$logs/windows"
wait "$windows_id" || failed+=("windows under another binding, or the package as a whole")
[ ${#failed[@]} -eq 0 ] || printf '!! failed: %s\n' "${failed[@]}"
tail -n +1 -f --pid="$others_id" "$logs/others"
wait "$others_id" || failed+=("all other tests")
[ ${#failed[@]} -eq 0 ]
