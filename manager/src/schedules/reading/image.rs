//! `image`: what disk-image-builder is asked for.

use std::collections::BTreeMap;

use super::rules::{ELEMENT, GROUP_NAME, PACKAGE, PUBLIC_KEY, SHELL, USER_NAME};
use super::{Reader, keys};
use crate::schedules::diagnostics::quoted;
use crate::schedules::layers::Table;
use crate::schedules::{Compression, ImageSpec, User};

const COMPRESSIONS: [(&str, Compression); 3] =
    [("zstd", Compression::Zstd), ("zlib", Compression::Zlib), ("none", Compression::None)];

/// What Glance keeps about an image by itself; setting it would end the promise that only verified images are
/// seen.
const GLANCE_ATTRIBUTES: [&str; 22] = [
    "id",
    "name",
    "status",
    "visibility",
    "protected",
    "os_hidden",
    "owner",
    "tags",
    "checksum",
    "size",
    "virtual_size",
    "disk_format",
    "container_format",
    "min_disk",
    "created_at",
    "updated_at",
    "file",
    "schema",
    "self",
    "locations",
    "direct_url",
    "stores",
];

const LONGEST_PROPERTY: usize = 255;
/// The one attribute of Glance's own that the schedule sets: Nova boots the image on no flavor with less.
const MIN_RAM: &str = "min_ram";

impl<'a> Reader<'a> {
    /// `image`. Without elements there is nothing to build, which is only said when the table is a schedule's
    /// (`whole`) and not that of `[defaults]`.
    pub(super) fn image(&mut self, schedule: &Table<'a>, whole: bool) -> ImageSpec {
        let image = self.table(schedule, "image");
        let elements = image.as_ref().map(|image| self.elements(image)).unwrap_or_default();
        let has_elements = image.as_ref().is_some_and(|image| image.get("elements").is_some());
        if whole && !has_elements && schedule.get("image").is_none_or(|entry| entry.table().is_some()) {
            let help = "write `image = { elements = [\"debian-minimal\", \"vm\"] }`".to_owned();
            self.findings.add_absence(schedule.span.clone(), "`image.elements` is missing", help);
        }
        let image = image.unwrap_or_else(|| Table::new(None, None, schedule.span.clone()));
        let environment = self.environment(&image);
        let secrets = self.secrets(&image);
        let repositories = self.repositories(&image, &elements, &secrets);
        ImageSpec {
            elements,
            elements_path: self.elements_path(&image),
            repositories,
            files: self.files(&image),
            secrets,
            environment,
            packages: self.ruled_strings(&image, "packages", &PACKAGE).unwrap_or_default(),
            users: self.users(&image),
            default_user: self.ruled_string(&image, "default_user", &USER_NAME),
            ssh_authorized_keys: self.public_keys(&image),
            ssh_password_authentication: self.flag(&image, "ssh_password_authentication").unwrap_or(false),
            arch: self.arch(&image),
            format: self.format(&image),
            compression: self.compression(&image),
            properties: self.properties(&image),
        }
    }

    fn elements(&mut self, image: &Table<'a>) -> Vec<String> {
        if let Some(entry) = image.get("elements")
            && entry.value.get_ref().as_array().is_some_and(|array| array.is_empty())
        {
            let help = "an image needs at least one, such as \"debian-minimal\"".to_owned();
            let title = format!("`{}` is empty", entry.name);
            self.findings.add(entry.value.span(), title, "expected an element", Some(help));
        }
        self.ruled_strings(image, "elements", &ELEMENT).unwrap_or_default()
    }

    fn public_keys(&mut self, table: &Table<'a>) -> Vec<String> {
        self.ruled_strings(table, "ssh_authorized_keys", &PUBLIC_KEY).unwrap_or_default()
    }

    fn users(&mut self, image: &Table<'a>) -> Vec<User> {
        let mut users: Vec<User> = Vec::new();
        let Some(entry) = image.get("users") else { return users };
        for item in self.items(&entry).unwrap_or_default() {
            let Some(fields) = item.get_ref().as_table() else {
                let help = "write `users = [{ name = \"ops\", sudo = true }]`".to_owned();
                self.refuse_type(&format!("{}[]", entry.name), item, "a table", Some(help));
                continue;
            };
            let mut table = Table::new(Some(fields), None, item.span());
            table.name.clone_from(&entry.name);
            self.refuse_unknown_keys(&table, keys::known_keys(&table.name));
            if let Some(user) = self.user(&table) {
                if users.iter().any(|earlier| earlier.name == user.name) {
                    let title = format!("user {} appears twice", quoted(&user.name));
                    self.findings.add(item.span(), title, "the second one", None);
                }
                users.push(user);
            }
        }
        users
    }

    fn user(&mut self, table: &Table<'a>) -> Option<User> {
        if table.get("name").is_none() {
            let help = "write `name = \"ops\"`".to_owned();
            self.findings.add_absence(table.span.clone(), "the user has no `name`", help);
        }
        let name = self.ruled_string(table, "name", &USER_NAME);
        let user = User {
            name: name.clone().unwrap_or_default(),
            ssh_authorized_keys: self.public_keys(table),
            sudo: self.flag(table, "sudo").unwrap_or(false),
            groups: self.ruled_strings(table, "groups", &GROUP_NAME).unwrap_or_default(),
            shell: self.ruled_string(table, "shell", &SHELL).unwrap_or_else(|| "/bin/bash".to_owned()),
        };
        name.map(|_| user)
    }

    fn compression(&mut self, image: &Table<'a>) -> Compression {
        self.choice(image, "compression", &COMPRESSIONS).unwrap_or_default()
    }

    fn properties(&mut self, image: &Table<'a>) -> BTreeMap<String, String> {
        let mut properties = BTreeMap::new();
        let Some(table) = self.free_table(image, "properties") else { return properties };
        let entries = table.entries();
        self.limit_length(&table.name, &table.span, entries.len());
        for entry in entries {
            let reserved = GLANCE_ATTRIBUTES.contains(&entry.key)
                || entry.key.starts_with("image_manager_")
                || entry.key.starts_with("os_hash_");
            let fits = (1..=LONGEST_PROPERTY).contains(&entry.key.len())
                && !entry.key.contains(|c: char| c.is_control() || c.is_whitespace());
            if reserved || !fits {
                let label = if reserved { "the manager sets it" } else { "not a property name" };
                let help = "properties such as `os_distro` or `hw_disk_bus` describe the image to its users";
                let title = format!("property {} is not allowed", quoted(entry.key));
                self.findings.add(entry.key_span, title, label, Some(help.to_owned()));
            } else if let Some(text) = self.string(&table, entry.key) {
                if text.value.len() > LONGEST_PROPERTY {
                    let title = format!("`{}` is longer than {LONGEST_PROPERTY} bytes", text.name);
                    self.findings.add(text.span.clone(), title, "too long", None);
                }
                if entry.key == MIN_RAM && text.value.parse::<u32>().is_err() {
                    let help = "write the minimum memory of its servers in MiB, such as \"512\"".to_owned();
                    let title = format!("`{}` is not a number of MiB", text.name);
                    self.findings.add(text.span, title, "not a whole number", Some(help));
                }
                properties.insert(entry.key.to_owned(), text.value.to_owned());
            }
        }
        properties
    }
}
