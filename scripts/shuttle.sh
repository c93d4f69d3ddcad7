#!/usr/bin/env bash
# Runs the single flight (src/mirror/flight.rs, flights.rs, body.rs) under shuttle, a scheduler that
# tries orders of its steps: scripts/shuttle.sh [SCHEDULES] [SEED]
#
# SCHEDULES are those of each scene (default 20000), SEED is by default another one each time, and
# printed. Half are random, half PCT. A failure prints its schedule; to run that one again:
#
#   MODEL_SCENE=come-and-go MODEL_REPLAY='<all lines between the quotes>' scripts/shuttle.sh
set -euo pipefail
cd "$(dirname "$0")/.."

export MODEL_SCHEDULES=${1:-20000} MODEL_SEED=${2:-$RANDOM$RANDOM}
exec cargo run --locked --quiet --manifest-path model/Cargo.toml
