//! What can be proved about this host as a cloud without making anything.

use std::net::SocketAddr;

use super::needs::needs;
use super::{LocalCloud, MachineKind, blocking};
use crate::cloud::{Cloud as _, CloudError, Proof, Trouble};
use crate::finding::Finding;
use crate::schedules::ServerSpec;

impl LocalCloud {
    /// Where it keeps its things, what it needs of this host, and the address that servers would dial.
    pub(super) async fn prove_host(&self, gateway: SocketAddr) -> Vec<Proof> {
        let state = self.settings.state_dir.display().to_string();
        let mut proofs = vec![Proof::new("state directory", Ok(format!("{state} holds images and servers")))];
        // Starts programs.
        let found = blocking(|| Ok(needs(&[MachineKind::usual()]))).await;
        match found {
            Ok(found) => proofs.extend(found.into_iter().map(proof)),
            Err(error) => proofs.push(Proof::new("this host", Err(error))),
        }
        proofs.push(Proof::new("address that servers dial", self.agent_endpoint(gateway).await));
        proofs
    }

    /// What one server wants of this host: its machine's programs and firmware, its memory, room for its disk.
    pub(super) async fn prove_server(&self, server: &ServerSpec) -> Vec<Proof> {
        let MachineKind { arch, firmware } = MachineKind::of(server);
        let what = format!("server for {arch} with firmware \"{}\"", firmware.as_str());
        let found = self.preflight(server).await.map(|()| "this host can boot it".to_owned());
        vec![Proof::new(what, found)]
    }
}

fn proof(finding: Finding) -> Proof {
    let found = match finding.trouble {
        None => Ok("available".to_owned()),
        Some(trouble) => {
            let message = format!("{}; to fix it: {}", trouble.wrong, trouble.mend);
            Err(CloudError::new(Trouble::Configuration, message))
        }
    };
    Proof::new(finding.what, found)
}
