#!/bin/sh
# The first process of a virtual machine's initial memory disk: finds the disk and the network, keeps a copy of what the
# disk held when the power came back, and becomes systemd. Called by the kernel that guest.sh starts.
export PATH=/bin
/bin/busybox mkdir -p /proc /sys /dev /run /root
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module" || echo "guest-init: $module was not loaded"; done </modules/order
for word in $(cat /proc/cmdline); do
  case $word in
  lab.address=*) address=${word#*=};;
  lab.probe) echo "guest-init: this accelerator works"; poweroff -f;;
  esac
done
# A commit interval of an hour and no forced allocation before a rename (the file system's mercy on programs that
# forget fsync): what was not asked to be durable is really lost.
mount -t ext4 -o commit=3600,noauto_da_alloc,noatime /dev/vda /root || { echo "guest-init: no disk"; poweroff -f; }
# /run is in memory and outlives the change of the root, so that what is copied there is as the power cut left it.
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
mkdir /run/found
if [ -s /root/etc/lab-found ]; then
  (cd /root && for path in $(cat etc/lab-found); do [ ! -e "$path" ] || tar -cf - "$path" | tar -xf - -C /run/found; done)
fi
mkdir /run/binds
mount -o ro /dev/vdb /run/binds
while read -r number destination; do
  mkdir -p "/root$destination"
  mount --bind "/run/binds/$number" "/root$destination"
done </run/binds/list
ip link set lo up
ip addr add "$address/24" dev eth0
ip link set eth0 up
mount --move /run /root/run
mount --move /dev /root/dev
mount --move /proc /root/proc
mount --move /sys /root/sys
echo "guest-init: starting systemd"
exec switch_root /root /lib/systemd/systemd --log-target=console --show-status=false
