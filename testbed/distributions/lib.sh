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

# passes SCHEDULE: builds, boots and checks it. Whatever did not pass ends the script with its verdict, and with what there
# is to read of it.
passes() {
    local code=0
    manager run "$1" || code=$?
    [ "$code" = 0 ] || {
        manager show latest || :
        exit "$code"
    }
}

# schedule NAME IMAGE-LINES [CHECK-LINES]: writes the schedule, with every check there is. The operating system is
# $elements, debian-minimal when it is unset; $more is the rest of the list, of elements in the directory "elements" here.
schedule() {
    cat >"$work/schedules.toml" <<SCHEDULES
[schedule.$1]
cron = ""
[schedule.$1.image]
elements = ["${elements:-debian-minimal}", "vm", "cloud-init-custom", "agent-install"${more:-}]
$2
[schedule.$1.server]
memory = "1 GiB"
disk = "4 GiB"
[schedule.$1.checks]
disk = { min_free = "500 MiB" }
internet = {}
cloud_init = {}
packages = {}
${3:-dns = {\}}
[schedule.$1.timeouts]
build = "40m"
boot = "15m"
verify = "20m"
total = "90m"
SCHEDULES
}
