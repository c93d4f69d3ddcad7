#!/usr/bin/env bash
# From a fresh checkout to a running package server: installs what the build
# lacks, builds, and runs `airlock demo`. Arguments go on to it:
#
#   scripts/quickstart.sh            serves until Ctrl-C
#   scripts/quickstart.sh --exit     ends after its checks
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'quickstart: %s\n' "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@" </dev/null
  else
    command -v sudo >/dev/null || die "not root and no sudo; run this as root, then start again: $*"
    say "not root, so with sudo: $*"
    sudo "$@"
  fi
}

# need PROGRAM PACKAGE OTHERWISE: PACKAGE of Debian, if PROGRAM is missing.
need() {
  if command -v "$1" >/dev/null; then return; fi
  command -v apt-get >/dev/null || die "no $1; $3"
  say "no $1: installing $2"
  as_root apt-get update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends install "$2"
}

need_cargo() {
  if command -v cargo >/dev/null; then return; fi
  # Where the usual installer puts it before the next login.
  PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  command -v cargo >/dev/null ||
    die "no cargo; install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or later: https://www.rust-lang.org/tools/install"
}

need_cargo
# Some dependencies have C and assembly in them.
need cc build-essential 'install gcc or clang with your package manager (macOS: xcode-select --install)'
# For private registries and packages that only git has; the demo does without.
need git git 'install git 2.31 or later with your package manager'
say 'building (some minutes the first time)'
cargo build --release --locked
exec "${CARGO_TARGET_DIR:-target}/release/airlock" demo "$@"
