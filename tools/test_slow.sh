#!/usr/bin/env bash
# Runs the tests that take minutes, kill processes or need a browser:   bash tools/test_slow.sh [PYTEST ARGUMENTS]
set -euo pipefail
exec bash "$(dirname "${BASH_SOURCE[0]}")/test.sh" -m slow "$@"
