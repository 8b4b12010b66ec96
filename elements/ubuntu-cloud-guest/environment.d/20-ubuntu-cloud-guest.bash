# After 10-ubuntu-distro-name.bash, which says what is being built. On another distribution, and with
# IMAGE_MANAGER_UBUNTU_GUEST=0, this element does nothing.
if [ "${DISTRO_NAME:-}" = ubuntu ]; then
    export IMAGE_MANAGER_UBUNTU_GUEST=${IMAGE_MANAGER_UBUNTU_GUEST:-1}
else
    export IMAGE_MANAGER_UBUNTU_GUEST=0
fi
export IMAGE_MANAGER_UBUNTU_FULL_BOOTSTRAP=${IMAGE_MANAGER_UBUNTU_FULL_BOOTSTRAP:-1}
export IMAGE_MANAGER_UBUNTU_INITRAMFS=${IMAGE_MANAGER_UBUNTU_INITRAMFS:-list}
