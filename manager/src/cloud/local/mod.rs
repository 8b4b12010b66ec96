//! The embedded cloud: QEMU on this host, images in the state directory.
