//! Finding and reading clouds.yaml, secure.yaml and clouds-public.yaml.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::entry::Entry;
use super::{ConfigError, yaml};

/// Most bytes of a file that are read.
const LARGEST: u64 = 1 << 20;

/// What the process sees of its surroundings.
#[derive(Debug, Clone, Default)]
pub(in crate::cloud::openstack) struct Surroundings {
    variables: BTreeMap<String, String>,
    /// Where files are looked for, in this order.
    directories: Vec<PathBuf>,
    pub(super) home: Option<PathBuf>,
}

impl Surroundings {
    /// Those of this process.
    pub(in crate::cloud::openstack) fn of_process() -> Self {
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = std::env::home_dir();
        let configuration = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let configuration = configuration.or_else(|| home.as_ref().map(|home| home.join(".config")));
        let directories = [
            Some(PathBuf::from(".")),
            configuration.map(|directory| directory.join("openstack")),
            Some(PathBuf::from("/etc/openstack")),
        ];
        Self { variables, directories: directories.into_iter().flatten().collect(), home }
    }

    /// Others, for tests.
    #[cfg(test)]
    pub(super) fn new(variables: &[(&str, &str)], directory: &Path) -> Self {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Self { variables: variables.collect(), directories: vec![directory.to_owned()], home: None }
    }

    /// A variable that is set to something.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// The file with one of these names: the one a variable names, else the first in the directories.
    fn find(&self, variable: &str, stem: &str) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(named) = self.variable(variable) {
            let path = PathBuf::from(named);
            if path.is_file() {
                return Ok(Some(path));
            }
            return Err(ConfigError::new(variable, format!("names {}, which is not a file", path.display())));
        }
        let names = ["yaml", "yml", "json"].map(|extension| format!("{stem}.{extension}"));
        let candidates =
            self.directories.iter().flat_map(|directory| names.iter().map(|name| directory.join(name)));
        Ok(candidates.into_iter().find(|path| path.is_file()))
    }
}

/// The files' contents.
pub(super) struct Known {
    path: Option<PathBuf>,
    clouds: Map<String, Value>,
    secrets: Map<String, Value>,
    profiles: Map<String, Value>,
    searched: String,
    home: Option<PathBuf>,
}

/// Reads what there is.
pub(super) fn read(surroundings: &Surroundings) -> Result<Known, ConfigError> {
    let path = surroundings.find("OS_CLIENT_CONFIG_FILE", "clouds")?;
    let table = |path: &Option<PathBuf>, key: &str| match path {
        Some(path) => table_of(path, key),
        None => Ok(Map::new()),
    };
    let searched: Vec<_> = surroundings.directories.iter().map(|path| path.display().to_string()).collect();
    Ok(Known {
        clouds: table(&path, "clouds")?,
        secrets: table(&surroundings.find("OS_CLIENT_SECURE_FILE", "secure")?, "clouds")?,
        profiles: table(&surroundings.find("OS_CLIENT_VENDOR_FILE", "clouds-public")?, "public-clouds")?,
        path,
        searched: searched.join(", "),
        home: surroundings.home.clone(),
    })
}

impl Known {
    /// Whether there is no clouds.yaml.
    pub(super) fn no_file(&self) -> bool {
        self.path.is_none()
    }

