//! The control service through server reflection, with a client that has no proto files: PyPI's grpcio.

use std::path::Path;
use std::process::Command;

use super::harness::{Place, repository, text};

/// A Python that has grpcio and grpcio-reflection; `setup/install test` makes it.
pub(crate) const PYTHON: &str = "/opt/image-manager/test/bin/python3";

#[test]
fn trigger_and_watch_work_through_reflection() {
    assert!(Path::new(PYTHON).exists(), "{PYTHON} is missing: run `setup/install test` first");
    let place = Place::tiny("checks = {}\nimage.environment = { TINY_BUILD_SECONDS = \"8\" }");
    let serving = place.serve();
    let script = repository().join("manager/tests/pipeline/reflection_client.py");
    let output = Command::new(PYTHON).arg(script).arg(&serving.operator).output().unwrap();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}\n{}", place.serve_log());
    assert!(out.contains("all of it works"), "{out}{err}");
    assert_eq!(place.latest()["state"], "succeeded");
    assert_eq!(serving.terminate(), Some(0));
    place.assert_nothing_left();
}
