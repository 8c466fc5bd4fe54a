#!/usr/bin/env bash
# Runs pytest with windows on a virtual screen, under one Qt binding (pyqt5, pyqt6 or pyside6).
# Usage: scripts/windows.sh PYTHON BINDING [pytest arguments]
set -euo pipefail
python=${1:?usage: scripts/windows.sh PYTHON BINDING [pytest arguments]}
binding=${2:?usage: scripts/windows.sh PYTHON BINDING [pytest arguments]}
shift 2

if ! command -v xvfb-run >/dev/null; then
    echo "xvfb-run is missing (Debian: apt-get install xvfb xauth)" >&2
    exit 1
fi
# One thread: several of them spin while they wait for each other, which takes ten times as long
# where other processes have the cores.
export MPLBACKEND=Agg NAPARI_ENSURE_PLUGIN_MAIN_THREAD=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
export LIBGL_ALWAYS_SOFTWARE=1 QT_LOGGING_RULES="${QT_LOGGING_RULES:-*.debug=false}"
unset QT_PLUGIN_PATH QT_QPA_PLATFORM QT_QPA_PLATFORM_PLUGIN_PATH WAYLAND_DISPLAY
# QT_API is for qtpy, PYTEST_QT_API for pytest-qt, which imports a binding first.
export QT_API=$binding PYTEST_QT_API=$binding
# Lanes that start at the same moment look for a free screen in different places.
exec xvfb-run -a -n $((100 + $$ % 900)) -s "-screen 0 1600x1000x24" \
    "$python" ${MEASURE_COVERAGE:+-m coverage run} -m pytest "$@"
