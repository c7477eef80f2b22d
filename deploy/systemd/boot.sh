#!/usr/bin/env bash
# Runs as the first process of its own PID and mount namespace: boots systemd over a copy-on-write view of this machine's files and
# has it run deploy/systemd/steps.sh, which writes what it did to $1/steps, and $1/passed at the end.
set -euo pipefail
work=$1
here=$(cd "$(dirname "$0")" && pwd)
mount --make-rprivate /
mkdir "$work/root"
mount -t tmpfs tmpfs "$work/root"
mkdir "$work/root/upper" "$work/root/work" "$work/root/all"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/root/upper,workdir=$work/root/work" "$work/root/all"
all=$work/root/all
mount -t proc proc "$all/proc"
mount --rbind /dev "$all/dev"
mount -t sysfs sysfs "$all/sys"
mount -t cgroup2 cgroup2 "$all/sys/fs/cgroup" || mount -t tmpfs tmpfs "$all/sys/fs/cgroup"
mount -t tmpfs tmpfs "$all/run"
mkdir -p "$all/mnt/work"
mount --bind "$work" "$all/mnt/work"
cp "$here/steps.sh" "$all/mnt/steps.sh"
cat >"$all/etc/systemd/system/steps.service" <<'U'
[Unit]
After=basic.target
[Service]
Type=oneshot
ExecStart=/mnt/steps.sh
[Install]
WantedBy=basic.target
U
mkdir -p "$all/etc/systemd/system/steps.target.wants"
ln -sf ../steps.service "$all/etc/systemd/system/steps.target.wants/steps.service"
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' >"$all/etc/systemd/system/steps.target"
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$all" /lib/systemd/systemd --system --unit=steps.target --log-target=console --log-level=notice
