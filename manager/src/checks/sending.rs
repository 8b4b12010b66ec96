//! A check on its way to the agent.

use std::path::Path;

use image_manager_agent::checks::descriptor::ValueType;
use image_manager_proto::v1;
use serde_json::Value;

use crate::history::observations;
use crate::schedules::CheckSpec;

/// What the agent is asked for. Files that the schedule names are read now.
///
/// # Errors
/// In words, when a file cannot be read, is too large or no text.
pub(crate) fn request(check: &CheckSpec, server: &v1::ServerFacts) -> Result<v1::CheckRequest, String> {
    let mut settings = check.settings.clone();
    for key in check.check.keys {
        if let ValueType::File { largest } = key.value
            && let Some(Value::String(path)) = settings.get_mut(key.name)
        {
            *path = content(Path::new(path.as_str()), largest)
                .map_err(|why| format!("`checks.{}.{}`: {why}", check.name, key.name))?;
        }
    }
    Ok(v1::CheckRequest {
        name: check.name.clone(),
        kind: check.check.kind.to_owned(),
        timeout: prost_types::Duration::try_from(check.timeout).ok(),
        settings: Some(observations::from_json(&Value::Object(settings))),
        server: Some(server.clone()),
        sent_at: None,
    })
}

/// The text of a file.
pub(crate) fn content(path: &Path, largest: u64) -> Result<String, String> {
    use std::io::Read as _;
    let name = path.display();
    let mut text = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("{name} cannot be read: {error}"))?;
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Err(format!("{name} is not a file"));
    }
    file.take(largest + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("{name} cannot be read: {error}"))?;
    if text.len() as u64 > largest {
        return Err(format!("{name} has more than {largest} bytes"));
    }
    String::from_utf8(text).map_err(|_| format!("{name} is not UTF-8 text"))
}
