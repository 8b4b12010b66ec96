use std::fs;

use secrecy::ExposeSecret as _;

use super::*;

const CLOUDS: &str = "
clouds:
  lab:
    auth: &auth
      auth_url: http://127.0.0.1:5000/v3
      username: manager
      password: 12345
      project_name: images
      user_domain_id: default
      project_domain_name: Default
    region_name: RegionOne
  lab-appcred:
    auth:
      auth_url: http://127.0.0.1:5000/v3
      application_credential_id: abc
  merged:
    auth: {<<: *auth, password: other}
    interface: internalURL
    verify: 'False'
    image_endpoint_override: http://127.0.0.1:9999/
  bare: {auth: {auth_url: 'http://127.0.0.1:5000'}}
";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(name: &str, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Result<CloudConfig, ConfigError> {
    let folder = folder(files);
    CloudConfig::load(name, &Surroundings::new(variables, folder.path()))
}

#[test]
fn a_password_in_clouds_yaml() {
    let config = load("lab", &[], &[("clouds.yaml", CLOUDS)]).unwrap();
    let Credentials::Password { user, domain, password } = &config.credentials else { panic!("{config:?}") };
    assert_eq!((user, domain), (&Named::Name("manager".into()), &Some(Named::Id("default".into()))));
    assert_eq!(password.expose_secret(), "12345");
    let scope = config.scope.as_ref().unwrap();
    assert_eq!(scope.project, Named::Name("images".into()));
    assert_eq!(scope.domain, Some(Named::Name("Default".into())));
    assert_eq!(config.region.as_deref(), Some("RegionOne"));
    assert!(config.verify);
    assert!(!format!("{config:?}").contains("12345"), "secrets do not show");
}

#[test]
fn secrets_come_from_secure_yaml_and_the_auth_type_need_not_be_written() {
    let secure = "clouds: {lab-appcred: {auth: {application_credential_secret: hush}}}";
    let config = load("lab-appcred", &[], &[("clouds.yaml", CLOUDS), ("secure.yaml", secure)]).unwrap();
    let Credentials::Application { credential, user: None, secret } = &config.credentials else {
        panic!("{config:?}")
    };
    assert_eq!(*credential, Named::Id("abc".into()));
    assert_eq!(secret.expose_secret(), "hush");
    assert!(config.scope.is_none());
}

#[test]
fn anchors_merge_and_options_are_read() {
    let config = load("merged", &[], &[("clouds.yaml", CLOUDS)]).unwrap();
    let Credentials::Password { password, .. } = &config.credentials else { panic!("{config:?}") };
    assert_eq!(password.expose_secret(), "other");
    assert_eq!(config.interface, "internal");
    assert!(!config.verify);
    assert_eq!(config.overrides["image"].as_str(), "http://127.0.0.1:9999/");
}

#[test]
fn errors_name_file_and_key() {
    for (name, text, expected) in [
        ("bare", CLOUDS, "clouds.yaml: `clouds.bare.auth.username`: is missing"),
        ("lab-appcred", CLOUDS, "`clouds.lab-appcred.auth.application_credential_secret`: is missing"),
        ("nowhere", CLOUDS, "there are: lab, lab-appcred, merged, bare"),
        ("x", "clouds: {x: {auth: {auth_url: 'ftp://h'}}}", "`clouds.x.auth.auth_url`: is not an http"),
        ("x", "clouds: {x: {auth: {}}}", "`clouds.x.auth.auth_url`: is missing"),
        ("x", "clouds: {x: 3}", "`clouds.x`: is not a table"),
        ("x", "clouds: {x: {profile: ovh}}", "`clouds.x.profile`: names \"ovh\""),
        ("x", "clouds: [", "line "),
    ] {
        let error = load(name, &[], &[("clouds.yaml", text)]).unwrap_err().to_string();
        let sorted =
            |text: &str| text.split(", ").map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        let there = error.split("there are: ").nth(1).map(sorted);
        match expected.strip_prefix("there are: ") {
            Some(names) => assert_eq!(there, Some(sorted(names)), "{error}"),
            None => assert!(error.contains(expected), "{error}"),
        }
    }
    let error = load("lab", &[], &[]).unwrap_err().to_string();
    assert!(error.contains("there is no clouds.yaml"), "{error}");
    let error = load("lab", &[("OS_CLIENT_CONFIG_FILE", "/nowhere.yaml")], &[]).unwrap_err().to_string();
    assert!(error.contains("OS_CLIENT_CONFIG_FILE: names /nowhere.yaml"), "{error}");
}

