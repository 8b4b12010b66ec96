//! What Keystone is sent, and what its catalog says.

use super::*;
use secrecy::SecretString;

fn config(credentials: Credentials, scope: Option<Scope>) -> CloudConfig {
    CloudConfig {
        name: "lab".into(),
        source: "clouds.yaml".into(),
        auth_url: Url::parse("http://127.0.0.1:5000/v3").unwrap(),
        credentials,
        scope,
        region: Some("RegionOne".into()),
        interface: "public".into(),
        verify: true,
        ca_certificate: None,
        client_certificate: None,
        overrides: std::collections::BTreeMap::new(),
        note: None,
    }
}

#[test]
fn bodies_are_as_keystone_wants_them() {
    let password = Credentials::Password {
        user: Named::Name("u".into()),
        domain: Some(Named::Id("d".into())),
        password: SecretString::from("p"),
    };
    let scope = Scope { project: Named::Id("i".into()), domain: None };
    assert_eq!(
        request_body(&config(password, Some(scope))),
        json!({"auth": {
            "identity": {"methods": ["password"],
                "password": {"user": {"name": "u", "domain": {"id": "d"}, "password": "p"}}},
            "scope": {"project": {"id": "i"}}}})
    );
    let application = Credentials::Application {
        credential: Named::Name("c".into()),
        user: Some((Named::Name("u".into()), Some(Named::Name("D".into())))),
        secret: SecretString::from("s"),
    };
    assert_eq!(
        request_body(&config(application, None)),
        json!({"auth": {"identity": {"methods": ["application_credential"], "application_credential":
            {"name": "c", "secret": "s", "user": {"name": "u", "domain": {"name": "D"}}}}}})
    );
}

#[test]
fn the_catalog_is_read_by_interface_and_region() {
    let body = json!({"token": {"expires_at": "2099-01-01T00:00:00.000000Z", "project": {"id": "p"}, "catalog": [
        {"type": "image", "endpoints": [
            {"interface": "admin", "region_id": "RegionOne", "url": "http://admin"},
            {"interface": "public", "region_id": "RegionTwo", "url": "http://two"},
            {"interface": "public", "region_id": "RegionOne", "url": "http://one/v2"}]}]}});
    let token = parse(HeaderValue::from_static("t"), body.to_string().as_bytes()).unwrap();
    assert!(token.is_fresh());
    assert_eq!(token.project_id, "p");
    let config = config(Credentials::Token(SecretString::from("t")), None);
    let keystone = Keystone::new(Arc::new(config), Client::new());
    assert_eq!(keystone.in_catalog(&token, "image").unwrap().as_str(), "http://one/v2");
    assert!(keystone.in_catalog(&token, "compute").is_none());
    assert!(!format!("{token:?}").contains("\"t\""));
}

#[test]
fn several_regions_without_a_choice_are_refused() {
    let endpoint = |region: &str| json!({"interface": "publicURL", "region_id": region, "url": "http://h"});
    let body = json!({"token": {"expires_at": "2099-01-01T00:00:00Z", "project": {"id": "p"}, "catalog": [
        {"type": "image", "endpoints": [endpoint("R2"), endpoint("R1")]}]}});
    let token = parse(HeaderValue::from_static("t"), body.to_string().as_bytes()).unwrap();
    let with = |region: Option<&str>| {
        let region = region.map(str::to_owned);
        let config = CloudConfig { region, ..config(Credentials::Token(SecretString::from("t")), None) };
        Keystone::new(Arc::new(config), Client::new()).choose_region(&token)
    };
    assert!(with(Some("R2")).is_ok());
    for region in [None, Some("R3")] {
        let error = with(region).unwrap_err();
        assert_eq!(error.trouble, Trouble::Configuration);
        assert!(error.message.ends_with("one of these: R1, R2"), "{error}");
    }
}
