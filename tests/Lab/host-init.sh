#!/bin/bash
# The first process of a host's namespaces: assembles the mounts that a container manager would, then becomes systemd.
# Everything it mounts lives in the host's own mount namespace, so that a host that dies takes its mounts with it.
# Called by host.sh, never by hand: host-init.sh NAME HOST-DIRECTORY ROOTFS
set -euo pipefail
name=$1 dir=$2 rootfs=$3

# The machine's /proc is still in place here: its idea of our id is the one that people outside need.
read -r pid _ </proc/self/stat
echo "$pid" >"$dir/leader.new"
mv "$dir/leader.new" "$dir/leader.pid"
# The network must be there before the first unit starts. Read-write, so that the open itself cannot block for ever.
read -r -t 20 _ <>"$dir/go" || { echo "host-init: nobody attached the network within 20 s"; exit 1; }

hostname "$name"
mount --make-rprivate /
root=$dir/root
mount -t overlay overlay -o "lowerdir=$rootfs,upperdir=$dir/upper,workdir=$dir/work" "$root"
while IFS=: read -r source destination; do
  mkdir -p "$root$destination"
  mount --bind "$source" "$root$destination"
  mount -o remount,ro,bind "$root$destination"
done <"$dir/binds"

cd "$root"
mount -t proc -o nosuid,nodev,noexec proc proc
# A host may shape its own network. The rest of /proc/sys, and sysrq, are the machine's.
mount --bind proc/sys/net proc/sys/net
mount --rbind proc/sys proc/sys
mount -o remount,ro,bind proc/sys
if [ -e proc/sysrq-trigger ]; then
  mount --bind proc/sysrq-trigger proc/sysrq-trigger
  mount -o remount,ro,bind proc/sysrq-trigger
fi
mount -t sysfs -o nosuid,nodev,noexec sysfs sys
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs run
mount -t tmpfs -o mode=755,nosuid tmpfs dev
for device in null zero full random urandom tty kvm fuse net/tun; do
  [ -e "/dev/$device" ] || continue
  mkdir -p "dev/$(dirname "$device")"
  cp -a "/dev/$device" "dev/$device"
done
chmod 666 dev/null dev/zero dev/full dev/random dev/urandom dev/tty
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr

if [ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]; then
  mount -t cgroup2 cgroup2 sys/fs/cgroup
else
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    mount_point=sys/fs/cgroup/${controllers#name=}
    case $controllers in
    '') mkdir sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 sys/fs/cgroup/unified;;
    name=*) mkdir "$mount_point"; mount -t cgroup -o "none,$controllers" cgroup "$mount_point";;
    *) mkdir "$mount_point"; mount -t cgroup -o "$controllers" cgroup "$mount_point";;
    esac
  done </proc/self/cgroup
fi

mkdir -p .old
pivot_root . .old
# Shared, as on a real machine: a mount made later must reach the services that have a mount namespace of their own.
exec chroot . /bin/sh -c 'umount -l /.old && rmdir /.old && mount --make-rshared / &&
  exec env -i container=lab PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal-or-kmsg --show-status=false'
