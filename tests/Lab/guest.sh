#!/bin/bash
# Virtual machines of the lab, for what a host in namespaces cannot show: a power cut that loses what was not flushed.
# A guest has the root filesystem of the hosts on a disk of its own, a Debian kernel, and an address on the lab's bridge.
# To host.sh it is a host: `poweroff` (which is the power cut), the network faults, `down` and `sweep` work on it.
#
#   image                                     print the directory of kernel, memory disk and disk; build if needed (about 30 s)
#   define NAME [--bind SOURCE:DESTINATION]...  its disk and address; binds are copied to a read-only disk
#   run NAME                                  becomes the guest's QEMU; its console goes to standard output
set -euo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

self=$(readlink -f "${BASH_SOURCE[0]}")
here=${self%/*}
cache=${AGENTMETAL_CACHE:-${HOME:-/root}/.cache/agentmetal}
build_limit_s=600
# In the order in which they need each other.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net"
# What a machine of one disk and one network card does not need; under emulation each of these costs a part of a second.
masked="dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
  modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service
  e2scrub_reap.service systemd-random-seed.service systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-sysusers.service
  systemd-journal-flush.service systemd-machine-id-commit.service kmod-static-nodes.service systemd-modules-load.service systemd-remount-fs.service
  systemd-user-sessions.service systemd-ask-password-wall.path systemd-ask-password-console.path systemd-tmpfiles-clean.timer nftables.service
  systemd-tmpfiles-setup-dev.service proc-sys-fs-binfmt_misc.automount cryptsetup.target dpkg-db-backup.service systemd-initctl.socket systemd-tmpfiles-setup.service"
disk_mib=2048
memory_mib=384

say() { echo "guest: $*" >&2; }
die() { say "error: $*"; exit 1; }

# shellcheck source=debian.sh
. "$here/debian.sh"

memory_disk() { # KERNEL-TREE VERSION
  local tree=$partial/memory
  mkdir -p "$tree/bin" "$tree/modules"
  fetch busybox-static "$partial/busybox"
  cp "$partial/busybox/bin/busybox" "$tree/bin/"
  # shellcheck disable=SC2086 # a list of words
  copy_modules "$1" "$2" "$tree/modules" $modules
  # The kernel runs it through the interpreter that it names, which is here only under this name.
  sed '1s|.*|#!/bin/busybox sh|' "$here/guest-init.sh" >"$tree/init"
  chmod 755 "$tree/init"
  (cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$partial/image/initrd"
}
disk() { # ROOTFS
  local root=$partial/root
  cp -a "$1" "$root"
  # A guest runs no virtual machines: neither what does nor the sockets that wait for it.
  rm -rf "$root"/usr/bin/qemu-* "$root"/usr/share/qemu "$root"/usr/lib/*/{qemu,libvirt} "$root"/usr/lib/ipxe "$root"/var/cache/libvirt
  rm "$root"/etc/systemd/system/sockets.target.wants/{libvirtd,virtlogd}*.socket
  mkdir -p "$root/usr/lib/lab-guest" "$root/etc/systemd/journald.conf.d"
  install -m 755 "$here/guest-shell.sh" "$root/usr/lib/lab-guest/shell"
  cat >"$root/etc/systemd/system/lab-shell.service" <<UNIT
[Unit]
Description=Carries out what a test asks
DefaultDependencies=no
[Service]
ExecStart=/usr/bin/socat TCP-LISTEN:7000,reuseaddr,fork EXEC:/usr/lib/lab-guest/shell
UNIT
  mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
  ln -s ../lab-shell.service "$root/etc/systemd/system/multi-user.target.wants/lab-shell.service"
  # shellcheck disable=SC2086 # a list of words
  chroot "$root" systemctl mask --quiet $masked >&2
  # They look for things that this disk does not have, at every boot and every daemon-reload.
  rm "$root"/lib/systemd/system-generators/*
  # The journal in memory writes nothing that a file system commit could carry other things along with.
  printf '[Journal]\nStorage=volatile\nForwardToConsole=yes\nMaxLevelConsole=info\n' >"$root/etc/systemd/journald.conf.d/lab.conf"
  mkfs.ext4 -q -F -O ^metadata_csum -E lazy_itable_init=0 -d "$root" "$partial/image/disk.raw" "${disk_mib}M" >&2
}
# Images that no caller asked for in two weeks and no guest stands on, and what builds left that were killed: the lock is ours.
prune() {
  local used state
  rm -rf --one-file-system "$cache"/guest-partial.*
  find "$cache" -maxdepth 1 -name 'guest-*.used' -mtime +14 | while read -r used; do
    for state in $(cat "$cache"/labs/*/state 2>/dev/null); do
      if grep -qsx "${used%.used}" "$state"/hosts/*/image; then continue 2; fi
    done
    say "removing ${used%.used}, unused for two weeks"
    rm -rf --one-file-system "${used%.used}" "$used"
  done
}
build() { # ROOTFS
  local kernel=$partial/kernel
  mkdir -p "$partial/image"
  say "building $target"
  fetch_kernel "$kernel"
  cp "$kernel/boot/vmlinuz-$kernel_version" "$partial/image/vmlinuz"
  memory_disk "$kernel" "$kernel_version"
  disk "$1"
  mv -T "$partial/image" "$target"
}
image() {
  local rootfs hash
  install_tools qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils mkfs.ext4:e2fsprogs cpio:cpio
  rootfs=$("$here/rootfs.sh")
  # Which version it is changes with this machine's package lists; what is built stays until this script changes.
  hash=$(cat "$self" "$here/debian.sh" "$here/guest-init.sh" "$here/guest-shell.sh" <(echo "$rootfs") | sha256sum | cut -c1-16)
  target=$cache/guest-$hash
  if [ ! -d "$target" ]; then
    [ "$(id -u)" = 0 ] || die "only root can build a guest's disk"
    mkdir -p "$cache"
    exec 9>"$cache/guest.lock"
    flock -w "$build_limit_s" 9 || die "another build held $cache/guest.lock for $build_limit_s s"
    if [ ! -d "$target" ]; then
      prune
      partial=$(mktemp -d "$cache/guest-partial.XXXXXX")
      # shellcheck disable=SC2064 # the value now: the variable is gone when it runs
      trap "rm -rf --one-file-system '$partial'" EXIT
      build "$rootfs"
    fi
    exec 9>&-
  fi
  touch "$target.used" 2>/dev/null || true
}

# Whether this machine's KVM can run the kernel at all; some open the device and then cannot. Asked once a boot.
accelerator() {
  local known; known=$target/accelerator-$(</proc/sys/kernel/random/boot_id)
  if [ ! -s "$known" ]; then
    local said=
    [ ! -w /dev/kvm ] || said=$(timeout -k 1 15 qemu-system-x86_64 -accel kvm -cpu host "${machine[@]}" -append "console=ttyS0 quiet panic=-1 lab.probe" \
      -net none </dev/null 2>/dev/null || true)
    case $said in *"this accelerator works"*) echo "kvm -cpu host" >"$known.$$";; *) echo "tcg -cpu Nehalem" >"$known.$$";; esac
    mv "$known.$$" "$known"
  fi
  cat "$known"
}
prepare() {
  machine=(-machine pc,usb=off,vmport=off -smp 1 -m "$memory_mib" -nodefaults -no-user-config -display none -serial stdio -no-reboot -kernel "$target/vmlinuz" -initrd "$target/initrd")
}
define() { # NAME OPTIONS
  local name=$1 number=0 binds source destination
  image
  "$here/host.sh" define "$@"
  dir=$state/hosts/$name
  [ ! -s "$dir/disk.qcow2" ] || return 0
  binds=$dir/guest-binds
  mkdir -p "$binds"
  : >"$binds/list"
  while IFS=: read -r source destination; do
    number=$((number + 1))
    cp -a "$source" "$binds/$number"
    echo "$number $destination" >>"$binds/list"
  done <"$dir/binds"
  mkfs.ext4 -q -F -m 0 -O ^has_journal -d "$binds" "$dir/binds.raw" "$(( $(du -sm "$binds" | cut -f1) * 5 / 4 + 16 ))M" >&2
  rm -rf --one-file-system "$binds"
  # What is not yet in the layer's own tables is lost with the process, as in a disk's cache, until the guest flushes.
  echo "$target" >"$dir/image"
  qemu-img create -q -f qcow2 -b "$target/disk.raw" -F raw "$dir/disk.qcow2"
}
run() { # NAME
  local slot port mac name=$1 accel
  dir=$state/hosts/$name
  [ -s "$dir/disk.qcow2" ] || die "no guest $name in this lab"
  # shellcheck disable=SC1091 # written by host.sh
  . "$state/lab"
  slot=$(<"$dir/slot") port=am$index-$slot
  mac=$(printf '02:00:0a:d5:%02x:%02x' "$index" $((slot + 10)))
  target=$(<"$dir/image")
  prepare
  accel=$(accelerator)
  # Who we are, as host.sh notes it: id, start time (after the name in brackets), boot. It stays true across the exec.
  # shellcheck disable=SC2046 # fields
  set -- $(sed 's/.*) //' "/proc/$$/stat")
  echo "$$ ${20} $(</proc/sys/kernel/random/boot_id)" >"$dir/leader"
  # The port lives as long as the process, and no longer: a machine without power is off the network.
  # shellcheck disable=SC2086 # a list of words
  AGENTMETAL_GUEST_BRIDGE=am$index exec qemu-system-x86_64 -accel $accel "${machine[@]}" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off audit=0 nokaslr lab.address=10.213.$index.$((slot + 10)) systemd.hostname=$name systemd.machine_id=$(sha256sum <<<"$dir" | cut -c1-32)
      sysctl.vm.dirty_writeback_centisecs=0 sysctl.vm.dirty_expire_centisecs=360000 sysctl.vm.dirty_background_ratio=80 sysctl.vm.dirty_ratio=90" \
    -drive "file=$dir/disk.qcow2,format=qcow2,if=none,id=disk,cache=writeback" -device virtio-blk-pci,drive=disk \
    -drive "file=$dir/binds.raw,format=raw,if=none,id=binds,readonly=on" -device virtio-blk-pci,drive=binds \
    -netdev "tap,id=net,ifname=$port,script=$self,downscript=no" -device "virtio-net-pci,netdev=net,mac=$mac,romfile="
}

verb=${1:-help}; shift || true
case $verb in
help|--help|-h) sed -n '2,/^set /s/^# \{0,1\}//p' "$self"; exit 0;;
image) image; echo "$target"; exit 0;;
# QEMU calls with the name of a port that it has made.
am*-*) ip link set "$verb" master "${AGENTMETAL_GUEST_BRIDGE:?}" up; exit 0;;
esac
state=${LAB_STATE:?LAB_STATE must name the directory of the lab}
case $verb in
define) define "$@";;
run) run "$1";;
*) die "unknown verb $verb; see: $self help";;
esac
