#!/usr/bin/env bash
# Copies a cache directory with rsync: resources first, listings last, and only
# what clients can ask for. See usage() below; needs bash and rsync 3.1 or later.
#
# What must not happen: a listing in DST that names a registry tarball which is
# not there. The source may publish while this runs, so its listings are taken
# first and kept aside, and what they name is copied before they are.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'END'
Usage: rsync-cache.sh [--dry-run] SRC DST [-- RSYNC-OPTION...]

Copies the cache directory SRC to DST. One of them may be remote, as rsync takes
it: host:path, host::module/path or rsync://host/module/path.

  -n, --dry-run   print what would be copied, change nothing
  -h, --help      print this

It is safe at any moment: SRC may be filled and DST served meanwhile. Cut, it
harms nothing; run it again, and it goes on where it was. What is in DST stays
as it is, except the listings, which become those of SRC, and the git bundles of
repositories. Only these, resources and listings cross: never .airlock/, which is
a machine's own, nor anything else.
Links are followed. What follows -- goes to every rsync, for instance:

  rsync-cache.sh cache inside:/srv/airlock/cache -- -e 'ssh -p 2222' --bwlimit=5m

Over ssh one run opens four connections: use a key, not passwords.

Exit codes: 0 all of it came; 1 something did not, and the listings of DST are
as they were; 2 wrong usage, or SRC is no cache directory.
END
}

say() { printf 'rsync-cache: %s\n' "$*" >&2; }
refuse() { say "$*"; exit 2; }

# As rsync decides it: a colon before the first slash.
is_remote() { [[ ${1%%/*} == *:* ]]; }

# With the slash at the end that means "what is in it".
contents() {
  case $1 in
    *:) printf '%s./' "$1" ;;
    *) printf '%s/' "${1%/}" ;;
  esac
}

repeat() { printf "%.0s[0-9a-f]" $(seq "$1"); }

read_arguments() {
  local paths=()
  dry_run='' extra=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      -n | --dry-run) dry_run=1 ;;
      --) shift; extra=("$@"); break ;;
      --del*) refuse "$no_delete" ;;
      -*) refuse "unknown option $1 (options of rsync come after --); see --help" ;;
      *) paths+=("$1") ;;
    esac
    shift
  done
  [ ${#paths[@]} -eq 2 ] || refuse 'it takes SRC and DST; see --help'
  src=${paths[0]} dst=${paths[1]}
}

no_delete='nothing is ever deleted: what is no longer needed is removed with "airlock gc", on each side'

check_arguments() {
  local option
  command -v rsync >/dev/null || refuse 'there is no rsync on the PATH: install it (Debian: apt-get install rsync)'
  for option in ${extra[@]+"${extra[@]}"}; do
    case $option in
      --del*) refuse "$no_delete" ;;
      --remove-s*) refuse "$option would empty SRC" ;;
      --inplace | --append* | --write-devices) refuse "$option would show half a file under its name" ;;
      --dry-run | --list-only) refuse "--dry-run comes before SRC and DST" ;;
      --*) ;;
      -*n*) [[ ! $option =~ ^-[a-zA-Z]+$ ]] || refuse "--dry-run comes before SRC and DST" ;;
    esac
  done
  if [ -z "$src" ] || [ -z "$dst" ]; then refuse 'SRC and DST must not be empty'; fi
  if is_remote "$src"; then
    if is_remote "$dst"; then refuse 'SRC and DST cannot both be remote: run it on one of the two'; fi
  else
    [ -d "$src" ] || refuse "$src is no directory"
  fi
  if is_remote "$dst"; then return; fi
  # A whole path that is missing is a typo or a disk that is not mounted.
  [ -d "$dst" ] || { [ ! -e "$dst" ] && [ -d "$(dirname -- "$dst")" ]; } || refuse "$dst is no directory, nor a new one in one that is there"
  if [ "$src" -ef "$dst" ]; then refuse "SRC and DST are the same directory: $dst"; fi
}

set_options() {
  local kind
  tree=$(repeat 40)
  uuid=$(repeat 8)-$(repeat 4)-$(repeat 4)-$(repeat 4)-$(repeat 12)
  # First match wins, so what the caller adds cannot let more across.
  resources=(--exclude='/artifact/*/')
  resources+=(--include=/artifact/ --include="/artifact/$tree")
  for kind in registry package; do
    resources+=(--exclude="/$kind/*/*/")
    resources+=(--include="/$kind/" --include="/$kind/$uuid/" --include="/$kind/$uuid/$tree")
  done
  # Git bundles of repositories: any depth, and no name that begins with a dot.
  resources+=(--exclude='/git/**.bundle/' --exclude='/git/.*' --exclude='/git/**/.*')
  resources+=(--include=/git/ --include='/git/**/' --include='/git/**.bundle')
  resources+=(--exclude='*')
  listings=(--include=/registries --include=/registries.eager --include=/registries.conservative --exclude='*')
  # The caller's options come between: they may choose other modes than the umask's, but neither
  # bring what FAT cannot hold (links, owners) nor show a half file. A folder of DST that is a link
  # is not replaced by a folder; rsync 3.5 writes through it only if it stays within DST.
  first=(--times --omit-dir-times '--chmod=Dugo=rwx,Fugo=rw')
  last=(--copy-links --keep-dirlinks --partial-dir=.rsync-partial --no-inplace --no-append --no-backup)
  last+=(--no-perms --no-owner --no-group --no-devices --no-specials)
  show=()
  if [ -n "$dry_run" ]; then
    show=(--dry-run --out-format=%n)
  elif [ -t 1 ]; then
    show=(--info=progress2)
  fi
}

# Copies, and keeps rsync's exit code in `status`.
copy() {
  local from=$1 to=$2
  shift 2
  local arguments=("${first[@]}" "$@" ${extra[@]+"${extra[@]}"} "${last[@]}")
  status=0
  if [ -n "$dry_run" ]; then
    # Without the folders.
    rsync "${arguments[@]}" -- "$from" "$to" | sed '/\/$/d' || status=${PIPESTATUS[0]}
  else
    rsync "${arguments[@]}" -- "$from" "$to" || status=$?
  fi
}

# What rsync's exit code means here.
explain() {
  case $1 in
    11) echo 'a file could not be written: no room, or too large for that file system' ;;
    20) echo 'it was interrupted' ;;
    23) echo 'some files could not be read or written, rsync names them above' ;;
    24) echo 'some files of SRC went away meanwhile' ;;
    10 | 12 | 30 | 35 | 255) echo 'the connection could not be made, or was cut' ;;
    *) echo 'rsync says above why' ;;
  esac
}

