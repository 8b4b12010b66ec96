# Before the bootloader element's 10-bootloader-default-cmdline. The bootloader element adds the consoles
# itself: console=tty0 console=ttyS0,115200. After a panic: reboot in a second, rather than hang.
if [[ " ${IMAGE_ELEMENT:-} " == *" debian-minimal "* && "${IMAGE_MANAGER_DEBIAN_GUEST:-1}" = 1 ]]; then
    export DIB_BOOTLOADER_DEFAULT_CMDLINE=${DIB_BOOTLOADER_DEFAULT_CMDLINE:-"panic=1"}
fi