#[test]
fn the_environment_is_a_cloud_too() {
    let variables = [
        ("OS_AUTH_URL", "https://cloud:5000"),
        ("OS_USER_ID", "u1"),
        ("OS_PASSWORD", "p"),
        ("OS_TENANT_NAME", "t"),
        ("OS_DEFAULT_DOMAIN", "d"),
    ];
    for name in ["envvars", "whatever"] {
        let config = load(name, &variables, &[]).unwrap();
        let Credentials::Password { user, domain, .. } = &config.credentials else { panic!("{config:?}") };
        assert_eq!((user, domain), (&Named::Id("u1".into()), &None));
        let scope = config.scope.unwrap();
        assert_eq!(scope, Scope { project: Named::Name("t".into()), domain: Some(Named::Id("d".into())) });
    }
    let error = load("envvars", &variables[..2], &[]).unwrap_err().to_string();
    assert!(error.contains("the environment: `OS_PASSWORD`: is missing"), "{error}");
    let config = load("envvars", &[("OS_CLOUD", "lab")], &[("clouds.yaml", CLOUDS)]).unwrap();
    assert_eq!(config.name, "lab");
    let error = load("lab2", &variables, &[("clouds.yaml", CLOUDS)]).unwrap_err().to_string();
    assert!(error.contains("no cloud \"lab2\""), "a clouds.yaml without the name is a mistake: {error}");
}

#[test]
fn an_application_credential_by_name_needs_its_user() {
    let text = "clouds: {x: {auth_type: v3applicationcredential, auth: {auth_url: 'http://h', \
                application_credential_name: a, application_credential_secret: s}}}";
    let error = load("x", &[], &[("clouds.yaml", text)]).unwrap_err().to_string();
    assert!(error.contains("auth.username"), "{error}");
}

/// More of them, and openstacksdk itself: `sdk_tests`.
#[test]
fn texts_without_quotes_are_read_as_pyyaml_reads_them() {
    for (written, sent) in [
        ("0987654321", "0987654321"),
        ("00420815", "00420815"),
        ("0123", "83"),
        ("0x1F", "31"),
        ("1_000", "1000"),
        ("1:30", "90"),
        ("1.50", "1.5"),
        ("1e3", "1e3"),
        ("2026-11-28", "2026-11-28"),
        ("yes", "True"),
        ("'no'", "no"),
        ("99999999999999999999999999", "99999999999999999999999999"),
        ("!!str 0123", "0123"),
    ] {
        let text = format!(
            "clouds: {{x: {{auth: {{auth_url: 'http://h', username: u, project_id: p, password: {written}}}}}}}"
        );
        let config = load("x", &[], &[("clouds.yaml", &text)]).unwrap();
        let Credentials::Password { password, .. } = &config.credentials else { panic!("{config:?}") };
        assert_eq!(password.expose_secret(), sent, "{written}");
    }
}

#[test]
fn merge_keys_take_lists_and_the_earlier_table_counts() {
    let text = "
a: &a {region_name: A, interface: internal}
b: &b {region_name: B, verify: no}
clouds:
  x:
    <<: [*a, *b]
    auth: {auth_url: 'http://h', username: u, password: p, project_id: p}
";
    let config = load("x", &[], &[("clouds.yaml", text)]).unwrap();
    assert_eq!((config.region.as_deref(), &*config.interface, config.verify), (Some("A"), "internal", false));
}

#[test]
fn a_whole_entry_works_whatever_profile_it_names() {
    let text =
        "clouds: {x: {profile: ovh, auth: {auth_url: 'http://h', username: u, password: p, project_id: p}}}";
    let config = load("x", &[], &[("clouds.yaml", text)]).unwrap();
    assert_eq!(config.auth_url.as_str(), "http://h/");
    let note = config.note.unwrap();
    assert!(
        note.contains("`clouds.x.profile` names \"ovh\"") && note.ends_with("would add is ignored"),
        "{note}"
    );
}
