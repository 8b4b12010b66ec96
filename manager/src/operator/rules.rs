//! What each thing on the operator port asks for: the one table. What is served and not in it asks for an admin; that there
//! is nothing at an address is told to whoever may read.

use axum::http::Method;

use super::access::Role;
use super::web;

/// What is asked of whoever comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nothing,
    /// A role.
    Role(Role),
}

/// Where the control service's methods are.
const CONTROL: &str = "/image_manager.v1.ImageManager/";
/// Where the health service's methods are.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// Where gRPC's own services are, reflection among them.
const GRPC: &str = "/grpc.";

/// The control service's methods.
const METHODS: [(&str, Role); 18] = [
    ("GetBuild", Role::Viewer),
    ("ListBuilds", Role::Viewer),
    ("WatchBuild", Role::Viewer),
    ("ListSchedules", Role::Viewer),
    ("GetReport", Role::Viewer),
    ("CompareBuilds", Role::Viewer),
    ("ListImages", Role::Viewer),
    ("RollBack", Role::Operator),
    ("PromoteBuild", Role::Operator),
    ("RevokeBuild", Role::Operator),
    ("TriggerBuild", Role::Operator),
    ("CancelBuild", Role::Operator),
    ("PauseSchedule", Role::Operator),
    ("ResumeSchedule", Role::Operator),
    ("CreateLoginLink", Role::Viewer),
    ("CreateToken", Role::Admin),
    ("ListTokens", Role::Admin),
    ("RevokeToken", Role::Admin),
];

/// What is there besides services and pages.
const OTHERS: [(&str, Need); 2] = [("/healthz", Need::Nothing), ("/metrics", Need::Role(Role::Viewer))];

/// What a request asks for. `served`: whether a route takes its path.
pub(super) fn need(method: &Method, path: &str, served: bool) -> Need {
    if let Some(name) = path.strip_prefix(CONTROL) {
        let found = METHODS.iter().find(|(method, _)| *method == name);
        return Need::Role(found.map_or(Role::Admin, |(_, role)| *role));
    }
    if path.starts_with(HEALTH) {
        return Need::Nothing;
    }
    if path.starts_with(GRPC) {
        return Need::Role(Role::Viewer);
    }
    if let Some((_, need)) = OTHERS.iter().find(|(other, _)| *other == path) {
        return *need;
    }
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let route = web::ROUTES.iter().find(|route| fits(route.path, path));
    let other = if served { Role::Admin } else { Role::Viewer };
    route.map_or(Need::Role(other), |route| if reads { route.reads } else { route.acts })
}

/// Whether a path is one of a service: those take POST only (the gRPC protocol's "Request-Headers").
pub(super) fn is_of_service(path: &str) -> bool {
    path.starts_with(CONTROL) || path.starts_with(GRPC)
}

/// Whether a path fits a route's pattern, in which `{name}` stands for one part.
fn fits(pattern: &str, path: &str) -> bool {
    let mut parts = path.split('/');
    let fit = pattern.split('/').all(|wanted| {
        let part = parts.next();
        if wanted.starts_with('{') { part.is_some_and(|part| !part.is_empty()) } else { part == Some(wanted) }
    });
    fit && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_of_the_service_has_a_role_and_no_other() {
        let pool = prost_reflect::DescriptorPool::decode(image_manager_proto::FILE_DESCRIPTOR_SET).unwrap();
        let service = pool.get_service_by_name("image_manager.v1.ImageManager").unwrap();
        let there: BTreeSet<String> = service.methods().map(|method| method.name().to_owned()).collect();
        let known: BTreeSet<String> = METHODS.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(there, known);
        assert_eq!(CONTROL, format!("/{}/", service.full_name()));
    }

    #[test]
    fn who_only_reads_does_nothing() {
        let act = ["/build", "/builds/x/cancel", "/schedules/x/pause", "/schedules/x/resume"];
        for path in act {
            assert_eq!(need(&Method::POST, path, true), Need::Role(Role::Operator), "{path}");
        }
        for path in [
            "/",
            "/builds",
            "/builds/x",
            "/builds/x/events",
            "/schedules/x",
            "/metrics",
            "/compare",
            "/images",
            "/api/v1/builds",
            "/api/v1/builds/x",
            "/api/v1/openapi.json",
        ] {
            assert_eq!(need(&Method::GET, path, true), Need::Role(Role::Viewer), "{path}");
        }
        for path in ["/healthz", "/login", "/login/code", "/assets/style.css", "/grpc.health.v1.Health/Check"]
        {
            assert_eq!(need(&Method::GET, path, true), Need::Nothing, "{path}");
        }
        for unknown in ["/nothing", "/builds/", "/builds/x/y", "//", ""] {
            assert_eq!(need(&Method::GET, unknown, true), Need::Role(Role::Admin), "{unknown}");
            assert_eq!(need(&Method::GET, unknown, false), Need::Role(Role::Viewer), "{unknown}");
        }
        for served in [true, false] {
            let other = need(&Method::POST, "/image_manager.v1.ImageManager/Other", served);
            assert_eq!(other, Need::Role(Role::Admin));
            assert_eq!(need(&Method::POST, "/build", served), Need::Role(Role::Operator));
        }
    }
}
