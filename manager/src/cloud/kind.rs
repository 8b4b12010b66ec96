//! What is true of all clouds of a kind, before one is opened: what a schedule may say of a server there, what this host
//! needs for it, how it is opened.
//!
//! Each kind describes itself in its own directory; nobody else compares the names of clouds.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::{Cloud, CloudError, ResourceKind, local, openstack};
use crate::finding::Finding;
use crate::schedules::ServerSpec;

/// What opens the cloud of a name.
pub type Open = fn(&str, &Opening<'_>) -> Result<Arc<dyn Cloud>, CloudError>;

/// A kind of clouds.
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of a table, none depends on another")]
pub struct CloudKind {
    /// Its name for people, as in "web is on OpenStack".
    pub word: &'static str,
    /// Whether its servers run on this host: then it knows their way to the gateway itself, whatever is true of servers
    /// elsewhere, and what it lacks is this host's.
    pub on_this_host: bool,
    /// Whether a server is as large as the schedule says (`memory`, `disk`, `cpus`); a flavor says it otherwise.
    pub sizes_servers: bool,
    /// Whether the disk of a server that has stopped can be kept.
    pub keeps_disks: bool,
    /// Whether the image itself says what firmware starts it: then all servers of a cloud have the same.
    pub firmware_in_image: bool,
    /// Why it has no secure boot on 64-bit Arm, and what to write.
    pub no_secure_boot_on_arm: &'static str,
    /// Keys of a schedule that have no effect there.
    pub foreign: &'static [Foreign],
    /// Keys of a schedule that must be there.
    pub required: &'static [Required],
    /// What nobody can know before a server has booted there.
    pub unprovable: &'static [&'static str],
    /// What goes with a thing of this kind when it is taken away.
    pub covers: fn(ResourceKind) -> &'static str,
    /// What this host needs for such servers; without any, for those of schedules that say nothing of it.
    pub needs: fn(&[&ServerSpec]) -> Vec<Finding>,
    /// How this host serves it, for people.
    pub remark: fn() -> Option<String>,
    /// Whether a cloud of this name can be opened, as far as files and variables tell; `None`: nothing has to be configured.
    pub configured: fn(&str) -> Option<Finding>,
    /// Opens the cloud of this name. Nothing is asked of it yet.
    pub open: Open,
}

/// Keys of a table that have no effect, and what is right instead.
#[derive(Debug)]
pub struct Foreign {
    /// The table in a schedule.
    pub table: &'static str,
    /// Its keys.
    pub keys: &'static [&'static str],
    /// What is right.
    pub help: &'static str,
}

/// A key that must be there.
#[derive(Debug)]
pub struct Required {
    /// The table in a schedule.
    pub table: &'static str,
    /// Its key.
    pub key: &'static str,
    /// What to write.
    pub help: &'static str,
}

/// What a cloud is opened with.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// The manager's state directory, which must be there for a cloud that keeps its things in it.
    pub state: &'a Path,
    /// This installation's id; everything made there will carry it.
    pub owner: &'a str,
}

impl CloudKind {
    /// All kinds.
    pub const ALL: [&'static Self; 2] = [&local::KIND, &openstack::KIND];
    /// The cloud of schedules that name none; every manager has it.
    pub const DEFAULT: &'static str = local::NAME;

    /// The kind of the cloud with this name.
    pub fn of(cloud: &str) -> &'static Self {
        if cloud == local::NAME { &local::KIND } else { &openstack::KIND }
    }
}

impl PartialEq for CloudKind {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word
    }
}

impl fmt::Debug for CloudKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudKind").field("word", &self.word).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_kind() {
        assert_eq!(CloudKind::of(CloudKind::DEFAULT).word, "local");
        assert_eq!(CloudKind::of("mycloud").word, "OpenStack");
        assert!(CloudKind::of("local").on_this_host && !CloudKind::of("mycloud").on_this_host);
    }

    #[test]
    fn each_kind_says_what_a_removal_covers() {
        for kind in CloudKind::ALL {
            for resource in ResourceKind::ALL {
                assert!(!(kind.covers)(resource).is_empty(), "{kind:?} {resource}");
            }
        }
        assert_ne!(ResourceKind::Server.covers("local"), ResourceKind::Server.covers("mycloud"));
    }

    #[test]
    fn what_must_be_there_has_an_effect() {
        for kind in CloudKind::ALL {
            for required in kind.required {
                let foreign = kind
                    .foreign
                    .iter()
                    .any(|it| it.table == required.table && it.keys.contains(&required.key));
                assert!(!foreign, "{kind:?}: {}.{}", required.table, required.key);
            }
        }
    }
}
