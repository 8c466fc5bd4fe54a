#!/usr/bin/env bash
# What is known against the code and against what it is built on; and a list of the latter. Into OUT
# come sbom.json (CycloneDX) and requirements.hashed.txt, the lock with the SHA-256 of every file that an
# index has. Bandit looks for medium and high findings but B608: SQL is put together from names of tables
# and columns in the code, values are always bound. pip-audit needs its service; where that does not
# know the packages, it says so and the rest counts.
# Usage: scripts/audit.sh VENV [OUT]   (OUT: by default build/audit)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:?usage: scripts/audit.sh VENV [OUT]}
out=${2:-build/audit}
mkdir -p "$out"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$venv/bin/python" -m venv "$tools"
"$tools/bin/python" -m pip install -qq --disable-pip-version-check \
    "bandit>=1.8" "cyclonedx-bom>=7" "pip-audit>=2.9" "uv>=0.6.9"

"$tools/bin/bandit" -q -r napari_mlbseg --severity-level medium --skip B608
echo "bandit: nothing in $(find napari_mlbseg -name '*.py' | wc -l) files"

"$tools/bin/cyclonedx-py" requirements --pyproject pyproject.toml --of JSON \
    --output-reproducible --validate -o "$out/sbom.json" requirements.lock
echo "SBOM: $(grep -c '"bom-ref": "requirements-L' "$out/sbom.json") components in $out/sbom.json"

"$tools/bin/python" -m uv pip compile -q --no-deps --generate-hashes --no-annotate --no-header \
    --python "$venv/bin/python" --output-file "$out/requirements.hashed.txt" requirements.lock
echo "hashes: of $(grep -c == "$out/requirements.hashed.txt") packages in $out/requirements.hashed.txt"

"$tools/bin/pip-audit" -r requirements.lock --no-deps --disable-pip --progress-spinner off \
    -f json -o "$out/audit.json" || failed=yes
"$tools/bin/python" - "$out/audit.json" <<'EOF'
import json
import sys

found = json.load(open(sys.argv[1]))["dependencies"]
known = [one for one in found if "skip_reason" not in one]
bad = [f"{one['name']} {one['version']}: {v['id']}" for one in known for v in one["vulns"]]
print(f"pip-audit: {len(known)} of {len(found)} packages known to its service, {len(bad)} findings")
print(*bad, sep="\n", end="\n" if bad else "")
EOF
[ -z "${failed:-}" ]
