//! The life cycle of a build: who may start one, the stages it goes through, and how it ends.
//!
//! [`state`] has the states and their legal moves (pure, with the diagram). [`Manager`] is what others see; it passes on to
//! its parts what it is asked. The `queue` takes triggers; one `driver` task then owns a build and moves it along its
//! `stages`, and one `trial` task each of its trials. Each move is committed to the history before the work it names starts.
//! Everybody else only reads: the history, or the [`events`].
//!
//! What the checks of a trial mean is decided in `stages/judgement`, what its trials mean for a build in `outcome`.
//! What a new manager does with a build that was cut off is decided in `recovery` and `resumption`: a new state
//! needs an answer there.

mod accounts;
mod agent_log;
mod agent_program;
mod artifact;
mod bounds;
mod cleaner;
mod cloud_watch;
mod clouds;
mod comparison;
mod console;
mod control;
mod current_schedules;
mod definition;
mod driver;
mod elements;
pub mod events;
mod failure;
mod inputs;
mod inspection;
mod ledger;
mod manager;
mod manifest;
pub mod metrics;
mod naming;
mod outcome;
mod places;
pub mod problems;
mod publications;
mod queue;
mod reconciler;
mod records;
mod recovery;
mod resumption;
mod retention;
mod room;
mod running;
mod scheduler;
mod second_build;
mod served_gateway;
mod settings;
mod skip;
mod stages;
pub mod state;
mod stop;
mod trial;
pub mod trials;
mod trigger;
mod uploads;
mod verification;

pub use agent_program::{NoAgent, agent_for};
pub use clouds::CloudSilence;
pub use comparison::{boot_time, compare, short_digest};
pub use definition::{elements_by_source, parts_to_show};
pub use failure::Failure;
pub use manager::{Manager, Parts};
pub use publications::{ChangeError, Meant, Publications};
pub use queue::PREFLIGHT;
pub use retention::{Retention, start_retention};
pub use settings::{Settings, files};
pub use trigger::{TriggerError, TriggerOptions};
