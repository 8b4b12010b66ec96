//! The stages of builds and trials, described once: whoever lists them asks here.

/// A stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// disk-image-builder makes the artifact.
    Building,
    /// The artifact goes to a cloud's image service, private.
    Uploading,
    /// A server boots from it.
    Booting,
    /// The agent runs the checks.
    Verifying,
    /// The verified image gets its public name.
    Publishing,
    /// What was made is taken away.
    CleaningUp,
}

impl Stage {
    /// All of them, in the order in which a build of one trial goes through them.
    pub const ALL: [Self; 6] =
        [Self::Building, Self::Uploading, Self::Booting, Self::Verifying, Self::Publishing, Self::CleaningUp];
    /// Those of a build before its trials.
    pub const BEFORE_TRIALS: [Self; 1] = [Self::Building];
    /// Those of each trial.
    pub const OF_TRIAL: [Self; 4] = [Self::Uploading, Self::Booting, Self::Verifying, Self::CleaningUp];
    /// Those of a build after its trials.
    pub const AFTER_TRIALS: [Self; 2] = [Self::Publishing, Self::CleaningUp];

    /// The word for it in the history, in JSON and on the wire: that of the state in which it is under way.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Uploading => "uploading",
            Self::Booting => "booting",
            Self::Verifying => "verifying",
            Self::Publishing => "publishing",
            Self::CleaningUp => "cleaning_up",
        }
    }

    /// The word for people.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Building => "build",
            Self::Uploading => "upload",
            Self::Booting => "boot",
            Self::Verifying => "verify",
            Self::Publishing => "publish",
            Self::CleaningUp => "clean up",
        }
    }

    /// Whether only trials have it.
    pub fn is_of_trial_alone(self) -> bool {
        Self::OF_TRIAL.contains(&self) && !Self::AFTER_TRIALS.contains(&self)
    }

    /// The stage with this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.word() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stage_is_of_a_build_or_of_a_trial() {
        for stage in Stage::ALL {
            assert_eq!(Stage::parse(stage.word()), Some(stage));
            let of_build = Stage::BEFORE_TRIALS.contains(&stage) || Stage::AFTER_TRIALS.contains(&stage);
            assert_ne!(of_build, stage.is_of_trial_alone(), "{stage:?}");
        }
    }
}
