# What bash reads (BASH_ENV) before a setup command, and before the agent's environment is taken.
# The installers' lines make the difference: nvm's, cargo's and pyenv's are in files that a bash
# without a terminal never reads. Nothing in these files may end in the command: no option, no
# trap, no other folder, no output. Those that do not come to their end were found out before
# (shell.py), and HEADSTART_STARTUP is empty then.
unset BASH_ENV
__headstart_options=$(set +o) __headstart_folder=$PWD
export PATH=$HOME/.local/bin:$HOME/.cargo/bin:$PATH
if [ -n "${HEADSTART_ENV-}" ]; then
  mkdir -p "${HEADSTART_ENV%/*}" && : >>"$HEADSTART_ENV" && : >>"$HEADSTART_PATH"
fi 2>/dev/null
if [ -n "${HEADSTART_STARTUP-}" ]; then
  [ -r "$HOME/.profile" ] && . "$HOME/.profile" </dev/null >/dev/null 2>&1
  set +eu
  [ -r "$HOME/.bash_profile" ] && . "$HOME/.bash_profile" </dev/null >/dev/null 2>&1
  set +eu
  [ -r "$HOME/.bashrc" ] && . "$HOME/.bashrc" </dev/null >/dev/null 2>&1
  set +eu
  [ -r "${HEADSTART_BASH_ENV-}" ] && . "$HEADSTART_BASH_ENV" </dev/null >/dev/null 2>&1
  set +eu
fi
trap - EXIT ERR DEBUG RETURN
eval "$__headstart_options"
[ "$PWD" = "$__headstart_folder" ] || cd "$__headstart_folder"
IFS=$' \t\n'
[ -n "${HEADSTART_ADDED_PATH-}" ] && export PATH=$HEADSTART_ADDED_PATH:$PATH
[ -n "${HEADSTART_BASH_ENV-}" ] && export BASH_ENV=$HEADSTART_BASH_ENV
unset HEADSTART_STARTUP HEADSTART_ADDED_PATH HEADSTART_BASH_ENV
unset __headstart_options __headstart_folder
set -eo pipefail
