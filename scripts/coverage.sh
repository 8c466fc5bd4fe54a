#!/usr/bin/env bash
# Which branches of the package the tests take, over all runs of scripts/test.sh together, windows
# under each Qt binding included. Fails where the share fell below `fail_under` in pyproject.toml.
# A target of its own: on Python 3.11 tests take about half as long again while they are watched.
# Usage: scripts/coverage.sh VENV [pytest arguments]
set -uo pipefail
bin=${1:?usage: scripts/coverage.sh VENV [pytest arguments]}/bin

rm -rf build/coverage
mkdir -p build/coverage
MEASURE_COVERAGE=yes scripts/test.sh "$@" || failed=yes
"$bin/coverage" combine --quiet || exit 1
"$bin/coverage" html --quiet --fail-under=0 --directory=build/coverage/html
"$bin/coverage" report || failed=yes
[ -z "${failed:-}" ]
