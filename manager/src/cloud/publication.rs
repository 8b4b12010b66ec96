//! What clouds are asked and say of images with public names.

use std::time::Duration;

use crate::schedules::Publish;

/// Under which name an image is given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// The public name.
    pub name: String,
    /// How many older images stay beside the new one, whatever their age.
    pub keep: u32,
    /// How long older images stay, however many they are.
    pub keep_for: Option<Duration>,
    /// Visibility in Glance.
    pub visibility: String,
    /// SHA-512 of the older image that had the name last, as far as that is known.
    pub last: Option<String>,
}

impl Publication {
    /// As a schedule has it.
    pub fn of(publish: &Publish) -> Self {
        Self {
            name: publish.name.clone(),
            keep: publish.keep,
            keep_for: publish.keep_for,
            visibility: publish.visibility.clone(),
            last: None,
        }
    }
}

/// An image that was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its name now.
    pub name: String,
    /// Where a user finds it: a path on the local cloud, the image id elsewhere.
    pub location: String,
    /// Older images that were removed.
    pub removed: Vec<String>,
    /// Older images that should have been removed but are in use or protected.
    pub held: Vec<String>,
    /// True: the build's own image was given out and must stay. False: a copy was, and the build's own
    /// image is taken away with the rest; or not all is done yet, and taking it away does the rest.
    pub own_image: bool,
}

/// How a published image can be given a further name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handing {
    /// It gets the name itself.
    Itself,
    /// A copy of it gets the name: an image has one name there, and must keep the one that it has.
    Copy,
}

/// A published image that was given a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// Where a user finds it: a path on the local cloud, the image id elsewhere.
    pub location: String,
    /// Whether it has no other name any more: an image of Glance has but one.
    pub only_name: bool,
}

/// An older image that should have been removed, but is in use or protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// SHA-512 of the file, lower-case hexadecimal; empty when that is not known.
    pub sha512: String,
    /// Which one, and why.
    pub why: String,
}

/// What became of the older images of a name that nothing keeps any more.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Those that were removed.
    pub removed: Vec<String>,
    /// Those that were not.
    pub held: Vec<Held>,
}

/// An image that a cloud has under a public name, as the current one or as an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// SHA-512 of the file, lower-case hexadecimal.
    pub sha512: String,
    /// Where a user finds it.
    pub location: String,
    /// Why no server can be booted from it; `None`: one can.
    pub unusable: Option<String>,
}
