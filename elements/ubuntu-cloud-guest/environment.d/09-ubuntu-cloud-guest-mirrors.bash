# Sorts before ubuntu-common's 10-ubuntu-distro-name.bash, which fills in what is still unset.
#
# Builds from the mirror that the build host itself uses, when it is Ubuntu and of the image's architecture:
# ports are another archive. Only on the host, and only what the user has left open.
if [[ " ${IMAGE_ELEMENT:-} " == *" ubuntu-common "* && -d "${TMP_HOOKS_PATH:-}/cloud-guest-files" ]]; then
    if [ -z "${DIB_DISTRIBUTION_MIRROR:-}" ] && [ "${ARCH:-}" = "$(dpkg --print-architecture 2>/dev/null)" ]; then
        ubuntu_mirror_of_host=$("$TMP_HOOKS_PATH/cloud-guest-files/mirrors" ubuntu)
        if [ -n "$ubuntu_mirror_of_host" ]; then
            export DIB_DISTRIBUTION_MIRROR=$ubuntu_mirror_of_host
        fi
        unset ubuntu_mirror_of_host
    fi
fi
