#!/bin/busybox sh
# All that runs in the lab's smallest virtual machine, made by vm-images.sh: busybox and this script, which is the first
# process and, with an argument, what busybox calls for an event. It says on the first serial port, where a shell listens:
#   agentmetal-vm ready ADDRESS          the first lease (or `-` when there is no network card, `none` after 30 s without a lease)
#   agentmetal-vm nic NAME ADDRESS       every lease
#   agentmetal-vm disk NAME SECTORS, agentmetal-vm disk-gone NAME, agentmetal-vm cpu NAME    what was plugged in or out
#   agentmetal-vm boots NUMBER           how often the data partition of its own disk (/data) was booted from
#   agentmetal-vm power-button           the button was pressed: powers off in order, or goes on with am.ignore-shutdown
# With root=DEVICE on the kernel's command line it only mounts that and becomes its init: the way into the cloud image.
#   agentmetal-vm spoofing ADDRESS       from now on it claims this address too, by ARP and in what it sends, every second
# On the kernel's command line: ip=ADDRESS::GATEWAY:MASK::NIC (no DHCP), am.ignore-shutdown, am.hostname=NAME, am.spoof=ADDRESS (an address
# that is not its own, of a network of 256 whose router is .1; claimed once it has a lease), am.spoof-first=ADDRESS (claimed before it asks for one),
# am.listen=PORT (a TCP port that takes connections from when it is ready).
export PATH=/bin
# On a line of its own, whatever the shell has written before.
say() { printf '\nagentmetal-vm %s\n' "$*" >/dev/ttyS0; }
option() { sed -n "s/.*\(^\| \)$1=\([^ ]*\).*/\2/p" /proc/cmdline; }
ready() {
  mkdir /run/ready 2>/dev/null || return 0
  local port; port=$(option am.listen)
  [ -z "$port" ] || nc -ll -p "$port" -e true >/dev/null 2>&1 </dev/null &
  say "ready $1"
}

spoof() { # NAME ADDRESS
  [ -n "$2" ] && mkdir "/run/spoofing-$2" 2>/dev/null || return 0
  # Again and again, because asking for a lease clears the card.
  (while :; do ip addr add "$2/24" dev "$1"; arping -q -U -c 1 -I "$1" -s "$2" "$2"; ping -q -c 1 -W 1 -I "$2" "${2%.*}.1"; sleep 1; done) >/dev/null 2>&1 </dev/null &
  say "spoofing $2"
}
nic() { # NAME: an address, by the command line or by DHCP
  local fixed client server gateway mask host device
  ip link set "$1" up
  spoof "$1" "$(option am.spoof-first)"
  fixed=$(option ip)
  if [ -n "$fixed" ]; then
    IFS=: read -r client server gateway mask host device fixed <<FIELDS
$fixed
FIELDS
    if [ "${device:-eth0}" = "$1" ]; then
      ifconfig "$1" "$client" netmask "${mask:-255.255.255.0}"
      [ -z "$gateway" ] || route add default gw "$gateway"
      say "nic $1 $client"; ready "$client"
      return
    fi
  fi
  # Asks every two seconds for as long as the machine runs: the network may be started after the machine.
  udhcpc -i "$1" -s /init -t 5 -T 2 -A 2 -b -S ${hostname:+-x "hostname:$hostname"} -p "/run/udhcpc-$1" >/dev/null 2>&1 </dev/null &
}
boot() {
  # Held by what is started below: a port that was closed is set up anew by who opens it next, and what is still in its FIFO is lost.
  exec 3>/dev/ttyS0
  hostname=$(option am.hostname)
  # Before it says that it is ready: who reads that may change something at once.
  uevent /init hotplug </dev/null >/dev/null 2>&1 &
  # What its own disk keeps; a machine that was given a kernel has none, and other disks are left alone.
  if [ -b /dev/vda2 ] && mount -t ext4 /dev/vda2 /data; then
    echo $(( $(cat /data/boots 2>/dev/null || echo 0) + 1 )) >/data/boots.new && mv /data/boots.new /data/boots && sync
    say "boots $(cat /data/boots)"
  fi
  [ -e /sys/class/net/eth0 ] || ready -
  for path in /sys/class/net/eth*; do [ ! -e "$path" ] || nic "${path##*/}"; done
  hostname "${hostname:-agentmetal-vm}"
  ip link set lo up
  acpid -l /dev/null
  mkdir -p /dev/pts
  mount -t devpts devpts /dev/pts
  for path in /sys/class/virtio-ports/*; do
    [ "$(cat "$path/name" 2>/dev/null)" = org.qemu.guest_agent.0 ] || continue
    /usr/sbin/qemu-ga -p "/dev/${path##*/}" </dev/null >/dev/null 2>&1 &
  done
  (sleep 30; ready none) </dev/null >/dev/null 2>&1 &
}
hotplug() { # what changed is in the environment
  case $ACTION,$SUBSYSTEM in
  add,net) hostname=$(option am.hostname); nic "$INTERFACE";;
  add,cpu) echo 1 >"/sys$DEVPATH/online" 2>/dev/null; say "cpu ${DEVPATH##*/}";;
  add,block|change,block) case $DEVNAME in vd*) say "disk $DEVNAME $(cat "/sys$DEVPATH/size")";; esac;;
  remove,block) say "disk-gone $DEVNAME";;
  esac
}
lease() { # bound, renew, deconfig, ...: by udhcpc, with the lease in the environment
  case $1 in
  deconfig) ip addr flush dev "$interface"; ip link set "$interface" up;;
  bound|renew)
    ifconfig "$interface" "$ip" netmask "${subnet:-255.255.255.0}"
    [ -z "$router" ] || route add default gw "${router%% *}" dev "$interface" 2>/dev/null
    [ "$1" = renew ] || { say "nic $interface $ip"; ready "$ip"; }
    spoof "$interface" "$(option am.spoof)";;
  esac
}
button() {
  say power-button
  grep -q 'am\.ignore-shutdown' /proc/cmdline || poweroff
}
start() { # the kernel called: what the machine has is made known, then busybox's init is the first process
  mount -t proc proc /proc
  mount -t sysfs sysfs /sys
  mount -t devtmpfs dev /dev
  while read -r module; do insmod "/modules/$module" || echo "vm-init: $module was not loaded"; done </modules/order
  root=$(option root)
  if [ -n "$root" ]; then
    mount -t ext4 -o noatime "$root" /root || exec /bin/sh
    mount --move /dev /root/dev; mount --move /proc /root/proc; mount --move /sys /root/sys
    exec switch_root /root /lib/systemd/systemd
  fi
  rm -r /modules
  exec /bin/init
}
# As the first process it is given the words of the kernel's command line that the kernel does not know.
[ $$ != 1 ] || start
case ${1:-} in
boot|hotplug|button) "$1";;
bound|renew|deconfig|leasefail|nak) lease "$1";;
# The guest agent calls this file as /sbin/shutdown -h, then -P (off), -H (halt) or -r (reboot).
-h) case $2 in -r) reboot;; *) poweroff;; esac;;
esac
