use super::*;
use crate::cloud::openstack::stage::{self, Stage};
use crate::cloud::{Cloud as _, Resource, ResourceKind};

fn image(id: &str, name: &str, date: &str, published: bool) -> Value {
    let mut image = json!({"id": id, "name": name, "owner": "p", "image_manager_owner": "me", "status": "active",
        "image_build_date": format!("{date}T00:00:00Z"), "os_hidden": true, "visibility": "private", "os_hash_algo": "sha512",
        "os_hash_value": "ab"});
    if published {
        image["image_manager_published"] = json!("pub");
    }
    image
}

/// The new image "n", the current one "c", older ones, and what users made of them; PATCH and DELETE change
/// nothing.
async fn glance() -> Stage {
    glance_with(&[], None).await
}

/// The same, where some of the older ones were revoked, and a server was made from one of them.
async fn glance_with(revoked: &'static [&'static str], in_use: Option<&'static str>) -> Stage {
    Stage::with(move |request| {
        let (method, target) = request.split_once(' ').unwrap();
        let mut snapshot = image("snapshot", "my backup", "2026-10-01", true);
        snapshot["base_image_ref"] = json!("o1");
        let mut of_volume = image("of-volume", "my volume", "2026-10-02", true);
        of_volume["image_manager_image"] = json!("o1");
        let mut all = [
            image("c", "pub", "2026-11-03", true),
            image("o2", "pub (2026-11-02)", "2026-11-02", true),
            image("o1", "pub (2026-11-01)", "2026-11-01", true),
            snapshot,
            of_volume,
        ];
        for image in all.iter_mut().filter(|image| revoked.contains(&text(image, "id"))) {
            image["image_manager_revoked"] = json!("leaked key");
        }
        match (method, target.split('?').next().unwrap()) {
            ("GET", "/v2/images") if target.contains("os_hidden=true") => {
                stage::json(&json!({"images": all}))
            }
            ("GET", "/v2/images") => stage::json(&json!({"images": []})),
            ("GET", "/servers") => {
                let used = in_use.filter(|id| target == format!("/servers?image={id}&limit=1"));
                let server = used.map(|_| json!({"id": "s", "name": "web-1"}));
                stage::json(&json!({"servers": Vec::from_iter(server)}))
            }
            ("GET", "/v2/images/n") => stage::json(&image("n", "image-manager-b", "2026-11-04", false)),
            ("GET", "/v2/images/c") => stage::json(&all[0]),
            ("GET", "/v2/images/o1") => stage::json(&all[2]),
            ("DELETE", "/v2/images/o1" | "/v2/images/o2") => {
                "HTTP/1.1 409 In use\r\ncontent-length: 0\r\n\r\n".to_owned()
            }
            ("GET", "/") | ("PATCH", _) => stage::json(&json!({})),
            other => panic!("{other:?}"),
        }
    })
    .await
}

fn new_image() -> (Image, Publication) {
    let image = Image {
        id: "n".into(),
        name: "image-manager-b".into(),
        sha512: "AB".into(),
        size_bytes: 1,
        virtual_size_bytes: 1,
    };
    (
        image,
        Publication { name: "pub".into(), keep: 1, keep_for: None, visibility: "shared".into(), last: None },
    )
}

fn changes(stage: &Stage) -> Vec<String> {
    stage.requests().into_iter().filter(|request| !request.starts_with("GET")).collect()
}

#[tokio::test]
async fn the_new_image_has_the_name_before_the_old_one_loses_it() {
    let stage = glance().await;
    let (new, publication) = new_image();
    let published = stage.cloud().publish(&new, &publication).await.unwrap();
    assert_eq!(changes(&stage), ["PATCH /v2/images/n", "PATCH /v2/images/c", "DELETE /v2/images/o1"]);
    assert_eq!(published.location, "n");
    assert!(published.own_image && published.removed.is_empty());
    assert!(published.held[0].contains("o1"), "what is in use is held: {:?}", published.held);
    let other = Image { sha512: "cd".into(), ..new };
    assert_eq!(stage.cloud().publish(&other, &publication).await.unwrap_err().trouble, Trouble::Corrupt);
}

