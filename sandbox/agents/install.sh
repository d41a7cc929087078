#!/bin/sh
# Installs an agent's program: install.sh AGENT FOLDER puts FOLDER/bin/AGENT.
# A folder that has the version already is left alone, and needs no network.
set -eu
agent=$1
folder=$2

# The programs themselves are optional dependencies, one a platform, pinned by these versions.
case $agent in
  demo) exit 0 ;; # is part of the runner
  opencode) package=opencode-ai@1.18.33 programs='opencode-*' ;;
  kilo) package=@kilocode/cli@7.7.7 programs='@kilocode/cli-*' ;;
  *) echo "install.sh: there is no agent $agent" >&2; exit 2 ;;
esac

modules=$folder/$package
[ ! -e "$modules/.installed" ] || exit 0
mkdir -p "$modules" "$folder/bin"
npm install --prefix "$modules" --ignore-scripts --no-audit --no-fund "$package"
# npm's own entry may be a script of Node, which does not pass signals on: the program is called. Where
# there is one for older processors it sorts first, so that an image runs on any.
for program in "$modules"/node_modules/$programs/bin/"$agent"; do
  if "$program" --version >/dev/null 2>&1; then
    ln -sf "$(realpath "$program")" "$folder/bin/$agent"
    touch "$modules/.installed"
    exit 0
  fi
done
echo "install.sh: no program of $package runs on this machine" >&2
exit 1
