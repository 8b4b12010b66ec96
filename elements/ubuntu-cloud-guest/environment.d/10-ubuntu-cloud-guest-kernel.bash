# Sorts before ubuntu-minimal's 11-ubuntu-kernel.bash, which takes linux-image-generic when nothing is set. What
# the user set in DIB's own variable stays.
if [[ " ${IMAGE_ELEMENT:-} " == *" ubuntu-minimal "* && "${IMAGE_MANAGER_UBUNTU_GUEST:-1}" = 1 ]]; then
    export IMAGE_MANAGER_UBUNTU_KERNEL=${IMAGE_MANAGER_UBUNTU_KERNEL:-virtual}
    export DIB_UBUNTU_KERNEL=${DIB_UBUNTU_KERNEL:-linux-image-$IMAGE_MANAGER_UBUNTU_KERNEL}
fi
