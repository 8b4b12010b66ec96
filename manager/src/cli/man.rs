//! `image-manager man`: the manual pages, made from what the command line knows of itself.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use super::arguments::{Arguments, ManArguments};
use super::{Exit, Outcome, Trouble, text};

pub(crate) fn run(arguments: &ManArguments) -> Outcome {
    match &arguments.directory {
        Some(directory) => write_all(directory),
        None => print_first(),
    }
}

/// The program's own page; the verbs are on pages of their own.
fn print_first() -> Outcome {
    let mut page = Vec::new();
    Man::new(Arguments::command()).render(&mut page).map_err(Trouble::errored)?;
    text::print_document(&String::from_utf8_lossy(&page));
    Ok(Exit::Done)
}

fn write_all(directory: &Path) -> Outcome {
    let failed =
        |error: std::io::Error| Trouble::usage(format!("cannot write to {}: {error}", directory.display()));
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Arguments::command(), directory).map_err(failed)?;
    text::say!(format_args!("wrote image-manager.1 and a page for each verb to {}", directory.display()));
    Ok(Exit::Done)
}
