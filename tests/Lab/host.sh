#!/bin/bash
# Hosts of the lab: systemd as PID 1 in its own namespaces, over an overlay of one shared root filesystem, on a private
# bridge. Used by run.sh and by the C# fixture alike. Everything it makes is under $LAB_STATE (a directory of one lab,
# chosen by the caller) or bears the lab's name, and `down` removes all of it.
#
#   create [--owner PID]                  make the bridge (`define` and `up` do it too); when PID has died, sweep removes the lab
#   define NAME [--bind SOURCE:DESTINATION]...  a host's disk and address, in the order of the calls; binds are read-only
#   up NAME [--bind SOURCE:DESTINATION]...      define if needed, boot, wait until systemd is up
#   exec NAME [--timeout S] [--env K=V] -- COMMAND...   run as root on the host; exit code of the command, 124 at the limit
#   shutdown|start|reboot NAME            orderly; the disk stays
#   poweroff NAME                         kill -9 of everything on the host; the disk stays
#   cut A B [--one-way]                   drop what A and B send each other (or only A to B); `control` is this machine
#   isolate NAME, loss NAME PERCENT, heal drop everything; drop that share in each direction; end all faults
#   limit NAME PATH BYTES                 a small tmpfs over PATH, gone with a reboot
#   address NAME, leader NAME, bus NAME, list
#   down [NAME...]                        remove these hosts, or the whole lab
#   sweep                                 remove every lab whose owner is dead
# A virtual machine, made by guest.sh, is a host here too: poweroff, the network faults, address, list, down and sweep know it.
set -euo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

