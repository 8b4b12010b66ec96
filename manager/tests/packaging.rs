//! What is installed beside the program.

#![expect(clippy::expect_used, reason = "tests: a surprise ends the test")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file of the checkout.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

/// The most that `systemd-analyze security` may find exposed, of 10.
const EXPOSURE: f64 = 5.0;

#[test]
fn the_unit_is_hardened_as_far_as_disk_image_builder_allows() {
    // Works without systemd as the first process.
    let judged = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(file("packaging/image-manager.service"))
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("systemd-analyze is in Debian's package systemd: setup/install test");
    let text = String::from_utf8_lossy(&judged.stdout);
    let overall = text.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| {
        panic!("systemd-analyze: {text}{}", String::from_utf8_lossy(&judged.stderr));
    });
    let exposure: f64 =
        overall.split(':').nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(exposure < EXPOSURE, "{overall}\n{text}");
}

#[test]
fn each_of_pips_files_is_pinned_by_its_hash() {
    for name in ["dib", "test"] {
        let pinned = std::fs::read_to_string(file(&format!("setup/requirements-{name}.txt"))).unwrap();
        let joined = pinned.replace("\\\n", " ");
        let lines = joined.lines().filter(|line| !line.starts_with('#'));
        for line in lines.clone() {
            assert!(line.contains("==") && line.contains("--hash=sha256:"), "{line}");
        }
        // An index in the file would be asked instead of the one that this host is configured for.
        assert!(lines.count() > 3 && !pinned.contains("://") && !pinned.contains("--index"), "{name}");
        let wanted = std::fs::read_to_string(file(&format!("setup/requirements-{name}.in"))).unwrap();
        for line in wanted.lines().filter(|line| !line.starts_with('#')) {
            let package = line.split("==").next().unwrap();
            assert!(
                joined.contains(&format!("\n{package}==")),
                "{package} is not pinned: setup/update-requirements"
            );
        }
    }
    let install = std::fs::read_to_string(file("setup/install")).unwrap();
    assert!(install.contains("--require-hashes"));
}

/// Bytes that the agent may take: it travels in every image.
const AGENT: u64 = 5_000_000;

#[test]
fn the_agent_is_small() {
    let program = Path::new(env!("CARGO_BIN_EXE_image-manager"));
    let target = program.ancestors().nth(2).unwrap();
    let agent = target.join("x86_64-unknown-linux-gnu/agent/image-manager-agent");
    let size = std::fs::metadata(&agent).expect("the agent is made: run `make agent` first").len();
    assert!(size < AGENT, "{} has {size} bytes, and may have {AGENT}", agent.display());
}

/// What it takes a compiler to make lies beside it; the sources here are none any more.
#[test]
fn the_installed_maker_of_control_images_needs_no_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let (installed, cache) = (folder.path().join("control-image"), folder.path().join("cache"));
    let shell = |script: &str| {
        let output = Command::new("bash")
            .args(["-euc", script])
            .env("tiny", file("testbed/tiny-image"))
            .env("kept", file("target/tiny-image"))
            .env("installed", &installed)
            .env("cache", &cache)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    shell(
        "mkdir -p $installed $cache; cp -R $tiny/build $tiny/guest $installed; $tiny/build -M -o $installed/made",
    );
    shell("for source in $installed/guest/{early.c,loader.S}; do echo '#error no source' >$source; done");
    // Packages that were downloaded before.
    shell("[ ! -d $kept/parts-amd64 ] || ln -s $(readlink -f $kept)/parts-amd64 $cache/parts-amd64");
    shell(
        "TINY_CACHE=$cache $installed/build -t raw -b control-1 -o $installed/x.raw && [ -s $installed/x.raw ]",
    );
}

/// The package is made of the program under test, without its debug information, as `make build` strips it.
#[test]
fn lintian_finds_no_error_in_the_debian_package() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("image-manager");
    let debug = folder.path().join("image-manager.debug");
    std::fs::write(&debug, "").unwrap();
    run(Command::new("objcopy").arg("--strip-all").arg(env!("CARGO_BIN_EXE_image-manager")).arg(&program));
    let made = run(Command::new(file("packaging/deb"))
        .arg(folder.path())
        .env("PROGRAM", &program)
        // It is looked at and thrown away.
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "0"));
    let package = made.lines().last().unwrap();
    let listed = run(Command::new("dpkg-deb").args(["--contents", package]));
    for path in [
        "/usr/bin/image-manager",
        "/usr/lib/image-manager/image-manager-agent",
        "/etc/image-manager/config.env",
        "/usr/share/man/man1/image-manager.1.gz",
        "/usr/share/bash-completion/completions/image-manager",
        "/usr/share/zsh/vendor-completions/_image-manager",
        "/usr/share/fish/vendor_completions.d/image-manager.fish",
    ] {
        assert!(
            listed.lines().any(|line| line.ends_with(&format!(".{path}"))),
            "{path} is not in it: {listed}"
        );
    }
    // It may get secrets.
    let settings = listed.lines().find(|line| line.ends_with("./etc/image-manager/config.env")).unwrap();
    assert!(settings.starts_with("-rw-------"), "{settings}");
    // Completions ask the program where the package has it, not where it was built.
    let unpacked = folder.path().join("unpacked");
    run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&unpacked));
    for script in [
        "bash-completion/completions/image-manager",
        "zsh/vendor-completions/_image-manager",
        "fish/vendor_completions.d/image-manager.fish",
    ] {
        let script = std::fs::read_to_string(unpacked.join("usr/share").join(script)).unwrap();
        let asked = script.contains("/usr/bin/image-manager");
        assert!(asked && !script.contains(folder.path().to_str().unwrap()), "{script}");
    }
    // Links between its documents lead somewhere, but for those to what concerns the sources alone.
    let documents = unpacked.join("usr/share/doc/image-manager");
    let of_sources = ["ARCHITECTURE.md", "CONTRIBUTING.md", "LICENSE", "rust-toolchain.toml"];
    for page in ["README.md", "docs/operations.md", "docs/distributions.md", "docs/schedules.md"] {
        let page = documents.join(page);
        let text = std::fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap();
            let elsewhere = path.is_empty() || path.contains("://") || of_sources.contains(&path);
            assert!(
                elsewhere || page.parent().unwrap().join(path).exists(),
                "{} links to {target}",
                page.display()
            );
        }
    }
    run(Command::new("lintian").args(["--fail-on", "error", "--info", package]));
}

#[test]
fn the_bill_of_materials_has_what_is_compiled_into_the_programs() {
    let folder = tempfile::tempdir().unwrap();
    let bill = folder.path().join("bill.json");
    // From whatever directory.
    run(Command::new(file("packaging/sbom")).arg(&bill).current_dir(folder.path()));
    let bill: serde_json::Value = serde_json::from_slice(&std::fs::read(&bill).unwrap()).unwrap();
    let components = bill["components"].as_array().unwrap();
    let is_in_it = |name: &str| components.iter().any(|component| component["name"] == name);
    for name in ["image-manager", "image-manager-agent", "image-manager-proto", "rusqlite", "serde", "tokio"]
    {
        assert!(is_in_it(name), "{name} is not in it");
    }
    // A macro, what only macros need, and what only tests need.
    for name in ["serde_derive", "syn", "proptest"] {
        assert!(!is_in_it(name), "{name} is in it");
    }
}

/// What a program of `setup/install test` prints when it succeeds.
fn run(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C.UTF-8").output().expect("setup/install test has installed it");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{err}");
    out.into_owned()
}
