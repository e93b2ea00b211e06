#!/bin/bash
# The first five minutes: sets up what is missing, builds, brings up a coordinator and three hosts, joins them, applies a real stack.
#   ./run.sh          up; a second call finds what is there and takes seconds
#   ./run.sh --down   removes every trace of the fleet (build outputs and caches stay)
# Needs: Debian or a relative, root, the .NET SDK of global.json. All traffic stays on a bridge of its own.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
export LC_ALL=C.UTF-8 LAB_STATE=$PWD/.run/lab AGENTMETAL_HOME=$PWD/.run/home DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
lab=tests/Lab/host.sh
hosts=(edge-1 edge-2 edge-3)

fail() { echo "error: $*" >&2; exit 1; }
step() { printf '  %-10s' "$1"; }
since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f s", b - a }'; }

[ "$(id -u)" = 0 ] || fail "hosts are made of namespaces: run as root (sudo ./run.sh)"
case ${1:-} in
  --down)
    if [ ! -e .run ]; then echo "nothing is up"; exit 0; fi
    [ ! -s "$LAB_STATE/lab" ] || "$lab" down
    rm -rf .run
    echo "removed"
    exit 0;;
  --help | -h) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0;;
  "") ;;
  *) fail "unknown option $1; options: --down, --help";;
esac

step checking
. packaging/sdk.sh
sdk_ready || exit 1
sdk=$(dotnet --version)
start=$(date +%s.%N)
tests/Lab/rootfs.sh >/dev/null
images=$(tests/Lab/vm-images.sh busybox)
echo ".NET SDK $sdk ok · root filesystem of hosts ok · virtual machine ok ($(since "$start"))"

step building
start=$(date +%s.%N)
built=$(packaging/build.sh) || exit 1
echo "$(paste -sd'|' <<<"$built" | sed 's/|/ · /g') … ok ($(since "$start"))"
agentmetal=$PWD/artifacts/cli/agentmetal

step fleet
start=$(date +%s.%N)
mkdir -p .run
dotnet_root=$(dirname "$(readlink -f "$(command -v dotnet)")")
boot() { # NAME --bind ...
  "$lab" list 2>/dev/null | grep -qw "$1.*up" || "$lab" up "$@" >/dev/null
}
boot coordinator --bind "$PWD/artifacts/coordinator:/usr/lib/agentmetal/coordinator" --bind "$PWD/packaging/systemd:/usr/share/agentmetal" --bind "$dotnet_root:/usr/share/dotnet"
for h in "${hosts[@]}"; do boot "$h" --bind "$PWD/artifacts/edge:/usr/lib/agentmetal/edge" --bind "$PWD/packaging/systemd:/usr/share/agentmetal" --bind "$images:/srv/images"; done
address=$("$lab" address coordinator)
echo "coordinator + ${hosts[*]} … up ($(since "$start"))"

step trust
if [ ! -d .run/home ]; then
  "$agentmetal" init --coordinator control --address "$address" --bundle .run/bundle >.run/init.log || { cat .run/init.log >&2; exit 1; }
fi
if ! "$lab" exec coordinator -- systemctl is-active -q agentmetal-coordinator; then
  tar -C .run/bundle -cf - . | "$lab" exec coordinator -- sh -ec '
    cp /usr/share/agentmetal/agentmetal-coordinator.service /etc/systemd/system/
    systemd-sysusers /usr/share/agentmetal/agentmetal-coordinator.sysusers.conf
    mkdir -p /var/lib/agentmetal-coordinator/identity
    tar -C /var/lib/agentmetal-coordinator/identity --no-same-owner -xf -
    chown -R agentmetal-coordinator: /var/lib/agentmetal-coordinator
    chmod 700 /var/lib/agentmetal-coordinator /var/lib/agentmetal-coordinator/identity
    ln -sf /usr/share/dotnet/dotnet /usr/bin/dotnet
    echo DOTNET_ROOT=/usr/share/dotnet >/etc/default/agentmetal-coordinator
    systemctl daemon-reload
    systemctl enable -q --now agentmetal-coordinator' || fail "the coordinator did not start: $lab exec coordinator -- journalctl -u agentmetal-coordinator"
fi
joined=0
for h in "${hosts[@]}"; do
  if ! "$lab" exec "$h" -- systemctl is-active -q agentmetald; then
    "$agentmetal" --coordinator "$address:7443" join-token create --name "$h" --label site=lab -o raw |
      "$lab" exec "$h" -- sh -ec '
        ln -sf /usr/lib/agentmetal/edge/agentmetald /usr/bin/agentmetald
        cp /usr/share/agentmetal/agentmetald.service /etc/systemd/system/
        agentmetald join --coordinator "$1:7443" --token-file - --name "$2" --label site=lab >/dev/null
        systemctl daemon-reload
        systemctl enable -q --now agentmetald' sh "$address" "$h" || fail "$h did not join: $lab exec $h -- journalctl -u agentmetald"
  fi
  joined=$((joined + 1))
done
for _ in $(seq 100); do
  attached=$("$agentmetal" nodes list -o json | grep -c '"liveness": *"Attached"') || true
  [ "${attached:-0}" -ge ${#hosts[@]} ] && break
  sleep 0.1
done
[ "$attached" -ge ${#hosts[@]} ] || fail "$attached of ${#hosts[@]} hosts are attached: $agentmetal nodes list"
echo "joined $joined/${#hosts[@]} (mTLS, single-use tokens)"

step applying
echo "examples/quickstart.yaml"
# What it is depends on this machine's packages, so its digests are no part of the example.
image() { # NAME FILE FORMAT
  printf 'apiVersion: agentmetal.io/v1\nkind: Image\nmetadata:\n  name: %s\nspec:\n  url: file:///srv/images/%s\n  sha256: %s\n  format: %s\n---\n' "$1" "$2" "$(sha256sum "$images/$2" | cut -d' ' -f1)" "$3"
}
{ image busybox-kernel vmlinuz kernel; image busybox-initrd initrd initrd; } >.run/images.yaml
"$agentmetal" apply -f .run/images.yaml -f examples/quickstart.yaml --timeout 3m
echo
"$agentmetal" get all
# What to break must be where it is: placement chose the host.
where=$("$agentmetal" get redis sessions -o json | sed -n 's/.*"nodeName": *"\([^"]*\)".*/\1/p' | head -1)
cat <<TXT

  done. Try (with AGENTMETAL_HOME=$AGENTMETAL_HOME and artifacts/cli on your PATH):
    agentmetal get all                              what runs where
    agentmetal events --watch                       then: LAB_STATE=$LAB_STATE $PWD/$lab exec ${where:-edge-1} -- systemctl kill -s STOP 'agentmetal-redis-*'
    agentmetal plan -f examples/bigger.yaml         what would change, and how risky it is
    agentmetal delete redis sessions                waits for your approval: agentmetal approve
    agentmetal schema redis                         every field, with its default and what a change of it means
    ./run.sh --down                                 remove every trace
TXT
