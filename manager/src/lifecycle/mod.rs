//! The life cycle of a build: who may start one, the road it takes, and how it ends.
//!
//! [`state`] has the states and their legal moves (pure, with the diagram). [`Manager`] takes triggers and
//! queues builds; one `driver` task then owns a build and moves it along its `stages`, and one `trial` task each of its
//! trials. Each move is committed to the history before the work it names starts. Everybody else only reads: the history, or the [`events`].

mod agent_log;
mod agent_program;
mod artifact;
mod bounds;
mod comparison;
mod console;
mod definition;
mod driver;
mod elements;
pub mod events;
mod failure;
mod inputs;
mod ledger;
mod manager;
mod manifest;
pub mod metrics;
mod naming;
mod outcome;
mod pruning;
mod publications;
mod recovery;
mod reload;
mod retention;
mod room;
mod scheduler;
mod second_build;
mod settings;
mod skip;
mod stages;
pub mod state;
mod stop;
mod take_up;
mod trial;
pub mod trials;
mod uploads;
mod verification;

pub use agent_program::{NoAgent, agent_for};
pub use comparison::{boot_time, compare, short_digest};
pub use definition::{elements_by_source, parts_to_show};
pub use failure::Failure;
pub use manager::{Manager, PREFLIGHT, Parts, TriggerError, TriggerOptions};
pub use pruning::start_pruning;
pub use publications::ChangeError;
pub use retention::{Retention, start_retention};
pub use scheduler::start_scheduler;
pub use settings::{Settings, files};
