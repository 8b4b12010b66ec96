//! `server`: what boots the image.

use super::Reader;
use super::rules::{CLOUD_OBJECT, KEY_PAIR, is_public_key};
use crate::schedules::layers::Table;
use crate::schedules::{Arch, ServerSpec, SshKey};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// Nova takes 65,535 bytes of base64.
const LONGEST_USER_DATA: usize = 48 * 1024;

impl<'a> Reader<'a> {
    /// `server`, with processors that the image is for.
    pub(super) fn server(&mut self, schedule: &Table<'a>, arch: Arch) -> ServerSpec {
        let server =
            self.table(schedule, "server").unwrap_or_else(|| Table::new(None, None, schedule.span.clone()));
        ServerSpec {
            memory: self.size(&server, "memory", 128 * MIB..=TIB).unwrap_or(GIB),
            disk: self.size(&server, "disk", 256 * MIB..=16 * TIB).unwrap_or(4 * GIB),
            cpus: self.number(&server, "cpus", 1..=64).unwrap_or(2),
            firmware: self.firmware(&server),
            arch,
            flavor: self.ruled_string(&server, "flavor", &CLOUD_OBJECT),
            network: self.ruled_string(&server, "network", &CLOUD_OBJECT),
            security_groups: self
                .ruled_strings(&server, "security_groups", &CLOUD_OBJECT)
                .unwrap_or_default(),
            availability_zone: self.ruled_string(&server, "availability_zone", &CLOUD_OBJECT),
            ssh_key: self.ssh_key(&server),
            config_drive: self.flag(&server, "config_drive").unwrap_or(true),
            boot_from_volume: self.flag(&server, "boot_from_volume").unwrap_or(false),
            user_data: self.user_data(&server),
        }
    }

    /// `true`, a public key, or the name of a key pair.
    fn ssh_key(&mut self, server: &Table<'a>) -> Option<SshKey> {
        let entry = server.get("ssh_key")?;
        if let Some(made) = entry.value.get_ref().as_bool() {
            return made.then_some(SshKey::Made);
        }
        if !entry.value.get_ref().is_str() {
            let wanted = "true, false, a public key or the name of a key pair";
            let help = "`true` makes a key pair for the server".to_owned();
            self.refuse_type(&entry.name, entry.value, wanted, Some(help));
            return None;
        }
        let text = self.string(server, "ssh_key")?;
        if is_public_key(text.value) {
            return Some(SshKey::Public(text.value.to_owned()));
        }
        self.obeys(&text, &KEY_PAIR).then(|| SshKey::Named(text.value.to_owned()))
    }

    /// Many lines, so the rules for short strings do not hold.
    fn user_data(&mut self, server: &Table<'a>) -> Option<String> {
        let entry = server.get("user_data")?;
        let text = self.string_value(&entry.name, entry.value)?;
        if text.value.len() > LONGEST_USER_DATA {
            let title = format!("`{}` is longer than {LONGEST_USER_DATA} bytes", text.name);
            let help = "Nova accepts no more; let the server fetch the rest".to_owned();
            self.findings.add(entry.key_span, title, "too long", Some(help));
            return None;
        }
        if text.value.contains('\0') {
            self.findings.add(entry.key_span, format!("`{}` has a NUL byte", text.name), "not text", None);
            return None;
        }
        Some(text.value.to_owned())
    }
}
