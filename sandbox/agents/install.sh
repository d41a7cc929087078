#!/bin/sh
# Installs an agent's program: install.sh AGENT FOLDER puts FOLDER/bin/AGENT.
# A folder that has the locked version already is left alone, and needs no network.
#
# Locked are the programs themselves, one a platform; npm's own entry may be a script of Node, which
# does not pass signals on. A patch.mjs beside the lock file is applied to the program.
# After a change of package.json, beside it:
#   npm install --package-lock-only --omit-lockfile-registry-resolved
# A program without a hash in its lock is never fetched: `make lock AGENT=…` adds the registry's.
set -eu
agent=$1
folder=$2
locked=$(dirname "$0")/$agent

case $agent in
  demo) exit 0 ;; # is part of the runner
  opencode) programs='opencode-*' ;;
  kilo) programs='@kilocode/cli-*' ;;
  *) echo "install.sh: there is no agent $agent" >&2; exit 2 ;;
esac

patch=$locked/patch.mjs
[ -e "$patch" ] || patch=/dev/null
modules=$folder/$agent-$(cat "$locked/package-lock.json" "$patch" | sha256sum | cut -c1-12)
[ ! -e "$modules/.installed" ] || exit 0
mkdir -p "$modules" "$folder/bin"
node "$(dirname "$0")/lock.mjs" verified "$agent" "$modules"
npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund
# Where there is one for older processors it sorts first, so that an image runs on any.
for program in "$modules"/node_modules/$programs/bin/"$agent"; do
  if "$program" --version >/dev/null 2>&1; then
    [ "$patch" = /dev/null ] || node "$patch" "$program"
    ln -sf "$(realpath "$program")" "$folder/bin/$agent"
    touch "$modules/.installed"
    exit 0
  fi
done
echo "install.sh: no program of $agent that has a hash in its lock runs on this machine ($(uname -m));" \
  "where the lock has none for it, \`make lock AGENT=$agent\` adds what the registry says" >&2
exit 1
