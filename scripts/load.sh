#!/usr/bin/env bash
# Puts load on a real `airlock serve` before an upstream that misbehaves, all on the loopback:
#
#   scripts/load.sh [SECONDS]
#
# 1,000 clients for SECONDS (600): hits, ranges, cold misses, what nobody has. Then 10,000 connections
# that ask nothing. Fails on a wrong byte, a client that waits for ever, memory or descriptors that
# grow. 100 clients on 1 GB is `scripts/bench.sh memory`.
#
#   LOAD_CLIENTS=1000  LOAD_IDLE=10000  LOAD_SEED=1
#   LOAD_BIN=DIR       a folder with `airlock` and `examples/load`; without it, a release build
set -euo pipefail
cd "$(dirname "$0")/.."

idle=${LOAD_IDLE:-10000}
ulimit -n "$(ulimit -Hn)"
if [ "$(ulimit -n)" != unlimited ] && [ "$(ulimit -n)" -lt $((idle + 1000)) ]; then
  echo "load: $(ulimit -n) open files are allowed here, $((idle + 1000)) are needed (ulimit -n)" >&2
  exit 1
fi
bin=${LOAD_BIN:-}
if [ -z "$bin" ]; then
  bin=${CARGO_TARGET_DIR:-target}/release
  cargo build --release --locked --bin airlock --example load
fi
"$bin/examples/load" mixed "$bin/airlock" "${LOAD_CLIENTS:-1000}" "${1:-600}" "${LOAD_SEED:-1}"
"$bin/examples/load" idle "$bin/airlock" "$idle"
