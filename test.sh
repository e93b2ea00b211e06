#!/bin/bash
# Runs every test on a machine with only the .NET SDK; installs what it needs itself.
#   ./test.sh          everything but the lab's stories of what did not change, long tests as a seeded sample (about an hour on 2 cores where all changed)
#   ./test.sh --all    every story of the lab too
#   ./test.sh --soak   the full counts of the long tests, resumable; commit, seed and counts go to artifacts/soak/results.json
#   ./test.sh --fast   no lab and no native build: what a developer runs between two edits
#   ./test.sh NAME...  only these test projects (Runtime.Tests, Lab.Tests, ...)
# Ends with one line: N passed, N failed[, N skipped]. A skip names the capability that is missing.
set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")"
export LC_ALL=C.UTF-8 DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1
out=$PWD/artifacts/test
soak= fast= all= only=()
for a; do
  case $a in
    --soak) soak=1 all=1;;
    --all) all=1;;
    --fast) fast=1;;
    --help | -h) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 0;;
    -*) echo "error: $a is not an option; see ./test.sh --help" >&2; exit 2;;
    *) only+=("$a");;
  esac
done
export AGENTMETAL_SOAK=$soak AGENTMETAL_SEED=${AGENTMETAL_SEED:-20261123}
mkdir -p "$out"
rm -f "$out"/*.xml "$out"/*.rc
passed=0 failed=0 skipped=0
# A soak that was cut off goes on where it was: what is done for this commit and seed is not run again.
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo none)$([ -z "$(git status --porcelain 2>/dev/null)" ] || echo -changed)
soaked=$PWD/artifacts/soak/$commit-$AGENTMETAL_SEED
[ -z "$soak" ] || mkdir -p "$soaked"
say() { echo "== $*"; }
wants() { [ ${#only[@]} -eq 0 ] || printf '%s\n' "${only[@]}" | grep -qx "$1"; }
finish() {
  # The compiler stays for the next build of a person; a machine that is done wants nothing left behind.
  [ -z "${CI:-}" ] || dotnet build-server shutdown --vbcscompiler >/dev/null 2>&1 </dev/null
  if [ -n "$soak" ]; then
    {
      printf '{ "commit": "%s", "seed": %s, "passed": %d, "failed": %d, "skipped": %d, "projects": {' "$commit" "$AGENTMETAL_SEED" "$passed" "$failed" "$skipped"
      local sep= f
      for f in "$soaked"/*.done; do [ -e "$f" ] && { printf '%s "%s": [%s]' "$sep" "$(basename "$f" .done)" "$(tr ' ' ',' <"$f")"; sep=,; }; done
      printf ' } }\n'
    } >artifacts/soak/results.json
    say "artifacts/soak/results.json"
  fi
  local line="$passed passed, $failed failed"
  [ "$skipped" -eq 0 ] || line+=", $skipped skipped"
  echo "$line"
  [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
  exit
}
gate() { # NAME COMMAND...: a check that counts as one test
  local name=$1 start=$SECONDS; shift
  if "$@" >"$out/$name.log" 2>&1; then
    passed=$((passed + 1)); say "$name ok ($((SECONDS - start)) s)"
  else
    failed=$((failed + 1)); say "$name FAILED"; tail -n 40 "$out/$name.log"
  fi
}

say "seed $AGENTMETAL_SEED${soak:+, soak}"
. packaging/sdk.sh
sdk_ready || { failed=1; finish; }

if [ ${#only[@]} -eq 0 ]; then
  gate format dotnet format whitespace --folder --verify-no-changes --exclude artifacts --exclude .run
fi
start=$SECONDS
if dotnet build AgentMetal.Edge.sln -v q --nologo >"$out/build.log" 2>&1; then
  passed=$((passed + 1)); say "build ok, no warnings ($((SECONDS - start)) s)"
else
  failed=$((failed + 1)); say "build FAILED"; grep -E "error" "$out/build.log" | sort -u | head -40; finish
fi
if [ -z "$fast" ] && { [ ${#only[@]} -eq 0 ] || wants Lab.Tests; }; then
  gate rootfs tests/Lab/rootfs.sh
  gate native-build packaging/build.sh
fi

run() { # PROJECT TIMEOUT
  wants "$1" || return 0
  soaked "$1" && return
  tell "$1" "$1" "$2"
  count "$1" "$1"
}

# The stories of the lab, in STORY_LANES lanes (1 or 2) beside each other, for they wait most of the time; each lane has hosts of its own.
lab() { # TIMEOUT
  wants Lab.Tests || return 0
  soaked Lab.Tests && return
  local class seconds lane told=(0 0) lanes=("" "")
  while read -r class seconds; do
    lane=$((${STORY_LANES:-1} < 2 || told[0] <= told[1] ? 0 : 1))
    lanes[lane]+=" -class $class" told[lane]=$((told[lane] + seconds))
  done < <(tests/stories.sh ${all:+--all} 2>"$out/stories.log")
  sed 's/^/== /' "$out/stories.log"
  [ "${told[0]}" -gt 0 ] || { failed=$((failed + 1)); say "Lab.Tests FAILED: no story is chosen"; return; }
  # shellcheck disable=SC2086
  tell Lab.Tests Lab.Tests.1 "$1" ${lanes[0]} &
  # The second lane finds what the first one prepares for both.
  # shellcheck disable=SC2086
  [ -z "${lanes[1]}" ] || { sleep 20; tell Lab.Tests Lab.Tests.2 "$1" ${lanes[1]}; }
  wait
  count Lab.Tests Lab.Tests.1 ${lanes[1]:+Lab.Tests.2}
}

soaked() { # PROJECT: what was done for this commit and seed before
  local p f s
  [ -n "$soak" ] && [ -s "$soaked/$1.done" ] || return
  read -r p f s <"$soaked/$1.done"
  passed=$((passed + p)) skipped=$((skipped + s))
  say "$1 $p passed (done before)"
}

tell() { # PROJECT LABEL TIMEOUT ARGUMENT...: what came of it goes to LABEL.xml, LABEL.log and LABEL.rc
  local name=$1 label=$2 limit=$3 exe start=$SECONDS; shift 3
  # Beside it lies the program under test, whose name is another.
  exe=tests/$name/bin/Debug/net10.0/$name
  [ -x "$exe" ] || exe=tests/$name/bin/Debug/net10.0/AgentMetal.$name
  [ -x "$exe" ] || { echo "it was not built" >"$out/$label.log"; echo "127 0" >"$out/$label.rc"; return; }
  timeout "$limit" "$exe" -xml "$out/$label.xml" -noColor "$@" >"$out/$label.log" 2>&1 </dev/null
  echo "$? $((SECONDS - start))" >"$out/$label.rc"
}

count() { # PROJECT LABEL...
  local name=$1 label counts rc took p f s e P=0 F=0 S=0 T=0; shift
  number() { sed -n "s/.* $1=\"\([0-9]*\)\".*/\1/p" <<<"$counts"; }
  for label; do
    read -r rc took <"$out/$label.rc"
    counts=$(grep -oE '<assembly [^>]*>' "$out/$label.xml" 2>/dev/null | head -n 1)
    p=$(number passed) f=$(number failed) s=$(number skipped) e=$(number errors)
    if [ -z "$p" ]; then
      failed=$((failed + 1)); say "$label FAILED: no result (exit $rc after $took s)"; tail -n 40 "$out/$label.log"; continue
    fi
    f=$((f + ${e:-0}))
    # A runner that failed without a failed test (a crash at the end) is a failure too.
    [ "$rc" -eq 0 ] || [ "$f" -gt 0 ] || f=1
    P=$((P + p)) F=$((F + f)) S=$((S + s)) T=$((took > T ? took : T))
  done
  passed=$((passed + P)) failed=$((failed + F)) skipped=$((skipped + S))
  [ -z "$soak" ] || [ "$F" -gt 0 ] || echo "$P $F $S" >"$soaked/$name.done"
  say "$name $P passed, $F failed, $S skipped ($T s)"
  for label; do
    # How many random sequences of faults fitted, with the seed that draws them again.
    grep -aoE 'adversary: seed [^<]*' "$out/$label.xml" 2>/dev/null | sed 's/^/== /'
    # A failed test with what it said, without the frames of the runner.
    [ "$F" -eq 0 ] || sed -n '/\[FAIL\]$/,/^=== \|--- End of stack/p' "$out/$label.log" | grep -av 'End of stack' | cut -c 1-400 | head -n 150
    [ "$S" -eq 0 ] || grep -aE "\[SKIP\]" -A1 "$out/$label.log" | head -n 40
  done
}

