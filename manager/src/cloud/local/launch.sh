# Starts a server's QEMU in namespaces of its own, and tells of its end. Run by root, which opens the server's files:
# QEMU's user can reach none of them by a path.
#
#   launch.sh IMAGE DISK CONFIG-DRIVE CONSOLE RESOLV.CONF VARIABLES COMMAND...
#
# COMMAND finds the image as descriptor 3, the disk as 4 (and 5, to read only), the config drive as 6 and the console
# as 7. RESOLV.CONF may be empty: then COMMAND sees the host's. VARIABLES, those of a UEFI, may be empty; else they are 8
# (and 9, to read only).
set -eu
umask 077
image=$1 disk=$2 drive=$3 console=$4 names=$5 variables=$6
shift 6
# QEMU is told to end by itself; this shell ends with it.
trap : TERM INT
set +e
(
    set -e
    # The first process of a process namespace: with this /proc it knows of no process but its own.
    mount -t proc proc /proc
    [ -z "$names" ] || mount --bind "$names" /etc/resolv.conf
    exec 3<"$image" 4<>"$disk" 5<"$disk" 6<"$drive" 7>>"$console"
    [ -z "$variables" ] || exec 8<>"$variables" 9<"$variables"
    exec "$@"
)
code=$?
# What a signal ended is told as that signal.
if [ "$code" -gt 128 ]; then
    trap - TERM INT
    ulimit -c 0
    kill "-$((code - 128))" "$$"
fi
exit "$code"