    /// A cloud's settings, all files together.
    pub(super) fn entry(&self, name: &str) -> Result<Option<Entry>, ConfigError> {
        let (Some(path), Some(cloud)) = (&self.path, self.clouds.get(name)) else { return Ok(None) };
        let file = path.display().to_string();
        let Some(cloud) = cloud.as_object() else {
            return Err(ConfigError::new(format!("{file}: `clouds.{name}`"), "is not a table"));
        };
        let secrets = self.secrets.get(name).and_then(Value::as_object);
        let (mut settings, mut note) = (Map::new(), None);
        if let Some(profile) = cloud.get("profile").or(cloud.get("cloud")).and_then(Value::as_str) {
            match self.profiles.get(profile).and_then(Value::as_object) {
                Some(public) => {
                    merge(&mut settings, public);
                    let region = |entry: &Map<String, Value>| entry.contains_key("region_name");
                    if region(cloud) || secrets.is_some_and(region) {
                        settings.remove("regions");
                    }
                }
                // A whole entry needs nothing of the profile.
                None if has_auth_url(cloud) || secrets.is_some_and(has_auth_url) => {
                    note = Some(format!(
                        "{file}: `clouds.{name}.profile` names {profile:?}, which is not in a clouds-public.yaml: what it \
                         would add is ignored"
                    ));
                }
                None => {
                    return Err(ConfigError::new(
                        format!("{file}: `clouds.{name}.profile`"),
                        format!(
                            "names {profile:?}, which is not in a clouds-public.yaml beside it, and openstacksdk's own \
                             profiles are not read here: write `auth_url` (and `region_name`) into the entry"
                        ),
                    ));
                }
            }
        }
        merge(&mut settings, cloud);
        if let Some(secrets) = secrets {
            merge(&mut settings, secrets);
        }
        settle_region(&mut settings);
        let mut entry = Entry::new(settings, file, format!("clouds.{name}."), self.home.clone());
        entry.note = note;
        Ok(Some(entry))
    }

    /// The error for a name that no cloud has.
    pub(super) fn unknown(&self, name: &str) -> ConfigError {
        let Some(path) = &self.path else {
            return ConfigError::new(
                format!("no cloud {name:?}"),
                format!("there is no clouds.yaml in {}, and OS_CLIENT_CONFIG_FILE names none", self.searched),
            );
        };
        let names: Vec<_> = self.clouds.keys().map(String::as_str).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        ConfigError::new(format!("no cloud {name:?} in {}", path.display()), format!("there are: {there}"))
    }
}

fn has_auth_url(settings: &Map<String, Value>) -> bool {
    let inside = settings.get("auth").and_then(|auth| auth.get("auth_url"));
    inside.or_else(|| settings.get("auth_url")).is_some_and(Value::is_string)
}

/// The table under a key of a file.
fn table_of(path: &Path, key: &str) -> Result<Map<String, Value>, ConfigError> {
    let file = path.display().to_string();
    let wrong = |problem: String| ConfigError::new(file.clone(), problem);
    let size = fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > LARGEST {
        return Err(wrong(format!("has {size} bytes, but at most {LARGEST} are read")));
    }
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let mut document = yaml::read(&text).map_err(|error| {
        let mark = error.marker();
        wrong(format!("line {}, column {}: {}", mark.line(), mark.col() + 1, error.info()))
    })?;
    match document.get_mut(key) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(table)) => Ok(std::mem::take(table)),
        Some(_) => Err(ConfigError::new(format!("{file}: `{key}`"), "is not a table")),
    }
}

/// Lays `over` on `base`, tables within tables too. `user-domain-name` is `user_domain_name`.
fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        let key = key.replace('-', "_");
        match value {
            Value::Object(above) => {
                let below = base.entry(key).or_insert_with(|| Value::Object(Map::new()));
                match below {
                    Value::Object(below) => merge(below, above),
                    other => *other = value.clone(),
                }
            }
            _ => drop(base.insert(key, value.clone())),
        }
    }
}

/// The region that counts: the first of `regions`, which may have settings of its own, before `region_name`, of
/// which only what stands before a comma.
fn settle_region(settings: &mut Map<String, Value>) {
    let first =
        settings.get("regions").and_then(Value::as_array).and_then(|regions| regions.first()).cloned();
    match first {
        Some(Value::Object(region)) => {
            if let Some(Value::Object(values)) = region.get("values") {
                merge(settings, values);
            }
            settings.insert("region_name".to_owned(), region.get("name").cloned().unwrap_or_default());
        }
        Some(name) => drop(settings.insert("region_name".to_owned(), name)),
        None => {}
    }
    if let Some(Value::String(name)) = settings.get_mut("region_name")
        && let Some((first, _)) = name.split_once(',')
    {
        *name = first.to_owned();
    }
}
