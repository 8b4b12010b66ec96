//! Whether QEMU lacks its sandbox, by what it says.

/// What QEMU says where it, the library or the kernel has no seccomp that it can use (`vl.c` and `qemu-seccomp.c`, in
/// `softmmu/` or `system/` of its source): of 7.2 and later ones, then of older ones.
const NO_SANDBOX: [&str; 9] = [
    "There is no option group 'sandbox'",
    "failed to initialize seccomp context",
    "failed to set seccomp rawrc attribute",
    "failed to set seccomp thread synchronization",
    "failed to add seccomp denylist rules",
    "failed to load seccomp syscall filter in kernel",
    "failed to install seccomp syscall filter in the kernel",
    "-sandbox support is not enabled in this QEMU binary",
    "seccomp support is disabled",
];

/// Whether QEMU did not start for want of its sandbox. The word alone may be a part of any path.
pub(super) fn lacks_sandbox(said: &str) -> bool {
    NO_SANDBOX.iter().any(|words| said.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_qemu_says_of_its_sandbox_switches_it_off() {
        for said in [
            "qemu-system-x86_64: -sandbox on,obsolete=deny: seccomp support is disabled",
            "qemu-system-x86_64: -sandbox support is not enabled in this QEMU binary\n",
            "qemu-system-x86_64: -sandbox on: failed to load seccomp syscall filter in kernel: Operation not permitted",
            "qemu-system-x86_64: -sandbox on: failed to install seccomp syscall filter in the kernel",
        ] {
            assert!(lacks_sandbox(said), "{said}");
        }
        for said in [
            "",
            "qemu-system-x86_64: Could not open '/srv/sandbox/images/seccomp.qcow2': Permission denied",
            "audit: seccomp: killed",
        ] {
            assert!(!lacks_sandbox(said), "{said}");
        }
    }

    /// The words are QEMU's own; another version may have others.
    #[test]
    fn this_hosts_qemu_has_words_for_a_sandbox_that_it_cannot_have() {
        let qemu = crate::programs::find("qemu-system-x86_64").expect("QEMU is installed");
        let program = std::fs::read(qemu).unwrap();
        let has = |words: &str| program.windows(words.len()).any(|piece| piece == words.as_bytes());
        assert!(has("seccomp_load"), "a QEMU with seccomp");
        assert!(has(NO_SANDBOX[5]), "{}", NO_SANDBOX[5]);
    }
}
