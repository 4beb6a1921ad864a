#!/bin/busybox sh
# shellcheck shell=dash
# The first process of the NFS node: finds the disk and hands over to the node's own.
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
  /bin/busybox insmod "$module"
done
tries=0
until [ -b /dev/vda ] || [ "$tries" -ge 100 ]; do
  /bin/busybox sleep 0.1
  tries=$((tries + 1))
done
/bin/busybox mount -t ext4 -o noatime /dev/vda /disk
/bin/busybox umount /proc
/bin/busybox umount /sys
/bin/busybox mount -o move /dev /disk/dev
exec /bin/busybox switch_root /disk /sbin/node
