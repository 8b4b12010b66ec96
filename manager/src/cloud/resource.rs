//! What a cloud makes and what must be taken away again.

use std::fmt;

use super::CloudKind;

/// The kinds of things that a cloud makes and that must be taken away again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A build's scratch directory with its containers, processes, mounts and loop devices (on the host).
    Scratch,
    /// An image in the cloud's image service.
    Image,
    /// A server with its disk, config drive and process.
    Server,
    /// A security group of one server.
    SecurityGroup,
    /// A key pair of one server.
    KeyPair,
    /// The volume that a server boots from.
    Volume,
    /// A port that a server has left behind. No ledger has it: it is taken away with its server.
    Port,
}

impl ResourceKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Scratch,
        Self::Image,
        Self::Server,
        Self::SecurityGroup,
        Self::KeyPair,
        Self::Volume,
        Self::Port,
    ];

    /// The word for it in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scratch => "scratch",
            Self::Image => "image",
            Self::Server => "server",
            Self::SecurityGroup => "security_group",
            Self::KeyPair => "key_pair",
            Self::Volume => "volume",
            Self::Port => "port",
        }
    }

    /// The kind with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// What goes with it when it is taken away: all that it covers needs no row of its own in the ledger.
    pub fn covers(self, cloud: &str) -> &'static str {
        match self {
            Self::Scratch => {
                "the directory with all of the build's files, its containers and their images, processes, mounts and loop \
                 devices"
            }
            of_a_cloud => (CloudKind::of(cloud).covers)(of_a_cloud),
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
