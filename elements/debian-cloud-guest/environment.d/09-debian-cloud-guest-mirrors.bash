# Sorts before debian-minimal's 10-debian-minimal.bash, which fills in what is still unset.
#
# Builds from the mirrors that the build host itself uses: these are within its reach. Only on the host
# (not in the chroot, where everything is written by then), only for Debian, and only what the user has
# left open. What the host's apt does not name is left to DIB.
if [[ " ${IMAGE_ELEMENT:-} " == *" debian-minimal "* && -d "${TMP_HOOKS_PATH:-}/cloud-guest-files" ]]; then
    if [ -z "${DIB_DISTRIBUTION_MIRROR:-}${DIB_DEBIAN_DISTRIBUTION_MIRROR:-}${DIB_APT_SOURCES_CONF:-}" ]; then
        debian_mirror_of_host=$("$TMP_HOOKS_PATH/cloud-guest-files/mirrors" debian)
        if [ -n "$debian_mirror_of_host" ]; then
            export DIB_DISTRIBUTION_MIRROR=$debian_mirror_of_host
        fi
        unset debian_mirror_of_host
    fi
    if [ -z "${DIB_DEBIAN_SECURITY_MIRROR:-}${DIB_APT_SOURCES_CONF:-}" ]; then
        debian_mirror_of_host=$("$TMP_HOOKS_PATH/cloud-guest-files/mirrors" debian-security)
        # debian-minimal's own default names the security archive's root, where there is no archive. A mirror
        # of Debian has the security archive beside the main one.
        if [ -z "$debian_mirror_of_host" ] && [[ "${DIB_DISTRIBUTION_MIRROR:-}" == */debian ]]; then
            debian_mirror_of_host=$DIB_DISTRIBUTION_MIRROR-security
        fi
        if [ -n "$debian_mirror_of_host" ]; then
            export DIB_DEBIAN_SECURITY_MIRROR=$debian_mirror_of_host
        fi
        unset debian_mirror_of_host
    fi
fi
