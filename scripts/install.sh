#!/usr/bin/env bash
# Installs airlock on this machine as a service, or takes it off again.
#
#   scripts/install.sh [--prefix DIR] [--root DIR] [--binary FILE] [--dry-run]
#   scripts/install.sh --uninstall [--purge] [--prefix DIR] [--root DIR] [--dry-run]
#
#   --prefix DIR   where the program goes (default /usr/local)
#   --root DIR     put all of it below DIR instead of /: for packages and tests. No user is made and no
#                  service manager is told.
#   --binary FILE  the program (default target/release/airlock)
#   --dry-run      say what would be done
#   --uninstall    remove what this script put there; the configuration and the cache stay
#   --purge        with --uninstall: remove these too, /etc/airlock with all that is in it, and the user
#
# To upgrade, run it again. A configuration that is there is never overwritten; the example of the new
# version lies beside it. Nothing is started or stopped, but --uninstall stops the service.
# Exit: 0 done; 1 it could not be done; 2 wrong usage.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
prefix=/usr/local root='' binary=$here/target/release/airlock dry='' uninstall='' purge=''

say() { printf 'install: %s\n' "$*" >&2; }
die() { say "ERROR: $*"; exit 1; }
usage() { say "$*"; sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" >&2; exit 2; }

absolute() {
  case $2 in
    /*) ;;
    *) usage "$1 wants a path that begins with a slash, not: $2" ;;
  esac
}

while [ $# -gt 0 ]; do
  case $1 in
    --prefix | --root | --binary)
      [ $# -ge 2 ] || usage "$1 wants a value"
      case $1 in
        --prefix) absolute "$1" "$2" && prefix=${2%/} ;;
        --root) absolute "$1" "$2" && root=${2%/} ;;
        --binary) binary=$2 ;;
      esac
      shift 2
      ;;
    --dry-run) dry=1 && shift ;;
    --uninstall) uninstall=1 && shift ;;
    --purge) purge=1 && shift ;;
    -h | --help) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "$0" && exit ;;
    *) usage "unknown: $1" ;;
  esac
done
[ -z "$purge" ] || [ -n "$uninstall" ] || usage '--purge goes with --uninstall'

config=/etc/airlock state=/var/lib/airlock user=airlock
list=$prefix/share/airlock/installed
# Where systemd looks for units that belong to a prefix; any other has none.
case $prefix in
  /usr | /usr/local) units=$prefix/lib/systemd/system ;;
  *) units=/etc/systemd/system ;;
esac

do_it() {
  if [ -n "$dry" ]; then
    printf '%s\n' "$*"
  else
    "$@"
  fi
}

# The machine itself, and not a folder that becomes a package.
is_live() { [ -z "$root" ]; }
has_systemd() { is_live && [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# What was put there, one a line: "f PATH" and "d PATH", without the root.
new=''
note() { new+="$1 $2"$'\n'; }
noted() { grep -qxF "$1 $2" <<<"$new"; }

# A folder of ours, if it was not there: only such a one is removed again.
folder() {
  local path=$1 mode=${2:-755}
  [ "$path" != / ] && [ -n "$path" ] || return 0
  if [ -d "$root$path" ] || noted d "$path"; then return 0; fi
  folder "$(dirname "$path")"
  do_it install -d -m "$mode" "$root$path"
  note d "$path"
}

# put MODE PATH: a file with what comes on standard input.
put() {
  folder "$(dirname "$2")"
  note f "$2"
  if [ -n "$dry" ]; then
    cat >/dev/null
    printf 'write %s\n' "$root$2"
    return
  fi
  # Under another name first: nobody ever sees half of it, and a program that runs can be replaced.
  local temporary
  temporary=$(mktemp "$root$2.XXXXXX")
  cat >"$temporary"
  chmod "$1" "$temporary"
  mv -f "$temporary" "$root$2"
}

make_user() {
  is_live || { say "no user is made below $root: $user must be there where it is installed"; return; }
  getent passwd "$user" >/dev/null && return
  do_it useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin \
    --comment 'Julia package server' "$user"
}

# Owned by the service, where that user is known.
own() {
  is_live && is_root || return 0
  do_it chown "$1" "$root$2"
}

install_all() {
  [ -x "$binary" ] || die "there is no program $binary: build it with cargo build --release, or name it with --binary"
  if is_live && ! is_root && [ -z "$dry" ]; then die 'only root can install on this machine; --root DIR needs no rights'; fi
  local made page
  made=$(mktemp -d)
  # shellcheck disable=SC2064 # of now
  trap "rm -rf '$made'" EXIT
  # All that can go wrong with the program goes wrong before anything is replaced.
  "$binary" man "$made/man"
  "$binary" completions bash >"$made/bash"
  "$binary" completions zsh >"$made/zsh"
  "$binary" completions fish >"$made/fish"
  sed "s|^ExecStart=/usr/local/bin/airlock |ExecStart=$prefix/bin/airlock |" "$here/ops/airlock.service" >"$made/unit"

  put 755 "$prefix/bin/airlock" <"$binary"
  put 644 "$prefix/share/bash-completion/completions/airlock" <"$made/bash"
  put 644 "$prefix/share/zsh/site-functions/_airlock" <"$made/zsh"
  put 644 "$prefix/share/fish/vendor_completions.d/airlock.fish" <"$made/fish"
  for page in "$made"/man/*; do
    put 644 "$prefix/share/man/man1/${page##*/}" <"$page"
  done
  put 644 "$units/airlock.service" <"$made/unit"

  make_user
  # Tokens and keys are kept beside it.
  if [ ! -d "$root$config" ]; then
    folder /etc
    do_it install -d -m 750 "$root$config"
    own "root:$user" "$config"
  fi
  configure airlock.toml.example
  if [ -e "$root$config/airlock.toml" ]; then
    say "$root$config/airlock.toml is there and stays as it is"
  else
    configure airlock.toml
  fi
  if [ ! -d "$root$state/cache" ]; then
    folder /var/lib
    # The group may push into it, and what it makes there stays the group's.
    do_it install -d -m 2750 "$root$state"
    do_it install -d -m 2770 "$root$state/cache"
    own "$user:$user" "$state"
    own "$user:$user" "$state/cache"
  fi

  folder "$(dirname "$list")"
  note f "$list"
  remove_stale
  if [ -z "$dry" ]; then
    # Folders of an earlier version are still ours.
    { printf '%s' "$new"; sed -n '/^d /p' "$root$list" 2>/dev/null || true; } | sort -u >"$made/list"
    install -m 644 "$made/list" "$root$list"
  fi
  if has_systemd; then
    do_it systemctl daemon-reload
    if systemctl is-active --quiet airlock; then
      say 'the old program still runs: systemctl restart airlock'
    else
      say 'to start it, now and at every boot: systemctl enable --now airlock'
    fi
  else
    say "to start it: $prefix/bin/airlock --config $config/airlock.toml serve"
  fi
}

