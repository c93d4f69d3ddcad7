#!/usr/bin/env bash
# Gives the tests a real Julia client and prints the path of its binary.
#
#   scripts/get-julia.sh [DIR]        (default DIR: .julia/client in this repository)
#
# Taken in this order: $AIRLOCK_JULIA, `julia` on the PATH, DIR from an earlier
# run, and Julia 1.5.3 out of Debian's suite "bullseye". The last one is
# unpacked into DIR with a private apt state: no root is needed, nothing is
# installed, and the system's own apt is never touched.
#
# Only the path goes to stdout, all talk to stderr.
# Exit: 0 found; 3 Debian no longer carries the suite or the package; 1 anything else.
set -euo pipefail

suite=bullseye
# The system's own copies serve; older ones beside them would break its tools.
keep_system='libc6 libgcc-s1 libstdc++6 gcc-10-base libcrypt1 dpkg perl-base tar debconf'
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'get-julia: %s\n' "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }

gone() {
  say '********************************************************************'
  say "* Debian no longer carries $1."
  say '* No real Julia client can be had this way. Install Julia and put it'
  say '* on the PATH, or name it in AIRLOCK_JULIA.'
  say '********************************************************************'
  exit 3
}

# Julia 1.5 runs these for each download.
need_client_tools() {
  local tool missing=()
  for tool in curl tar gzip; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [ ${#missing[@]} -eq 0 ] && return
  [ "$(id -u)" -eq 0 ] || die "missing on the PATH: ${missing[*]} (install them as root)"
  say "installing ${missing[*]}"
  apt-get update >&2 </dev/null
  apt-get -y --no-install-recommends install "${missing[@]}" >&2 </dev/null
}

# The mirror that this machine already uses, so that no host name is written here.
debian_uri() {
  # shellcheck disable=SC2016  # apt-get expands it, not the shell
  apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | head -n 1 || true
}

private_apt() {
  apt-get -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null \
    -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status" \
    -o Dir::Cache::archives="$work/debs" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o Debug::NoLocking=1 -o APT::Sandbox::User= "$@" </dev/null
}

prepare_apt() {
  local uri
  uri=$(debian_uri)
  [ -n "$uri" ] || die 'apt knows no Debian archive here; put julia on the PATH instead'
  mkdir -p "$work/lists/partial" "$work/debs/partial"
  : >"$work/status"
  echo "deb [signed-by=$keyring] $uri $suite main" >"$work/sources.list"
}

# A 404 for the suite is Debian's answer; every other failure is ours or the line's.
update_lists() {
  if LC_ALL=C private_apt -o APT::Update::Error-Mode=any update >"$work/update.log" 2>&1; then
    return
  fi
  cat "$work/update.log" >&2
  if grep -Eq '404 +Not Found' "$work/update.log"; then gone "the suite $suite"; fi
  die "the package lists of $suite could not be fetched"
}

download_debs() {
  local package=$1
  if LC_ALL=C private_apt -y --no-install-recommends -d install "$package" >"$work/install.log" 2>&1; then
    return
  fi
  cat "$work/install.log" >&2
  if grep -Eq "Unable to locate package|no installation candidate" "$work/install.log"; then
    gone "$package in $suite"
  fi
  die "$package could not be downloaded"
}

unpack_debs() {
  local deb name
  mkdir -p "$work/j"
  for deb in "$work"/debs/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    case " $keep_system " in *" $name "*) continue ;; esac
    dpkg -x "$deb" "$work/j"
  done
}

# The system's patchelf, else Debian's own, unpacked beside the client.
find_patchelf() {
  if command -v patchelf; then return; fi
  download_debs patchelf
  dpkg -x "$(ls "$work"/debs/patchelf_*.deb)" "$work/tools"
  echo "$work/tools/usr/bin/patchelf"
}

# The binary finds its libraries beside itself. LD_LIBRARY_PATH is no
# substitute: it would reach the curl that Julia 1.5 runs, and break it.
patch_rpaths() {
  local patchelf=$1 triplet file
  triplet=$(dpkg --print-architecture | sed 's/^amd64$/x86_64/; s/^arm64$/aarch64/')-linux-gnu
  # shellcheck disable=SC2016  # $ORIGIN is for the dynamic loader
  "$patchelf" --force-rpath --set-rpath \
    "$(printf '$ORIGIN/../lib/%s:$ORIGIN/../../lib/%s:$ORIGIN/../lib/%s/julia:$ORIGIN/../lib/%s/openblas64-pthread' \
      "$triplet" "$triplet" "$triplet" "$triplet")" "$work/j/usr/bin/julia"
  find "$work/j" -type f -name '*.so*' -print0 | while IFS= read -r -d '' file; do
    "$patchelf" --print-rpath "$file" >/dev/null 2>&1 || continue
    "$patchelf" --remove-rpath "$file"
  done
}

install_client() {
  local patchelf
  need_client_tools
  if ! { command -v apt-get && command -v dpkg; } >/dev/null; then
    die 'no apt here; put julia on the PATH or name it in AIRLOCK_JULIA'
  fi
  work=$(mktemp -d "$dir/new.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  prepare_apt
  say "reading the package lists of $suite"
  update_lists
  say 'downloading Julia (about 90 MB)'
  download_debs julia
  say 'unpacking'
  unpack_debs
  patchelf=$(find_patchelf)
  patch_rpaths "$patchelf"
  "$work/j/usr/bin/julia" --startup-file=no -e 'using Pkg' >&2 ||
    die 'the unpacked client does not run'
  mv "$work/j" "$dir/j"
}

main() {
  if [ -n "${AIRLOCK_JULIA:-}" ]; then
    "$AIRLOCK_JULIA" --version >&2 || die "AIRLOCK_JULIA=$AIRLOCK_JULIA does not run"
    echo "$AIRLOCK_JULIA"
    return
  fi
  if command -v julia; then return; fi

  dir=${1:-"$(cd "$(dirname "$0")/.." && pwd)/.julia/client"}
  mkdir -p "$dir"
  dir=$(cd "$dir" && pwd)
  # Only a client that ran is ever moved to j, so its presence is enough.
  if [ ! -x "$dir/j/usr/bin/julia" ]; then
    exec 9>"$dir/lock"
    flock 9
    [ -x "$dir/j/usr/bin/julia" ] || install_client
  fi
  echo "$dir/j/usr/bin/julia"
}

main "$@"
