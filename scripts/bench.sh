#!/usr/bin/env bash
# Measures airlock beside what it is to be compared with, on this machine and on its loopback only:
#
#   scripts/bench.sh [tree] [hits] [miss] [prewarm] [memory] [start] [resolve]
#
# runs those named, or all. Both sides of a comparison take turns within each round, and only their
# ratio counts: what else runs on the machine then slows both. The table at the end has the median
# of the rounds' ratios, with the least and the greatest. docs/benchmarks.md says what each row is.
#
#   BENCH_ROUNDS=7      rounds of each comparison
#   BENCH_TARBALL=FILE  the tarball of `tree`; without it one is made
#   BENCH_REGISTRY=FILE the tarball of General for `resolve`, which without it is left out
#   BENCH_PORT=18700    this port and the next one are used
#   BENCH_BIN=DIR       a folder with `airlock` and `examples/`; without it, a release build
#
# Installs nothing: it says what is missing. Needs about 6 GB in TMPDIR and 4 GB of memory.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${BENCH_ROUNDS:-7}
port=${BENCH_PORT:-18700}
airlock_url=http://127.0.0.1:$port
nginx_url=http://127.0.0.1:$((port + 1))

say() { printf 'bench: %s\n' "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }

need_tools() {
  local missing=()
  command -v curl >/dev/null || missing+=(curl)
  command -v wrk >/dev/null || missing+=(wrk)
  PATH=$PATH:/usr/sbin command -v nginx >/dev/null || missing+=(nginx-light)
  [ ${#missing[@]} -eq 0 ] || die "missing; first: apt-get install ${missing[*]}"
}

build() {
  bin=${BENCH_BIN:-}
  [ -z "$bin" ] || return 0
  bin=${CARGO_TARGET_DIR:-target}/release
  cargo build --release --locked --bin airlock --example bench_upstream --example tree_hash --example resolve
}

# --- Processes ----------------------------------------------------------------------------------

pids=()
stop_all() {
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  pids=()
  wait
}

# The upstream; sets $upstream. What it made is in $work/list, and in a cache if one was named.
start_upstream() {
  coproc UPSTREAM { exec "$bin/examples/bench_upstream" --list "$work/list" "$@"; }
  pids+=("$UPSTREAM_PID")
  read -r upstream <&"${UPSTREAM[0]}" || die 'the upstream did not start'
  mapfile -t paths < <(grep '^/' "$work/list")
}

# airlock serve on a cache; sets $server.
start_airlock() {
  local cache=$1
  shift
  "$bin/airlock" serve --cache "$cache" --listen "127.0.0.1:$port" --log-level warn "$@" &
  server=$!
  pids+=("$server")
  until curl -s -o "$work/null" "$airlock_url/health"; do sleep 0.02; done
}

start_nginx() {
  local user=''
  [ "$(id -u)" -ne 0 ] || user="user $(id -un);"
  cat >"$work/nginx.conf" <<CONF
$user
daemon off;
worker_processes 2;
pid $work/nginx.pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 100000000;
  default_type application/x-gzip;
  client_body_temp_path $work/nginx-1; proxy_temp_path $work/nginx-2; fastcgi_temp_path $work/nginx-3;
  uwsgi_temp_path $work/nginx-4; scgi_temp_path $work/nginx-5;
  server { listen 127.0.0.1:$((port + 1)); root $1; }
}
CONF
  PATH=$PATH:/usr/sbin nginx -c "$work/nginx.conf" &
  pids+=("$!")
  until curl -s -o "$work/null" "$nginx_url/"; do sleep 0.02; done
}

# --- Numbers ------------------------------------------------------------------------------------

micros() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }

# Microseconds that a command took.
took() {
  local begun
  begun=$(micros)
  "$@" >"$work/out" || die "failed: $*"
  printf '%s' "$(($(micros) - begun))"
}

# Runs `$2 ours` and `$2 theirs` with the further arguments, who is first changing with the round,
# and keeps the pair of numbers that they print under the name $1.
round() {
  local name=$1 measure=$2 number=$3 ours theirs
  shift 3
  if ((number % 2)); then
    ours=$("$measure" ours "$@") theirs=$("$measure" theirs "$@")
  else
    theirs=$("$measure" theirs "$@") ours=$("$measure" ours "$@")
  fi
  say "$name: $ours $theirs"
  printf '%s\t%s\t%s\n' "$name" "$ours" "$theirs" >>"$work/pairs"
}

# The table: names in order of appearance; aims are in $work/aims as NAME, AIM.
table() {
  printf '\n| what | min | median | max | aim |\n|---|---|---|---|---|\n'
  local name aim
  while IFS=$'\t' read -r name aim; do
    awk -F'\t' -v name="$name" '$1 == name { print ($3 == "" ? $2 : $2 / $3) }' "$work/pairs" | sort -g |
      awk -v name="$name" -v aim="$aim" '
        { value[NR] = $1 }
        END {
          if (!NR) exit
          middle = NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2
          printf "| %s | %.2f | %.2f | %.2f | %s |\n", name, value[1], middle, value[NR], aim
        }'
  done <"$work/aims"
}

aim() { printf '%s\t%s\n' "$1" "$2" >>"$work/aims"; }

# --- Comparisons --------------------------------------------------------------------------------

# shellcheck disable=SC2016 # for the inner shell
tree_once() {
  case $1 in
    ours) took "$bin/examples/tree_hash" "$2" ;;
    theirs) took bash -c 'gzip -dc "$1" | sha1sum' - "$2" ;;
  esac
}

