//! Five-field cron entries with the semantics of crontab(5).

/// A cron entry that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Cron {
    /// As it stands in the file.
    pub source: String,
}
