# Shell functions of scripts/run and scripts/test. Sourced with the repository's root as the working directory.

say() { printf '\033[1m== %s\033[0m\n' "$*" >&2; }

# need_packages build|full|test: installs what is missing, or says how to.
need_packages() {
  command -v dpkg-query > /dev/null || { say "not a Debian system: see scripts/packages for what is needed"; return 0; }
  missing=$(./scripts/packages "$1" --missing | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "These packages are missing. Install them and start again:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $missing" >&2
    return 1
  fi
  say "installing $missing"
  export DEBIAN_FRONTEND=noninteractive
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing > /dev/null 2>&1 && return 0
  apt-get update -qq  # the lists may be old or not there yet
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing > /dev/null
}

# configure FOLDER [MESON OPTION ...]: makes the build folder once; later runs only set options when others are given (Meson takes seconds to set the same).
configure() {
  folder=$1
  shift
  if [ -f "$folder/build.ninja" ]; then
    [ "$(cat "$folder.options" 2> /dev/null)" != "$*" ] || return 0
    meson configure "$folder" "$@" > /dev/null || return 1
    echo "$*" > "$folder.options"
    return
  fi
  compiler=clang++-19
  if command -v ccache > /dev/null; then compiler="ccache clang++-19"; fi
  mkdir -p "$(dirname "$folder")"
  if ! CXX=$compiler CXX_LD=lld meson setup "$folder" "$@" > "$folder.setup.log" 2>&1; then
    cat "$folder.setup.log" >&2
    return 1
  fi
  echo "$*" > "$folder.options"
}

# Objects of one build folder serve another checkout's too; the last lets ccache work beside precompiled headers.
export CCACHE_NOHASHDIR=1 CCACHE_BASEDIR="$PWD" CCACHE_SLOPPINESS=pch_defines,time_macros
