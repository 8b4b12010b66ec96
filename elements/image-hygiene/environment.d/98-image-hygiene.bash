# Only outside of the image: disk-image-create has made these for the element "manifests", which writes them to
# /etc/dib-manifests/dib_environment and dib_arguments in the image. They tell of the build host: its paths, proxies,
# and whatever an environment variable holds. Emptied here, they are never on the image's disk, not even in free blocks.
if [ -n "${TMP_HOOKS_PATH:-}" ]; then
    export DIB_ENV=
    export DIB_ARGS=
fi