self=$(readlink -f "${BASH_SOURCE[0]}")
here=${self%/*}
cache=${AGENTMETAL_CACHE:-${HOME:-/root}/.cache/agentmetal}
registry=$cache/labs
boot_id=$(</proc/sys/kernel/random/boot_id)

say() { echo "lab: $*" >&2; }
die() { say "error: $*"; exit 1; }

# --- processes, known by id and start time so that a reused id is never mistaken for ours ---

start_time() { # PID -> start time in ticks, empty when there is no such process
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  # The name in brackets may contain anything, so count from the last bracket.
  # shellcheck disable=SC2086 # fields
  set -- ${stat##*) }
  [ "$1" = Z ] || echo "${20}"
}
identify() { echo "$1 $(start_time "$1") $boot_id"; }
alive() { # FILE written by identify
  local pid started boot
  [ -s "$1" ] && read -r pid started boot <"$1" && [ "$boot" = "$boot_id" ] && [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ]
}
pid_in() { local pid _; read -r pid _ <"$1" && echo "$pid"; }
wait_until() { # SECONDS COMMAND...: polls every 20 ms
  local left=$(( $1 * 50 )); shift
  until "$@"; do [ $(( left -= 1 )) -gt 0 ] || return 1; sleep 0.02; done
}
gone() { ! alive "$1"; }

# --- the lab: an index (from the registry), a bridge and a subnet that follow from it ---

free_network() { ! ip link show "am$1" >/dev/null 2>&1 && [ -z "$(ip -4 route show root "10.213.$1.0/24")" ]; }
cgroup_parents() { # one directory per hierarchy, in which this process may create the hosts' groups
  if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then echo /sys/fs/cgroup; return; fi
  local controllers path
  while IFS=: read -r _ controllers path; do
    controllers=${controllers#name=}
    path=${path%/}
    [ -d "/sys/fs/cgroup/${controllers:-unified}" ] && echo "/sys/fs/cgroup/${controllers:-unified}$path"
  done </proc/self/cgroup
}
create() {
  local owner=none i taken=
  if [ "${1:-}" = --owner ]; then owner=$(identify "${2:?--owner needs a process id}"); fi
  [ "$(id -u)" = 0 ] || die "only root can make hosts"
  mkdir -p "$state/hosts" "$registry"
  exec 8>"$registry.lock"
  flock -w 60 8 || die "another process held $registry.lock for 60 s"
  if [ ! -s "$state/lab" ]; then
    for i in $(seq 1 250); do
      if free_network "$i" && mkdir "$registry/$i" 2>/dev/null; then taken=$i; break; fi
    done
    [ -n "$taken" ] || die "all 250 networks are taken; try: $self sweep"
    echo "$owner" >"$registry/$i/owner"
    echo "$state" >"$registry/$i/state"
    { echo "index=$i"; echo "rootfs=$rootfs"; } >"$state/lab.new"
    mv "$state/lab.new" "$state/lab"
  fi
  load
  # Also after a reboot of the machine, when the state is still there and the bridge is not.
  if ! ip link show "$bridge" >/dev/null 2>&1; then
    # Where this process may make groups is another place after a reboot, too.
    cgroup_parents >"$state/cgroups"
    # An address of its own: a bridge without one takes a port's, and changes it when that host reboots.
    ip link add "$bridge" address "$(printf '02:00:0a:d5:%02x:01' "$index")" type bridge stp_state 0 forward_delay 0
    ip addr add "$gateway/24" dev "$bridge"
    ip link set "$bridge" up
  fi
  nft -f - <<NFT
table bridge $bridge {
  chain forward { type filter hook forward priority 0; policy accept; }
  chain input { type filter hook input priority 0; policy accept; }
  chain output { type filter hook output priority 0; policy accept; }
}
NFT
  exec 8>&-
}
load() {
  [ -s "$state/lab" ] || die "there is no lab in $state"
  # shellcheck disable=SC1091 # written by create
  . "$state/lab"
  bridge=am$index gateway=10.213.$index.1
}

# --- one host ---

host() { # NAME -> sets dir, port, address
  [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ ]] || die "host name '$1': want a lower-case letter, then up to 30 of a-z 0-9 -"
  dir=$state/hosts/$1
  [ -s "$dir/slot" ] || die "no host $1 in this lab; there are: $(ls "$state/hosts")"
  local slot; slot=$(<"$dir/slot")
  port=am$index-$slot address=10.213.$index.$(( slot + 10 ))
  mac=$(printf '02:00:0a:d5:%02x:%02x' "$index" $(( slot + 10 )))
}
running() { host "$1"; alive "$dir/leader" || die "host $1 is not running; its console: $dir/console.log"; }
groups_of() { local parent; while read -r parent; do echo "$parent/amlab-$index-$1"; done <"$state/cgroups"; }
join() { # NAME: this process enters the host's control groups, so that what it starts is counted there
  local group
  for group in $(groups_of "$1"); do
    mkdir -p "$group"
    if [ -f "$group/cgroup.clone_children" ] && [ -f "$group/cpuset.cpus" ] && [ -z "$(<"$group/cpuset.cpus")" ]; then
      cat "${group%/*}/cpuset.cpus" >"$group/cpuset.cpus"
      cat "${group%/*}/cpuset.mems" >"$group/cpuset.mems"
      echo 1 >"$group/cgroup.clone_children"
    fi
    # A group of cgroup v2 that has children takes no process; the child groups are what is limited there.
    echo $$ >"$group/cgroup.procs" 2>/dev/null || [ -f "$group/cgroup.subtree_control" ] || die "cannot enter $group"
  done
}
define() { # NAME OPTIONS: its disk, slot and binds
  local name=${1:?a host needs a name} i; shift
  [[ $name =~ ^[a-z][a-z0-9-]{0,30}$ && $name != control ]] || die "host name '$name': want a lower-case letter, then up to 30 of a-z 0-9 -, not control"
  dir=$state/hosts/$name
  exec 8>"$state/lock"
  flock -w 60 8 || die "another process held $state/lock for 60 s"
  [ ! -s "$dir/slot" ] || { exec 8>&-; return 0; }
  mkdir -p "$dir"/{upper/etc,work,root} "$state/slots"
  for i in $(seq 1 200); do mkdir "$state/slots/$i" 2>/dev/null && break; done
  : >"$dir/binds"
  while [ $# -gt 0 ]; do
    [[ $1 = --bind && ${2:-} = /*:/* ]] || die "$1 ${2:-}: want --bind /SOURCE:/DESTINATION"
    [ -d "${2%%:*}" ] || die "--bind $2: there is no directory ${2%%:*}"
    echo "$2" >>"$dir/binds"; shift 2
  done
  chmod 755 "$dir/upper" "$dir/upper/etc"
  echo "$name" >"$dir/upper/etc/hostname"
  printf '127.0.0.1 localhost\n::1 localhost\n%s %s\n%s control\n' "10.213.$index.$(( i + 10 ))" "$name" "$gateway" >"$dir/upper/etc/hosts"
  echo "$i" >"$dir/slot"
  exec 8>&-
}
launch() { # NAME: becomes the supervisor of the host's first process
  host "$1"
  join "$1"
  identify $$ >"$dir/supervisor"
  exec unshare --mount --uts --ipc --net --cgroup --pid --fork --kill-child "$here/host-init.sh" "$1" "$dir" "$rootfs"
}
give_up() { say "$(tail -n 20 "$dir/console.log")"; kill_host "$1"; die "$2"; }
start() {
  host "$1"
  alive "$dir/leader" && return 0
  # Groups of an earlier life that was not put down by us.
  remove_groups "$1"
  rm -f "$dir/leader" "$dir/leader.pid" "$dir/supervisor" "$dir/go"
  mkfifo "$dir/go"
  setsid -f "$self" launch "$1" </dev/null >"$dir/console.log" 2>&1
  wait_until 10 test -s "$dir/leader.pid" || give_up "$1" "host $1 did not enter its namespaces within 10 s"
  local leader; leader=$(<"$dir/leader.pid")
  identify "$leader" >"$dir/leader"
  # Under cgroup v2 a group with children may hold no process itself, and this one would stay in it for good.
  [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ] || pid_in "$dir/supervisor" >"$(head -n 1 "$state/cgroups")/cgroup.procs"
  ip link add "$port" type veth peer name host0 address "$mac" netns "$leader"
  ip link set "$port" master "$bridge" up
  nsenter -t "$leader" -n ip -batch - <<IP
link set lo up
addr add $address/24 dev host0
link set host0 up
IP
  timeout 10 bash -c 'echo go >"$1"' _ "$dir/go" || give_up "$1" "host $1 died before its network was attached"
  wait_until 60 booted || give_up "$1" "host $1 did not finish booting within 60 s"
  alive "$dir/leader" || give_up "$1" "host $1 died while booting"
}
booted() { # or dead, which the caller tells apart
  alive "$dir/leader" || return 0
  case $(nsenter -t "$(pid_in "$dir/leader")" -a env -i PATH=/usr/bin:/bin timeout 5 systemctl is-system-running 2>/dev/null) in
  running|degraded) return 0;; *) return 1;;
  esac
}
remove_groups() {
  local group
  for group in $(groups_of "$1"); do
    [ ! -d "$group" ] || wait_until 10 remove_group "$group" || die "processes remain in $group: $(find "$group" -name cgroup.procs -exec cat {} + | tr '\n' ' ')"
  done
}
remove_group() {
  local pid
  # Only what is in a group that we made and that bears the lab's name.
  for pid in $(find "$1" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u); do
    [ "$pid" = 0 ] || [ "$pid" = $$ ] || kill -9 "$pid" 2>/dev/null || true
  done
  find "$1" -depth -type d -exec rmdir {} + 2>/dev/null
  [ ! -d "$1" ]
}
kill_host() {
  host "$1"
  local process
  for process in leader supervisor; do
    if alive "$dir/$process"; then
      kill -9 "$(pid_in "$dir/$process")" 2>/dev/null || true
      wait_until 10 gone "$dir/$process" || die "process $(pid_in "$dir/$process") of host $1 survives kill -9"
    fi
  done
  remove_groups "$1"
  ip link del "$port" 2>/dev/null || true
  rm -f "$dir/leader" "$dir/leader.pid" "$dir/supervisor" "$dir/go"
}
shut_down() { # NAME SIGNAL: systemd's own poweroff (RTMIN+4) or reboot (RTMIN+5)
  running "$1"
  kill -"$2" "$(pid_in "$dir/leader")"
  wait_until 100 gone "$dir/leader" || say "host $1 did not stop within 100 s and is killed"
  kill_host "$1"
}
run() { # NAME [OPTIONS] -- COMMAND...
  local name=${1:?exec needs a host} limit=3600 terminal=() environment=(HOME=/root LANG=C.UTF-8 container=lab PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin); shift
  running "$name"
  while [ $# -gt 0 ]; do
    case $1 in
    --timeout) limit=$2; shift 2;;
    --env) environment+=("$2"); shift 2;;
    --) shift; break;;
    *) break;;
    esac
  done
  [ $# -gt 0 ] || die "exec $name: no command"
  join "$name"
  # A shell on a terminal must stay in its foreground to read from it.
  [ ! -t 0 ] || terminal=(--foreground)
  exec nsenter -t "$(pid_in "$dir/leader")" -a env -i -C / "${environment[@]}" timeout ${terminal[@]+"${terminal[@]}"} -k 2 "$limit" "$@"
}
limit() { # NAME PATH BYTES: owner and mode are those of the directory it covers
  running "$1"
  [[ $2 = /* && $3 =~ ^[0-9]+$ ]] || die "limit $1 $2 $3: want an absolute path and a number of bytes"
  run "$1" --timeout 20 -- sh -ec 'mkdir -p "$1"; mount -t tmpfs -o "size=$2,$(stat -c "uid=%u,gid=%g,mode=%a" "$1")" lab-limit "$1"' _ "$2" "$3"
}

list() {
  local slot name word
  for slot in "$state"/hosts/*/slot; do
    [ -s "$slot" ] || continue
    name=${slot%/slot} name=${name##*/} word=off
    host "$name"
    if alive "$dir/leader"; then word=running; fi
    echo "$name $address $word"
  done
}

# --- faults: one nft table per lab in the bridge family, by port name, so that they outlive a host's reboot ---

drop() { # CHAIN MATCH...
  local chain=$1; shift
  nft add rule bridge "$bridge" "$chain" "$@" drop
}
drop_from_to() {
  local from to
  [ "$1" != "$2" ] || die "cut $1 $2: a host cannot be cut from itself"
  if [ "$1" = control ]; then host "$2"; drop output oifname "$port"
  elif [ "$2" = control ]; then host "$1"; drop input iifname "$port"
  else host "$1"; from=$port; host "$2"; to=$port; drop forward iifname "$from" oifname "$to"; fi
}
drop_around() { # NAME MATCH...
  host "$1"; shift
  drop forward iifname "$port" "$@"; drop forward oifname "$port" "$@"
  drop input iifname "$port" "$@"; drop output oifname "$port" "$@"
}
loss() {
  [[ $2 =~ ^[0-9]+$ && $2 -le 100 ]] || die "loss $1 $2: want a percentage from 0 to 100"
  # numgen counts from 0 to 99, so that nft knows no "less than 100".
  case $2 in 0) ;; 100) drop_around "$1";; *) drop_around "$1" numgen random mod 100 lt "$2";; esac
}
heal() { nft flush table bridge "$bridge"; }

