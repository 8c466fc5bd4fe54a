#!/usr/bin/env bash
# Lint, types, examples and tests. All of them run even where an early one fails; the exit status is
# non-zero if any failed, and the last line is the summary of the tests without windows, which run
# beside those with windows and are shown after them.
# Usage: scripts/test.sh VENV [pytest arguments]
set -uo pipefail
bin=${1:?usage: scripts/test.sh VENV [pytest arguments]}/bin
shift

if ! command -v xvfb-run >/dev/null; then
    echo "xvfb-run is missing (Debian: apt-get install xvfb xauth)" >&2
    exit 1
fi
# One thread: several of them spin while they wait for each other, which takes ten times as long
# where other processes have the cores.
export MPLBACKEND=Agg NAPARI_ENSURE_PLUGIN_MAIN_THREAD=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export LIBGL_ALWAYS_SOFTWARE=1 QT_LOGGING_RULES="${QT_LOGGING_RULES:-*.debug=false}"
unset QT_PLUGIN_PATH QT_QPA_PLATFORM QT_QPA_PLATFORM_PLUGIN_PATH WAYLAND_DISPLAY

failed=()
check() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed+=("$name")
}
on_screen() {
    # QT_API is for qtpy, PYTEST_QT_API for pytest-qt, which imports a binding first.
    xvfb-run -a -s "-screen 0 1600x1000x24" \
        env QT_API="$1" PYTEST_QT_API="$1" "$bin/python" -m pytest "${@:2}"
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
[ ${#failed[@]} -eq 0 ] || printf '!! failed: %s\n' "${failed[@]}"
echo "== all other tests"
tail -n +1 -f --pid="$main_id" "$main"
wait "$main_id" || failed+=("all other tests")
[ ${#failed[@]} -eq 0 ]
