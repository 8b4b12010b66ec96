# After the 20-*-cloud-guest.bash of the distributions, of which one at most is in action. What those with apt
# share is done by this element; these two are not for users, who set the variables of their distribution.
case ${DISTRO_NAME:-} in
debian)
    export IMAGE_MANAGER_APT_GUEST=$IMAGE_MANAGER_DEBIAN_GUEST
    export IMAGE_MANAGER_GUEST_INITRAMFS=$IMAGE_MANAGER_DEBIAN_INITRAMFS
    cloud_guest_bootstrap=$IMAGE_MANAGER_DEBIAN_FULL_BOOTSTRAP
    ;;
ubuntu)
    export IMAGE_MANAGER_APT_GUEST=$IMAGE_MANAGER_UBUNTU_GUEST
    export IMAGE_MANAGER_GUEST_INITRAMFS=$IMAGE_MANAGER_UBUNTU_INITRAMFS
    cloud_guest_bootstrap=$IMAGE_MANAGER_UBUNTU_FULL_BOOTSTRAP
    ;;
*)
    export IMAGE_MANAGER_APT_GUEST=0
    export IMAGE_MANAGER_GUEST_INITRAMFS=list
    cloud_guest_bootstrap=0
    ;;
esac

export IMAGE_MANAGER_GUEST_KEYRING=${IMAGE_MANAGER_GUEST_KEYRING:-}
if [ "$IMAGE_MANAGER_APT_GUEST" = 1 ]; then
    # For the bootstrap and root.d/70-cloud-guest-apt. DIB would give it to apt-key, which Debian 13 does not have.
    if [ -n "${DIB_APT_KEYRING:-${DIB_DEBIAN_KEYRING:-}}" ]; then
        export IMAGE_MANAGER_GUEST_KEYRING=${DIB_APT_KEYRING:-${DIB_DEBIAN_KEYRING:-}}
        export DIB_MMDEBSTRAP_EXTRA_ARGS="${DIB_MMDEBSTRAP_EXTRA_ARGS:-} --keyring=$IMAGE_MANAGER_GUEST_KEYRING"
        export DIB_DEBOOTSTRAP_EXTRA_ARGS="${DIB_DEBOOTSTRAP_EXTRA_ARGS:-} --keyring=$IMAGE_MANAGER_GUEST_KEYRING"
        unset DIB_APT_KEYRING DIB_DEBIAN_KEYRING
    fi
    # systemd-networkd brings up the network, not ifupdown.
    export DIB_APT_MINIMAL_CREATE_INTERFACES=${DIB_APT_MINIMAL_CREATE_INTERFACES:-0}
    # The shared cache saves nothing (every build ends with "apt-get clean") and two builds fight for it.
    export DIB_APT_LOCAL_CACHE=${DIB_APT_LOCAL_CACHE:-0}
    export DIB_GRUB_TIMEOUT=${DIB_GRUB_TIMEOUT:-1}

    # Only on the host, where mmdebstrap runs.
    if [ -d "${TMP_HOOKS_PATH:-}/cloud-guest-files" ] && [ "$cloud_guest_bootstrap" = 1 ]; then
        DIB_MMDEBSTRAP_EXTRA_ARGS="${DIB_MMDEBSTRAP_EXTRA_ARGS:-} $("$TMP_HOOKS_PATH/cloud-guest-files/bootstrap-arguments" | tr '\n' ' ')"
        export DIB_MMDEBSTRAP_EXTRA_ARGS
    fi
fi
unset cloud_guest_bootstrap

# What those with rpm share: NetworkManager, and SELinux but on openSUSE.
export IMAGE_MANAGER_RPM_GUEST=0 IMAGE_MANAGER_GUEST_SELINUX=none
if [ "$IMAGE_MANAGER_EL_GUEST" = 1 ]; then
    IMAGE_MANAGER_RPM_GUEST=1 IMAGE_MANAGER_GUEST_SELINUX=$IMAGE_MANAGER_EL_SELINUX
elif [ "$IMAGE_MANAGER_FEDORA_GUEST" = 1 ]; then
    IMAGE_MANAGER_RPM_GUEST=1 IMAGE_MANAGER_GUEST_SELINUX=$IMAGE_MANAGER_FEDORA_SELINUX
elif [ "$IMAGE_MANAGER_OPENSUSE_GUEST" = 1 ]; then
    IMAGE_MANAGER_RPM_GUEST=1
fi
