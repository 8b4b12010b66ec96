//! What `doctor` looks at in a cloud.

use super::CloudError;

/// One thing that was looked at.
#[derive(Debug)]
pub struct Proof {
    /// What.
    pub what: String,
    /// What was found, or what is wrong.
    pub found: Result<String, CloudError>,
}

impl Proof {
    /// What came of looking at something.
    pub fn new(what: impl Into<String>, found: Result<String, CloudError>) -> Self {
        Self { what: what.into(), found }
    }
}
