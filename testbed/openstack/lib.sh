# Sourced by up, down, status, check, fault and cli: where things are on this machine, and how to get into the lab.

set -u -o pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

LAB_HOME=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
LAB_STATE=$(readlink -m "${LAB_STATE:-/var/lib/openstack-lab}")
# What up was told the first time holds until down --purge.
[ ! -r "$LAB_STATE/settings" ] || . "$LAB_STATE/settings"
LAB_PREFIX=${LAB_PREFIX:-10.77}      # $LAB_PREFIX.0.0/24 is the VMs' network, $LAB_PREFIX.1.0/24 leads to the APIs
LAB_SECRET=${LAB_SECRET:-lab-secret} # every account's password

root=$LAB_STATE/root
# In the network of this machine there are only these two, each with its other end inside the lab. Named after
# the prefix, so that labs with different ones do not meet.
vm_link=lab-${LAB_PREFIX/./-}-vm api_link=lab-${LAB_PREFIX/./-}-api

say() { printf '%s %s\n' "$(date +%T)" "$*"; }
die() { say "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "needs root"

# When a process began, so that no other is taken for it later.
began() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" {print $20}'; }

# The lab's first process, as this machine sees it.
lab_pid() {
    local pid at
    read -r pid at 2>/dev/null <"$LAB_STATE/init.pid" && [ -n "$at" ] && [ "$(began "$pid")" = "$at" ] && echo "$pid"
}

# Runs a command inside the lab, with an environment of its own.
inside() {
    local pid
    pid=$(lab_pid) || die "the lab is not running: $LAB_HOME/up"
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 LAB_STATE="$LAB_STATE" \
        LAB_PREFIX="$LAB_PREFIX" LAB_SECRET="$LAB_SECRET" \
        ${LAB_CLOUD:+OS_CLOUD="$LAB_CLOUD" OS_CLIENT_CONFIG_FILE=/lab/clouds.yaml} \
        nsenter -t "$pid" --mount --uts --ipc --net --pid --root --wd -- "$@"
}

# up and down of a lab, one at a time. Locks the folder of its state: a lock file would be left over.
one_at_a_time() {
    while mkdir -p "$LAB_STATE" && exec 9<"$LAB_STATE"; do
        flock -w 1200 9 || die "another up or down is still at work after 1200 s"
        # Purged while we waited: that was the lock of a folder that is gone.
        [ ! /proc/self/fd/9 -ef "$LAB_STATE" ] || return 0
    done
}
