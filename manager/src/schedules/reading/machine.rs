//! What `image.arch`, `image.format`, `server.firmware` and the properties of Glance say about each other: what cannot
//! be together is a mistake before anything is built.

use super::Reader;
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::{Entry, Table};
use crate::schedules::machine::{Arch, Firmware, Format};
use crate::schedules::{Schedule, Target};

/// Properties of Glance that say what `server.firmware` and `image.arch` say.
const SECURE_BOOT: &str = "os_secure_boot";
const FIRMWARE_TYPE: &str = "hw_firmware_type";
const MACHINE_TYPE: &str = "hw_machine_type";
const ARCHITECTURE: &str = "architecture";

impl<'a> Reader<'a> {
    /// `image.arch`; the host's when it is not written.
    pub(super) fn arch(&mut self, image: &Table<'a>) -> Arch {
        self.choice(image, "arch", &Arch::WORDS).unwrap_or(Arch::HOST)
    }

    /// `image.format`.
    pub(super) fn format(&mut self, image: &Table<'a>) -> Format {
        self.choice(image, "format", &Format::WORDS).unwrap_or_default()
    }

    /// `server.firmware`; `None` when it is not written.
    pub(super) fn firmware(&mut self, server: &Table<'a>) -> Option<Firmware> {
        self.choice(server, "firmware", &Firmware::WORDS)
    }

    /// Notes what of a schedule cannot be together.
    pub(super) fn refuse_machines_that_cannot_be(
        &mut self,
        table: &Table<'a>,
        schedule: &Schedule,
        targets: &[Table<'a>],
    ) {
        let image = table.get("image").and_then(|entry| entry.table());
        for (target, table) in schedule.targets.iter().zip(targets) {
            let server = table.get("server").and_then(|entry| entry.table());
            if let Some(firmware) = server.as_ref().and_then(|server| server.get("firmware")) {
                self.refuse_firmware_of_another_machine(&firmware, schedule.image.arch, target);
            }
        }
        let Some(image) = image else { return };
        if schedule.image.format == Format::Raw
            && let Some(entry) = image.get("compression")
            && image.own().is_some_and(|own| own.contains_key("compression"))
            && entry.value.get_ref().as_str() != Some("none")
        {
            let help = "leave it out: a raw image is the disk itself, kept as a sparse file".to_owned();
            let title = format!("`{}` has no effect on a raw image", entry.name);
            self.findings.add(entry.key_span, title, "for qcow2 only", Some(help));
        }
        let variables = image.get("environment").and_then(|entry| entry.table());
        if let Some(entry) = variables.and_then(|variables| variables.get("ARCH")) {
            self.refuse_another_arch(&entry, schedule.image.arch);
        }
        if let Some(properties) = image.get("properties").and_then(|entry| entry.table()) {
            for target in &schedule.targets {
                self.refuse_properties_that_disagree(&properties, schedule.image.arch, target);
            }
        }
    }

    fn refuse_firmware_of_another_machine(&mut self, entry: &Entry<'a>, arch: Arch, target: &Target) {
        let Some(firmware) = target.server.firmware else { return };
        let help = match (arch, firmware) {
            (Arch::Arm64, Firmware::Bios) => "64-bit Arm has no BIOS: write \"uefi\", or leave it out",
            (Arch::Arm64, Firmware::UefiSecure) => target.kind().no_secure_boot_on_arm,
            _ => return,
        };
        let title = format!("`{}`: {arch} has no \"{}\"", entry.name, firmware.as_str());
        self.findings.add(entry.value.span(), title, format!("not on {arch}"), Some(help.to_owned()));
    }

    /// `ARCH`, which disk-image-builder and each of its elements go by.
    fn refuse_another_arch(&mut self, entry: &Entry<'a>, arch: Arch) {
        let Some(text) = entry.value.get_ref().as_str() else { return };
        if Arch::parse(text) == Some(arch) {
            return;
        }
        let help = match Arch::parse(text) {
            Some(other) => format!("write `arch = \"{other}\"` in `image` instead: it sets ARCH as well"),
            None => {
                "agents are made for amd64 and arm64: leave it out, and write `arch` in `image`".to_owned()
            }
        };
        let title = format!("ARCH is {}, but the image is for {arch}", quoted(text));
        self.findings.add(entry.value.span(), title, "disagrees with `image.arch`", Some(help));
    }

    /// Properties of Glance by which Nova would start servers otherwise than the image was tested.
    fn refuse_properties_that_disagree(&mut self, properties: &Table<'a>, arch: Arch, target: &Target) {
        for entry in properties.entries() {
            let Some(text) = entry.value.get_ref().as_str() else { continue };
            let right = match (entry.key, target.server.firmware) {
                (ARCHITECTURE, _) if Arch::parse(text) != Some(arch) => {
                    format!("the image is for {arch}: set `image.arch`, and leave out the property")
                }
                (FIRMWARE_TYPE | SECURE_BOOT | MACHINE_TYPE, Some(firmware))
                    if disagrees(entry.key, text, firmware) =>
                {
                    let ours = firmware.as_str();
                    format!("`server.firmware` is \"{ours}\" and sets it: leave out the property")
                }
                _ => continue,
            };
            let title = format!("property `{}`: {} is not what is tested", entry.key, quoted(text));
            self.findings.add(entry.value.span(), title, "disagrees", Some(right));
        }
    }
}

/// Whether a property asks for another firmware than this one.
fn disagrees(property: &str, value: &str, firmware: Firmware) -> bool {
    let ours = firmware.properties().iter().find(|(name, _)| *name == property).map(|(_, value)| *value);
    match (property, ours) {
        // A q35 of a certain version.
        (MACHINE_TYPE, Some(ours)) => value != ours && !value.starts_with("pc-q35"),
        (MACHINE_TYPE, None) => false,
        (SECURE_BOOT, None) => value == "required",
        (_, ours) => ours != Some(value),
    }
}
