#!/bin/bash
# Images of virtual machines for tests and demonstrations. Prints the directory that holds them, and builds it first when it
# is missing: outside the clone, under ${AGENTMETAL_CACHE:-$HOME/.cache/agentmetal}, named by a hash of what it is made from.
#
#   vm-images.sh busybox    busybox/vmlinuz and busybox/initrd: busybox, its DHCP client and the QEMU guest agent, ready under
#                           emulation in about 3 s with 96 MiB; what it says and understands stands in vm-init.sh
#   vm-images.sh --path SET print where it would be, build nothing
# Beside each file lies FILE.sha256.
set -euo pipefail
export LC_ALL=C.UTF-8 PATH=$PATH:/usr/sbin:/sbin

self=$(readlink -f "${BASH_SOURCE[0]}")
here=${self%/*}
cache=${AGENTMETAL_CACHE:-${HOME:-/root}/.cache/agentmetal}
build_limit_s=900
kernel_package=linux-image-cloud-amd64
# In the order in which they need each other.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net
  virtio_console virtio_balloon virtio-rng button evdev"

say() { echo "vm-images: $*" >&2; }
die() { say "error: $*"; exit 1; }

install_tools() { # COMMAND:PACKAGE...
  local missing=() pair apt=(timeout "$build_limit_s" apt-get -o DPkg::Lock::Timeout=300 -q -y)
  for pair; do command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  [ "$(id -u)" = 0 ] || die "these packages are missing and only root can install them: ${missing[*]}"
  command -v apt-get >/dev/null || die "these packages are missing and this machine has no apt-get: ${missing[*]}"
  say "installing ${missing[*]}"
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2 && return 0
  "${apt[@]}" update >&2 || die "apt-get update failed"
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "${missing[@]}" >&2 || die "apt-get could not install ${missing[*]}"
}
fetch() { # PACKAGE INTO: unpacked, not installed
  local name
  mkdir -p "$partial/packages"
  (cd "$partial/packages" && timeout "$build_limit_s" apt-get -q -o APT::Sandbox::User=root download "$1" >&2) || die "apt-get could not fetch $1"
  name=$(find "$partial/packages" -name "${1}_*.deb") && [ -n "$name" ] || die "apt-get fetched no $1"
  dpkg-deb -x "$name" "$2"
}

memory_disk() { # KERNEL-TREE VERSION ROOTFS
  local tree=$partial/memory module file library=$3/usr/lib/x86_64-linux-gnu
  mkdir -p "$tree"/{bin,sbin,modules,usr/sbin,lib}
  fetch busybox-static "$partial/busybox"
  cp "$partial/busybox/bin/busybox" "$tree/bin/"
  # Three hundred links: made here, because the machine that boots is slow.
  "$tree/bin/busybox" --list | while read -r file; do [ "$file" = busybox ] || ln -s busybox "$tree/bin/$file"; done
  for module in $modules; do
    file=$(find "$1/lib/modules/$2" -name "$module.ko*") && [ -n "$file" ] || die "kernel $2 has no module $module"
    case $file in *.xz) xz -dc "$file" >"$tree/modules/$module.ko";; *) cp "$file" "$tree/modules/$module.ko";; esac
    echo "$module.ko" >>"$tree/modules/order"
  done
  # The hosts' root filesystem has every library that the guest agent needs, because QEMU needs them too.
  fetch qemu-guest-agent "$partial/agent"
  cp "$partial/agent/usr/sbin/qemu-ga" "$tree/usr/sbin/"
  ln -s lib "$tree/lib64"
  cp -L "$library/ld-linux-x86-64.so.2" "$tree/lib/"
  "$library/ld-linux-x86-64.so.2" --inhibit-cache --library-path "$library" --list "$tree/usr/sbin/qemu-ga" |
    sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | xargs -r -I{} cp -L {} "$tree/lib/" || die "the guest agent's libraries are not in $3"
  install -m 755 "$here/vm-init.sh" "$tree/init"
  ln -s ../init "$tree/sbin/shutdown"
  mkdir -p "$tree"/{proc,sys,dev,run,tmp,data,root,var/run,etc/acpi/PWRF}
  printf '#!/bin/sh\nexec /init button\n' >"$tree/etc/acpi/PWRF/00000080"
  chmod 755 "$tree/etc/acpi/PWRF/00000080"
  printf '%s\n' '::sysinit:/init boot' 'ttyS0::respawn:-/bin/sh' '::shutdown:/bin/umount -a -r' >"$tree/etc/inittab"
  (cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -n -6) >"$1.initrd"
}
build_busybox() { # INTO
  local kernel=$partial/kernel version real_kernel
  install_tools cpio:cpio
  real_kernel=$(apt-cache depends "$kernel_package" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
  [ -n "$real_kernel" ] || die "this machine's apt sources have no $kernel_package"
  fetch "$real_kernel" "$kernel"
  version=$(ls "$kernel/lib/modules")
  memory_disk "$kernel" "$version" "$(rootfs)"
  cp "$kernel/boot/vmlinuz-$version" "$1/vmlinuz"
  mv "$kernel.initrd" "$1/initrd"
}
rootfs() { "$here/rootfs.sh"; }

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
  target=$cache/vm-$1-$(cat "$self" "$here/vm-init.sh" <("$here/rootfs.sh" --path) | sha256sum | cut -c1-16)
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
