//! The proxies that a build is told of. Its secrets are never on a command line; a password in one of these is: elements
//! of disk-image-builder write `http_proxy=...` into the commands that they run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::inputs::Secret;

/// All that a build, or a package manager that is asked, may see of the manager's environment.
pub(crate) const PASSED_ON: [&str; 6] =
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];

/// A shorter password is not looked for by itself: a word that the log has elsewhere, too, would be masked there.
const SHORTEST_ALONE: usize = 8;

/// What the log of a build must not have of the manager's proxies, and of those in the schedule's environment. Each is
/// to be looked for as a whole.
pub(super) fn secrets(environment: &BTreeMap<String, String>) -> Vec<Secret> {
    secrets_in(variable, environment)
}

/// What is to be said of proxies with a password, if there are any.
pub(crate) fn remark_on_passwords() -> Option<String> {
    remark(variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn secrets_in(
    variable: impl Fn(&str) -> Option<String>,
    environment: &BTreeMap<String, String>,
) -> Vec<Secret> {
    let own = PASSED_ON.into_iter().filter_map(|name| Some((name, variable(name)?)));
    let of_the_schedule = environment
        .iter()
        .filter(|(name, _)| name.to_ascii_lowercase().contains("proxy"))
        .map(|(name, value)| (name.as_str(), value.clone()));
    let mut secrets = Vec::new();
    for (name, address) in own.chain(of_the_schedule) {
        let secret = |piece| Secret::new(name.to_owned(), PathBuf::new(), piece);
        secrets.extend(pieces(&address).into_iter().map(secret));
    }
    secrets
}

/// `user:password` of an address, and the password if it is long enough: as they are there, and as they are sent to the
/// proxy.
fn pieces(address: &str) -> Vec<Vec<u8>> {
    let Some(pair) = pair(address) else { return Vec::new() };
    let both = |text: &str| [text.as_bytes().to_vec(), percent_decode_str(text).collect()];
    let is_telling = |form: &Vec<u8>| String::from_utf8_lossy(form).chars().count() >= SHORTEST_ALONE;
    let (user, password) = pair.split_once(':').unwrap_or(("", pair));
    let alone = both(password).into_iter().filter(is_telling);
    // Without a user, what stands behind the password tells it from any word after a colon.
    let pair = if user.is_empty() { both(&format!("{pair}@")) } else { both(pair) };
    pair.into_iter().chain(alone).collect()
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
        let variable = with("http_proxy", "http://robot:p%40ssword@proxy.example:3128/");
        let masks = Masks::with_whole(&[], &secrets_in(variable, &BTreeMap::new()));
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

    fn masked(address: &str, line: &str) -> String {
        let masks = Masks::with_whole(&[], &secrets_in(with("http_proxy", address), &BTreeMap::new()));
        String::from_utf8(masks.apply(line.as_bytes().to_vec())).unwrap()
    }

    #[test]
    fn a_password_that_is_an_ordinary_word_is_masked_only_with_its_user() {
        let address = "http://robot:c%61che@proxy.example:3128";
        for (line, expected) in [
            ("x=http://robot:c%61che@proxy.example apt", "x=http://[secret http_proxy]@proxy.example apt"),
            ("407 for robot:cache", "407 for [secret http_proxy]"),
            ("removing the cache of apt", "removing the cache of apt"),
        ] {
            assert_eq!(masked(address, line), expected);
        }
        let nobody = "http://:abc@proxy.example:3128";
        assert_eq!(masked(nobody, "curl http://:abc@proxy"), "curl http://[secret http_proxy]proxy");
        assert_eq!(masked(nobody, "see x:abc"), "see x:abc");
        assert_eq!(masked("http://robot:swordfish@p.example", "swordfish!"), "[secret http_proxy]!");
    }

    #[test]
    fn a_proxy_of_the_schedule_is_masked_too() {
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = BTreeMap::from([
            set("https_proxy", "http://robot:swordfish@proxy.example:3128"),
            set("DIB_HTTP_PROXY", "robot:short@proxy.example:3128"),
            set("DIB_RELEASE", "user:trixie@nobody"),
        ]);
        let masks = Masks::with_whole(&[], &secrets_in(with("ftp_proxy", ""), &environment));
        let masked = |line: &str| String::from_utf8(masks.apply(line.as_bytes().to_vec())).unwrap();
        assert_eq!(
            masked("+ https_proxy=http://robot:swordfish@proxy.example:3128 curl"),
            "+ https_proxy=http://[secret https_proxy]@proxy.example:3128 curl"
        );
        assert_eq!(masked("swordfish, robot:short"), "[secret https_proxy], [secret DIB_HTTP_PROXY]");
        assert_eq!(masked("user:trixie@nobody"), "user:trixie@nobody");
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
