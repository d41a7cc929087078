#!/bin/sh
# Installs what the page draws text with: install.sh FOLDER puts FOLDER/vendor, to be served as /vendor/ beside the
# page. A folder that has the locked versions already is left alone, and needs no network. The page does without.
#
# After a change of package.json, beside it: npm install --package-lock-only --omit-lockfile-registry-resolved
set -eu
folder=$1
here=$(dirname "$0")
locked=$(cat "$0" "$here/package-lock.json" | sha256sum | cut -c1-12)
[ "$(cat "$folder/vendor/.installed" 2>/dev/null)" != "$locked" ] || exit 0

# Beside it, so that a registry that does not answer costs nothing of what is there.
new=$folder.new.$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/vendor"
cp "$here/package.json" "$here/package-lock.json" "$new"
# Whoever waits for the page waits for this: a registry that does not answer is given up soon.
npm ci --prefix "$new" --ignore-scripts --omit=optional --no-audit --no-fund --silent \
  --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=20000
modules=$new/node_modules
cp "$modules/marked/lib/marked.esm.js" "$new/vendor/marked.js"
# Its module is three times as large as its script, which leaves a global name.
{
  cat "$modules/dompurify/dist/purify.min.js"
  printf '\nexport default globalThis.DOMPurify;\n'
} >"$new/vendor/purify.js"
cp "$modules/@highlightjs/cdn-assets/es/highlight.min.js" "$new/vendor/highlight.js"
cp "$modules/ansi_up/ansi_up.js" "$new/vendor/ansi.js"
echo "$locked" >"$new/vendor/.installed"
rm -rf "$folder"
mv "$new" "$folder"
