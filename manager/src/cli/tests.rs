//! What the command line knows of itself, compared with what is written about it.

use std::collections::BTreeSet;
use std::path::Path;

use clap::{Command, CommandFactory as _};

use super::arguments::Arguments;
use crate::reason::Reason;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn verbs() -> Vec<Command> {
    let mut program = Arguments::command();
    program.build();
    program.get_subcommands().filter(|verb| verb.get_name() != "help").cloned().collect()
}

#[test]
fn the_command_line_is_sound() {
    Arguments::command().debug_assert();
}

#[test]
fn what_run_has_besides_verify_stands_among_its_options() {
    let mut run = verbs().into_iter().find(|verb| verb.get_name() == "run").unwrap();
    let help = run.render_long_help().to_string();
    let at = |text: &str| help.find(text).unwrap_or_else(|| panic!("no {text} in\n{help}"));
    let order = ["--verbose", "--force", "--keep-disk", "--api-token-file", "This host:", "Log:"].map(at);
    assert!(order.is_sorted(), "{help}");
}

/// What people are told to do next can be done.
#[test]
fn commands_in_hints_are_ours() {
    let mut commands = 0;
    for reason in Reason::ALL {
        let code = reason.hint().split('`').skip(1).step_by(2);
        for code in code.filter(|code| code.starts_with("image-manager ")) {
            let parsed = Arguments::command().try_get_matches_from(code.split(' '));
            assert!(parsed.is_ok(), "{reason}: {code}: {}", parsed.unwrap_err());
            commands += 1;
        }
    }
    assert!(commands > 5, "{commands}");
}

#[test]
fn every_verb_and_every_argument_says_what_it_is() {
    for verb in verbs() {
        let name = verb.get_name();
        let about = verb.get_about().expect(name).to_string();
        assert!(about.len() > 15 && !about.ends_with('.'), "{name}: {about:?}");
        assert!(about.starts_with(char::is_uppercase), "{name}: {about:?}");
        for argument in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
            let id = format!("{name} {}", argument.get_id());
            let help = argument.get_help().unwrap_or_else(|| panic!("{id} has no help")).to_string();
            assert!(help.starts_with(char::is_uppercase) && !help.ends_with('.'), "{id}: {help:?}");
        }
    }
}

#[test]
fn config_env_example_has_every_variable_and_no_other() {
    let known: BTreeSet<String> = verbs()
        .iter()
        .flat_map(Command::get_arguments)
        .filter_map(|argument| Some(argument.get_env()?.to_str().unwrap().to_owned()))
        .collect();
    let example = std::fs::read_to_string(repository().join("config.env.example")).unwrap();
    for line in example.lines().filter(|line| line.starts_with("#IMAGE_MANAGER_")) {
        // systemd would take a comment behind a value for a part of it.
        assert!(!line.contains(char::is_whitespace), "{line}");
    }
    let shown: BTreeSet<String> = example
        .lines()
        .filter_map(|line| line.strip_prefix('#')?.split_once('=').map(|(name, _)| name.to_owned()))
        .filter(|name| name.starts_with("IMAGE_MANAGER_"))
        .collect();
    assert_eq!(shown, known, "left: config.env.example, right: the command line");
}

#[test]
fn variables_have_the_names_of_their_flags() {
    for verb in verbs() {
        for argument in verb.get_arguments() {
            let Some(variable) = argument.get_env() else { continue };
            let flag = argument.get_long().unwrap().to_uppercase().replace('-', "_");
            assert_eq!(variable.to_str().unwrap(), format!("IMAGE_MANAGER_{flag}"));
        }
    }
}
