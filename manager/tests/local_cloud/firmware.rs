//! Servers with another firmware than QEMU's BIOS, and images of another format.

use std::fs;
use std::path::Path;
use std::process::Command;

use image_manager::cloud::{Cloud, Trouble};
use image_manager::schedules::{Arch, Firmware, ServerSpec};

use crate::bench::{Bench, MIB, listing, qemu_img, spec};
use crate::left_out::left_out;

const OVMF: &str = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
const VARIABLES: &str = "firmware-variables.fd";

/// A raw disk whose EFI system partition has this program where firmware looks for one.
fn disk_with(bench: &Bench, program: &Path) -> std::path::PathBuf {
    let run = |command: &mut Command| {
        let output = command.output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let partition = bench.state.join("esp");
    fs::File::create(&partition).unwrap().set_len(40 * MIB).unwrap();
    run(Command::new("mkfs.vfat").arg("-F32").arg(&partition));
    run(Command::new("mmd").arg("-i").arg(&partition).args(["::/EFI", "::/EFI/BOOT"]));
    run(Command::new("mcopy").arg("-i").arg(&partition).arg(program).arg("::/EFI/BOOT/BOOTX64.EFI"));
    let disk = bench.state.join("artifact.raw");
    fs::File::create(&disk).unwrap().set_len(48 * MIB).unwrap();
    run(Command::new("sgdisk").args(["-n", "1:2048:+40M", "-t", "1:EF00"]).arg(&disk));
    run(Command::new("dd")
        .arg(format!("if={}", partition.display()))
        .arg(format!("of={}", disk.display()))
        .args(["bs=1M", "seek=1", "conv=notrunc,sparse"]));
    disk
}

fn with(firmware: Firmware) -> ServerSpec {
    ServerSpec { firmware: Some(firmware), ..spec() }
}

/// What no key of Microsoft's has signed: the firmware itself, which is no program, but is looked at as one.
#[tokio::test]
async fn a_server_with_uefi_reads_the_system_partition_and_has_variables_of_its_own() {
    if !Path::new(OVMF).exists() {
        return left_out("servers with UEFI: apt-get install ovmf mtools dosfstools");
    }
    for firmware in [Firmware::Uefi, Firmware::UefiSecure] {
        let bench = Bench::new();
        let program = bench.state.join("BOOTX64.EFI");
        fs::write(&program, "no program").unwrap();
        let image = bench.upload("image-manager-1", disk_with(&bench, &program)).await.unwrap();
        assert_eq!((image.size_bytes, image.virtual_size_bytes), (48 * MIB, 48 * MIB));
        let mut new = bench.server(&image);
        new.spec = with(firmware);
        bench.cloud.preflight(&new.spec).await.unwrap();
        let server = bench.cloud.boot(&new, &bench.ledger).await.unwrap();
        // It is tried, by the path for removable media, and is no program.
        let console = bench.console_says(&server, "BdsDxe: failed to load Boot").await;
        assert!(console.contains("UEFI"), "{firmware:?}: {console}");
        let variables = bench.state.join("servers/image-manager-1").join(VARIABLES);
        let now = fs::read(&variables).unwrap();
        let template = match firmware {
            Firmware::UefiSecure => "/usr/share/OVMF/OVMF_VARS_4M.ms.fd",
            _ => "/usr/share/OVMF/OVMF_VARS_4M.fd",
        };
        assert_ne!(now, fs::read(template).unwrap(), "{firmware:?}: the firmware wrote its boot options");
        bench.clean_up().await;
    }
}

#[tokio::test]
async fn a_server_for_arm64_starts_its_firmware() {
    let there = |file: &str| Path::new(file).exists();
    if !there("/usr/share/AAVMF/AAVMF_CODE.fd") || !there("/usr/bin/qemu-system-aarch64") {
        return left_out("servers for arm64: apt-get install qemu-system-arm qemu-efi-aarch64");
    }
    let bench = Bench::new();
    let program = bench.state.join("BOOTX64.EFI");
    fs::write(&program, "for other processors").unwrap();
    let image = bench.upload("image-manager-1", disk_with(&bench, &program)).await.unwrap();
    let mut new = bench.server(&image);
    new.spec = ServerSpec { arch: Arch::Arm64, memory: 256 * MIB, ..spec() };
    bench.cloud.preflight(&new.spec).await.unwrap();
    let server = bench.cloud.boot(&new, &bench.ledger).await.unwrap();
    bench.console_says(&server, "UEFI firmware").await;
    bench.console_says(&server, "BdsDxe").await;
    bench.clean_up().await;
}

#[tokio::test]
async fn firmware_and_programs_that_are_not_here_are_named_before_a_build() {
    let bench = Bench::new();
    let arm = ServerSpec { arch: Arch::Arm64, ..spec() };
    // Where both are installed there is nothing to be refused.
    if Path::new("/usr/share/AAVMF/AAVMF_CODE.fd").exists()
        && Path::new("/usr/bin/qemu-system-aarch64").exists()
    {
        return;
    }
    let error = bench.cloud.preflight(&arm).await.unwrap_err();
    assert_eq!(error.trouble, Trouble::Configuration);
    let named = ["qemu-system-arm", "qemu-efi-aarch64"].iter().any(|package| error.message.contains(package));
    assert!(named && error.message.contains("apt-get install"), "{error}");
}

#[tokio::test]
async fn a_raw_image_is_stored_as_one_and_only_ever_read_as_one() {
    let bench = Bench::new();
    // A guest that writes a qcow2 header to its first sector must not turn its disk into one with another file.
    let sneaky = bench.state.join("sneaky.qcow2");
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        "/etc/hostname",
        sneaky.to_str().unwrap(),
        "16M",
    ]);
    let raw = bench.state.join("artifact.raw");
    fs::rename(&sneaky, &raw).unwrap();
    let length = raw.metadata().unwrap().len().next_multiple_of(512);
    fs::File::options().write(true).open(&raw).unwrap().set_len(length).unwrap();
    let image = bench.upload("image-manager-1", raw).await.unwrap();
    assert_eq!(image.virtual_size_bytes, length, "it is a disk of that many bytes, and not of 16 MiB");
    assert_eq!(
        listing(&bench.state.join("images")),
        ["image-manager-1.json", "image-manager-1.raw", "published"]
    );
    let server = bench.boot(&image).await;
    bench.cloud.stop(&server).await.unwrap();
    let kept = bench.state.join("kept.raw");
    bench.cloud.save_disk(&server, &kept).await.unwrap();
    let stored = fs::read(bench.state.join("images/image-manager-1.raw")).unwrap();
    let kept = fs::read(&kept).unwrap();
    assert_eq!(kept.len() as u64, spec().disk, "as large as the server's disk");
    assert!(kept.starts_with(&stored), "it begins with what the image has");
    bench.clean_up().await;
}
