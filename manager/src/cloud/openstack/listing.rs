//! Whole lists. Services give long ones page by page, as long as the service's administrator likes, and half a list
//! is worse than none: a server that is not on it looks as if it were gone.
//!
//! Glance says `next`, the others `<key>_links` with `rel` "next"; all go on after the `marker`, the last one's id.

use serde_json::Value;

use super::answers::{ApiError, list, listed, text};
use super::session::{Call, Session};
use crate::cloud::{CloudError, Trouble};

/// Pages that are read of one list: at a thousand a page more than a project may have.
const PAGES: usize = 100;

impl Session {
    /// All that a service lists under `key`. A list without an end is an error.
    pub(super) async fn list_all(&self, call: &Call, key: &str) -> Result<Vec<Value>, ApiError> {
        let mut found: Vec<Value> = Vec::new();
        let mut marker: Option<String> = None;
        for _ in 0..PAGES {
            let call = match &marker {
                Some(marker) => call.clone().query("marker", marker.as_str()),
                None => call.clone(),
            };
            let page = self.call(&call).await?;
            let items = listed(&page, key)?;
            found.extend_from_slice(items);
            match items.last().map(name_of) {
                Some(last) if goes_on(&page, key) && marker.as_deref() != Some(last) => {
                    marker = Some(last.to_owned());
                }
                Some(_) if goes_on(&page, key) => break,
                _ => return Ok(found),
            }
        }
        let endless = format!("the list of {key} does not end: stopped after {}", found.len());
        Err(ApiError::Known(CloudError::new(Trouble::Fault, endless)))
    }
}

/// What a service calls an entry of its list. Nova's key pairs are wrapped up, and have names only.
fn name_of(item: &Value) -> &str {
    match text(item, "id") {
        "" => item.get("keypair").map_or("", |pair| text(pair, "name")),
        id => id,
    }
}

/// Whether there is another page.
fn goes_on(page: &Value, key: &str) -> bool {
    let links = list(page, &format!("{key}_links"));
    page.get("next").is_some_and(Value::is_string) || links.iter().any(|link| text(link, "rel") == "next")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::cloud::openstack::stage::{self, Stage};
    use crate::cloud::{Cloud as _, ResourceKind};

    /// A project with these servers, one a page, and a port of each in a security group of ours.
    async fn nova(servers: &'static [&'static str]) -> Stage {
        Stage::with(move |request| {
            let target = request.strip_prefix("GET ").unwrap();
            let path = target.split('?').next().unwrap();
            let owner = json!({"image_manager_owner": "me", "image_manager_build": "b"});
            match path {
                "/servers/detail" => {
                    let marker = target.split_once("marker=").map(|(_, marker)| marker);
                    let next = marker.map_or(0, |marker| servers.iter().position(|id| *id == marker).unwrap() + 1);
                    let server = json!({"id": servers[next], "name": "image-manager-b", "metadata": owner});
                    let links = if next + 1 < servers.len() { json!([{"rel": "next", "href": "?"}]) } else { json!([]) };
                    stage::json(&json!({"servers": [server], "servers_links": links}))
                }
                "/v2.0/ports" => {
                    let port = |id: &&str| json!({"id": format!("port-of-{id}"), "device_id": id,
                        "device_owner": "compute:nova", "security_groups": ["g"]});
                    stage::json(&json!({"ports": servers.iter().map(port).collect::<Vec<_>>()}))
                }
                "/v2.0/security-groups" => stage::json(&json!({"security_groups": [
                    {"id": "g", "name": "image-manager-b", "description": "image-manager owner=me build=b"}]})),
                _ => stage::nothing(),
            }
        })
        .await
    }

    #[tokio::test]
    async fn servers_on_later_pages_are_ours_too_and_their_ports_in_use() {
        let stage = nova(&["s1", "s2", "s3"]).await;
        let found = stage.cloud().inventory().await.unwrap();
        let ids = |kind| {
            found
                .iter()
                .filter(move |found| found.kind == kind)
                .filter_map(|found| found.external_id.as_deref())
        };
        assert_eq!(ids(ResourceKind::Server).collect::<Vec<_>>(), ["s1", "s2", "s3"]);
        assert_eq!(ids(ResourceKind::Port).count(), 0, "{found:?}");
        let asked = stage.requests().into_iter().filter(|request| request.starts_with("GET /servers"));
        assert!(asked.clone().all(|request| request.contains("name=")), "the filter goes along");
        assert_eq!(asked.count(), 3);
    }

    #[tokio::test]
    async fn half_a_list_is_an_error() {
        let stage = Stage::with(|request| {
            if !request.starts_with("GET /os-keypairs") {
                return stage::json(&json!({}));
            }
            let pairs = json!([{"keypair": {"name": "image-manager-b"}}]);
            stage::json(&json!({"keypairs": pairs, "keypairs_links": [{"rel": "next", "href": "?"}]}))
        })
        .await;
        let error = stage.cloud().key_pairs_like("image-manager-").await.unwrap_err();
        assert!(error.message.contains("the list of keypairs does not end: stopped after 2"), "{error}");
        let asked = stage.requests().into_iter().filter(|request| request.starts_with("GET /os-keypairs"));
        assert_eq!(asked.count(), 2, "it goes round in a circle, and is not followed");
    }

    #[tokio::test]
    async fn an_answer_without_its_list_is_no_empty_list() {
        let choice = "HTTP/1.1 300 Choices\r\ncontent-length: 15\r\n\r\n{\"choices\": []}";
        for (answer, expected) in [
            (stage::json(&json!({"choices": []})), "has no list `keypairs`"),
            (choice.to_owned(), "a choice of API versions"),
        ] {
            let stage = Stage::with(move |request| match request {
                "GET /" => stage::json(&json!({})),
                _ => answer.clone(),
            })
            .await;
            let error = stage.cloud().key_pairs_like("image-manager-").await.unwrap_err();
            assert_eq!(error.trouble, crate::cloud::Trouble::Configuration);
            assert!(error.message.contains(expected), "{error}");
        }
    }
}
