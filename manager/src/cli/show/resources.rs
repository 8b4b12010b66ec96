//! What a build made, and what became of it.

use image_manager_proto::v1;

use super::Extent;
use crate::cli::text::{Screen, Style, line};
use crate::cloud::ResourceKind;

/// The state of a resource that was taken away.
const GONE: &str = "gone";

/// All of them, or those that are still there or were given away.
pub(super) fn write(out: &mut Screen, resources: &[v1::Resource], extent: Extent, style: Style) {
    if resources.is_empty() {
        return;
    }
    out.blank();
    let gone = resources.iter().filter(|resource| resource.state == GONE).count();
    line!(out, style.bold("resources"), format_args!("  {gone} of {} gone", resources.len()));
    for resource in resources {
        let (state, kind) = (&resource.state, &resource.kind);
        if extent == Extent::Summary && state == GONE {
            continue;
        }
        line!(out, format_args!("  {state:<9} {kind:<8} {} ({})", resource.name, resource.cloud));
        if let Some(kind) = ResourceKind::parse(&resource.kind).filter(|_| extent == Extent::Details) {
            line!(out, "      ", style.dim(kind.covers(&resource.cloud)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::render;
    use super::*;

    fn resource(kind: &str, state: &str) -> v1::Resource {
        v1::Resource {
            kind: kind.to_owned(),
            name: format!("a-{kind}"),
            cloud: "local".to_owned(),
            state: state.to_owned(),
            ..v1::Resource::default()
        }
    }

    fn shown(complete: bool, extent: Extent) -> String {
        let path = v1::RemovedPath { path: "/usr/local/sbin/agent".to_owned(), ..v1::RemovedPath::default() };
        let removal = v1::Removal { complete, paths: vec![path] };
        let build = v1::Build {
            resources: vec![
                resource("server", GONE),
                resource("image", "published"),
                resource("scratch", "deleting"),
            ],
            agent: Some(v1::Agent { removal: Some(removal), ..v1::Agent::default() }),
            image: Some(v1::Image {
                name: "web".to_owned(),
                sha512: "c0ffee".to_owned(),
                ..v1::Image::default()
            }),
            ..v1::Build::default()
        };
        render(&build, extent, Style::plain()).as_str().to_owned()
    }

    #[test]
    fn a_summary_has_what_is_left_and_details_have_all() {
        let (summary, details) = (shown(true, Extent::Summary), shown(true, Extent::Details));
        for part in
            ["resources  1 of 3 gone\n", "published image", "deleting  scratch", "image web\n", "--details"]
        {
            assert!(summary.contains(part), "{part} is not in\n{summary}");
        }
        for part in ["a-server", "c0ffee", "/usr/local/sbin/agent"] {
            assert!(!summary.contains(part), "{part} is in\n{summary}");
            assert!(details.contains(part) && !details.contains("--details"), "{part} is not in\n{details}");
        }
        let left = shown(false, Extent::Summary);
        assert!(left.contains("/usr/local/sbin/agent"), "what an agent left is always shown:\n{left}");
    }
}
