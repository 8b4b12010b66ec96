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
