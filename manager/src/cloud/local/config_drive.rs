//! The config drive of a server: what Nova would tell it about itself, as an ISO 9660 file system with the
//! label `config-2`.

use std::collections::BTreeMap;

use chrono::Utc;
use serde_json::json;

use super::{iso9660, server_key};
use crate::cloud::{CloudError, Trouble};

/// The label by which cloud-init and the agent find it.
const LABEL: &str = "config-2";

/// What goes on the drive.
pub(super) struct Instance<'a> {
    /// The server's id.
    pub(super) uuid: &'a str,
    /// The server's name.
    pub(super) name: &'a str,
    /// Hardware address of its only network card.
    pub(super) mac: &'a str,
    /// Instance metadata; holds the agent's token.
    pub(super) metadata: &'a BTreeMap<String, String>,
    /// The line of the server's own public key.
    pub(super) public_key: &'a str,
    /// For cloud-init, as it stands in the schedule.
    pub(super) user_data: Option<&'a str>,
}

/// The bytes of the drive.
pub(super) fn image(instance: &Instance<'_>) -> Result<Vec<u8>, CloudError> {
    let meta_data = json!({
        "uuid": instance.uuid,
        "name": instance.name,
        "hostname": hostname(instance.name),
        "availability_zone": "nova",
        "launch_index": 0,
        "public_keys": { server_key::NAME: instance.public_key },
        "keys": [{ "name": server_key::NAME, "type": "ssh", "data": instance.public_key }],
        "meta": instance.metadata,
    });
    let network_data = json!({
        "links": [{
            "id": "tap0",
            "type": "phy",
            "mtu": 1500,
            "ethernet_mac_address": instance.mac,
        }],
        "networks": [{ "id": "network0", "type": "ipv4_dhcp", "link": "tap0", "network_id": "local" }],
        "services": [],
    });
    let mut files = BTreeMap::from([
        ("openstack/latest/meta_data.json".to_owned(), meta_data.to_string().into_bytes()),
        ("openstack/latest/network_data.json".to_owned(), network_data.to_string().into_bytes()),
        ("openstack/latest/vendor_data.json".to_owned(), b"{}".to_vec()),
    ]);
    if let Some(user_data) = instance.user_data {
        files.insert("openstack/latest/user_data".to_owned(), user_data.as_bytes().to_vec());
    }
    iso9660::write(LABEL, &files, Utc::now())
        .map_err(|error| CloudError::new(Trouble::Configuration, error.to_string()))
}

/// A name that a host may have: letters, digits and `-`.
fn hostname(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(legal).take(63).collect::<String>().trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_carries_the_metadata_and_the_user_data() {
        let metadata = BTreeMap::from([("image_manager_token".to_owned(), "s3\"cret".to_owned())]);
        let instance = Instance {
            uuid: "u-1",
            name: "image-manager-1",
            mac: "fa:16:3e:00:00:01",
            metadata: &metadata,
            public_key: "ssh-ed25519 AAAAx image-manager",
            user_data: Some("#cloud-config\n"),
        };
        let bytes = image(&instance).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(r#""meta":{"image_manager_token":"s3\"cret"}"#));
        // As Nova writes those of a key pair: cloud-init reads the first.
        assert!(text.contains(r#""public_keys":{"image-manager":"ssh-ed25519 AAAAx image-manager"}"#));
        let key = r#""data":"ssh-ed25519 AAAAx image-manager","name":"image-manager","type":"ssh""#;
        assert!(text.contains(key), "{text}");
        assert!(text.contains(r#""ethernet_mac_address":"fa:16:3e:00:00:01""#));
        assert!(text.contains("#cloud-config\n"));
        assert!(text.contains("user_data") && text.contains("USER_DATA.;1"));
        let without = image(&Instance { user_data: None, ..instance }).unwrap();
        assert!(!String::from_utf8_lossy(&without).contains("user_data"));
    }

    #[test]
    fn a_host_name_is_made_of_a_server_name() {
        assert_eq!(hostname("Image_manager.1-"), "image-manager-1");
    }
}
