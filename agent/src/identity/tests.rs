use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;

const PRINT: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

fn meta(changes: &[(&str, Option<&str>)]) -> String {
    let mut meta = Map::new();
    for (key, value) in [
        (ENDPOINT, "10.0.2.2:50051"),
        (TOKEN, "s3cret"),
        (FINGERPRINT, PRINT),
        (BUILD, "0199"),
        (OWNER, "own"),
        ("role", "web"),
    ] {
        meta.insert(key.to_owned(), json!(value));
    }
    for (key, value) in changes {
        match value {
            Some(value) => meta.insert((*key).to_owned(), json!(value)),
            None => meta.remove(*key),
        };
    }
    json!({ "uuid": "83679162", "name": "test", "meta": meta, "keys": [] }).to_string()
}

fn guest_with_boot(root: &Path, boot: &str) -> Guest {
    fs::create_dir_all(root.join("proc/sys/kernel/random")).unwrap();
    fs::write(root.join("proc/sys/kernel/random/boot_id"), format!("{boot}\n")).unwrap();
    Guest::below(root)
}

#[test]
fn all_keys_make_an_identity() {
    let identity = parse(&meta(&[]), "x").unwrap().unwrap();
    assert_eq!(identity.endpoint.to_string(), "10.0.2.2:50051");
    assert_eq!(identity.token.expose_secret(), "s3cret");
    assert_eq!(identity.fingerprint[15], 0xff);
    assert_eq!((identity.build.as_str(), identity.owner.as_str()), ("0199", "own"));
    assert!(!format!("{identity:?}").contains("s3cret"));
}

#[test]
fn no_keys_make_none() {
    assert!(parse(r#"{"uuid": "x", "meta": {"role": "web"}}"#, "x").unwrap().is_none());
    assert!(parse(r#"{"uuid": "x"}"#, "x").unwrap().is_none());
}

#[test]
fn an_error_names_the_key_and_never_the_value() {
    for key in KEYS {
        let error = parse(&meta(&[(key, None)]), "the config drive").unwrap_err().to_string();
        assert!(error.contains(&format!("has no {key}")), "{error}");
    }
    for (key, value) in [
        (ENDPOINT, "manager:50051"),
        (TOKEN, "s3cret\ns3cret"),
        (TOKEN, ""),
        (FINGERPRINT, "s3cret"),
        (FINGERPRINT, "00:11"),
    ] {
        let error = parse(&meta(&[(key, Some(value))]), "x").unwrap_err().to_string();
        assert!(error.contains(key) && !error.contains("s3cret"), "{error}");
    }
    assert!(matches!(parse("<html>", "x"), Err(IdentityError::NotJson { .. })));
    assert!(matches!(parse("[]", "x"), Err(IdentityError::NotJson { .. })));
}

#[test]
fn fingerprints_may_have_colons() {
    let with_colons: Vec<String> =
        PRINT.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
    assert_eq!(bytes_of(&with_colons.join(":")), bytes_of(PRINT));
    assert!(bytes_of(PRINT).is_some());
    assert!(bytes_of(&PRINT[1..]).is_none());
}

#[test]
fn the_cache_is_private_and_of_this_boot_only() {
    let root = tempfile::tempdir().unwrap();
    let guest = guest_with_boot(root.path(), "boot-1");
    let identity = parse(&meta(&[]), "x").unwrap().unwrap();
    assert!(cached(&guest).is_none());
    keep(&guest, &identity).unwrap();
    keep(&guest, &identity).unwrap();
    let again = cached(&guest).unwrap();
    assert_eq!(again.fingerprint, identity.fingerprint);
    assert_eq!(again.token.expose_secret(), "s3cret");
    assert_eq!(again.key.public(), identity.key.public(), "the same agent, started again");
    let other = parse(&meta(&[(KEY, Some(identity.key.seed()))]), "x").unwrap().unwrap();
    assert_ne!(other.key.public(), identity.key.public(), "metadata gives nobody a key");
    assert!(!format!("{identity:?}").contains(identity.key.seed()));

    let file = guest.path(CACHE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    assert!(cached(&guest_with_boot(root.path(), "boot-2")).is_none());
}
