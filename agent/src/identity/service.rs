//! The metadata service of the cloud.

use std::net::SocketAddr;
use std::time::Duration;

use hyper::StatusCode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Answer;
use crate::{http, text};

const PATH: &str = "/openstack/latest/meta_data.json";
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks once.
pub(super) async fn ask(service: SocketAddr) -> Answer {
    let asked = timeout(PATIENCE, async {
        let stream = TcpStream::connect(service).await?;
        http::get(stream, &service.to_string(), PATH).await
    });
    match asked.await {
        Err(_) => Answer::None("no answer".to_owned()),
        Ok(Err(error)) => Answer::None(text::with_causes(&error)),
        Ok(Ok(response)) => judge(response.status, response.body),
    }
}

fn judge(status: StatusCode, body: Vec<u8>) -> Answer {
    // Also what Amazon's and others' services say when they are asked in OpenStack's way.
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        return Answer::Denied(format!("answers {status}"));
    }
    if !status.is_success() {
        return Answer::None(format!("answers {status}"));
    }
    match String::from_utf8(body) {
        Ok(text) if text.trim_start().starts_with('{') => Answer::MetaData(text),
        _ => Answer::Denied("is not OpenStack's".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert!(matches!(judge(StatusCode::OK, b" {}".to_vec()), Answer::MetaData(_)));
        assert!(matches!(judge(StatusCode::OK, b"<html>".to_vec()), Answer::Denied(_)));
        assert!(matches!(judge(StatusCode::NOT_FOUND, Vec::new()), Answer::Denied(_)));
        assert!(matches!(judge(StatusCode::BAD_GATEWAY, Vec::new()), Answer::None(_)));
        assert!(matches!(judge(StatusCode::TOO_MANY_REQUESTS, Vec::new()), Answer::None(_)));
    }
}
