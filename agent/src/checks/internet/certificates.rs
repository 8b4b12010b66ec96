//! The certificate authorities that the image trusts, whatever the targets are: a mirror that is asked over `http` says
//! nothing of them, and every other program of the image goes by them.

use std::fs;
use std::path::Path;

use rustls::RootCertStore;
use rustls_native_certs::load_certs_from_paths;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::checks::boot;
use crate::guest::Guest;

/// The files with all of them, by the distributions: those that OpenSSL and Go look for.
const BUNDLES: [&str; 7] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cacert.pem",
    "/etc/ssl/cert.pem",
];
/// Directories with a file for each, where no file has all.
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];
/// Where libraries are; a Debian has another directory in them.
const LIBRARIES: [&str; 4] = ["/usr/lib", "/usr/lib64", "/lib", "/lib64"];
/// How those begin that verify others by these authorities: OpenSSL, GnuTLS, NSS.
const USERS: [&str; 3] = ["libssl.so", "libgnutls.so", "libnss3.so"];
/// Most entries of such a directory that are looked at.
const MOST: usize = 8192;

/// What is known of the image's certificate authorities.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Store {
    /// The file or directory with them. Empty: there is none.
    pub place: String,
    /// How many it holds that can be read.
    pub authorities: usize,
    /// A library that verifies by them. Empty: none was found.
    pub user: String,
    /// cloud-init, which may write them, had not ended.
    pub unsettled: bool,
}

impl Store {
    /// What is wrong with it, if it is to be used. `wanted`: by the schedule's word; None: where a library uses it.
    pub(super) fn fault(&self, wanted: Option<bool>) -> Option<String> {
        if self.authorities > 0 || !wanted.unwrap_or(!self.user.is_empty()) {
            return None;
        }
        let what = if self.place.is_empty() {
            "the image has no certificate authorities".to_owned()
        } else {
            format!("{} holds no certificate authority that can be read", self.place)
        };
        Some(format!(
            "{what}, so that no program can verify anybody over HTTPS: install ca-certificates, or set \
             certificates = false in checks.internet if that is intended"
        ))
    }
}

/// Looks at them; again at cloud-init's end if they are not good.
pub(super) async fn look(guest: &Guest, wanted: Option<bool>, deadline: Instant) -> Store {
    let seen = once(guest).await;
    if wanted == Some(false) || seen.fault(wanted).is_none() {
        return seen;
    }
    let settled = boot::cloud_init_ended(guest, boot::before(deadline)).await;
    Store { unsettled: !settled, ..once(guest).await }
}

async fn once(guest: &Guest) -> Store {
    let guest = guest.clone();
    spawn_blocking(move || read(&guest)).await.unwrap_or_default()
}

fn read(guest: &Guest) -> Store {
    let there = |places: &[&'static str], is: fn(&Path) -> bool| {
        places.iter().copied().filter(|place| is(&guest.path(place))).collect::<Vec<_>>()
    };
    let bundles = there(&BUNDLES, Path::is_file);
    // Where there is such a file, most programs read it and not the directory beside it.
    let places = if bundles.is_empty() { there(&DIRECTORIES, Path::is_dir) } else { bundles };
    let mut store = Store { user: user(guest), ..Store::default() };
    for place in places {
        let authorities = authorities(&guest.path(place));
        if store.place.is_empty() || authorities > store.authorities {
            (store.place, store.authorities) = (place.to_owned(), authorities);
        }
    }
    store
}

/// How many a file or a directory holds that can be read.
fn authorities(path: &Path) -> usize {
    let (file, directory) = if path.is_dir() { (None, Some(path)) } else { (Some(path), None) };
    let certificates = load_certs_from_paths(file, directory).certs;
    RootCertStore::empty().add_parsable_certificates(certificates).0
}

/// The first library that verifies by them.
fn user(guest: &Guest) -> String {
    let names = |folder: &str| {
        let entries = fs::read_dir(guest.path(folder)).into_iter().flatten().flatten().take(MOST);
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect::<Vec<_>>()
    };
    let is_user = |name: &String| USERS.iter().any(|user| name.starts_with(user));
    for folder in LIBRARIES {
        let inside = names(folder);
        // As in `/usr/lib/x86_64-linux-gnu`.
        let deeper =
            inside.iter().filter(|name| name.contains("-linux-")).map(|name| format!("{folder}/{name}"));
        let folders: Vec<String> = std::iter::once(folder.to_owned()).chain(deeper).collect();
        for folder in folders {
            if let Some(found) = names(&folder).into_iter().find(is_user) {
                return format!("{folder}/{found}");
            }
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::guest::made_of as guest;

    /// A certificate authority's certificate, as text.
    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
    }

    const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
    const LIBRARY: (&str, &str) = ("/usr/lib/x86_64-linux-gnu/libssl.so.3", "");

    #[test]
    fn authorities_are_counted_where_programs_look_for_them() {
        let (one, two) = (authority(), authority());
        let both = format!("# a comment\n{one}\n{two}");
        let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (files, place, count) in [
            (vec![LIBRARY, (BUNDLE, both.as_str())], BUNDLE, 2),
            (vec![LIBRARY, (BUNDLE, "")], BUNDLE, 0),
            (vec![LIBRARY, (BUNDLE, garbage)], BUNDLE, 0),
            // The file is what most programs read, whatever lies beside it.
            (vec![LIBRARY, (BUNDLE, ""), ("/etc/ssl/certs/one.pem", one.as_str())], BUNDLE, 0),
            (vec![LIBRARY, ("/etc/ssl/certs/one.pem", one.as_str())], "/etc/ssl/certs", 1),
            (vec![LIBRARY, ("/etc/ssl/cert.pem", one.as_str()), (BUNDLE, "")], "/etc/ssl/cert.pem", 1),
            (vec![LIBRARY], "", 0),
        ] {
            let (_root, guest) = guest(&files);
            let store = read(&guest);
            assert_eq!((store.place.as_str(), store.authorities), (place, count), "{files:?}");
            assert_eq!(store.user, LIBRARY.0);
            assert_eq!(store.fault(None).is_some(), count == 0, "{store:?}");
        }
    }

    #[test]
    fn who_has_no_use_for_them_needs_none_unless_the_schedule_says_so() {
        let (_root, guest) = guest(&[("/bin/busybox", "")]);
        let store = read(&guest);
        assert_eq!(store, Store::default());
        assert_eq!(store.fault(None), None);
        let why = store.fault(Some(true)).unwrap();
        assert!(
            why.starts_with("the image has no certificate authorities")
                && why.contains("certificates = false")
        );
        let used = Store { user: "/usr/lib64/libgnutls.so.30".to_owned(), ..Store::default() };
        assert!(used.fault(None).is_some());
        assert_eq!(used.fault(Some(false)), None);
    }

    #[tokio::test]
    async fn cloud_init_may_yet_write_them() {
        let (_root, guest) = guest(&[LIBRARY, (BUNDLE, ""), ("/run/cloud-init/enabled", "")]);
        let seen = look(&guest, None, Instant::now() + Duration::from_secs(2)).await;
        assert!(seen.unsettled, "{seen:?}");
        let write = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            fs::write(guest.path(BUNDLE), authority()).unwrap();
            fs::write(guest.path("/run/cloud-init/result.json"), "{}").unwrap();
        };
        let (seen, ()) = tokio::join!(look(&guest, None, Instant::now() + Duration::from_mins(1)), write);
        assert!(!seen.unsettled && seen.fault(None).is_none(), "{seen:?}");
    }
}
