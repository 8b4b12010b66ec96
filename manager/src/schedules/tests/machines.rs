//! Architecture, firmware and format, and what of them cannot be together.

use super::{ELEMENTS, one, refused};
use crate::schedules::{Arch, Firmware, Format};

#[test]
fn what_is_not_written_is_as_is_usual() {
    let schedule = one("");
    assert_eq!((schedule.image.arch, schedule.image.format), (Arch::HOST, Format::Qcow2));
    assert_eq!((schedule.targets[0].server.firmware, schedule.targets[0].server.arch), (None, Arch::HOST));
    let arm = one("image.arch = \"aarch64\"\nimage.format = \"raw\"\n");
    assert_eq!(
        (arm.image.arch, arm.targets[0].server.arch, arm.image.format),
        (Arch::Arm64, Arch::Arm64, Format::Raw)
    );
    assert_eq!(arm.targets[0].server.firmware(), Firmware::Uefi);
    let secure = one("image.arch = \"x86_64\"\nserver.firmware = \"uefi-secure\"\n");
    assert_eq!((secure.image.arch, secure.targets[0].server.firmware()), (Arch::Amd64, Firmware::UefiSecure));
    assert_eq!(one("image.arch = \"amd64\"\n").targets[0].server.firmware(), Firmware::Bios);
}

#[test]
fn what_cannot_be_together_is_a_mistake_at_its_place() {
    let far = "cloud = \"c\"\nserver.flavor = \"f\"\n";
    for (lines, part, piece) in [
        ("server.firmware = \"efi\"", "\"efi\"", "did you mean \"uefi\"?"),
        ("image.format = \"vmdk\"", "\"vmdk\"", "one of qcow2, raw"),
        ("image.arch = \"arm\"", "\"arm\"", "one of amd64"),
        ("image.arch = \"arm64\"\nserver.firmware = \"bios\"", "\"bios\"", "64-bit Arm has no BIOS"),
        ("image.arch = \"arm64\"\nserver.firmware = \"uefi-secure\"", "\"uefi-secure\"", "write \"uefi\""),
        ("image.format = \"raw\"\nimage.compression = \"zlib\"", "compression", "leave it out"),
        ("image.arch = \"amd64\"\nimage.environment.ARCH = \"arm64\"", "\"arm64\"", "arch = \"arm64\""),
        ("image.environment.ARCH = \"i386\"", "\"i386\"", "amd64 and arm64"),
        ("image.arch = \"arm64\"\nimage.properties.architecture = \"x86_64\"", "\"x86_64\"", "for arm64"),
        (
            "server.firmware = \"uefi\"\nimage.properties.hw_firmware_type = \"bios\"",
            "\"bios\"",
            "`server.firmware` is \"uefi\"",
        ),
        (
            "server.firmware = \"uefi-secure\"\nimage.properties.os_secure_boot = \"disabled\"",
            "\"disabled\"",
            "leave out the property",
        ),
        (
            "server.firmware = \"uefi-secure\"\nimage.properties.hw_machine_type = \"pc\"",
            "\"pc\"",
            "leave out the property",
        ),
    ] {
        let text = format!("[schedule.a]\n{ELEMENTS}{far}{lines}\n");
        let found = refused(&text);
        let found = found.diagnostics();
        assert_eq!(found.len(), 1, "{lines}: {found:#?}");
        assert_eq!(&text[found[0].span.clone()], part, "{lines}");
        assert!(found[0].help.as_deref().unwrap_or_default().contains(piece), "{lines}: {found:#?}");
    }
}

#[test]
fn what_agrees_may_be_written_twice() {
    one("image.arch = \"arm64\"\nimage.environment.ARCH = \"aarch64\"\nserver.firmware = \"uefi\"\n");
    one("image.format = \"raw\"\nimage.compression = \"none\"\n");
    one(
        "image.arch = \"amd64\"\nimage.properties = { architecture = \"x86_64\", hw_firmware_type = \"uefi\" }\n",
    );
    one("server.firmware = \"uefi-secure\"\nimage.arch = \"amd64\"\n\
         image.properties = { hw_machine_type = \"pc-q35-7.2\", os_secure_boot = \"required\" }\n");
    let both = "[defaults]\nimage.compression = \"zlib\"\n[schedule.a]\nimage.format = \"raw\"\n";
    super::read(&format!("{both}{ELEMENTS}"));
}
