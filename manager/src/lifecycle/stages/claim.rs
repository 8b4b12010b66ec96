//! Whose word a build hears: to whom a server's token is bound, and what ends the build when somebody else comes with it.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::DateTime;

use crate::cloud::{Server, is_own_address};
use crate::gateway::{Claimant, Contest, Session};
use crate::history::Claim;
use crate::lifecycle::failure::Failure;
use crate::lifecycle::trial::Trial;
use crate::reason::Reason;

/// How long the cloud may take to say whose address somebody calls from.
const ADDRESSES: Duration = Duration::from_mins(1);

/// Two came with one token: neither is believed, whatever was heard before.
pub(super) fn contested(contest: &Contest) -> Failure {
    Failure::new(Reason::AgentContested, contest.message()).with_evidence(contest.evidence())
}

/// Fails when somebody else has come with the session's token until now.
pub(super) fn uncontested(session: &Session) -> Result<(), Failure> {
    session.contest().map_or(Ok(()), |contest| Err(contested(&contest)))
}

/// As the history keeps it.
pub(super) fn to_record(claimant: &Claimant) -> Claim {
    Claim {
        key: image_manager_proto::hex(&claimant.key),
        address: claimant.address.map(|address| address.to_string()).unwrap_or_default(),
        boot_id: claimant.boot_id.clone(),
        at_ms: claimant.at.timestamp_millis(),
    }
}

/// The one that attached to an earlier manager.
///
/// # Errors
/// When the history holds no key.
pub(super) fn from_record(claim: &Claim) -> Result<Claimant, Failure> {
    let key = (0..claim.key.len()).step_by(2).map(|at| {
        let digits = claim.key.get(at..at + 2)?;
        u8::from_str_radix(digits, 16).ok()
    });
    let key: Option<Vec<u8>> = key.collect();
    let key =
        key.ok_or_else(|| Failure::new(Reason::History, "the agent's key in the history cannot be read"))?;
    Ok(Claimant {
        key,
        address: claim.address.parse().ok(),
        boot_id: claim.boot_id.clone(),
        says: "attached to an earlier manager".to_owned(),
        at: DateTime::from_timestamp_millis(claim.at_ms).unwrap_or_default(),
    })
}

/// Fails when the cloud says that whoever came cannot be the server, by the address that it calls from. `endpoint` is
/// what servers dial: when that is not this host's own, something stands between that may call in its own name.
pub(super) async fn check_address(
    trial: &Trial,
    server: &Server,
    endpoint: &str,
    claimant: &Claimant,
) -> Result<(), Failure> {
    let Some(address) = claimant.address else { return Ok(()) };
    if !is_here(endpoint) {
        return Ok(());
    }
    let late =
        async { Failure::new(Reason::CloudTimeout, "the cloud does not say which addresses the server has") };
    let asked = async { Ok(trial.cloud.stranger(server, address).await?) };
    let Some(why) = trial.bounds.run(ADDRESSES, late, asked).await? else { return Ok(()) };
    let message = format!("somebody at {address} has this server's token, but is not the server: {why}");
    let evidence = format!("first: {}\n{why}", claimant.describe());
    Err(Failure::new(Reason::AgentContested, message).with_evidence(evidence))
}

/// Whether an endpoint's address is one of this host: only those can be bound. Sends nothing.
fn is_here(endpoint: &str) -> bool {
    endpoint.parse::<SocketAddr>().is_ok_and(|endpoint| is_own_address(endpoint.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_comes_back_from_the_history() {
        let at = DateTime::from_timestamp_millis(1_800_000_000_123).unwrap();
        let claimant = Claimant {
            key: (0..32).collect(),
            address: Some("192.0.2.7".parse().unwrap()),
            boot_id: "boot".to_owned(),
            says: "agent 1".to_owned(),
            at,
        };
        let again = from_record(&to_record(&claimant)).unwrap();
        assert_eq!((&again.key, again.address, again.at), (&claimant.key, claimant.address, at));
        let without = Claimant { key: Vec::new(), ..claimant };
        assert_eq!(from_record(&to_record(&without)).unwrap().key, Vec::<u8>::new());
        for wrong in ["0", "zz", "00é"] {
            let claim = Claim { key: wrong.to_owned(), ..to_record(&without) };
            assert!(from_record(&claim).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_here_and_documentation_is_not() {
        assert!(is_here("127.0.0.1:50051"));
        assert!(!is_here("192.0.2.1:50051") && !is_here("nonsense"));
    }
}
