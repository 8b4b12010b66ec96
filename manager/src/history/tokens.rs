//! The tokens that operators bring: names, roles and hashes. A token's text is shown to whoever makes it, once, and
//! kept nowhere.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::audit::{About, Action, append};
use super::{History, HistoryError, Principal, now_ms};

/// Most tokens that there may be.
const MOST: u32 = 1000;

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Its name.
    pub name: String,
    /// SHA-256 of its text, lower-case hexadecimal.
    pub hash: String,
    /// The word of its role.
    pub role: String,
    /// When it was made, in milliseconds since the epoch.
    pub created_at: i64,
    /// Who made it.
    pub created_by: String,
    /// From when on it is worth nothing, in milliseconds since the epoch.
    pub expires_at: Option<i64>,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Its name.
    pub name: String,
    /// SHA-256 of its text, lower-case hexadecimal.
    pub hash: String,
    /// The word of its role.
    pub role: &'static str,
    /// From when on it is worth nothing, in milliseconds since the epoch.
    pub expires_at: Option<i64>,
}

impl History {
    /// Keeps a token's hash.
    ///
    /// # Errors
    /// [`HistoryError::TokenThere`] when one has this name, [`HistoryError::TooManyTokens`].
    pub async fn create_token(&self, token: NewToken, by: Principal) -> Result<TokenRecord, HistoryError> {
        self.writer()?
            .run("token:create", move |tx| {
                let tokens = all(tx)?;
                if tokens.contains_key(&token.name) {
                    return Err(HistoryError::TokenThere(token.name));
                }
                if tokens.len() >= MOST as usize {
                    return Err(HistoryError::TooManyTokens { most: MOST });
                }
                let record = TokenRecord {
                    name: token.name,
                    hash: token.hash,
                    role: token.role.to_owned(),
                    created_at: now_ms(),
                    created_by: by.to_string(),
                    expires_at: token.expires_at,
                };
                tx.execute(
                    "INSERT INTO token (name, hash, role, created_at, created_by, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![
                        record.name,
                        record.hash,
                        record.role,
                        record.created_at,
                        record.created_by,
                        record.expires_at
                    ],
                )?;
                let about = About { detail: token.role, ..About::subject(&record.name) };
                append(tx, &by, Action::TokenCreated, about)?;
                Ok(record)
            })
            .await
    }

    /// Forgets a token's hash, so that the token is worth nothing.
    ///
    /// # Errors
    /// [`HistoryError::NoToken`] when none has this name.
    pub async fn revoke_token(&self, name: &str, by: Principal) -> Result<(), HistoryError> {
        let name = name.to_owned();
        self.writer()?
            .run("token:revoke", move |tx| {
                if tx.execute("DELETE FROM token WHERE name = ?1", [&name])? == 0 {
                    return Err(HistoryError::NoToken(name));
                }
                append(tx, &by, Action::TokenRevoked, About::subject(&name))
            })
            .await
    }

    /// All tokens by name, those too whose time is over.
    pub async fn tokens(&self) -> Result<BTreeMap<String, TokenRecord>, HistoryError> {
        self.read(all).await
    }
}

fn all(connection: &Connection) -> Result<BTreeMap<String, TokenRecord>, HistoryError> {
    let text = "SELECT name, hash, role, created_at, created_by, expires_at FROM token";
    let mut statement = connection.prepare_cached(text)?;
    let rows = statement.query_map([], |row| {
        let token = TokenRecord {
            name: row.get(0)?,
            hash: row.get(1)?,
            role: row.get(2)?,
            created_at: row.get(3)?,
            created_by: row.get(4)?,
            expires_at: row.get(5)?,
        };
        Ok((token.name.clone(), token))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_token_is_there_until_it_is_revoked() {
        let directory = tempfile::tempdir().unwrap();
        let history = History::open(&directory.path().join("image-manager.db")).unwrap();
        let token = |name: &str| NewToken {
            name: name.to_owned(),
            hash: format!("hash of {name}"),
            role: "viewer",
            expires_at: None,
        };
        history.create_token(token("ci"), Principal::Manager).await.unwrap();
        let twice = history.create_token(token("ci"), Principal::Manager).await.unwrap_err();
        assert!(matches!(twice, HistoryError::TokenThere(name) if name == "ci"));
        assert_eq!(history.tokens().await.unwrap()["ci"].hash, "hash of ci");
        history.revoke_token("ci", Principal::Manager).await.unwrap();
        let gone = history.revoke_token("ci", Principal::Manager).await.unwrap_err();
        assert!(matches!(gone, HistoryError::NoToken(name) if name == "ci"));
        let rows = history.audit(None, 10).await.unwrap();
        let told: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.subject.as_str())).collect();
        assert_eq!(told, [("token.revoked", "ci"), ("token.created", "ci")], "refused ones are not told");
        history.create_token(token("ci"), Principal::Manager).await.unwrap();
    }
}