/// Glance's administrator may have it keep a SHA-256, and old images have no hash at all.
#[tokio::test]
async fn an_image_is_known_by_its_sha512_whatever_hash_glance_keeps() {
    for hash in [json!({"os_hash_algo": "sha256", "os_hash_value": "ff"}), json!({})] {
        let (kept, noted) = (hash.clone(), "/image_manager_sha512");
        let stage = Stage::with(move |request| {
            let mut there = image("n", "image-manager-b", "2026-11-04", false);
            let older = image("o1", "pub (2026-11-01)", "2026-11-01", true);
            for key in ["os_hash_algo", "os_hash_value"] {
                there[key] = kept.get(key).cloned().unwrap_or_default();
            }
            match request.split('?').next().unwrap() {
                "GET /v2/images/n" => stage::json(&there),
                "GET /v2/images" if request.contains("os_hidden=false") => {
                    there["name"] = json!("pub");
                    there["image_manager_published"] = json!("pub");
                    there["image_manager_sha512"] = json!("AB");
                    stage::json(&json!({"images": [there]}))
                }
                "GET /v2/images" => stage::json(&json!({"images": [older]})),
                _ => stage::json(&json!({})),
            }
        })
        .await;
        let ((new, publication), cloud) = (new_image(), stage.cloud());
        cloud.publish(&new, &publication).await.unwrap();
        let patch = stage.body_of("PATCH /v2/images/n");
        let written = patch.as_array().unwrap().iter().find(|change| change["path"] == noted);
        assert_eq!(written.unwrap()["value"], "AB", "{hash}: {patch}");
        let named = cloud.named("pub").await.unwrap();
        let known: Vec<_> = named.iter().map(|image| (&*image.location, &*image.sha512)).collect();
        assert_eq!(known, [("n", "ab"), ("o1", "ab")], "{hash}");
    }
    let (stage, (new, publication)) = (glance().await, new_image());
    stage.cloud().publish(&new, &publication).await.unwrap();
    let patch = stage.body_of("PATCH /v2/images/n").to_string();
    assert!(!patch.contains("sha512"), "Glance has it: {patch}");
}

#[tokio::test]
async fn an_older_image_stays_while_it_is_young_enough() {
    let stage = glance().await;
    let (new, publication) = new_image();
    let century = Some(std::time::Duration::from_hours(100 * 366 * 24));
    let young = Publication { keep: 0, keep_for: century, ..publication };
    let published = stage.cloud().publish(&new, &young).await.unwrap();
    assert_eq!(changes(&stage), ["PATCH /v2/images/n", "PATCH /v2/images/c"]);
    assert_eq!(published.held, Vec::<String>::new());
    let old = Publication { keep_for: Some(std::time::Duration::from_secs(1)), ..young };
    let published = stage.cloud().publish(&new, &old).await.unwrap();
    assert_eq!(published.held.len(), 2, "what cannot be removed is told: {:?}", published.held);
}