bench_tree() {
  local name='tree hash, time / gzip -dc piped to sha1sum' tarball=${BENCH_TARBALL:-}
  aim "$name" '-'
  if [ -z "$tarball" ]; then
    start_upstream --cache "$work/tree" 1x32000000
    stop_all
    tarball=$work/tree${paths[0]}
  fi
  for ((i = 0; i < rounds; i++)); do round "$name" tree_once "$i" "$tarball"; done
}

# Requests in a second; large bodies are cut by the end of the time, so for them bytes.
hits_once() {
  local url=$airlock_url
  [ "$1" = ours ] || url=$nginx_url
  wrk -t2 -c"$2" -d"$3"s "$url$4" >"$work/wrk"
  ! grep -q 'Non-2xx' "$work/wrk" || die "$url$4: not 200"
  if [ "$2" -gt 8 ]; then
    awk '/^Requests\/sec/ { print $2 }' "$work/wrk"
  else
    awk '/^Transfer\/sec/ { print ($2 ~ /GB$/ ? $2 * 1024 : $2 + 0) }' "$work/wrk"
  fi
}

bench_hits() {
  local sizes=(3kB 100kB 100MB) clients=(64 64 8) name
  start_upstream --cache "$work/hits" 1x3000 1x100000 1x100000000
  start_airlock "$work/hits" --offline
  start_nginx "$work/hits"
  for path in "${paths[@]}"; do curl -sf -o "$work/null" "$airlock_url$path"; done
  for which in 0 1 2; do
    name="hits of ${sizes[which]}, throughput / nginx"
    aim "$name" '≥ 1.00'
    hits_once ours "${clients[which]}" 1 "${paths[which]}" >"$work/null"
    # Short and many: other programs come and go.
    for ((i = 0; i < 3 * rounds; i++)); do
      round "$name" hits_once "$i" "${clients[which]}" 1 "${paths[which]}"
    done
  done
  stop_all
}

# Seconds that curl spent on the paths in $work/wanted, one after the other on one connection.
miss_once() {
  local url=$airlock_url
  [ "$1" = ours ] || url=$upstream
  sed "s|.*|url = \"$url&\"\noutput = \"$work/null\"|" "$work/wanted" >"$work/curl"
  curl -sSf -w '%{stderr}%{time_total}\n' -K "$work/curl" 2>"$work/times" || die "curl failed: $(tail -1 "$work/times")"
  awk '{ sum += $1 } END { printf "%.6f", sum }' "$work/times"
}

# A line of 1 Gbit/s, as upstreams have at best, and one without bound.
bench_miss() {
  local sizes=(3kB 1MB 100MB) bytes=(3000 1000000 100000000) counts=(20 10 1) which
  for which in 0 1 2; do
    bench_miss_of "cold miss of ${sizes[which]} at 1 Gbit/s" "${counts[which]}" "${bytes[which]}" --rate 125000000
    bench_miss_of "cold miss of ${sizes[which]} without bound" "${counts[which]}" "${bytes[which]}"
  done
}

bench_miss_of() {
  local name="$1, time / directly" count=$2 size=$3 i
  shift 3
  aim "$name" '≤ 1.05'
  start_upstream --latency 20 "$@" "$((rounds * count + 1))x$size"
  start_airlock "$work/miss" --upstream "$upstream"
  # Connections and code are warmed by one that does not count.
  curl -sf -o "$work/null" "$airlock_url${paths[-1]}"
  for ((i = 0; i < rounds; i++)); do
    printf '%s\n' "${paths[@]:i * count:count}" >"$work/wanted"
    round "$name" miss_once "$i"
  done
  stop_all
  rm -r "$work/miss"
}

# Every run fills a folder of its own, and none is removed in between: ext4 is slow to make files
# for some seconds after many were removed.
prewarm_once() {
  local folder=$work/prewarmed/$1-$2
  mkdir -p "$folder"
  case $1 in
    ours) took "$bin/airlock" prewarm --cache "$folder" --upstream "$upstream" "$work/list" ;;
    theirs) took curl -sSf --no-progress-meter --parallel --parallel-max 64 --output-dir "$folder" -K "$work/curl" ;;
  esac
}

