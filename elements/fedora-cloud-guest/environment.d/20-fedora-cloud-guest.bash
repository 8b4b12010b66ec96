# After the 10-*-distro-name.bash of the operating system, which says what is being built. Elsewhere, and with
# IMAGE_MANAGER_FEDORA_GUEST=0, this element does nothing.
case ${DISTRO_NAME:-} in
fedora) export IMAGE_MANAGER_FEDORA_GUEST=${IMAGE_MANAGER_FEDORA_GUEST:-1} ;;
*) export IMAGE_MANAGER_FEDORA_GUEST=0 ;;
esac
export IMAGE_MANAGER_FEDORA_SELINUX=${IMAGE_MANAGER_FEDORA_SELINUX:-enforcing}
