//! Who answers for a state directory: the manager that serves it, or its history when none does.

use super::Trouble;
use super::arguments::ServingArguments;
use super::client::Client;
use super::instance::{StateLock, holder};
use crate::history::History;

/// Who answers.
pub(super) enum Answering {
    /// The manager that serves the state directory.
    Manager {
        /// The connection to it.
        client: Client,
        /// Beginning of its pages' addresses.
        url: String,
    },
    /// Nobody serves it: its history, and the lock that keeps it so.
    History(History, StateLock),
}

/// The manager that serves the state directory, and the beginning of its pages' addresses; without one there is nobody to
/// answer.
pub(super) async fn manager(arguments: &ServingArguments) -> Result<(Client, String), Trouble> {
    match find(arguments, false).await? {
        Answering::Manager { client, url } => Ok((client, url)),
        Answering::History(..) => Err(Trouble::errored(format!(
            "no manager serves the state directory {}: start `image-manager serve`, or name another one \
             with --state",
            arguments.state.state.display()
        ))),
    }
}

/// Finds out who answers. With `make` a state directory that is not there yet is made.
pub(super) async fn find(arguments: &ServingArguments, make: bool) -> Result<Answering, Trouble> {
    let directory = &arguments.state.state;
    let path = directory.join("image-manager.db");
    if !make && !directory.is_dir() {
        return Err(Trouble::usage(format!(
            "there is no state directory {}: name that of the manager with --state or IMAGE_MANAGER_STATE (the \
             service's is /var/lib/image-manager), or start `image-manager serve` first",
            directory.display()
        )));
    }
    if let Some(lock) = StateLock::take(directory)? {
        let history = History::open(&path).map_err(Trouble::errored)?;
        return Ok(Answering::History(history, lock));
    }
    let holder = holder(directory);
    let Some(operator) = holder.as_ref().and_then(|holder| holder.operator) else {
        let pid = holder.map(|holder| format!(" (pid {})", holder.pid)).unwrap_or_default();
        return Err(Trouble::errored(format!(
            "another image-manager{pid} uses the state directory {} in the foreground: wait until it ends",
            directory.display()
        )));
    };
    let client = Client::connect(operator, arguments.api_token_file.as_deref()).await?;
    let mut shown = operator;
    if operator.ip().is_unspecified() {
        shown.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    Ok(Answering::Manager { client, url: format!("http://{shown}") })
}