bench_prewarm() {
  local name='prewarm of 1,000, time / curl --parallel'
  aim "$name" '≤ 1.00'
  start_upstream --latency 20 1000x20000
  printf '%s\n' "${paths[@]}" | sed "s|^/artifact/\(.*\)|url = \"$upstream&\"\noutput = \"\1\"|" >"$work/curl"
  for ((i = 0; i < rounds; i++)); do round "$name" prewarm_once "$i" "$i"; done
  stop_all
}

# MB at the peak, after 100 clients asked for what $2... leads to. All must have got bytes.
memory_of() {
  local name=$1 peak
  for _ in {1..100}; do printf 'url = "%s"\noutput = "/dev/null"\n' "$airlock_url${paths[0]}"; done >"$work/curl"
  curl -s --no-progress-meter --parallel --parallel-max 100 --parallel-immediate --max-time 30 -w '%{stderr}%{size_download} %{http_code} %{errormsg}\n' \
    -K "$work/curl" 2>"$work/sizes" || true
  awk '$1 > 0 { got++ } END { exit got != 100 }' "$work/sizes" || die "$name: not all clients got bytes: $(sort "$work/sizes" | head -3)"
  peak=$(awk '/^VmHWM/ { printf "%.1f", $2 / 1024 }' "/proc/$server/status")
  say "$name: $peak"
  printf '%s\t%s\t\n' "$name" "$peak" >>"$work/pairs"
}

bench_memory() {
  local hits='memory, 100 clients on hits of 1 GB, MB' flight='memory, 100 clients on a flight of 1 GB, MB'
  aim "$hits" '< 100'
  aim "$flight" '< 100'
  start_upstream --noise --cache "$work/memory" 1x1000000000
  # Verified once by another process: that is no part of what is measured.
  "$bin/airlock" verify --cache "$work/memory" >"$work/null"
  start_airlock "$work/memory" --offline
  memory_of "$hits"
  kill "$server"
  wait "$server" || true
  rm -r "$work/memory"
  start_airlock "$work/flight" --upstream "$upstream"
  memory_of "$flight"
  stop_all
  rm -r "$work/flight"
}

# Milliseconds from exec to the first line of the first answer.
start_once() {
  local begun status
  begun=$(micros)
  "$bin/airlock" serve --cache "$work/start" --listen "127.0.0.1:$port" --offline --log-level warn >&2 &
  local pid=$!
  until { exec 9<>"/dev/tcp/127.0.0.1/$port"; } 2>/dev/null; do :; done
  printf 'GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n' "${paths[0]}" >&9
  read -r status <&9
  printf '%s' $((($(micros) - begun) / 1000))
  exec 9>&-
  kill "$pid"
  wait "$pid" || true
  [ "${status%$'\r'}" = 'HTTP/1.1 200 OK' ] || die "start: $status"
}

bench_start() {
  local name='start with 100,000 resources, ms to the first answer' milliseconds
  aim "$name" '< 200'
  start_upstream --cache "$work/start" 100000x300
  stop_all
  "$bin/airlock" verify --cache "$work/start" >"$work/null"
  for ((i = 0; i < rounds; i++)); do
    milliseconds=$(start_once)
    say "$name: $milliseconds"
    printf '%s\t%s\t\n' "$name" "$milliseconds" >>"$work/pairs"
  done
  rm -r "$work/start"
}

# Seconds to read a registry from its tarball, and to solve large packages over it.
bench_resolve() {
  local load='General from its tarball, s' packages=(DifferentialEquations Makie Flux) i name
  if [ -z "${BENCH_REGISTRY:-}" ]; then
    say 'resolve: left out without BENCH_REGISTRY'
    return 0
  fi
  aim "$load" '< 0.5'
  for name in "${packages[@]}"; do aim "$name solved, s" '< 1'; done
  for ((i = 0; i < rounds; i++)); do
    "$bin/examples/resolve" "$BENCH_REGISTRY" 1.10.2 "${packages[@]}" >"$work/out"
    awk -v OFS='\t' -v load="$load" '
      /^LOADED/ { print load, $2, "" }
      /^DONE/ { print $2 " solved, s", $3, "" }' "$work/out" | tee -a "$work/pairs" >&2
  done
}

need_tools
build
work=$(mktemp -d)
trap 'stop_all; rm -rf "$work"' EXIT
touch "$work/aims" "$work/pairs"
[ $# -gt 0 ] || set -- tree hits miss prewarm memory start resolve
for bench in "$@"; do
  declare -F "bench_$bench" >/dev/null || die "no such comparison: $bench"
done
for bench in "$@"; do "bench_$bench"; done
table
printf '\n%s cores of %s, %s of memory; load %s\n' "$(nproc)" \
  "$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)" \
  "$(awk '/MemTotal/ { printf "%.0f GB", $2 / 1024 / 1024 }' /proc/meminfo)" "$(cut -d' ' -f1-3 /proc/loadavg)"
