#!/bin/bash
#
# Runs disk-image-builder (DIB) as the first process of its own mount and PID namespaces:
#
#   unshare --mount --propagation private --pid --ipc --uts --fork --mount-proc --kill-child=KILL \
#       bash -c "$(cat contain.sh)" contain.sh MARKER [hide|read|write PATH]... -- DIB_BINARY ARGUMENT...
#
# MARKER is not used: it stands in the command line, for a manager that comes back and looks for what it
# left running. What is to hide is covered; what is in it and to read or write is bound back, a directory always
# before what lies in it. IMAGE_MANAGER_STAND_INS names the directory with the stand-ins for kpartx and dmsetup, and for
# mount and umount; IMAGE_MANAGER_CONTAINERS that in which podman and buildah keep what they make for this build.
#
# TERM or INT ask DIB to stop and to clean up after itself. Whoever does not want to wait for that kills
# unshare: the namespace dies with it, and every mount and process in it. Loop devices survive; their
# names are in the output ("New block device [/dev/loopN]").
#
# DIB does not wait for the disk, by the program without-fsync in the directory of the stand-ins; its comment says why.
#
# IMAGE_MANAGER_SECRETS_DIR names the directory that the build's secrets are put into, in a tmpfs of its own.
#
# Exits as DIB does.

set -u
# What hooks make goes into the image: its modes are not those of the manager's files.
umask 022

shift # MARKER
sights=()
while [ "$1" != -- ]; do
    sights+=("$1" "$2")
    shift 2
done
shift

say() {
    printf '%s | contain: %s\n' "$(date --utc '+%Y-%m-%d %H:%M:%S.%3N')" "$*"
}

stand_ins=${IMAGE_MANAGER_STAND_INS:-}
unset IMAGE_MANAGER_STAND_INS
if [ -n "$stand_ins" ] && ! grep -q device-mapper /proc/misc; then
    for tool in kpartx dmsetup; do
        path=$(type -P "$tool") || {
            say "$tool is not installed"
            exit 127
        }
        mount --bind "$stand_ins/$tool" "$(readlink --canonicalize "$path")" || exit 126
        say "no device-mapper on this host: $stand_ins/$tool stands in for $path"
    done
fi

# Runs a command; without it the build would see what it must not.
must() {
    "$@" || {
        say "cannot keep the host's files from the build: $*"
        exit 126
    }
}

# Also for a podman that is called without the variables that name this place, by sudo: what it made in the host's own
# would be left there.
if [ -n "${IMAGE_MANAGER_CONTAINERS:-}" ] && { type -P podman || type -P buildah; } >/dev/null; then
    for settings in {/etc,/usr/share}/containers/{storage,containers}.conf; do
        [ ! -f "$settings" ] || must mount --bind "$IMAGE_MANAGER_CONTAINERS/${settings##*/}" "$settings"
    done
    for place in /run/{containers,libpod,crun,runc}; do
        must mkdir -p "$place"
        must mount -t tmpfs -o mode=0700 private "$place"
    done
    must mkdir -p /var/lib/containers
    must mount --bind "$IMAGE_MANAGER_CONTAINERS" /var/lib/containers
    # crun takes no mixture of both versions of control groups. It makes none, and sees the newer ones.
    if [ "$(stat --file-system --format %T /sys/fs/cgroup 2>/dev/null)" != cgroup2fs ]; then
        mount -t cgroup2 cgroup2 /sys/fs/cgroup || say "no control groups of version 2 on this host"
    fi
fi
unset IMAGE_MANAGER_CONTAINERS

