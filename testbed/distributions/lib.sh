# Read by the scripts of the distributions.

set -eu -o pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mirrors=$repository/elements/cloud-guest/cloud-guest-files/mirrors

die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 2
}

# A directory for everything of this run, which goes with it. Not below /home or /root, which builds do not see.
place() {
    work=$(mktemp -d "${DISTRIBUTIONS_DIRECTORY:-/var/tmp}/image-manager-distribution.XXXXXX")
    chmod 0711 "$work"
    trap 'rm -rf "$work"' EXIT
}

# manager ARGUMENT...: the program under test, in that directory.
manager() {
    (
        cd "$work"
        for name in ${!IMAGE_MANAGER_*}; do
            case $name in
            IMAGE_MANAGER_PROGRAM | IMAGE_MANAGER_AGENT | IMAGE_MANAGER_DIB) ;;
            *) unset "$name" ;;
            esac
        done
        IMAGE_MANAGER_SCHEDULES=$work/schedules.toml IMAGE_MANAGER_ELEMENTS=$repository/elements${more:+:$work/elements} NO_COLOR=1 \
            exec "${IMAGE_MANAGER_PROGRAM:-$repository/target/release/image-manager}" "$@" --state "$work/state"
    )
}

# passes SCHEDULE [ARGUMENT...]: builds, boots and checks it. Whatever did not pass ends the script with its verdict, and with
# what there is to read of it.
passes() {
    local code=0
    manager run "$@" || code=$?
    [ "$code" = 0 ] || {
        manager show latest || :
        exit "$code"
    }
}

# Of the addresses for benchmarks of networks (RFC 2544), which nobody routes: $here and $there, in a network of four.
network() {
    local try third fourth
    for try in $(seq 20); do
        third=$((RANDOM % 256)) fourth=$((RANDOM % 64 * 4))
        here=198.18.$third.$((fourth + 1)) there=198.18.$third.$((fourth + 2))
        [ -n "$(ip -4 route show root "$there/30")" ] || return 0
    done
    die "no free network in 198.18.0.0/16 after $try tries"
}

# another_host PATH PROGRAM ARGUMENT...: runs the program, with an address and a port to serve at as its last arguments, in a
# network namespace of its own, at the other end of a pair of links. For this host and for the servers that it starts it
# is another host, at an address ($there) that is none of this host's, which are closed to servers. Waits until it answers
# for the path. It and its network go with this script, whatever becomes of that.
another_host() {
    local path=$1 link=imd$$ holder="" try
    shift
    network
    mkfifo "$work/go"
    setpriv --pdeathsig KILL unshare --net --kill-child=KILL --fork sh -c 'read -r go && exec "$@"' sh "$@" "$there" 80 \
        <"$work/go" &
    exec 3>"$work/go"
    for try in $(seq 50); do
        ! holder=$(pgrep -P $!) || break
        sleep 0.1
    done
    [ -n "$holder" ] || die "no network namespace after $try tries"
    ip link add "$link" type veth peer name host0 netns "$holder"
    ip addr add "$here/30" dev "$link"
    ip link set "$link" up
    nsenter --net="/proc/$holder/ns/net" ip addr add "$there/30" dev host0
    nsenter --net="/proc/$holder/ns/net" ip link set host0 up
    nsenter --net="/proc/$holder/ns/net" ip link set lo up
    echo go >&3
    exec 3>&-
    for try in $(seq 50); do
        ! curl --silent --fail --max-time 5 --output /dev/null "http://$there/$path" || return 0
        sleep 0.2
    done
    die "nobody answers at http://$there/$path after $try tries"
}

# schedule NAME [CHECK-LINES]: writes the schedule: that of examples/NAME.toml, with its own checks, and deadlines for
# a machine that emulates. $environment is added to its image.environment, and $more to its elements, of which those in the
# directory "elements" here are found too.
schedule() {
    sed -e "s|^environment = { |&${environment:+$environment, }|" -e "s|\"agent-install\"\]|\"agent-install\"${more:+, $more}]|" \
        "$repository/examples/$1.toml" >"$work/schedules.toml"
    cat >>"$work/schedules.toml" <<SCHEDULES

[schedule.$1.checks]
# Growing takes minutes where many emulate at once.
disk = { min_free = "500 MiB", timeout = "10m" }
internet = {}
cloud_init = {}
packages = {}
${2:-dns = {\}}

[schedule.$1.timeouts]
build = "40m"
boot = "15m"
verify = "20m"
total = "90m"
SCHEDULES
}
