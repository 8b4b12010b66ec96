//! The private root of apt: a directory of its own that is removed with it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use image_manager_proto::hex;
use sha2::{Digest as _, Sha256};

use super::sources::{self, Keys, Source};
use crate::unchanged::place::Place;
use crate::unchanged::program::Account;
use crate::unchanged::{Doubt, Kept};

/// Settings that do not depend on the image. Nothing of the host's is read, nothing is believed that is not signed, and
/// nothing is asked of anybody but the sources.
const FIXED: &str = r#"
Dir::State "state/"; Dir::State::lists "lists/"; Dir::State::status "status"; Dir::State::extended_states "extended_states";
Dir::Cache "cache/"; Dir::Cache::srcpkgcache ""; Dir::Log "log/";
Dir::Etc "etc/"; Dir::Etc::main "none"; Dir::Etc::parts "none.d"; Dir::Etc::netrc "none"; Dir::Etc::netrcparts "none.d";
Dir::Etc::sourcelist "none"; Dir::Etc::sourceparts "sources.list.d"; Dir::Etc::preferences "preferences";
Dir::Etc::preferencesparts "none.d"; Dir::Etc::trusted "none"; Dir::Etc::trustedparts "trusted.gpg.d";
Dir::Bin::methods "/usr/lib/apt/methods/"; Dir::Bin::dpkg "/bin/false";
Acquire::Languages "none"; Acquire::PDiffs "false"; Acquire::Retries "0"; Acquire::GzipIndexes "true";
Acquire::AllowInsecureRepositories "false"; Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false"; Acquire::AllowReleaseInfoChange "false";
Acquire::Check-Valid-Until "true"; Acquire::Check-Date "true"; Acquire::MaxReleaseFileSize "16777216";
Acquire::http::AllowRedirect "false"; Acquire::https::AllowRedirect "false";
Acquire::http::Timeout "4"; Acquire::https::Timeout "4"; Acquire::http::User-Agent "image-manager";
APT::Update::Error-Mode "any"; APT::Cache-Limit "268435456"; APT::Solver "internal";
APT::Get::Always-Include-Phased-Updates "true"; APT::Cmd::Disable-Script-Warning "true";
Debug::NoLocking "true"; Quiet::NoUpdate "true";
"#;

/// What the root is made of: all of it has been read and is written anew, but for the lists of packages.
pub(super) struct Definition<'a> {
    pub(super) native: &'a str,
    pub(super) architectures: Vec<String>,
    pub(super) sources: &'a [Source],
    /// Names and values.
    pub(super) settings: Vec<(String, String)>,
    pub(super) pins: String,
    /// dpkg's list of packages, and apt's of those that were installed for others.
    pub(super) status: &'a [u8],
    pub(super) automatic: &'a [u8],
}

impl Definition<'_> {
    /// What the answers of the mirrors depend on, as hexadecimal digits.
    pub(super) fn key(&self) -> String {
        let none = vec![Vec::new(); self.sources.len()];
        let mut digest = Sha256::new();
        digest.update(sources::written(self.sources, &none));
        digest.update(self.native);
        digest.update(self.architectures.join(" "));
        hex(&digest.finalize())
    }

    fn configuration(&self, root: &str) -> String {
        let mut out = format!("Dir \"{root}/\";{FIXED}APT::Architecture \"{}\";\n", self.native);
        // Writing to a string does not fail.
        let _ = writeln!(out, "APT::Architectures {{ \"{}\"; }};", self.native);
        for name in self.architectures.iter().filter(|name| *name != self.native) {
            let _ = writeln!(out, "APT::Architectures:: \"{name}\";");
        }
        for (name, value) in &self.settings {
            let _ = writeln!(out, "{name} \"{value}\";");
        }
        out
    }
}

/// The root; gone when it is dropped.
pub(super) struct Root(Place);

impl Root {
    pub(super) fn make(
        definition: &Definition<'_>,
        kept: &Kept,
        account: Option<Account>,
        links: &Path,
    ) -> Result<Self, Doubt> {
        let root = Self(Place::make(links, "image-manager-apt-", account)?);
        let place = &root.0;
        let directories = [
            "etc",
            "etc/sources.list.d",
            "etc/trusted.gpg.d",
            "etc/none.d",
            "keys",
            "state",
            "state/lists",
            "state/lists/partial",
            "cache",
        ];
        for directory in directories.into_iter().chain(["cache/archives", "cache/archives/partial", "tmp"]) {
            place.directory(directory)?;
        }
        place.write("apt.conf", definition.configuration(place.text()?).as_bytes())?;
        place.write("etc/preferences", definition.pins.as_bytes())?;
        place.write("state/status", definition.status)?;
        place.write("state/extended_states", definition.automatic)?;
        root.write_trusted(kept)?;
        let keys =
            definition.sources.iter().enumerate().map(|(place, source)| root.write_keys(place, source, kept));
        let keys: Result<Vec<_>, Doubt> = keys.collect();
        let sources = sources::written(definition.sources, &keys?);
        place.write("etc/sources.list.d/image.sources", sources.as_bytes())?;
        Ok(root)
    }

    pub(super) fn account(&self) -> Option<Account> {
        self.0.account()
    }

    /// Where the mirrors' answers are.
    pub(super) fn lists(&self) -> PathBuf {
        self.0.path("state/lists")
    }

    /// Where apt finds the root.
    pub(super) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let places = [("HOME", ""), ("TMPDIR", "tmp"), ("APT_CONFIG", "apt.conf")];
        places.map(|(name, place)| (name, self.0.path(place))).into()
    }

    pub(super) fn own(&self, path: &Path) -> std::io::Result<()> {
        self.0.own(path)
    }

    /// The keys for sources that name none.
    fn write_trusted(&self, kept: &Kept) -> Result<(), Doubt> {
        let files = kept.directory("/etc/apt/trusted.gpg.d").filter_map(|(name, content)| {
            let extension = extension(name)?;
            Some((extension, content))
        });
        for (place, (extension, content)) in files.enumerate() {
            self.0.write(&format!("etc/trusted.gpg.d/{place}.{extension}"), content)?;
        }
        Ok(())
    }

    /// The keys that a source names, as files of the root.
    fn write_keys(&self, place: usize, source: &Source, kept: &Kept) -> Result<Vec<String>, Doubt> {
        let mut written = Vec::new();
        let mut write = |extension: &str, content: &[u8]| {
            let name = format!("keys/{place}-{}.{extension}", written.len());
            self.0.write(&name, content)?;
            written.push(self.0.path(&name).display().to_string());
            Ok::<_, Doubt>(())
        };
        match &source.keys {
            None => {}
            Some(Keys::Armoured(text)) => write("asc", text.as_bytes())?,
            Some(Keys::Files(files)) => {
                for file in files {
                    let missing =
                        || Doubt::NotAsked(format!("the key {file} of a source is not in the image"));
                    let content = kept.file(file).ok_or_else(missing)?;
                    write(extension(file).ok_or_else(missing)?, content)?;
                }
            }
        }
        Ok(written)
    }
}

/// Whether keys are in armour, by the file's name, as apt tells it.
fn extension(name: &str) -> Option<&'static str> {
    let extension = Path::new(name).extension()?.to_str()?;
    ["gpg", "asc"].into_iter().find(|known| *known == extension)
}