# --- the end of a host, of a lab, of what others left behind ---

remove() {
  kill_host "$1"
  rmdir "$state/slots/$(<"$dir/slot")"
  rm -rf --one-file-system "$dir"
}
down() {
  local name entry
  if [ $# -gt 0 ]; then for name in "$@"; do host "$name"; remove "$name"; done; return; fi
  for entry in "$state"/hosts/*/; do
    entry=${entry%/}
    # A host whose making was cut short has no slot yet, and never ran.
    if [ -s "$entry/slot" ]; then remove "${entry##*/}"; else rm -rf --one-file-system "$entry"; fi
  done
  rm -rf --one-file-system "$state/hosts" "$state/slots"
  # Before its file "lab" goes, and with it the claim on the index, which another lab may take at once.
  forget "$index"
  rm -f "$state/lab" "$state/lock" "$state/cgroups"
  rmdir --ignore-fail-on-non-empty "$state"
}
forget() { # INDEX: what the machine knows of a lab beyond its directory
  nft delete table bridge "am$1" 2>/dev/null || true
  ip link del "am$1" 2>/dev/null || true
  rm -rf "${registry:?}/$1"
}
sweep() {
  local entry index group
  mkdir -p "$registry"
  exec 8>"$registry.lock"
  flock -w 60 8 || die "another process held $registry.lock for 60 s"
  for entry in "$registry"/*/; do
    entry=${entry%/} index=${entry##*/}
    [ -d "$entry" ] || continue
    state=$(cat "$entry/state" 2>/dev/null || true)
    if [ -n "$state" ] && [ -s "$state/lab" ]; then
      if [ "$(cat "$entry/owner")" = none ] || alive "$entry/owner"; then continue; fi
      say "sweeping $state"
      # A process of its own: a failure in there ends that lab's sweep and no other.
      LAB_STATE=$state "$self" down 8>&- || say "error: could not sweep $state"
      continue
    fi
    # Its directory was deleted by hand: what is left bears its name.
    for group in $(cgroup_parents | sed "s|\$|/amlab-$index-*|"); do # a glob, expanded here
      [ ! -d "$group" ] || wait_until 10 remove_group "$group" || say "error: processes remain in $group"
    done
    forget "$index"
  done
  exec 8>&-
}

