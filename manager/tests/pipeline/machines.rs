//! Images of another format and for other processors.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Command;

use super::harness::disk::Disk;
use super::harness::{Place, agent, text};

#[test]
fn a_raw_image_is_built_booted_and_published_as_one() {
    let place = Place::tiny("publish = { name = \"tiny\" }\nimage.format = \"raw\"");
    let disk = place.path().join("kept.raw");
    place.expect(&["run", "tiny", "--keep-disk", disk.to_str().unwrap()], 0);
    let build = place.latest();
    assert_eq!(build["verdict"], "passed");
    let published = place.state().join("images/published/tiny.raw");
    let there = published.metadata().unwrap();
    for size in ["size_bytes", "virtual_size_bytes"] {
        assert_eq!(build["image"][size].to_string().replace('"', ""), there.len().to_string(), "{size}");
    }
    assert!(there.blocks() * 512 < there.len(), "holes stay holes");
    let hash = Command::new("sha512sum").arg(&published).output().unwrap();
    assert!(text(&hash.stdout).starts_with(build["image"]["sha512"].as_str().unwrap()));
    // No tool takes it for anything but a disk: the boot sector is where it belongs.
    for file in [&published, &disk] {
        let start = fs::read(file).unwrap();
        assert_eq!(start.get(510..512), Some([0x55, 0xaa].as_slice()), "{}", file.display());
    }
    let record = fs::read(place.state().join("images/published/tiny.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["architecture"], "x86_64", "of this host, by Glance's word");
    assert!(Disk::of(&published).has("/usr/local/sbin/image-manager-agent"));
    assert!(
        !Disk::of(&disk).has("/usr/local/sbin/image-manager-agent"),
        "the disk is the server's, not the image"
    );
    place.assert_nothing_left();
}

/// The canary: an agent that would not run in the image never reaches a boot, nor even disk-image-builder.
#[test]
fn an_agent_for_other_processors_is_refused_before_anything_is_built() {
    let place = Place::tiny("");
    let own = place.path().join("agents/image-manager-agent");
    fs::create_dir(place.path().join("agents")).unwrap();
    fs::copy(agent(), &own).unwrap();
    // The header of a static program for aarch64, as `readelf` shows it: class 64, little-endian, EXEC, AArch64.
    let mut foreign = fs::read(&own).unwrap();
    foreign[18..20].copy_from_slice(&[0xb7, 0]);
    let beside = place.path().join("agents/image-manager-agent-x86_64");
    for file in [&own, &beside] {
        fs::write(file, &foreign).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = place.command(&["run", "tiny"]).env("IMAGE_MANAGER_AGENT", &own).output().unwrap();
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(2), "{said}");
    let build = place.latest();
    assert_eq!(
        (&build["reason"], &build["verdict"]),
        (&"agent_of_another_machine".into(), &"errored".into())
    );
    assert_eq!(build["failure"]["stage"], "building");
    assert!(said.contains("is for aarch64, and the image for amd64"), "{said}");
    assert_eq!(build["resources"].as_array().map_or(0, Vec::len), 0, "nothing was begun");
    place.assert_nothing_left();
}
