#!/usr/bin/env bash
# Fuzzes on a stable toolchain: scripts/fuzz.sh [SECONDS for each target] [TARGET…], or only builds
# what that needs: scripts/fuzz.sh build
#
# All targets by default, 60 s each. Needs cargo-fuzz (`cargo install cargo-fuzz --locked`) and a C++
# compiler. It starts from fuzz/corpus/, which is committed; what it finds on the way stays in
# fuzz/found/, which is not. FUZZ_SEED=N begins the same way each time. An input that fails is in fuzz/artifacts/<target>/: mend what is
# wrong and put the input into fuzz/corpus/<target>/, where `cargo test` runs it for ever.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
  for file in fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

# What is fuzzed is built of the same versions as the program.
[ -e fuzz/Cargo.lock ] || cp Cargo.lock fuzz/Cargo.lock

# Instrumentation is of stable Rust, address sanitizer is not; there is no unsafe code here to watch.
# FUZZ_PROFILE=--dev builds in less time what runs at less speed.
profile=${FUZZ_PROFILE:---release}
cargo fuzz build --sanitizer none "$profile"
[ "$seconds" != build ] || exit 0
for target in "${targets[@]}"; do
  echo "== $target, $seconds s"
  mkdir -p "fuzz/found/$target"
  cargo fuzz run --sanitizer none "$profile" "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
    -max_total_time="$seconds" ${FUZZ_SEED:+-seed="$FUZZ_SEED"} -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 2>&1 |
    grep -Ev '^#[0-9]+[[:space:]]+(NEW|REDUCE|pulse|RELOAD)' || exit "${PIPESTATUS[0]}"
done
