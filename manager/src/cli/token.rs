//! `image-manager token`: the tokens that operators bring.

use std::ffi::OsString;

use image_manager_proto::v1;

use super::arguments::{
    CreateTokenArguments, ListFormat, ListTokensArguments, RevokeTokenArguments, TokenArguments, TokenVerb,
};
use super::instance::{Holder, holder, open_history};
use super::serving::{Answering, find};
use super::table::{self, Column};
use super::text::{self, Painted, Screen, Style};
use super::{Exit, Outcome, Trouble, json, when};
use crate::history::{HistoryError, Principal};
use crate::operator::{Role, TokenError, create_token, revoke_token, token_message, token_of_file};
use crate::untrusted::{Untrusted, csv};

pub(crate) async fn run(arguments: TokenArguments) -> Outcome {
    match arguments.what {
        TokenVerb::Create(create) => self::create(create).await,
        TokenVerb::List(list) => self::list(list).await,
        TokenVerb::Revoke(revoke) => self::revoke(revoke).await,
    }
}

async fn create(arguments: CreateTokenArguments) -> Outcome {
    let role = Role::from(arguments.role);
    // A directory that nobody named would be no manager's, and so would be the token.
    let named = std::env::var_os("IMAGE_MANAGER_STATE").is_some() || is_named(std::env::args_os());
    let text = match find(&arguments.serving, named).await? {
        Answering::Manager { mut client, .. } => {
            let lifetime = arguments.expires.map(prost_types::Duration::try_from).transpose();
            let request = v1::CreateTokenRequest {
                name: arguments.name.clone(),
                role: role.message().into(),
                lifetime: lifetime.map_err(|_| Trouble::usage(TokenError::Lifetime))?,
            };
            client.create_token(request).await?
        }
        Answering::History(history, _lock) => {
            let by = Principal::this_process();
            let made = create_token(&history, &arguments.name, role, arguments.expires, by).await;
            made.map_err(refused)?.text
        }
    };
    text::say!(text);
    text::remark(&format!(
        "This is the token {} ({role}); it is not shown again. Programs send it as `authorization: Bearer TOKEN`.",
        arguments.name
    ));
    Ok(Exit::Done)
}

/// Whether one of these arguments of the program names a state directory.
fn is_named(mut arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.any(|argument| argument == "--state" || argument.as_encoded_bytes().starts_with(b"--state="))
}

async fn revoke(arguments: RevokeTokenArguments) -> Outcome {
    match find(&arguments.serving, false).await? {
        Answering::Manager { mut client, .. } => client.revoke_token(&arguments.name).await?,
        Answering::History(history, _lock) => {
            revoke_token(&history, &arguments.name, Principal::this_process()).await.map_err(refused)?;
        }
    }
    text::say!(format_args!("the token {} is revoked", arguments.name));
    Ok(Exit::Done)
}

fn refused(error: TokenError) -> Trouble {
    match error {
        TokenError::Name(_)
        | TokenError::OfFile
        | TokenError::Lifetime
        | TokenError::History(
            HistoryError::TokenThere(_) | HistoryError::NoToken(_) | HistoryError::TooManyTokens { .. },
        ) => Trouble::usage(error),
        TokenError::Randomness(_) | TokenError::History(_) => Trouble::errored(error),
    }
}

async fn list(arguments: ListTokensArguments) -> Outcome {
    let history = open_history(&arguments.state.state)?;
    let tokens = history.tokens().await.map_err(Trouble::errored)?;
    let tokens = tokens.values().map(token_message).collect();
    let tokens = with_that_of_the_file(tokens, holder(&arguments.state.state).as_ref());
    match arguments.format {
        ListFormat::Table => text::print(&table(&tokens, Style::of_stdout())),
        ListFormat::Json => text::print_document(&json::messages("Token", &tokens)),
        ListFormat::Csv => text::print_document(&separated(&tokens)),
    }
    Ok(Exit::Done)
}

/// All of them, by name, with the one that only the manager that serves knows.
fn with_that_of_the_file(mut tokens: Vec<v1::Token>, holder: Option<&Holder>) -> Vec<v1::Token> {
    if holder.is_some_and(|holder| holder.api_token_file && holder.is_alive()) {
        tokens.push(token_of_file());
        tokens.sort_by(|one, other| one.name.cmp(&other.name));
    }
    tokens
}

const NAME: Column<v1::Token> = ("TOKEN", |token| token.name.clone());
const ROLE: Column<v1::Token> = ("ROLE", |token| role(token).to_owned());
const EXPIRES: Column<v1::Token> = ("EXPIRES", expires);
const CREATED: Column<v1::Token> = ("CREATED", |token| when::exact(token.created_at.as_ref()));
const BY: Column<v1::Token> = ("BY", |token| token.created_by.clone());

/// The layouts, from the widest to the narrowest; the first that fits the terminal is taken.
const LAYOUTS: [&[Column<v1::Token>]; 3] =
    [&[NAME, ROLE, EXPIRES, CREATED, BY], &[NAME, ROLE, EXPIRES, BY], &[NAME, ROLE, EXPIRES]];

fn role(token: &v1::Token) -> &'static str {
    Role::from_message(token.role()).map_or("-", Role::word)
}

fn expires(token: &v1::Token) -> String {
    let Some(end) = token.expires_at else { return "never".to_owned() };
    let over = end.seconds <= crate::clock::now().timestamp();
    if over { "expired".to_owned() } else { when::exact(Some(&end)) }
}

fn table(tokens: &[v1::Token], style: Style) -> Screen {
    table::of(&LAYOUTS, tokens, "no tokens", style, |_, text| Painted::plain(text))
}

fn separated(tokens: &[v1::Token]) -> String {
    let mut out = "name,role,created_at,created_by,expires_at\n".to_owned();
    for token in tokens {
        out.push_str(&csv::row(
            [
                token.name.clone(),
                role(token).to_owned(),
                when::rfc3339(token.created_at.as_ref()),
                token.created_by.clone(),
                when::rfc3339(token.expires_at.as_ref()),
            ]
            .map(Untrusted::from),
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_state_directory_that_was_named_is_made() {
        let named = |arguments: &[&str]| is_named(arguments.iter().map(OsString::from));
        for arguments in [["create", "--state", "state"].as_slice(), &["create", "--state=state"]] {
            assert!(named(arguments), "{arguments:?}");
        }
        assert!(!named(&["create", "--role", "viewer", "state"]));
    }

    #[test]
    fn the_token_of_the_file_is_listed_while_a_manager_takes_it() {
        let names = |holder: Option<Holder>| {
            let token = |name: &str| v1::Token { name: name.to_owned(), ..v1::Token::default() };
            let all = with_that_of_the_file(vec![token("alice"), token("ci")], holder.as_ref());
            all.into_iter().map(|token| token.name).collect::<Vec<_>>()
        };
        let serves = Holder { pid: std::process::id(), operator: None, api_token_file: true };
        assert_eq!(names(Some(serves.clone())), ["alice", "api-token-file", "ci"]);
        for other in [
            None,
            Some(Holder { api_token_file: false, ..serves.clone() }),
            // Above the largest that Linux gives.
            Some(Holder { pid: u32::MAX, ..serves }),
        ] {
            assert_eq!(names(other), ["alice", "ci"]);
        }
        let of_before: Holder = serde_json::from_str(r#"{"pid": 1, "operator": null}"#).unwrap();
        assert!(!of_before.api_token_file);
    }
}
