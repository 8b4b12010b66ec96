//! The proxies that a build is told of. Its secrets are never on a command line; a password in one of these is: elements
//! of disk-image-builder write `http_proxy=...` into the commands that they run.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::inputs::Secret;

/// All that a build, or a package manager that is asked, may see of the manager's environment.
pub(crate) const PASSED_ON: [&str; 6] =
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// `user:password` of the manager's proxies, which the log of a build must not have.
pub(super) fn secrets() -> Vec<Secret> {
    secrets_in(variable)
}

/// What is to be said of proxies with a password, if there are any.
pub(crate) fn remark_on_passwords() -> Option<String> {
    remark(variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn secrets_in(variable: impl Fn(&str) -> Option<String>) -> Vec<Secret> {
    let secret = |name: &str, pair: &[u8]| Secret::new(name.to_owned(), PathBuf::new(), pair.to_vec());
    let mut secrets = Vec::new();
    for name in PASSED_ON {
        let value = variable(name).unwrap_or_default();
        if let Some(pair) = pair(&value) {
            // As it is in the address, and as it is sent to the proxy.
            let sent: Vec<u8> = percent_decode_str(pair).collect();
            secrets.extend([secret(name, pair.as_bytes()), secret(name, &sent)]);
        }
    }
    secrets
}

fn remark(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let with_password = |name: &&str| variable(name).is_some_and(|value| pair(&value).is_some());
    let names: Vec<_> = PASSED_ON.into_iter().filter(with_password).collect();
    (!names.is_empty()).then(|| {
        format!(
            "{}: every user of this host can read the password of the proxy on command lines of disk-image-builder; \
             name a proxy on this host that needs no password and logs in to that one",
            names.join(", ")
        )
    })
}

/// `user:password` in the address of a proxy.
fn pair(address: &str) -> Option<&str> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (pair, _) = rest.split(['/', '?', '#']).next()?.rsplit_once('@')?;
    let (_, password) = pair.split_once(':')?;
    (!password.is_empty()).then_some(pair)
}

#[cfg(test)]
mod tests {
    use super::super::masking::Masks;
    use super::*;

    /// An environment in which one variable is set.
    fn with<'a>(set: &'a str, value: &'a str) -> impl Fn(&str) -> Option<String> + 'a {
        move |name: &str| (name == set).then(|| value.to_owned())
    }

    #[test]
    fn the_password_of_a_proxy_is_not_in_the_log() {
        let masks = Masks::of(&secrets_in(with("http_proxy", "http://robot:p%40ssword@proxy.example:3128/")));
        for said in [
            "+ sudo sh -c http_proxy=http://robot:p%40ssword@proxy.example:3128/ debootstrap",
            "the proxy refused robot:p@ssword",
            "it says p@ssword",
        ] {
            let masked = String::from_utf8(masks.apply(said.as_bytes().to_vec())).unwrap();
            assert!(!masked.contains("ssword ") && !masked.ends_with("ssword"), "{masked}");
            assert!(!masked.contains("ssword@") && masked.contains("[secret http_proxy]"), "{masked}");
        }
    }

    #[test]
    fn a_proxy_with_a_password_is_remarked_upon() {
        let remark_on = |value: &str| remark(with("HTTPS_PROXY", value));
        let said = remark_on("http://robot:swordfish@proxy.example:3128").unwrap();
        assert!(said.starts_with("HTTPS_PROXY: ") && !said.contains("swordfish"), "{said}");
        assert!(remark_on("robot:swordfish@proxy.example:3128").is_some(), "without a scheme");
        for harmless in
            ["http://proxy.example:3128", "http://robot@proxy.example/", "http://p.example/a:b@c", ""]
        {
            assert_eq!(remark_on(harmless), None, "{harmless}");
        }
        assert_eq!(remark(with("ftp_proxy", "http://robot:swordfish@proxy.example")), None);
    }
}
