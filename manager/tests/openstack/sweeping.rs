//! `sweep` on a cloud that other people use too: what carries our mark goes, and nothing else.

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::lab::{Lab, wait_for};

/// What a manager of this owner would have made for a build, and forgotten; service and path of each. `image`: its id, and
/// the build whose id is in it.
fn plant(lab: &Lab, owner: &str, build: &str, (image, baked): (&str, &str)) -> Vec<(&'static str, String)> {
    let name = format!("image-manager-{build}");
    let mut paths = Vec::new();
    let mut add = |service, path: &str, made: &Json| {
        let path = format!("{path}/{}", made["id"].as_str().unwrap());
        lab.plant(service, path.clone());
        paths.push((service, path));
    };
    let description = format!("image-manager owner={owner} build={build}");
    let body = json!({"security_group": {"name": name, "description": description}});
    let group = lab.tenant.make("network", "v2.0/security-groups", "security_group", body);
    add("network", "v2.0/security-groups", &group);
    // Never filled: images are left in any status.
    let body = json!({"name": name, "disk_format": "qcow2", "container_format": "bare",
        "image_manager_owner": owner, "image_manager_build": build});
    add("image", "v2/images", &lab.tenant.make("image", "v2/images", "", body));
    let flavors = lab.tenant.list("compute", "flavors", "flavors");
    let flavor = flavors.iter().find(|flavor| flavor["name"] == "lab.tiny").unwrap();
    let networks = lab.tenant.list("network", "v2.0/networks?name=lab-net", "networks");
    let body = json!({"server": {"name": name, "imageRef": image, "flavorRef": flavor["id"],
        "networks": [{"uuid": networks[0]["id"]}], "security_groups": [{"name": group["id"]}],
        "metadata": {"image_manager_owner": owner, "image_manager_build": baked}}});
    add("compute", "servers", &lab.tenant.make("compute", "servers", "server", body));
    // As Nova would have forgotten it: of a server that is no more, in the build's group.
    let body = json!({"port": {"network_id": networks[0]["id"], "security_groups": [group["id"]],
        "device_id": "11111111-2222-4333-8444-555555555555", "device_owner": "compute:nova"}});
    add("network", "v2.0/ports", &lab.tenant.make("network", "v2.0/ports", "port", body));
    paths
}

/// The id of a build that no history knows.
fn nobodys(number: u32) -> String {
    format!("0199aaaa-0000-7000-{number:04}-{:012}", std::process::id())
}

/// Those of them that are there no more.
fn gone(lab: &Lab, planted: &[(&'static str, String)]) -> Vec<String> {
    let missing =
        planted.iter().filter(|(service, path)| lab.tenant.ask(Method::GET, service, path, None).0 == 404);
    missing.map(|(_, path)| path.clone()).collect()
}

#[test]
fn what_carries_our_mark_goes_and_nothing_else() {
    let Some(lab) = Lab::tiny("") else { return };
    let run = lab.start(&mut lab.command(&["run", "tiny"]));
    // The build of now: its image tells who we are, and it must survive what follows.
    let build = lab.wait_for_state(&["booting"]);
    let image = wait_for("the build's image", || {
        let image = lab.admin.images_of(build["id"].as_str().unwrap()).pop()?;
        (image["status"] == "active").then_some(image)
    });
    let (owner, id) = (image["image_manager_owner"].as_str().unwrap(), image["id"].as_str().unwrap());
    assert!(
        lab.expect(&["sweep", "--cloud", "lab", "--dry-run"], 0).contains("0 resources left over"),
        "nothing yet"
    );

    // Its server booted the image of a build that is under way, as one of a control boot may: it is another's all the same.
    let ours = plant(&lab, owner, &nobodys(1), (id, build["id"].as_str().unwrap()));
    // Of another manager in the same project, whose name begins like ours.
    let theirs = plant(&lab, &format!("{owner}x"), &nobodys(2), (id, &nobodys(2)));
    // A key pair has no place for an owner: of builds that we know nothing of, it is not ours.
    let name = format!("image-manager-{}", nobodys(3));
    lab.tenant.make("compute", "os-keypairs", "keypair", json!({"keypair": {"name": name}}));
    let key = ("compute", format!("os-keypairs/{name}"));
    lab.plant(key.0, key.1.clone());

    let said = lab.expect(&["sweep", "--cloud", "lab", "--dry-run"], 0);
    assert!(
        said.contains("4 resources left over") && gone(&lab, &ours).is_empty(),
        "a dry run only lists: {said}"
    );
    let said = lab.expect(&["sweep", "--cloud", "lab"], 0);
    assert_eq!(said.matches("removed").count(), 4, "{said}");
    assert_eq!(gone(&lab, &ours).len(), ours.len(), "{said}");
    assert_eq!(gone(&lab, &theirs), Vec::<String>::new());
    assert_eq!(gone(&lab, &[key]), Vec::<String>::new());
    run.expect(0);
    // Of one target of a build that we know, and that has ended.
    let name = format!("image-manager-{}-small", build["id"].as_str().unwrap());
    lab.tenant.make("compute", "os-keypairs", "keypair", json!({"keypair": {"name": name}}));
    let key = ("compute", format!("os-keypairs/{name}"));
    lab.plant(key.0, key.1.clone());
    let said = lab.expect(&["sweep", "--cloud", "lab"], 0);
    assert!(said.contains(&name), "{said}");
    assert_eq!(gone(&lab, &[key]).len(), 1, "{said}");
    lab.assert_nothing_left();
}
