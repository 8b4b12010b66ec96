//! Failures that need a whole Debian, built for real: minutes, so they share one cached base, and `make test-distributions`
//! runs them, not `make test`.

use std::path::Path;
use std::time::Duration;

use image_manager::reason::Reason;

use super::bench::Bench;
use super::failures::{element, fails, real};

#[tokio::test]
async fn a_real_debian_without_package_or_mirror() {
    let Some(mut bench) = real("debian", &["debian-minimal", "lean", "debian-cloud-guest"]) else { return };
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("elements");
    bench.order.elements_path.push(ours);
    bench.order.timeout = Duration::from_mins(15);
    // Neither the kernel nor its initramfs matters here, and they take half a minute each time.
    let map = r#"{"default": {"linux-image-amd64": "netbase", "cloud-initramfs-growroot": "netbase"}}"#;
    let hook = format!(
        "#!/bin/bash\nset -e\nfor element in debian-minimal debootstrap; do\n\
         echo '{map}' | sudo tee $TMP_MOUNT_PATH/usr/share/pkg-map/$element\ndone\n"
    );
    element(&bench, "lean", "extra-data.d/12-lean", &hook);
    set(&mut bench, "IMAGE_MANAGER_DEBIAN_KERNEL", "none");

    package_missing(&mut bench).await;
    mirror_down(&mut bench).await;
}

/// Leaves the base in the cache.
async fn package_missing(bench: &mut Bench) {
    set(bench, "DIB_DEBOOTSTRAP_CACHE", "1");
    bench.order.packages = vec!["no-such-package".to_owned()];
    let error = fails(bench).await;
    assert_eq!(error.reason, Reason::DibPackageMissing, "{error:?}");
    // No script installs what the schedule asks for: DIB itself does.
    assert_eq!(error.message, "there is no package no-such-package");
    bench.order.packages.clear();
    set(bench, "DIB_DEBIAN_USE_DEBOOTSTRAP_CACHE", "1");
}

/// With our element apt fails then. Without it DIB goes on, and says at last that it succeeded.
async fn mirror_down(bench: &mut Bench) {
    bench.order.log.set_file_name("mirror_down.log");
    bench.order.elements = vec!["debian-minimal".to_owned(), "lean".to_owned()];
    for name in ["DIB_DISTRIBUTION_MIRROR", "DIB_DEBIAN_SECURITY_MIRROR"] {
        // Nobody listens there, and the kernel says so at once.
        set(bench, name, "http://127.0.0.1:9/debian");
    }
    let error = fails(bench).await;
    assert_eq!(error.reason, Reason::MirrorUnreachable, "{error:?}");
    assert!(error.message.contains("lacks updates") && error.evidence.contains("127.0.0.1:9"), "{error:?}");
    assert!(bench.log().contains("Build completed successfully"), "{error:?}");
}

fn set(bench: &mut Bench, name: &str, value: &str) {
    bench.order.environment.insert(name.to_owned(), value.to_owned());
}
