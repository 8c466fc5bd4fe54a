#!/usr/bin/env bash
# Makes the virtual environment FOLDER with the locked versions and this package (editable).
set -euo pipefail
folder=${1:?usage: scripts/venv.sh FOLDER}

if [ ! -x "$folder/bin/python" ]; then
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    if [ -z "${python:-}" ]; then
        echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python" >&2
        exit 1
    fi
    echo "Making $folder with $("$python" --version)"
    "$python" -m venv "$folder"
fi

echo "Installing the locked versions into $folder (the first time takes a few minutes)"
# -qq: errors only.
install=("$folder/bin/python" -m pip install -qq --disable-pip-version-check)
"${install[@]}" -r requirements.lock
"${install[@]}" --no-deps --no-build-isolation --editable .
