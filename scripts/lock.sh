#!/usr/bin/env bash
# Writes requirements.lock: the newest versions that pyproject.toml allows, from a fresh
# environment, with torch pinned to the tested version.
set -euo pipefail
torch=2.13.0
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder"
"$folder/bin/python" -m pip install -qq --disable-pip-version-check \
    "torch==$torch" --editable ".[pyqt5,pyqt6,test,docs]"
{
    echo "# Made by \`make lock\`; what .venv is made of. Versions only, for any package index."
    # A local version (+cpu) exists only in some indexes, and this package is no requirement.
    "$folder/bin/python" -m pip freeze --exclude-editable --exclude napari-mlbseg |
        sed -E 's/^([^=]+==[^+]+)\+.*$/\1/'
} >requirements.lock.new
if grep -nE ' @ |://|^-' requirements.lock.new; then
    echo "These lines hold for this machine only; requirements.lock is unchanged." >&2
    exit 1
fi
mv requirements.lock.new requirements.lock
