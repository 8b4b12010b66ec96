//! A build's processes while it runs: started together, stopped together.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use super::command::{self, Layout};
use super::{Order, inputs};

/// The running containment. When it is dropped before it has ended, everything in it is killed.
#[derive(Debug)]
pub(super) struct Contained {
    // The group goes first: its number is sure to be its own until the child is reaped.
    group: Group,
    child: Child,
}

/// The process group of `unshare` and of the first process in its namespaces.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    /// A signal for both. `unshare` holds back TERM, so that one is for the process inside, which passes it
    /// on to DIB; KILL ends both, and with the first process its namespaces and all that runs there.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails only when nothing of the group is left.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
    }
}

impl Contained {
    /// Starts the build; gives it and the pipe with all of its output.
    pub(super) fn start(order: &Order, layout: &Layout) -> io::Result<(Self, pipe::Receiver)> {
        let (reader, writer) = io::pipe()?;
        let mut command: Command = command::command(order, layout, writer)?;
        let mut child = command.spawn()?;
        if let Some(mut input) = child.stdin.take() {
            let lines = inputs::lines(&order.inputs.secrets);
            // A build that ends before it has read them all says so itself.
            tokio::spawn(async move { input.write_all(&lines).await });
        }
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        let contained = Self { group: Group(pid.map(Pid::from_raw)), child };
        // The writing ends of this process go with the command: what is left of them is inside.
        drop(command);
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?;
        Ok((contained, output))
    }

    /// Waits for its end. May be called again after it was given up.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        // Its number may now be another's.
        self.group.0 = None;
        Ok(status)
    }

    /// Asks DIB to stop and to take away what it has made.
    pub(super) fn ask_to_stop(&self) {
        self.group.signal(Signal::SIGTERM);
    }

    /// Ends everything at once.
    pub(super) fn kill(&self) {
        self.group.signal(Signal::SIGKILL);
    }
}
