//! QEMU's guest agent, as a hypervisor sees it.

/// Whether the guest agent of a server answers its hypervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GuestAgent {
    /// Nobody but the cloud itself can ask there.
    NotAsked,
    /// It answers.
    Answers,
    /// It does not; the text says what came of asking.
    Silent(String),
}