incomplete() {
  say "NOT complete: $1"
  say "what came stays, the listings of $dst are as they were; ${2-the same command goes on from there}"
  exit 1
}

take_listings() {
  mkdir "$tmp/listings"
  copy "$(contents "$src")" "$tmp/listings/" -r "${listings[@]}"
  [ "$status" -eq 0 ] || refuse "the listings of $src could not be read (rsync's exit code $status: $(explain "$status"))"
  sed -nE "s#^(/registry/$uuid/$tree)[[:space:]]*\$#\1#p" "$tmp"/listings/* 2>/dev/null | sort -u >"$tmp/named" || true
  [ -s "$tmp/named" ] ||
    refuse "$src is no cache directory: it has no listing (registries, registries.eager or registries.conservative)"
}

copy_resources() {
  local limit=${1-}
  copy "$(contents "$src")" "$(contents "$dst")" -r --ignore-existing ${limit:+"$limit"} "${resources[@]}" \
    ${show[@]+"${show[@]}"} --log-file="$tmp/log" --log-file-format='> %l %n'
}

# A file that FAT cannot hold ends rsync at once; the others must come all the same.
copy_all_that_fit() {
  local left
  if is_remote "$dst" || [ "$(stat -f -c %T -- "$dst" 2>/dev/null)" != msdos ]; then
    copy_resources
    [ "$status" -eq 11 ] || return 0
    say 'again, without the files of 4 GiB and more'
  fi
  copy_resources --max-size=4G-1
  [ "$status" -eq 0 ] || return 0
  left=$(copy "$(contents "$src")" "$(contents "$dst")" -r --ignore-existing --min-size=4G "${resources[@]}" \
    --dry-run --out-format='%n (%l bytes)' | grep -v '/ (' || true)
  [ -z "$left" ] ||
    incomplete "too large for the file system of $dst: ${left//$'\n'/, }" 'FAT ends at 4 GiB, exFAT does not'
}

copy_named_registries() {
  copy "$(contents "$src")" "$(contents "$dst")" --files-from="$tmp/named" --ignore-existing ${dry_run:+--dry-run}
}

# By content: two listings may have one size and, where times are coarse, one time.
copy_listings() {
  copy "$tmp/listings/" "$(contents "$dst")" -r --checksum "${listings[@]}" ${show[@]+"${show[@]}"}
}

# So that a stick that is pulled, or a power cut, does not leave listings without their tarballs.
settle() {
  if [ -n "$dry_run" ] || is_remote "$dst"; then return; fi
  sync -f "$dst" || incomplete 'the system could not write everything to the disk'
}

copied() {
  awk '$4 == ">" && !/\/$/ { files++; bytes += $5 } END { printf "%d new files, %.0f bytes", files, bytes }' "$tmp/log"
}

need_success() {
  [ "$status" -eq 0 ] || incomplete "$1 (rsync's exit code $status: $(explain "$status"))"
}

main() {
  read_arguments "$@"
  check_arguments
  tmp=$(mktemp -d)
  trap 'rm -rf "$tmp"' EXIT
  set_options
  take_listings
  say "1/2 resources of $src"
  copy_all_that_fit
  need_success 'not all resources came'
  copy_named_registries
  need_success 'not every registry that the listings name came'
  settle
  say "2/2 listings"
  copy_listings
  need_success 'the listings did not come'
  settle
  if [ -n "$dry_run" ]; then
    say 'a dry run: nothing was changed'
    return
  fi
  say "done: $(copied), $dst has all that $src had when this began"
  say 'a server that runs there finds them within 10 s if it shows only what is here (view-interval), else within 10 minutes (rescan-interval); SIGHUP makes it look now'
}

main "$@"
