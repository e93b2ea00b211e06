#!/bin/bash
# Images of virtual machines for tests and demonstrations. Prints the directory that holds them, and builds it first when it
# is missing: outside the clone, under ${AGENTMETAL_CACHE:-$HOME/.cache/agentmetal}, named by a hash of what it is made from.
#
#   vm-images.sh busybox    vmlinuz and initrd: busybox, its DHCP client and the QEMU guest agent, ready under emulation in
#                           about 4 s with 96 MiB; what it says and understands stands in vm-init.sh. busybox.qcow2: the
#                           same on a disk of 64 MiB that boots by itself and has a partition for data
#                           A machine that is given the kernel wants the words of command_line below after console=ttyS0.
#   vm-images.sh cloud      cloud.qcow2: Debian with cloud-init (NoCloud), OpenSSH and the guest agent, on a disk of 1 GiB that
#                           boots by itself and grows; about a minute under emulation, with 320 MiB
#   vm-images.sh --path SET print where it would be, build nothing
# Beside each file lies FILE.sha256.
set -euo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

self=$(readlink -f "${BASH_SOURCE[0]}")
here=${self%/*}
cache=${AGENTMETAL_CACHE:-${HOME:-/root}/.cache/agentmetal}
build_limit_s=900
# In the order in which they need each other.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net
  virtio_console virtio_balloon virtio-rng button evdev"

# Without no_timer_check the kernel panics at once when an emulated processor gets no turn on a busy machine for a few ticks.
command_line="quiet panic=-1 mitigations=off no_timer_check"

say() { echo "vm-images: $*" >&2; }
die() { say "error: $*"; exit 1; }

# shellcheck source=debian.sh
. "$here/debian.sh"

guest_agent() { # TREE LIBRARIES
  # The hosts' root filesystem has every library that the guest agent needs, because QEMU needs them too.
  fetch qemu-guest-agent "$partial/agent"
  cp "$partial/agent/usr/sbin/qemu-ga" "$1/usr/sbin/"
  ln -s lib "$1/lib64"
  cp -L "$2/ld-linux-x86-64.so.2" "$1/lib/"
  "$2/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$2" --list "$1/usr/sbin/qemu-ga" |
    sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | xargs -r -I{} cp -L {} "$1/lib/" || die "the guest agent's libraries are not in $2"
}
memory_disk() { # KERNEL-TREE VERSION [ROOTFS]: with the guest agent when there is a root filesystem to take its libraries from
  local tree=$partial/memory file
  mkdir -p "$tree"/{bin,sbin,modules,usr/sbin,lib}
  fetch busybox-static "$partial/busybox"
  cp "$partial/busybox/bin/busybox" "$tree/bin/"
  # Three hundred links: made here, because the machine that boots is slow.
  "$tree/bin/busybox" --list | while read -r file; do [ "$file" = busybox ] || ln -s busybox "$tree/bin/$file"; done
  # shellcheck disable=SC2086 # a list of words
  copy_modules "$1" "$2" "$tree/modules" $modules
  [ -z "${3:-}" ] || guest_agent "$tree" "$3/usr/lib/x86_64-linux-gnu"
  install -m 755 "$here/vm-init.sh" "$tree/init"
  ln -s ../init "$tree/sbin/shutdown"
  mkdir -p "$tree"/{proc,sys,dev,run,tmp,data,root,var/run,etc/acpi/PWRF}
  printf '#!/bin/sh\nexec /init button\n' >"$tree/etc/acpi/PWRF/00000080"
  chmod 755 "$tree/etc/acpi/PWRF/00000080"
  printf '%s\n' '::sysinit:/init boot' 'ttyS0::respawn:-/bin/sh' '::shutdown:/bin/umount -a -r' >"$tree/etc/inittab"
  (cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -n -6) >"$1.initrd"
}
# A disk with an MBR: a FAT partition with a kernel that SYSLINUX starts, then an ext4 partition. No loop device is needed.
boot_disk() { # RAW FAT-MIB EXT4-FILE KERNEL INITRD APPEND
  local fat=$partial/fat.raw second=$((1 + $2)) last
  install_tools syslinux:syslinux mcopy:mtools sfdisk:fdisk mkfs.ext4:e2fsprogs qemu-img:qemu-utils
  # Where the partition lies is in its first sector too (-H), because the loader finds itself by that.
  truncate -s "$2M" "$fat"
  mformat -i "$fat" -T "$(($2 * 2048))" -h 16 -s 63 -H 2048 -v BOOT -N 20261123 ::
  printf 'DEFAULT linux\nPROMPT 0\nLABEL linux\n  KERNEL vmlinuz\n  INITRD initrd\n  APPEND %s\n' "$6" >"$partial/syslinux.cfg"
  mcopy -i "$fat" "$4" ::vmlinuz
  mcopy -i "$fat" "$5" ::initrd
  mcopy -i "$fat" "$partial/syslinux.cfg" ::syslinux.cfg
  last=$(( ($(stat -c %s "$3") + 1048575) / 1048576 ))
  truncate -s "$((second + last + 1))M" "$1"
  printf 'label: dos\nlabel-id: 0x20261123\nstart=2048, size=%sM, type=c, bootable\nstart=%sM, size=%sM, type=83\n' "$2" "$second" "$last" | sfdisk -q "$1" >&2
  dd if="$fat" of="$1" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$3" of="$1" bs=1M seek="$second" conv=notrunc,sparse status=none
  fetch syslinux-common "$partial/syslinux"
  dd if="$partial/syslinux/usr/lib/syslinux/mbr/mbr.bin" of="$1" bs=440 count=1 conv=notrunc status=none
  syslinux --offset 1048576 --install "$1"
}
build_busybox() { # INTO
  local kernel=$partial/kernel
  install_tools cpio:cpio
  fetch_kernel "$kernel"
  memory_disk "$kernel" "$kernel_version" "$("$here/rootfs.sh")"
  cp "$kernel/boot/vmlinuz-$kernel_version" "$1/vmlinuz"
  mv "$kernel.initrd" "$1/initrd"
  mkfs.ext4 -q -F -m 0 -L data -E lazy_itable_init=0 "$partial/data.raw" 32M >&2
  boot_disk "$partial/disk.raw" 30 "$partial/data.raw" "$1/vmlinuz" "$1/initrd" "console=ttyS0 $command_line"
  qemu-img convert -q -O qcow2 "$partial/disk.raw" "$1/busybox.qcow2"
}

# Under emulation every process counts: what a machine of one disk, one card and no screen does without.
cloud_masked="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-pstore.service
  systemd-journal-flush.service systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-timesyncd.service getty@tty1.service
  modprobe@configfs.service modprobe@drm.service modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service modprobe@dm_mod.service
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount
  systemd-machine-id-commit.service cloud-init-hotplugd.socket cloud-init-hotplugd.service networkd-dispatcher.service"
cloud_tree() { # TREE KERNEL-TREE VERSION
  local root=$1
  # shellcheck disable=SC2086 # a list of words
  chroot "$root" systemctl mask --quiet $cloud_masked >&2
  chroot "$root" systemctl enable --quiet systemd-networkd.service >&2
  chroot "$root" systemctl set-default --quiet multi-user.target >&2
  mkdir -p "$root/lib/modules"
  cp -a "$2/lib/modules/$3" "$root/lib/modules/"
  chroot "$root" depmod "$3"
  : >"$root/etc/machine-id"
  # Born on the first boot, by cloud-init.
  rm -f "$root"/etc/ssh/ssh_host_*
  echo '/dev/vda2 / ext4 defaults,noatime 0 0' >"$root/etc/fstab"
  echo localhost >"$root/etc/hostname"
  : >"$root/etc/resolv.conf"
  cat >"$root/etc/cloud/cloud.cfg.d/90_lab.cfg" <<CFG
# The modules that a machine without a package archive can use, and one key type: each further one costs seconds.
datasource_list: [ NoCloud, None ]
ssh_genkeytypes: [ ed25519 ]
ssh_quiet_keygen: true
cloud_init_modules: [ bootcmd, write-files, growpart, resizefs, set_hostname, update_hostname, update_etc_hosts, users-groups, ssh ]
cloud_config_modules: [ set-passwords, timezone, runcmd ]
cloud_final_modules: [ scripts-vendor, scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message, power-state-change ]
CFG
  rm -rf "$root"/var/cache/apt/archives/*.deb
  forget_sources "$root"
}
build_cloud() { # INTO
  local kernel=$partial/kernel root=$partial/cloud
  install_tools cpio:cpio mmdebstrap:mmdebstrap
  fetch_kernel "$kernel"
  bootstrap "$root" systemd,systemd-sysv,dbus,udev,kmod,iproute2,iputils-ping,procps,cloud-init,cloud-guest-utils,fdisk,e2fsprogs,openssh-server,qemu-guest-agent,sudo
  cloud_tree "$root" "$kernel" "$kernel_version"
  memory_disk "$kernel" "$kernel_version"
  mkfs.ext4 -q -F -m 0 -L root -E lazy_itable_init=0 -d "$root" "$partial/root.raw" 960M >&2
  boot_disk "$partial/disk.raw" 48 "$partial/root.raw" "$kernel/boot/vmlinuz-$kernel_version" "$kernel.initrd" \
    "console=ttyS0 root=/dev/vda2 net.ifnames=0 audit=0 $command_line"
  qemu-img convert -q -c -O qcow2 "$partial/disk.raw" "$1/cloud.qcow2"
}

# Sets that no caller asked for in two weeks, and what builds left that were killed: the lock is ours.
prune() {
  local used
  rm -rf --one-file-system "$cache"/vm-partial.*
  find "$cache" -maxdepth 1 -name 'vm-*.used' -mtime +14 | while read -r used; do
    say "removing ${used%.used}, unused for two weeks"
    rm -rf --one-file-system "${used%.used}" "$used"
  done
}
directory() { # SET -> sets target
  # Which versions Debian has today is not in it; what is built stays until these files change.
  target=$cache/vm-$1-$(cat "$self" "$here/debian.sh" "$here/vm-init.sh" | sha256sum | cut -c1-16)
}
provide() { # SET
  local file
  directory "$1"
  if [ ! -d "$target" ]; then
    [ "$(id -u)" = 0 ] || die "only root can build images"
    mkdir -p "$cache"
    exec 9>"$cache/vm.lock"
    flock -w "$build_limit_s" 9 || die "another build held $cache/vm.lock for $build_limit_s s"
    if [ ! -d "$target" ]; then
      prune
      partial=$(mktemp -d "$cache/vm-partial.XXXXXX")
      # shellcheck disable=SC2064 # the value now: the variable is gone when it runs
      trap "rm -rf --one-file-system '$partial'" EXIT
      say "building $target"
      mkdir "$partial/set"
      "build_$1" "$partial/set"
      (cd "$partial/set" && for file in *; do sha256sum "$file" | cut -d' ' -f1 >"$file.sha256"; done)
      chmod 755 "$partial/set"
      mv -T "$partial/set" "$target"
    fi
    exec 9>&-
  fi
  touch "$target.used" 2>/dev/null || true
}

case ${1:-help} in
help|--help|-h) sed -n '2,/^set /s/^# \{0,1\}//p' "$self";;
--path) declare -F "build_${2:-}" >/dev/null || die "unknown set ${2:-}; see: $self --help"; directory "$2"; echo "$target";;
*) declare -F "build_$1" >/dev/null || die "unknown set $1; see: $self --help"; provide "$1"; echo "$target";;
esac
