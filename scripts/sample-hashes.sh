#!/usr/bin/env bash
# Makes every git tree hash in sample/ and manifests/demo/ true.
#
#   scripts/sample-hashes.sh           writes the hashes into the files
#   scripts/sample-hashes.sh --check   changes nothing; exit 1 and a diff if one is wrong
#
# The hashes come from git itself, never from our own code: that is what makes
# them a test of it. Order matters, for each step goes into the next: artifacts,
# Artifacts.toml, package trees, Versions.toml and manifests, the registry. All
# of them are also listed in sample/tree-hashes.txt.
set -euo pipefail

# Nothing in the caller's git or locale may change a byte, a mode or an order.
export LC_ALL=C
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE

# tree_hash FOLDER: its tree as git writes it, every file a plain 100644.
tree_hash() {
  (
    export GIT_DIR="$work/git" GIT_INDEX_FILE="$work/index"
    rm -f "$GIT_INDEX_FILE"
    cd "$1"
    git --work-tree=. -c core.autocrlf=false -c core.safecrlf=false -c core.fileMode=false \
      -c core.attributesFile=/dev/null -c core.excludesFile=/dev/null add --all --force .
    git write-tree
  )
}

# fill FILE KIND: sets each git-tree-sha1 of FILE to the hash listed for its
# entry. What names the entry differs: the file in its download URL (artifact),
# its section (versions), its version line (manifest; entries without a hash,
# the standard libraries, stay without).
fill() {
  local file=$1 kind=$2
  awk -v kind="$kind" -v name="${3:-}" -v list="$list" -v file="$file" '
    function set_hash(key) {
      if (!(key in hash)) { print file ": no hash for " key > "/dev/stderr"; bad = 1; return }
      sub(/"[^"]*"$/, "\"" hash[key] "\"", lines[at])
      at = 0
    }
    function quoted(text) { sub(/^[^"]*"/, "", text); sub(/".*$/, "", text); return text }
    BEGIN { while ((getline line < list) > 0) { split(line, w, " "); hash[w[1] " " w[2]] = w[3] } }
    { lines[NR] = $0 }
    /^\["/ && kind == "versions" { version = quoted($0) }
    /^\[\[/ && kind == "manifest" { at = 0; name = $0; sub(/^\[\[(deps\.)?/, "", name); sub(/\]\]$/, "", name) }
    /^ *git-tree-sha1 = / { at = NR; if (kind == "versions") set_hash("package " name "/" version) }
    /^version = / && kind == "manifest" && at { set_hash("package " name "/" quoted($0)) }
    /^ *url = / && kind == "artifact" {
      label = quoted($0); sub(/^.*\//, "", label); sub(/\.tar\.gz$/, "", label)
      set_hash("artifact " label)
    }
    END { for (i = 1; i <= NR; i++) print lines[i]; exit bad }
  ' "$file" >"$work/filled"
  # Over the old content, so that the mode stays.
  cat "$work/filled" >"$file"
}

recompute() {
  local folder file name
  list=$PWD/sample/tree-hashes.txt
  echo '# git tree hashes of sample/, written by scripts/sample-hashes.sh' >"$list"
  for folder in sample/artifacts/*; do
    echo "artifact ${folder##*/} $(tree_hash "$folder")" >>"$list"
  done
  find sample/packages -name Artifacts.toml | while IFS= read -r file; do
    fill "$file" artifact
  done
  for folder in sample/packages/*/*; do
    echo "package ${folder#sample/packages/} $(tree_hash "$folder")" >>"$list"
  done
  for file in sample/registry/*/*/Versions.toml; do
    name=$(basename "$(dirname "$file")")
    fill "$file" versions "$name"
  done
  find manifests/demo -name 'Manifest.toml' | while IFS= read -r file; do
    fill "$file" manifest
  done
  echo "registry General $(tree_hash sample/registry)" >>"$list"
}

main() {
  local root
  root=$(cd "$(dirname "$0")/.." && pwd)
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  git init -q --bare "$work/git"
  # On a copy: a failure half way leaves the files as they were.
  mkdir "$work/new" "$work/new/manifests"
  cp -R "$root/sample" "$work/new/"
  cp -R "$root/manifests/demo" "$work/new/manifests/"
  (cd "$work/new" && recompute)

  if [ "${1:-}" = --check ]; then
    if ! { diff -r "$root/sample" "$work/new/sample" &&
      diff -r "$root/manifests/demo" "$work/new/manifests/demo"; }; then
      echo 'sample-hashes: out of date; run scripts/sample-hashes.sh' >&2
      exit 1
    fi
    echo 'sample-hashes: every tree hash is right'
    return
  fi
  cp -R "$work/new/sample" "$work/new/manifests" "$root/"
}

main "$@"
