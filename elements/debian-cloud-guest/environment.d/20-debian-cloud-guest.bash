# After 10-debian-minimal.bash, which says what is being built. On another distribution, and with
# IMAGE_MANAGER_DEBIAN_GUEST=0, this element does nothing.
if [ "${DISTRO_NAME:-}" = debian ]; then
    export IMAGE_MANAGER_DEBIAN_GUEST=${IMAGE_MANAGER_DEBIAN_GUEST:-1}
else
    export IMAGE_MANAGER_DEBIAN_GUEST=0
fi
export IMAGE_MANAGER_DEBIAN_KERNEL=${IMAGE_MANAGER_DEBIAN_KERNEL:-cloud}
export IMAGE_MANAGER_DEBIAN_FULL_BOOTSTRAP=${IMAGE_MANAGER_DEBIAN_FULL_BOOTSTRAP:-1}
export IMAGE_MANAGER_DEBIAN_INITRAMFS=${IMAGE_MANAGER_DEBIAN_INITRAMFS:-list}

if [ "$IMAGE_MANAGER_DEBIAN_GUEST" = 1 ]; then
    # systemd-networkd brings up the network, not ifupdown.
    export DIB_APT_MINIMAL_CREATE_INTERFACES=${DIB_APT_MINIMAL_CREATE_INTERFACES:-0}
    # The shared cache saves nothing (every build ends with "apt-get clean") and two builds fight for it.
    export DIB_APT_LOCAL_CACHE=${DIB_APT_LOCAL_CACHE:-0}
    export DIB_GRUB_TIMEOUT=${DIB_GRUB_TIMEOUT:-1}

    # Only on the host, where mmdebstrap runs.
    if [ -d "${TMP_HOOKS_PATH:-}/debian-cloud-guest-files" ] && [ "$IMAGE_MANAGER_DEBIAN_FULL_BOOTSTRAP" = 1 ]; then
        DIB_MMDEBSTRAP_EXTRA_ARGS="${DIB_MMDEBSTRAP_EXTRA_ARGS:-} $("$TMP_HOOKS_PATH/debian-cloud-guest-files/bootstrap-arguments" | tr '\n' ' ')"
        export DIB_MMDEBSTRAP_EXTRA_ARGS
    fi
fi
