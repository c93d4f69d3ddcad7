#!/usr/bin/env bash
# Runs every test of the project with plain `cargo test`; arguments go on to it.
#
# A test that cannot run on this machine returns early and appends one line,
# `<what is missing>: <which test>`, to the file named by AIRLOCK_SKIPS. What
# was skipped is shown here, last and loud, because cargo hides it. With
# AIRLOCK_NO_SKIPS=1 a skip is a failure, except those that begin with `data:`
# (big test data that no checkout has) or `stick:` (file systems of USB sticks,
# which need a kernel that lets them be mounted).
set -euo pipefail
cd "$(dirname "$0")/.."

client=$PWD/.julia/client/j/usr/bin/julia
if [ -z "${AIRLOCK_JULIA:-}" ] && [ -x "$client" ]; then
  export AIRLOCK_JULIA=$client
fi

if [ -z "${AIRLOCK_SKIPS:-}" ]; then
  AIRLOCK_SKIPS=$(mktemp)
  trap 'rm -f "$AIRLOCK_SKIPS"' EXIT
fi
export AIRLOCK_SKIPS
: >"$AIRLOCK_SKIPS"

status=0
cargo test "$@" || status=$?

if [ -s "$AIRLOCK_SKIPS" ]; then
  {
    echo
    echo '*************************** SKIPPED TESTS ***************************'
    sort -u "$AIRLOCK_SKIPS" | sed 's/^/SKIPPED: /'
    echo '*********************************************************************'
  } >&2
fi
if [ "${AIRLOCK_NO_SKIPS:-}" = 1 ] && grep -Eqv '^(data|stick):' "$AIRLOCK_SKIPS"; then
  echo 'test.sh: FAILED: AIRLOCK_NO_SKIPS=1 and tests were skipped' >&2
  [ "$status" -ne 0 ] || status=1
fi
exit "$status"