# Every failed test by name, at the end: the log above it may be long, and its beginning cut off.
names() {
  [ "$failed" -eq 0 ] || grep -ahoE '^ +[^ ].* \[FAIL\]$' "$out"/*.log | sed 's/^ */failed: /' | cut -c 1-200 | sort -u
}

# What is skipped must name a capability that tests/skips.txt knows, in the number it knows.
skips() {
  [ "$skipped" -gt 0 ] || return 0
  local most text n known=0
  while read -r most text; do
    case $most in '' | '#'*) continue;; esac
    n=$(cat "$out"/*.xml | grep -oE '<reason>[^<]*(<!\[CDATA\[[^]]*)?' | grep -cF -- "$text")
    known=$((known + n))
    [ "$n" -le "$most" ] || { failed=$((failed + 1)); say "skips FAILED: $n tests skip for \"$text\", tests/skips.txt knows $most"; }
  done <tests/skips.txt
  [ "$known" -ge "$skipped" ] || { failed=$((failed + 1)); say "skips FAILED: $((skipped - known)) tests skip for a reason that tests/skips.txt does not know"; }
}

# The tests of the libvirt layer want the library, and no daemon: its test driver is a host in memory.
libvirt() {
  wants NodeAgent.Tests && ! ldconfig -p | grep -q 'libvirt\.so\.0' && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  local apt=(timeout 300 apt-get -o DPkg::Lock::Timeout=300 -q -y)
  { "${apt[@]}" update && DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends libvirt0; } >"$out/libvirt.log" 2>&1 \
    || say "libvirt0 could not be installed: $(tail -n 1 "$out/libvirt.log")"
}

# The tests of the systemd layer want a real systemd: a host of the lab, for as long as they run.
systemd_host() {
  [ -z "$fast" ] && wants NodeAgent.Tests && [ "$(id -u)" = 0 ] || return 0
  LAB_STATE=$(mktemp -d)/lab
  export LAB_STATE
  if tests/Lab/host.sh create --owner $$ >"$out/host.log" 2>&1 && tests/Lab/host.sh up systemd-1 >>"$out/host.log" 2>&1; then
    AGENTMETAL_LAB_LEADER=$(tests/Lab/host.sh leader systemd-1)
    export AGENTMETAL_LAB_LEADER
  else
    say "no lab host: $(tail -n 1 "$out/host.log")"
  fi
}
systemd_host_down() {
  [ -z "${LAB_STATE:-}" ] || tests/Lab/host.sh down >>"$out/host.log" 2>&1
  unset LAB_STATE AGENTMETAL_LAB_LEADER
}

run Tidy 120
run Runtime.Tests 600
run Cli.Tests 600
libvirt
systemd_host
run NodeAgent.Tests 900
systemd_host_down
run Coordinator.Tests 900
run Conformance 600
run Simulation $([ -n "$soak" ] && echo 7200 || echo 600)
[ -n "$fast" ] || lab $([ -n "$soak" ] && echo 36000 || echo 4800)
[ -n "$soak" ] || skips
names
finish
