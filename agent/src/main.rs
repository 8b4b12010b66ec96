//! The agent that is baked into an image under test. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    image_manager_agent::started();
    image_manager_agent::arguments::main(std::env::args_os().skip(1))
}
