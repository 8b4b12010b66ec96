//! What tests leave out because this machine lacks something. A test that returns early has passed, and nobody reads what it
//! printed: so `testbed/run` names a file, and says at its end what tests wrote there.

use std::fs::File;
use std::io::Write as _;

/// The variable that names the file.
const VARIABLE: &str = "IMAGE_MANAGER_TEST_LEFT_OUT";

/// Says what is not tested, and why.
#[expect(clippy::print_stderr, reason = "for whoever runs this test alone")]
pub(crate) fn left_out(what: &str) {
    let line = format!("LEFT OUT: {what}\n");
    eprint!("{line}");
    let Some(file) = std::env::var_os(VARIABLE) else { return };
    // In one write: others write there, too.
    File::options().append(true).create(true).open(file).unwrap().write_all(line.as_bytes()).unwrap();
}
