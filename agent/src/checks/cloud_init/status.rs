//! `status.json` and `result.json` of cloud-init.

use serde_json::{Map, Value};

use crate::text;

/// Most errors and messages that are kept of one stage.
const MOST: usize = 32;
/// The stages in the order in which they run. Others (older versions have some) come after them.
const ORDER: [&str; 4] = ["init-local", "init", "modules-config", "modules-final"];

/// What cloud-init says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Status {
    /// For example `DataSourceConfigDrive [net,ver=2][source=/dev/vdb]`. Empty: none yet.
    pub datasource: String,
    /// The stage that runs now. Empty: none.
    pub stage: String,
    /// The stages in their order.
    pub stages: Vec<Stage>,
    /// The errors of result.json, which are the stages' once more.
    pub result_errors: Vec<String>,
}

/// One stage.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stage {
    /// For example `modules-final`.
    pub name: String,
    /// Seconds by the server's clock.
    pub start: Option<f64>,
    /// Seconds by the server's clock.
    pub finished: Option<f64>,
    /// What went wrong.
    pub errors: Vec<String>,
    /// What went wrong a little, as `LEVEL: message`.
    pub recoverable_errors: Vec<String>,
}

impl Stage {
    /// How long it took. The clock may have been set meanwhile, so it can be nothing, but not negative.
    pub fn seconds(&self) -> Option<f64> {
        Some((self.finished? - self.start?).max(0.0))
    }
}

impl Status {
    /// Reads status.json, and result.json when it is there. The error is for people.
    pub fn parse(status: &str, result: Option<&str>) -> Result<Self, String> {
        let whole: Value = serde_json::from_str(status).map_err(|error| format!("status.json: {error}"))?;
        let v1 = whole.get("v1").and_then(Value::as_object).ok_or("status.json has no v1")?;
        let mut parsed = Self {
            datasource: string(v1.get("datasource")),
            stage: string(v1.get("stage")),
            stages: stages(v1),
            result_errors: Vec::new(),
        };
        if let Some(result) = result {
            let whole: Value =
                serde_json::from_str(result).map_err(|error| format!("result.json: {error}"))?;
            let v1 = whole.get("v1").ok_or("result.json has no v1")?;
            parsed.result_errors = strings(v1.get("errors"));
            if parsed.datasource.is_empty() {
                parsed.datasource = string(v1.get("datasource"));
            }
        }
        Ok(parsed)
    }

    /// All errors with their stages, each once; the stage is empty where only the result has the error.
    pub fn all_errors(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<(&str, &str)> = Vec::new();
        for stage in &self.stages {
            all.extend(stage.errors.iter().map(|error| (stage.name.as_str(), error.as_str())));
        }
        for error in &self.result_errors {
            if !all.iter().any(|(_, known)| known == error) {
                all.push(("", error));
            }
        }
        all
    }

    /// All recoverable errors with their stages.
    pub fn all_recoverable_errors(&self) -> Vec<(&str, &str)> {
        let of = |stage: &'_ Stage| stage.recoverable_errors.len();
        let mut all = Vec::with_capacity(self.stages.iter().map(of).sum());
        for stage in &self.stages {
            all.extend(stage.recoverable_errors.iter().map(|error| (stage.name.as_str(), error.as_str())));
        }
        all
    }

    pub(super) fn last_stage_is_done(&self) -> bool {
        self.has_finished("modules-final")
    }

    pub(super) fn has_finished(&self, name: &str) -> bool {
        self.stages.iter().any(|stage| stage.name == name && stage.finished.is_some())
    }

    fn has_started(&self, name: &str) -> bool {
        self.stages.iter().any(|stage| stage.name == name && stage.start.is_some())
    }

    /// The first of the stages that has not both started and finished, and what it has not done.
    pub fn incomplete(&self) -> Option<(&'static str, &'static str)> {
        ORDER.iter().find_map(|name| {
            let stage = self.stages.iter().find(|stage| stage.name == *name);
            match stage.map(|stage| (stage.start, stage.finished)) {
                None | Some((None, _)) => Some((*name, "never started")),
                Some((Some(_), None)) => Some((*name, "did not finish")),
                Some((Some(_), Some(_))) => None,
            }
        })
    }

    /// The first of the stages that never started though a later one has, and the last one that has.
    pub fn passed_over(&self) -> Option<(&'static str, &'static str)> {
        let last = ORDER.iter().rposition(|name| self.has_started(name))?;
        let passed_over = ORDER.into_iter().take(last).find(|name| !self.has_started(name))?;
        Some((passed_over, *ORDER.get(last)?))
    }

    /// Where it stands, for people.
    pub fn progress(&self) -> String {
        if !self.stage.is_empty() {
            return format!("it is in {}", self.stage);
        }
        match self.incomplete() {
            Some((name, _)) if self.has_started(name) => format!("{name} has not finished"),
            Some((name, _)) => format!("{name} has not started"),
            None => "all stages have finished".to_owned(),
        }
    }

    /// Whether the datasource is this one: `ConfigDrive`, `DataSourceConfigDrive`, in any case. What a
    /// datasource is called before and after the network is up (`OpenStackLocal`, `NoCloudNet`) is one.
    pub fn is_from(&self, expected: &str) -> bool {
        let bare = |name: &str| {
            let name = name.split([' ', '[']).next().unwrap_or_default().to_ascii_lowercase();
            let name = name.strip_prefix("datasource").unwrap_or(&name);
            name.strip_suffix("local").or_else(|| name.strip_suffix("net")).unwrap_or(name).to_owned()
        };
        !self.datasource.is_empty() && bare(&self.datasource) == bare(expected)
    }
}

fn stages(v1: &Map<String, Value>) -> Vec<Stage> {
    let mut stages: Vec<Stage> =
        v1.iter().filter_map(|(name, value)| Some(stage(name, value.as_object()?))).collect();
    let place = |stage: &Stage| ORDER.iter().position(|name| *name == stage.name).unwrap_or(ORDER.len());
    stages.sort_by_key(place);
    stages
}

fn stage(name: &str, value: &Map<String, Value>) -> Stage {
    let mut recoverable = Vec::new();
    for (level, messages) in value.get("recoverable_errors").and_then(Value::as_object).into_iter().flatten()
    {
        let left = MOST.saturating_sub(recoverable.len());
        recoverable
            .extend(strings(Some(messages)).into_iter().take(left).map(|said| format!("{level}: {said}")));
    }
    Stage {
        name: text::one_line(name),
        start: value.get("start").and_then(Value::as_f64),
        finished: value.get("finished").and_then(Value::as_f64),
        errors: strings(value.get("errors")),
        recoverable_errors: recoverable,
    }
}

fn string(value: Option<&Value>) -> String {
    text::one_line(value.and_then(Value::as_str).unwrap_or_default())
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let all = value.and_then(Value::as_array).into_iter().flatten();
    all.take(MOST).map(|value| text::bounded(&text(value), 600)).collect()
}
