#!/bin/bash
# Prints the directory of the root filesystem that every host of the lab shares, and builds it first when it is missing.
# It lies outside the clone, under ${AGENTMETAL_CACHE:-$HOME/.cache/agentmetal}, and its name is a hash of this script
# and debian.sh, so that a changed package list is a new directory and nobody boots from a stale one. Packages come from wherever this
# machine's own apt takes them. About 60 s the first time, a few milliseconds after that.
#
#   rootfs.sh          print the directory (build it if needed; progress goes to standard error)
#   rootfs.sh --tools  only install the tools that the lab needs on this machine
#   rootfs.sh --path   print where it would be, build nothing
set -euo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

cache=${AGENTMETAL_CACHE:-${HOME:-/root}/.cache/agentmetal}
build_limit_s=900

# What PID 1 and the lab itself need.
base=systemd,systemd-sysv,dbus,libsystemd0,libnss-systemd,udev,kmod,apt,procps,netbase,iproute2,nftables,iputils-ping
base=$base,ca-certificates,openssl,curl,socat,conntrack,tcpdump,bridge-utils,sqlite3,libstdc++6,zlib1g
# Servers that agents manage, and the peers that the benchmarks run beside us. All of them are disabled, none is masked.
servers=redis-server,redis-tools,etcd-server,etcd-client,prometheus-node-exporter,monit
# Virtual machines: libvirt with QEMU, its NAT network, and the program that writes a cloud-init seed by hand.
virtual=libvirt-daemon-system,libvirt-daemon-system-systemd,libvirt-clients,libvirt-daemon-driver-qemu,libvirt-daemon-config-network
virtual=$virtual,qemu-system-x86,qemu-utils,dnsmasq-base,xorriso
# Packages that stay installable with no network, from a repository inside the root filesystem.
local_repository="redis-server redis-tools liblzf1 libjemalloc2 libatomic1"
disabled="redis-server etcd prometheus-node-exporter monit libvirtd.service libvirt-guests.service virtlogd.service virtlogd-admin.socket
  virtlockd.service virtlockd.socket virtlockd-admin.socket"
# A host that runs no virtual machine pays for a socket that listens and for nothing else.
activated="libvirtd.socket libvirtd-ro.socket virtlogd.socket"
masked="systemd-udevd.service systemd-udev-trigger.service systemd-udevd-kernel.socket systemd-udevd-control.socket
  systemd-networkd-wait-online.service getty.target console-getty.service systemd-logind.service apt-daily.timer
  apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-pstore.service systemd-sysctl.service"

say() { echo "rootfs: $*" >&2; }
die() { say "error: $*"; exit 1; }

self=$(readlink -f "${BASH_SOURCE[0]}")
here=${self%/*}
# shellcheck source=debian.sh
. "$here/debian.sh"
hash=$(cat "$self" "$here/debian.sh" | sha256sum | cut -c1-16)
target=$cache/rootfs-$hash

lab_tools() {
  install_tools mmdebstrap:mmdebstrap ip:iproute2 nft:nftables unshare:util-linux nsenter:util-linux flock:util-linux setsid:util-linux mount:mount ps:procps
}

# Runs outside the new root, after the packages are in: $1 is the new root.
customize() {
  local root=$1 unit deb repository=$1/var/lib/lab-repository
  for unit in $disabled; do chroot "$root" systemctl disable --quiet "$unit" >&2; done
  for unit in $activated; do chroot "$root" systemctl enable --quiet "$unit" >&2; done
  # shellcheck disable=SC2086 # a list of words
  chroot "$root" systemctl mask --quiet $masked >&2
  chroot "$root" systemctl set-default --quiet multi-user.target >&2
  # An empty file, not a missing one: systemd then mints an id without treating the boot as the first of its life.
  : >"$root/etc/machine-id"
  # There is no security module to confine QEMU with. Nobody else is on a host, so QEMU is root and files keep their owners.
  printf '%s\n' 'security_driver = "none"' 'user = "root"' 'group = "root"' 'remember_owner = 0' >>"$root/etc/libvirt/qemu.conf"
  # Before it lends an address its DHCP server pings it for 3 s, in turn for each machine that asks. In a network that is
  # born with its host nobody has taken an address by hand.
  sed -i -e "s|<network>|<network xmlns:dnsmasq='http://libvirt.org/schemas/network/dnsmasq/1.0'>|" \
    -e "s|</network>|  <dnsmasq:options><dnsmasq:option value='no-ping'/></dnsmasq:options>\n</network>|" "$root/etc/libvirt/qemu/networks/default.xml"
  # The hosts share one machine's serial number; to libvirt they must be different hosts.
  echo 'host_uuid_source = "machine-id"' >>"$root/etc/libvirt/libvirtd.conf"
  chroot "$root" passwd -q -d root >&2
  mkdir -p "$repository"
  for deb in $local_repository; do
    find "$root/var/cache/apt/archives" -maxdepth 1 -name "${deb}_*.deb" -exec cp {} "$repository/" \;
  done
  [ -n "$(find "$repository" -name 'redis-server_*.deb')" ] || die "the archive of redis-server was not kept by apt"
  for deb in "$repository"/*.deb; do
    dpkg-deb -f "$deb"
    echo "Filename: ./${deb##*/}"
    echo "Size: $(stat -c %s "$deb")"
    echo "SHA256: $(sha256sum "$deb" | cut -d' ' -f1)"
    echo
  done >"$repository/Packages"
}

