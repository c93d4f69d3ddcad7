#!/usr/bin/env bash
# Measures the export and the import of a bundle beside `tar` plus `sha256sum` of the same files.
#
#   scripts/bench-bundle.sh [GB]      size of the cache, 5 unless said
#
# The cache has artifacts of about 8 MB, each a made file and some of this system's libraries, which
# pack about as real ones do. Both sides take turns within each round, both write to the same disk
# and both end with a sync; only their ratio counts. docs/benchmarks.md has the last run.
#
#   BENCH_ROUNDS=3   rounds
#   BENCH_CACHE=DIR  the cache; made if it is not there, and kept
#   BENCH_BIN=DIR    a folder with `airlock`; without it, a release build
#
# Needs four times that size in TMPDIR, and GNU time.
set -euo pipefail
cd "$(dirname "$0")/.."

gigabytes=${1:-5}
rounds=${BENCH_ROUNDS:-3}

say() { printf 'bench-bundle: %s\n' "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }

[ -x /usr/bin/time ] || die 'GNU time is missing; first: apt-get install time'
bin=${BENCH_BIN:-}
if [ -z "$bin" ]; then
  bin=${CARGO_TARGET_DIR:-target}/release
  cargo build --release --locked
fi
bin=$(cd "$bin" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "${BENCH_CACHE:=$work/made}"
cache=$(cd "$BENCH_CACHE" && pwd)
cd "$work"

# Sixty archives of libraries, each packed once, and in each artifact one of them and a file of its
# own: two gzip members are one tarball. What it is to be called, `airlock verify` says.
make_cache() {
  local bytes=0 number=0 base libraries taken at file
  mapfile -t libraries < <(find -L /usr/lib -name '*.so*' -type f -size +200k -size -6M 2>/dev/null | sort -u | head -n 400)
  [ ${#libraries[@]} -gt 20 ] || die 'too few libraries below /usr/lib to make artifacts of'
  mkdir -p "$cache/artifact" bases
  for base in $(seq 60); do
    mkdir -p one/lib
    taken=0 at=$((base * 7))
    while [ "$taken" -lt 20000000 ]; do
      file=${libraries[$((at % ${#libraries[@]}))]}
      cp -L "$file" "one/lib/$at.so"
      taken=$((taken + $(stat -Lc %s "$file")))
      at=$((at + 1))
    done
    # Without its two blocks of zeros another archive can follow.
    tar -C one -b 1 --format=ustar --owner=0 --group=0 --mtime=@0 -cf one.tar lib
    truncate -s -1024 one.tar
    gzip -1 <one.tar >"bases/$base"
    rm -rf one
  done
  while [ "$bytes" -lt $((gigabytes * 1000000000)) ]; do
    number=$((number + 1))
    file=$cache/artifact/$(printf '%040x' "$number")
    echo "$number" >number
    { cat "bases/$((number % 60 + 1))"; tar -b 1 --format=ustar --owner=0 --group=0 --mtime=@0 -cf - number | gzip -1; } >"$file"
    bytes=$((bytes + $(stat -c %s "$file")))
  done
  rm -rf bases
  "$bin/airlock" verify --cache "$cache" --json >found.json && die 'the made names are right, which cannot be'
  sed -n 's/.*"problem": "its tree hash is \([0-9a-f]*\)".*/\1/p; s/.*"quarantine": "\(.*\)".*/\1/p' found.json |
    while read -r tree && read -r file; do mv "$file" "$cache/artifact/$tree"; done
  "$bin/airlock" verify --cache "$cache" >&2
}

# seconds NAME COMMAND...: its time, and its memory in NAME.kb
seconds() {
  local name=$1
  shift
  sync
  /usr/bin/time -o measured -f '%e %M' "$@" >/dev/null 2>said || { cat said >&2; die "failed: $*"; }
  cut -d ' ' -f 2 measured >>"$name.kb"
  cut -d ' ' -f 1 measured
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f\n", a / b }'; }
middle() { sort -n "$1" | awk '{ v[NR] = $1 } END { printf "%s | %s | %s", v[1], v[int((NR + 1) / 2)], v[NR] }'; }

if [ ! -d "$cache/artifact" ]; then
  say "making a cache of $gigabytes GB"
  make_cache
fi
files=$(find "$cache/artifact" -type f | wc -l)
for round in $(seq "$rounds"); do
  rm -rf ours.tar theirs.tar sums ours theirs
  # Once over all files, so that neither side is the first to read them from the disk.
  cat "$cache"/artifact/* >/dev/null
  ours=$(seconds export "$bin/airlock" bundle export --cache "$cache" ours.tar)
  # shellcheck disable=SC2016  # $0 is for the inner shell
  theirs=$(seconds tar sh -c 'tar -C "$0" -cf theirs.tar artifact && (cd "$0" && sha256sum artifact/*) > sums && sync -f theirs.tar' "$cache")
  ratio "$ours" "$theirs" >>export.ratio
  say "round $round: export $ours s, tar and sha256sum $theirs s"
  ours=$(seconds import "$bin/airlock" bundle import --cache ours ours.tar)
  theirs=$(seconds untar sh -c 'mkdir theirs && tar -C theirs -xf theirs.tar && (cd theirs && sha256sum -c --quiet ../sums) && sync -f theirs')
  ratio "$ours" "$theirs" >>import.ratio
  say "round $round: import $ours s, tar and sha256sum $theirs s"
done

echo "| what | min | median | max | aim |"
echo "|---|---|---|---|---|"
echo "| export of $gigabytes GB in $files files, time / tar and sha256sum | $(middle export.ratio) | ≤ 1.20 |"
echo "| import of the same, time / tar and sha256sum | $(middle import.ratio) | ≤ 1.20 |"
for side in export import; do
  awk '{ print $1 / 1000 }' "$side.kb" >"$side.mb"
  echo "| memory of the $side, MB | $(middle "$side.mb") | < 64 |"
done
echo
echo "$(nproc) cores of $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), load $(cut -d ' ' -f 1-3 /proc/loadavg)"
