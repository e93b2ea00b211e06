#!/bin/bash
# Builds what is shipped: agentmetald and agentmetal (native), agentmetal-coordinator (on the .NET runtime). What has not changed since the
# last build is not built again: each output is keyed by a hash of the sources it is made of.
#   packaging/build.sh [node-agent|cli|coordinator]...      prints one line for each; outputs in artifacts/
#   AGENTMETAL_BUILD=quick packaging/build.sh              the same programs on the .NET runtime, in a tenth of the time: between two edits, for the lab; never shipped
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1

# A native build links with clang and zlib.
missing=()
command -v clang >/dev/null || missing+=(clang)
[ -e /usr/include/zlib.h ] || missing+=(zlib1g-dev)
if [ ${#missing[@]} -gt 0 ]; then
  [ "$(id -u)" = 0 ] || { echo "error: ${missing[*]} must be installed first (apt-get install ${missing[*]})" >&2; exit 1; }
  apt-get update -qq >/dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

sources() { git ls-files -co --exclude-standard -- runtime proto wire "$1" Directory.Build.props Directory.Packages.props global.json; }
key() { sources "$1" | LC_ALL=C sort | while read -r f; do [ -f "$f" ] && sha256sum "$f"; done | sha256sum | cut -c1-16; }

quick=${AGENTMETAL_BUILD:-}
[ -z "$quick" ] || [ "$quick" = quick ] || { echo "error: AGENTMETAL_BUILD is \"$quick\"; it can be quick, or not be set" >&2; exit 2; }

publish() { # FOLDER OUTPUT BINARY KIND
  local out=artifacts/$2 kind=$4 key size start=$SECONDS options=()
  if [ "$quick" ] && [ "$kind" = native ]; then
    kind="on .NET, not for shipping"
    # What a native build restores is another set of packages, and the lock files are of that.
    options=(-p:PublishAot=false -p:NuGetLockFilePath=obj/quick.lock.json --self-contained)
  fi
  key=$(key "$1")${quick:+-quick}
  if [ "$(cat "$out/.key" 2>/dev/null)" != "$key" ]; then
    rm -rf "$out"
    if ! dotnet publish "$1" -c Release -o "$out" "${options[@]}" -v q --nologo >"artifacts/$2.log" 2>&1; then
      echo "error: $3 could not be built; the log is artifacts/$2.log" >&2
      grep -E "error|warning IL" "artifacts/$2.log" | sort -u | head -20 >&2
      exit 1
    fi
    if grep -qE "warning IL|IL[23][0-9]{3}" "artifacts/$2.log"; then
      echo "error: $3: the native build has trim or AOT warnings:" >&2
      grep -E "IL[23][0-9]{3}" "artifacts/$2.log" | sort -u | head >&2
      exit 1
    fi
    rm -f "$out"/*.dbg "$out"/*.pdb
    echo "$key" >"$out/.key"
    start=$((SECONDS - start))
  else
    start=0
  fi
  size=$(du -sh --apparent-size "$out/$3" | cut -f1)
  echo "$3 ($kind, $size$([ "$start" = 0 ] || echo ", $start s"))"
}

mkdir -p artifacts
[ $# -gt 0 ] || set -- node-agent cli coordinator
for part; do
  case $part in
    node-agent) publish node-agent edge agentmetald native;;
    cli) publish cli cli agentmetal native;;
    coordinator) publish coordinator coordinator agentmetal-coordinator .NET;;
    *) echo "error: $part: parts are node-agent, cli, coordinator" >&2; exit 2;;
  esac
done
