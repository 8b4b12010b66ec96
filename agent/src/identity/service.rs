//! The metadata service of the cloud.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Answer, META_DATA};
use crate::{http, text};

const PATIENCE: Duration = Duration::from_secs(5);

/// Asks once for this file.
pub(super) async fn ask(service: SocketAddr, file: &str) -> Answer {
    let asked = timeout(PATIENCE, async {
        let stream = TcpStream::connect(service).await?;
        http::get(stream, &service.to_string(), &format!("/{file}")).await
    });
    match asked.await {
        Err(_) => Answer::None("no answer".to_owned()),
        Ok(Err(error)) => Answer::None(text::with_causes(&error)),
        Ok(Ok(response)) => judge(response.status, &response.body, file == META_DATA),
    }
}

fn judge(status: StatusCode, body: &[u8], is_json: bool) -> Answer {
    // Also what Amazon's and others' services say when they are asked in OpenStack's way.
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Answer::Denied(format!("answers {status}"));
    }
    if !status.is_success() {
        return Answer::None(format!("answers {status}"));
    }
    let text = String::from_utf8_lossy(body);
    if is_json && !text.trim_start().starts_with('{') {
        return Answer::Denied("is not OpenStack's".to_owned());
    }
    Answer::MetaData(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert!(matches!(judge(StatusCode::OK, b" {}", true), Answer::MetaData(_)));
        assert!(matches!(judge(StatusCode::OK, b"<html>", true), Answer::Denied(_)));
        assert!(matches!(judge(StatusCode::OK, b"#cloud-config\n", false), Answer::MetaData(_)));
        assert!(matches!(judge(StatusCode::NOT_FOUND, b"", true), Answer::Denied(_)));
        assert!(matches!(judge(StatusCode::BAD_GATEWAY, b"", true), Answer::None(_)));
        assert!(matches!(judge(StatusCode::TOO_MANY_REQUESTS, b"", true), Answer::None(_)));
    }
}