# Runs on the finished tree: hosts know the local repository and no other, so that an install on a host never leaves it.
seal() {
  local root=$1
  forget_sources "$root"
  echo 'deb [trusted=yes] file:/var/lib/lab-repository ./' >"$root/etc/apt/sources.list"
  chroot "$root" apt-get -qq update >&2
  : >"$root/etc/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$root/etc/hosts"
}

# What its QEMU can do here, found out once instead of by every host's first connection (2 s). libvirt compares versions, times
# and the processor with what it finds, and asks anew when any of them differs; so does a host when this fails.
probe_qemu() {
  local root=$1 capabilities=var/cache/libvirt/qemu/capabilities
  mkdir "$partial"/{upper,work,merged}
  timeout -k 5 120 unshare --mount --net --ipc --pid --fork --kill-child bash -ec '
    mount -t overlay overlay -o "lowerdir=$1/root,upperdir=$1/upper,workdir=$1/work" "$1/merged"
    cd "$1/merged"
    mount -t proc proc proc
    mount --rbind /sys sys
    mount --rbind /dev dev
    mount -t tmpfs tmpfs run
    echo 00000000000000000000000000000001 >etc/machine-id
    chroot . libvirtd -d
    chroot . virsh -q -c qemu:///system capabilities
  ' _ "$partial" </dev/null >/dev/null 2>"$partial/probe.log" || say "QEMU was not probed: $(tail -n 1 "$partial/probe.log")"
  [ ! -d "$partial/upper/$capabilities" ] || cp -a "$partial/upper/$capabilities" "$root/${capabilities%/*}/"
}

# Root filesystems that no caller asked for in two weeks and no lab stands on.
prune() {
  local used
  find "$cache" -maxdepth 1 -name 'rootfs-*.used' -mtime +14 | while read -r used; do
    cat "$cache"/labs/*/state 2>/dev/null | sed 's|$|/lab|' | xargs -r -d '\n' grep -qsx "rootfs=${used%.used}" && continue
    say "removing ${used%.used}, unused for two weeks"
    rm -rf --one-file-system "${used%.used}" "$used"
  done
}

build() {
  local partial
  # The lock is ours, so what lies there belongs to builds that were killed.
  rm -rf --one-file-system "$cache"/partial.*
  prune
  partial=$(mktemp -d "$cache/partial.XXXXXX")
  # The trap must see the value now: the variable is gone when it runs.
  # shellcheck disable=SC2064
  trap "rm -rf --one-file-system '$partial'" EXIT
  say "building $target from this machine's apt sources"
  bootstrap "$partial/root" "$base,$servers,$virtual" --customize-hook="bash $(printf %q "$self") --customize \"\$1\""
  seal "$partial/root"
  probe_qemu "$partial/root"
  chmod 755 "$partial/root"
  mv -T "$partial/root" "$target"
}

case ${1:-} in
--customize) customize "$2"; exit 0;;
--tools) lab_tools; exit 0;;
--path) echo "$target"; exit 0;;
'') ;;
*) die "unknown argument $1 (want nothing, --tools or --path)";;
esac

lab_tools
if [ ! -d "$target" ]; then
  [ "$(id -u)" = 0 ] || die "only root can build a root filesystem"
  mkdir -p "$cache"
  # The second of two callers waits here and then finds the directory.
  exec 9>"$cache/rootfs.lock"
  flock -w "$build_limit_s" 9 || die "another build held $cache/rootfs.lock for $build_limit_s s"
  [ -d "$target" ] || build
fi
touch "$target.used" 2>/dev/null || true
echo "$target"
