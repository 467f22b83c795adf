#!/usr/bin/env bash
# Installs this checkout with everything the tests compare against, and runs them:   bash tools/test.sh [PYTEST ARGUMENTS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash tools/setup.sh test
# The script, not `python -m pytest`: that would put this folder on the path, and its cgfast/ before the installed one.
exec "${CGFAST_VENV:-.venv}/bin/pytest" "$@"
