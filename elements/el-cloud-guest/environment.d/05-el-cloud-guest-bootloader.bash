# Before the bootloader element's 10-bootloader-default-cmdline, and so before it is known what is being built, but for
# the elements. The bootloader element adds the consoles itself. After a panic: reboot in a second, rather than hang.
case " ${IMAGE_ELEMENT:-} " in
*" centos-minimal "* | *" centos "* | *" rhel "* | *" rocky-container "* | *" almalinux-container "*)
    if [ "${IMAGE_MANAGER_EL_GUEST:-1}" = 1 ]; then
        export DIB_BOOTLOADER_DEFAULT_CMDLINE=${DIB_BOOTLOADER_DEFAULT_CMDLINE:-"panic=1"}
        export DIB_GRUB_TIMEOUT=${DIB_GRUB_TIMEOUT:-1}
    fi
    ;;
esac