#[tokio::test]
async fn an_image_that_a_server_was_made_from_stays_and_is_told() {
    let stage = glance_with(&[], Some("o1")).await;
    let (_, publication) = new_image();
    let pruned = stage.cloud().prune(&publication).await.unwrap();
    assert!(changes(&stage).is_empty(), "Glance is not asked to delete it: {:?}", changes(&stage));
    let [held] = &pruned.held[..] else { panic!("{pruned:?}") };
    assert_eq!(held.why, "image pub (2026-11-01) (o1) is in use by server web-1 (s)");
    // Where Nova does not say, nothing goes either.
    let silent = Stage::with(|request| match request.split('?').next().unwrap() {
        "GET /v2/images" if request.contains("os_hidden=true") => {
            let all =
                [image("c", "pub", "2026-11-03", true), image("o1", "pub (2026-11-01)", "2026-11-01", true)];
            stage::json(&json!({"images": all}))
        }
        "GET /v2/images" => stage::json(&json!({"images": []})),
        "GET /" => stage::json(&json!({})),
        _ => "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let pruned = silent.cloud().prune(&Publication { keep: 0, ..publication }).await.unwrap();
    assert!(changes(&silent).is_empty(), "{:?}", changes(&silent));
    assert!(pruned.held[0].why.contains("asking for servers"), "{pruned:?}");
}

#[tokio::test]
async fn a_revoked_image_takes_no_good_ones_place() {
    let stage = glance_with(&["o2"], None).await;
    let (_, publication) = new_image();
    assert_eq!(stage.cloud().prune(&publication).await.unwrap(), Pruned::default());
    assert!(changes(&stage).is_empty(), "{:?}", changes(&stage));
    let none = Publication { keep: 0, ..publication };
    stage.cloud().prune(&none).await.unwrap();
    assert_eq!(changes(&stage), ["DELETE /v2/images/o2", "DELETE /v2/images/o1"]);
}

#[tokio::test]
async fn older_images_go_without_a_build_and_never_those_of_a_name_that_no_image_has() {
    let stage = glance().await;
    let (_, publication) = new_image();
    let pruned = stage.cloud().prune(&publication).await.unwrap();
    assert_eq!(changes(&stage), ["DELETE /v2/images/o1"]);
    assert_eq!((pruned.held.len(), pruned.held[0].sha512.as_str()), (1, "ab"), "{pruned:?}");
    let lost = Publication { name: "lost".into(), keep: 0, ..publication };
    assert_eq!(stage.cloud().prune(&lost).await.unwrap(), Pruned::default());
    assert_eq!(changes(&stage).len(), 1);
}

#[test]
fn an_image_is_as_old_as_its_build() {
    let mut one = image("o", "pub (1)", "2026-11-02", true);
    assert_eq!(
        built(&one).map(clock::rfc3339_seconds).unwrap(),
        "2026-11-02T00:00:00Z",
        "nobody knows the build"
    );
    one["image_manager_build"] = json!("019a4188-8e00-7000-8000-000000000000");
    assert_eq!(built(&one), clock::began("019a4188-8e00-7000-8000-000000000000"));
    assert!(built(&one) < built(&image("o", "pub (1)", "2026-11-02", true)));
}

#[tokio::test]
async fn an_image_that_has_its_name_is_published_whatever_comes_then() {
    let stage = Stage::with(|request| match request.split('?').next().unwrap() {
        "GET /v2/images/n" => stage::json(&image("n", "image-manager-b", "2026-11-04", false)),
        "PATCH /v2/images/n" => stage::json(&json!({})),
        _ => "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let (new, publication) = new_image();
    let published = stage.cloud().publish(&new, &publication).await.unwrap();
    assert!(published.held[0].contains("listing images"), "{:?}", published.held);
    assert!(!published.own_image, "its row stays open, so that the reconciler settles the name");
}

#[tokio::test]
async fn an_image_that_was_followed_takes_the_name_from_nobody() {
    let stage = glance().await;
    let resource = Resource {
        kind: ResourceKind::Image,
        name: "image-manager-a".into(),
        external_id: Some("o1".into()),
        build_id: "a".into(),
    };
    assert_eq!(stage.cloud().remove(&resource).await.unwrap(), Removal::Gone);
    assert!(changes(&stage).is_empty(), "{:?}", changes(&stage));
}

#[tokio::test]
async fn a_published_image_is_not_removed_by_a_build_that_could_not_say_so() {
    let stage = glance().await;
    let resource = Resource {
        kind: ResourceKind::Image,
        name: "image-manager-b".into(),
        external_id: Some("c".into()),
        build_id: "b".into(),
    };
    assert_eq!(stage.cloud().remove(&resource).await.unwrap(), Removal::Gone);
    assert!(changes(&stage).is_empty());
}

/// The clock was set back between the uploads of "o" and "n".
#[tokio::test]
async fn of_two_with_one_name_that_keeps_it_which_the_history_says_has_it() {
    for (current, loses_it) in [(vec!["n"], "o"), (vec!["o"], "n"), (vec!["another"], "n"), (vec![], "n")] {
        let stage = Stage::with(|request| {
            let named = [image("o", "pub", "2026-11-04", true), image("n", "pub", "2026-11-03", true)];
            match request.split('?').next().unwrap() {
                "GET /v2/images" if request.contains("os_hidden=true") => {
                    stage::json(&json!({"images": named}))
                }
                "GET /v2/images" => stage::json(&json!({"images": []})),
                "GET /v2/images/n" => stage::json(&named[1]),
                _ => stage::json(&json!({})),
            }
        })
        .await;
        let resource = Resource {
            kind: ResourceKind::Image,
            name: "image-manager-b".into(),
            external_id: Some("n".into()),
            build_id: "b".into(),
        };
        let current: Vec<String> = current.into_iter().map(str::to_owned).collect();
        assert_eq!(stage.cloud().remove_beside(&resource, &current).await.unwrap(), Removal::Gone);
        assert_eq!(changes(&stage), [format!("PATCH /v2/images/{loses_it}")], "{current:?}");
    }
}

#[tokio::test]
async fn older_images_hold_up_a_publication_only_for_a_while() {
    let stage = Stage::with(|request| match request.split('?').next().unwrap() {
        "GET /v2/images" if request.contains("os_hidden=true") => {
            stage::json(&json!({"images": [image("o1", "pub (2026-11-01)", "2026-11-01", true)]}))
        }
        "GET /v2/images" => stage::json(&json!({"images": []})),
        "GET /" => stage::json(&json!({})),
        _ => "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n".to_owned(),
    })
    .await;
    let (_, publication) = new_image();
    let none = Publication { keep: 0, ..publication };
    let pruned = stage.cloud().prune_within(Duration::from_secs(1), &none).await;
    assert_eq!(pruned.unwrap_err().trouble, Trouble::Timeout);
    assert!(changes(&stage).is_empty(), "{:?}", changes(&stage));
}
