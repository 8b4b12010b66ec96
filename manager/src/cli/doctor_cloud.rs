//! `image-manager doctor --cloud NAME`: what can be proved about a cloud, and what cannot.

use image_manager_proto::v1::CheckOutcome;

use super::arguments::DoctorArguments;
use super::host::load_schedules;
use super::instance::{gateway_address, open_history};
use super::text::{Style, say};
use super::{Exit, Outcome, Trouble, logging};
use crate::cloud::{CloudKind, Opening, Proof, Trouble as CloudTrouble};

pub(crate) async fn run(arguments: &DoctorArguments, name: &str) -> Outcome {
    logging::start(&arguments.logging, "error")?;
    // Nothing is made in a cloud of clouds.yaml, so a state directory that is not there yet is fine.
    let owner = match open_history(&arguments.host.state.state) {
        Ok(history) => history.owner().await.unwrap_or_default(),
        Err(_) => String::new(),
    };
    let kind = CloudKind::of(name);
    let opening = Opening { state: &arguments.host.state.state, owner: &owner };
    let cloud = (kind.open)(name, &opening).map_err(Trouble::usage)?;
    let schedules = load_schedules(&arguments.host.schedules.schedules)?;
    let style = Style::of_stdout();
    let mut wrong = 0;
    say!("cloud ", name);
    if let Some(note) = cloud.note() {
        say!("  ", style.dim("i"), " ", note);
    }
    let gateway = arguments.host.gateway.unwrap_or_else(|| gateway_address(&schedules));
    let mut proofs = cloud.diagnose(gateway).await;
    if let Some(endpoint) = arguments.host.agent_endpoint.filter(|_| !kind.on_this_host)
        && let Some(proof) = proofs.iter_mut().find(|proof| proof.what.starts_with("address"))
    {
        proof.found = Ok(format!("{endpoint}, from --agent-endpoint"));
    }
    let inside = proofs.first().is_some_and(|proof| proof.found.is_ok());
    wrong += print(&proofs, style);
    // Nothing else can be asked before clouds.yaml is mended.
    let refused = proofs.first().and_then(|proof| proof.found.as_ref().err());
    if refused.is_some_and(|error| error.trouble == CloudTrouble::Configuration) {
        return Ok(Exit::Usage);
    }
    for schedule in schedules.schedules.iter().filter(|_| inside) {
        for target in schedule.targets.iter().filter(|target| target.cloud == name) {
            say!();
            if schedule.targets.len() > 1 {
                say!("schedule ", schedule.name, ", target ", target.name);
            } else {
                say!("schedule ", schedule.name);
            }
            let publish = schedule.publish.as_ref().filter(|_| schedule.publishes_on(name));
            wrong += print(&cloud.diagnose_server(&target.server, publish).await, style);
        }
    }
    if !kind.unprovable.is_empty() {
        say!();
        say!("what cannot be proved from here:");
    }
    for what in kind.unprovable {
        say!("  ", style.dim("?"), " ", *what);
    }
    Ok(if wrong == 0 { Exit::Done } else { Exit::Errored })
}

/// Prints findings and counts what is wrong.
fn print(proofs: &[Proof], style: Style) -> usize {
    for proof in proofs {
        let (outcome, found) = match &proof.found {
            Ok(found) => (CheckOutcome::Pass, found.clone()),
            Err(error) => (CheckOutcome::Fail, error.to_string()),
        };
        say!("  ", style.outcome_mark(outcome), format_args!(" {}: {found}", proof.what));
    }
    proofs.iter().filter(|proof| proof.found.is_err()).count()
}
