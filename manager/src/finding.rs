//! One thing that was looked at on this host, and what mends it where something is wrong.

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, and where it was found.
    pub what: String,
    /// What is wrong with it; `None`: nothing.
    pub trouble: Option<Problem>,
    /// The schedules that need it; empty: every build does.
    pub schedules: Vec<String>,
}

/// What is wrong and what mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, a lower-case fragment.
    pub wrong: String,
    /// A command, or what else to do.
    pub mend: String,
}

impl Finding {
    /// Nothing is wrong with it.
    pub fn good(what: impl Into<String>) -> Self {
        Self { what: what.into(), trouble: None, schedules: Vec::new() }
    }

    /// Something is wrong with it.
    pub fn bad(what: impl Into<String>, wrong: impl Into<String>, mend: impl Into<String>) -> Self {
        let trouble = Problem { wrong: wrong.into(), mend: mend.into() };
        Self { what: what.into(), trouble: Some(trouble), schedules: Vec::new() }
    }

    /// Needed by these schedules only.
    #[must_use]
    pub fn of(self, schedules: Vec<String>) -> Self {
        Self { schedules, ..self }
    }

    /// Debian's package of this name is not installed.
    pub fn install(package: &str) -> String {
        format!("apt-get install --no-install-recommends {package}")
    }
}
