#!/usr/bin/env bash
# Installs the wheel and the sdist of this tree, without napari and Qt, in an empty environment of each
# Python from 3.11 to 3.14 that is found here (or of those that are named), and works with what was
# installed: a study from images, a run, an export, a check.
# With --if-reachable it does nothing where no index can be reached.
# Usage: scripts/pythons.sh [--if-reachable] [PYTHON ...]   (PYTHON: interpreter that builds)
set -euo pipefail
cd "$(dirname "$0")/.."
optional=false
if [ "${1:-}" = --if-reachable ]; then
    optional=true
    shift
fi
torch=$(sed -n 's/^torch==//p' requirements.lock)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"${PYTHON:-python3}" -m venv "$folder/build"
quiet=(-m pip install -qq --disable-pip-version-check)
if ! "$folder/build/bin/python" "${quiet[@]}" --timeout 10 --retries 0 build; then
    $optional && echo "No index within reach offers build." && exit 0
    exit 1
fi
"$folder/build/bin/python" -m build -q --outdir "$folder/dist" . >/dev/null

found=("$@")
if [ ${#found[@]} = 0 ]; then
    for version in 3.11 3.12 3.13 3.14; do
        # A command of that name may be there without its Python.
        if "python$version" -c "" 2>/dev/null; then found+=("python$version"); fi
    done
fi
[ ${#found[@]} != 0 ] || { echo "No Python from 3.11 to 3.14 is here." >&2; exit 1; }

work() { # PYTHON of the environment: from images to a checked export, far from this tree
    (cd "$folder" && rm -rf work && mkdir work && cd work && "$1" - <<'END'
from pathlib import Path
import numpy as np
from napari_mlbseg import api
from napari_mlbseg.samples import make_phantom_cohort

cohort = make_phantom_cohort(Path("cohort"), cases=1)
study, _ = api.make_study(Path("heart.mlbseg"), cohort.images, cohort.labels)
with study:
    case = study.cases[0]
    for index in (8, 12, 16):
        labels = study.labels.working(case.id).take(index, case.axis)
        study.save_slice(api.SliceKey(case.id, case.axis, index), labels, api.SliceState.CLEAN)
    config = api.Config(base_steps=2, steps=1, slice_size=32, device="cpu", threads=1)
    events = list(api.Bootstrapper(study, config).events(api.Inbox()))
    assert isinstance(events[-1], api.Finished), events[-1]
    api.export_study(study, Path("out"), api.ExportKind.LABELS)
assert api.verify(Path("heart.mlbseg")).findings == ()
assert list(Path("out").glob("*.nii.gz"))
END
    )
    "$(dirname "$1")/mlbseg" verify "$folder/work/heart.mlbseg" >/dev/null
}

for python in "${found[@]}"; do
    rm -rf "$folder/empty"
    "$python" -m venv "$folder/empty"
    fresh=$folder/empty/bin/python
    told=$("$fresh" --version)
    "$fresh" "${quiet[@]}" "torch==$torch" "$folder"/dist/*.whl
    work "$fresh"
    echo "$told: wheel, $("$fresh" -m pip list --format freeze | grep -vc '^pip=') packages"
    "$fresh" -m pip uninstall -qq -y napari-mlbseg
    "$fresh" "${quiet[@]}" "$folder"/dist/*.tar.gz
    work "$fresh"
    echo "$told: sdist"
done
