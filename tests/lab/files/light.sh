#!/bin/sh
# Runs in private mount, pid, uts and ipc namespaces: light.sh LOWER DIRECTORY PORT
set -e
lower=$1 directory=$2 port=$3
mount --make-rprivate /
mount -t overlay -o "lowerdir=$lower,upperdir=$directory/upper,workdir=$directory/work" overlay "$directory/root"
cp "$directory"/keys/etc/ssh/ssh_host_* "$directory/root/etc/ssh/"
cd "$directory/root"
hostname light
echo light > etc/hostname
echo "127.0.0.1 localhost light" > etc/hosts
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs -o mode=755 dev dev
for name in null zero full random urandom tty; do
  : > "dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mkdir -p run/sshd run/lock
mount -t tmpfs -o mode=1777 tmp tmp
# Without these nothing in it can change this machine's network, clock, devices or kernel.
exec setpriv --bounding-set -net_admin,-mknod,-sys_time,-sys_boot,-sys_module,-sys_rawio \
  chroot . /usr/sbin/sshd -D -e -o "ListenAddress=127.0.0.1" -o "Port=$port" -o PidFile=none