verb=${1:-help}; shift || true
case $verb in
help|--help|-h) sed -n '2,/^set /s/^# \{0,1\}//p' "$self"; exit 0;;
sweep) sweep; exit 0;;
esac
state=${LAB_STATE:?LAB_STATE must name the directory of the lab}
[[ $state = /* ]] || die "LAB_STATE=$state: want an absolute path"
case $verb in
create) rootfs=$("$here/rootfs.sh"); create "$@";;
define|up) rootfs=$("$here/rootfs.sh"); create;;
*) load;;
esac
case $verb in
create) ;;
define) define "$@";;
up) define "$@"; start "$1";;
launch) launch "$1";;
start) start "$1";;
exec) run "$@";;
shutdown) shut_down "$1" RTMIN+4;;
reboot) shut_down "$1" RTMIN+5; start "$1";;
poweroff) kill_host "$1";;
cut) drop_from_to "$1" "$2"; [ "${3:-}" = --one-way ] || drop_from_to "$2" "$1";;
isolate) drop_around "$1";;
loss) loss "$1" "$2";;
heal) heal;;
limit) limit "$1" "$2" "$3";;
address) if [ "$1" = control ]; then echo "$gateway"; else host "$1"; echo "$address"; fi;;
leader) running "$1"; pid_in "$dir/leader";;
bus) running "$1"; echo "unix:path=/proc/$(pid_in "$dir/leader")/root/run/dbus/system_bus_socket";;
list) list;;
down) down "$@";;
*) die "unknown verb $verb; see: $self help";;
esac
