# Before the bootloader element's 10-bootloader-default-cmdline, and so before it is known what is being built,
# but for the elements. The bootloader element adds the consoles itself: console=tty0 console=ttyS0,115200.
# After a panic: reboot in a second, rather than hang.
case " ${IMAGE_ELEMENT:-} " in
*" debian-minimal "*) cloud_guest=${IMAGE_MANAGER_DEBIAN_GUEST:-1} ;;
*" ubuntu-common "*) cloud_guest=${IMAGE_MANAGER_UBUNTU_GUEST:-1} ;;
*) cloud_guest=0 ;;
esac
if [ "$cloud_guest" = 1 ]; then
    export DIB_BOOTLOADER_DEFAULT_CMDLINE=${DIB_BOOTLOADER_DEFAULT_CMDLINE:-"panic=1"}
fi
unset cloud_guest
