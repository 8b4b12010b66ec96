//! The signals that ask a program to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Trouble;

/// Listens for them. From the first one on none of them kills the program by itself.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` when it means something else than an end.
    hangup: Option<Signal>,
}

impl Signals {
    /// Begins to listen.
    pub(crate) fn new() -> Result<Self, Trouble> {
        let listen = |kind| signal(kind).map_err(Trouble::errored);
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: Some(listen(SignalKind::hangup())?),
        })
    }

    /// SIGHUP, for a program to which it means something else; it does not ask for an end any more.
    pub(crate) fn take_hangup(&mut self) -> Option<Signal> {
        self.hangup.take()
    }

    /// Waits for the next one; returns its name.
    pub(crate) async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = hangup => "SIGHUP",
        }
    }
}