# Opened before anything is covered: a descriptor still leads there afterwards.
opened=()
for ((i = 0; i < ${#sights[@]}; i += 2)); do
    descriptor=
    if [ "${sights[i]}" != hide ]; then
        exec {descriptor}<"${sights[i + 1]}" || exit 126
    fi
    opened+=("$descriptor")
done
for ((i = 0; i < ${#sights[@]}; i += 2)); do
    path=${sights[i + 1]} from=/proc/self/fd/${opened[i / 2]}
    case ${sights[i]} in
    hide)
        if [ -d "$path" ]; then
            must mount -t tmpfs -o size=16m,mode=0755 hidden "$path"
        elif [ -e "$path" ]; then
            must mount --bind /dev/null "$path"
        fi
        continue
        ;;
    esac
    if [ ! -e "$path" ]; then
        if [ -d "$from" ]; then
            must mkdir -p "$path"
        else
            must mkdir -p "${path%/*}"
            : >"$path" || exit 126
        fi
    fi
    # As it is: the descriptor's name would be read as the path that is covered now.
    must mount --no-canonicalize --rbind "$from" "$path"
    [ "${sights[i]}" != read ] || must mount -o remount,bind,ro "$path"
done
for descriptor in "${opened[@]}"; do
    [ -z "$descriptor" ] || exec {descriptor}<&-
done
must mount -t tmpfs -o mode=1777 private /dev/shm
# Secrets come on standard input, a line each: NAME BASE64. Nothing here puts them on a command line, into an
# environment or onto a disk: "printf" and "read" are the shell's own, and no here-document, which may be a file.
if [ -n "${IMAGE_MANAGER_SECRETS_DIR:-}" ]; then
    must mkdir -m 0700 "$IMAGE_MANAGER_SECRETS_DIR"
    while read -r name value && [ -n "$value" ]; do
        (umask 077 && printf '%s' "$value" | base64 --decode >"$IMAGE_MANAGER_SECRETS_DIR/$name") || {
            say "cannot put down the secret $name"
            exit 126
        }
    done
    [ "$name" = end ] || {
        say "the secrets did not come to their end"
        exit 126
    }
    unset name value
fi

# A kernel that has vfat says so, at the latest once the module is loaded, which mounting one would do too.
has_vfat() {
    grep -qw vfat /proc/filesystems || { modprobe --quiet vfat && grep -qw vfat /proc/filesystems; }
} 2>/dev/null
if [ -n "$stand_ins" ] && ! has_vfat && type -P mcopy >/dev/null; then
    real=/dev/shm/image-manager
    must mkdir -m 0755 "$real"
    for tool in mount umount; do
        path=$(readlink --canonicalize "$(type -P "$tool")")
        must cp "$path" "$real/$tool"
        must "$real/mount" --bind "$stand_ins/$tool" "$path"
    done
    say "no vfat on this host: $stand_ins/mount and umount stand in for mounting an EFI system partition"
fi
exec </dev/null
# From the old place ".." would lead to what is covered.
must cd "$(pwd)"

if [ -n "$stand_ins" ] && type -P python3 >/dev/null; then
    set -- "$stand_ins/without-fsync" "$@"
fi
# A process group of its own, so that a signal for this one's whole group does not reach DIB's filter.
set -m
"$@" </dev/null &
dib=$!
set +m

# DIB writes through a filter process, outfilter.py.
is_filter() {
    # In this order: that the process is gone by now is nothing to tell.
    tr '\0' ' ' 2>/dev/null <"$1/cmdline" | grep -q outfilter.py
}

# TERM for everything here but this shell and the filter: the command that DIB is waiting for ends, DIB
# takes its mounts and devices away, and the filter still passes on what it says meanwhile.
stopping=
stop() {
    local process
    [ -z "$stopping" ] || return
    stopping=1
    for process in /proc/[0-9]*; do
        [ "$process" != /proc/1 ] && ! is_filter "$process" && kill -TERM "${process#/proc/}" 2>/dev/null
    done
}
trap stop TERM INT HUP

# "wait" also returns, with a code over 128, when a signal for this shell comes in.
wait "$dib"
code=$?
while kill -0 "$dib" 2>/dev/null; do
    wait "$dib"
    code=$?
done
[ -z "$stopping" ] || say "stopped on request"

# The filter outlives DIB, with the last words, often the error, in its hands. It dies with this
# namespace, so let it finish. Before it runs it is a shell of another name: what they have in common is
# that they write to where this shell writes.
output=$(readlink /proc/1/fd/1)
drained() {
    local process
    for process in /proc/[0-9]*; do
        [ "$process" = /proc/1 ] || [ "$(readlink "$process/fd/1")" != "$output" ] || return 1
    done
}
for ((i = 0; i < 100; i++)); do
    drained && break
    sleep 0.1
done

exit "$code"
