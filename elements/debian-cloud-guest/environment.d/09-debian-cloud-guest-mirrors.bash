# Sorts before debian-minimal's 10-debian-minimal.bash, which fills in what is still unset.
#
# Builds from the mirrors that the build host itself uses: these are within its reach. Only on the host
# (not in the chroot, where everything is written by then), only for Debian, and only what the user has
# left open.
if [[ " ${IMAGE_ELEMENT:-} " == *" debian-minimal "* && -d "${TMP_HOOKS_PATH:-}/debian-cloud-guest-files" ]]; then
    if [ -z "${DIB_DISTRIBUTION_MIRROR:-}${DIB_DEBIAN_DISTRIBUTION_MIRROR:-}${DIB_APT_SOURCES_CONF:-}" ]; then
        IMAGE_MANAGER_DEBIAN_MIRROR_OF_HOST=$("$TMP_HOOKS_PATH/debian-cloud-guest-files/mirrors" debian)
        export IMAGE_MANAGER_DEBIAN_MIRROR_OF_HOST
        export DIB_DISTRIBUTION_MIRROR=${IMAGE_MANAGER_DEBIAN_MIRROR_OF_HOST:-http://mirror.example/debian}
    fi
    if [ -z "${DIB_DEBIAN_SECURITY_MIRROR:-}${DIB_APT_SOURCES_CONF:-}" ]; then
        IMAGE_MANAGER_DEBIAN_SECURITY_MIRROR_OF_HOST=$("$TMP_HOOKS_PATH/debian-cloud-guest-files/mirrors" debian-security)
        export IMAGE_MANAGER_DEBIAN_SECURITY_MIRROR_OF_HOST
        # debian-minimal's own default names the security archive's root, where there is no archive.
        export DIB_DEBIAN_SECURITY_MIRROR=${IMAGE_MANAGER_DEBIAN_SECURITY_MIRROR_OF_HOST:-http://mirror.example/debian-security}
    fi
fi