# The configuration of the example, for the cache of this machine.
configure() {
  local kept=$new
  put 640 "$config/$1" < <(sed "s|^cache = \"cache\"$|cache = \"$state/cache\"|" "$here/airlock.example.toml")
  own "root:$user" "$config/$1"
  # Not in the list: what somebody may have edited is removed by --purge only.
  [ "$1" != airlock.toml ] || new=$kept
}

# What an earlier version put there and this one does not.
remove_stale() {
  [ -f "$root$list" ] || return 0
  local kind path
  while read -r kind path; do
    if [ "$kind" = f ] && ! noted f "$path"; then do_it rm -f "$root$path"; fi
  done <"$root$list"
}

uninstall_all() {
  if is_live && ! is_root && [ -z "$dry" ]; then die 'only root can remove it from this machine'; fi
  if has_systemd && systemctl cat airlock >/dev/null 2>&1; then do_it systemctl disable --now airlock; fi
  if [ -f "$root$list" ]; then
    local kind path
    while read -r kind path; do
      [ "$kind" != f ] || do_it rm -f "$root$path"
    done < <(grep -vxF "f $list" "$root$list")
    local folders
    folders=$(sed -n 's/^d //p' "$root$list" | sort -r)
    do_it rm -f "$root$list"
    if [ -n "$purge" ]; then purge_all; fi
    while read -r path; do
      # Others may have put something there.
      [ -z "$path" ] || do_it rmdir --ignore-fail-on-non-empty "$root$path"
    done <<<"$folders"
  else
    say "nothing is installed below $root$prefix"
    if [ -n "$purge" ]; then purge_all; fi
  fi
  if has_systemd; then do_it systemctl daemon-reload; fi
  if [ -z "$purge" ]; then say "$root$config and $root$state stay; --uninstall --purge removes them"; fi
}

purge_all() {
  do_it rm -rf "$root$config" "$root$state"
  if is_live && getent passwd "$user" >/dev/null; then do_it userdel "$user"; fi
}

if [ -n "$uninstall" ]; then uninstall_all; else install_all; fi
