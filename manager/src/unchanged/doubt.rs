//! Why it is not known.

/// Why it is not certain that a build would make the same image. The texts may be an image's or a mirror's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// What is kept of the artifact is not there, not whole, or of another version of this program.
    #[error("what was stored about the image cannot be used: {0}")]
    NotKept(String),
    /// The image's package manager is set up in a way that is not taken over.
    #[error("the image's package sources are not asked: {0}")]
    NotAsked(String),
    /// A mirror does not answer.
    #[error("a mirror could not be asked: {0}")]
    NotReached(String),
    /// What a mirror said is not signed by whom the image trusts, or is too old.
    #[error("a mirror's answer cannot be trusted: {0}")]
    NotTrusted(String),
    /// There is no answer in time.
    #[error("there was no answer within {0:?}")]
    NotInTime(std::time::Duration),
    /// This host cannot ask.
    #[error("this host cannot ask the mirrors: {0}")]
    NotHere(String),
    /// Anything else.
    #[error("{0}")]
    Unknown(String),
}

impl From<std::io::Error> for Doubt {
    fn from(error: std::io::Error) -> Self {
        Self::NotHere(error.to_string())
    }
}
