//! What stands before everything on the operator port, gRPC included: a page of another site must not make a
//! browser act here, and the answers tell browsers what they may do with them.
//!
//! Root is let in on loopback by the kernel's word, and root's browser reaches the port for every page that it
//! shows. So two things are looked at:
//! - `Host`, for those who bring neither token nor session (`gate.rs` asks): a name that an attacker points at
//!   127.0.0.1 (DNS rebinding) is none of ours;
//! - `Sec-Fetch-Site`, else `Origin`: what another site asks for, other than to read, is refused.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tonic::Status;

/// No inline script or style, nothing from elsewhere, in nobody's frame.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every answer. The referrer policy keeps `Origin` on our own forms, which `no-referrer` would not.
const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", CONTENT_POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// What is said to whoever brings no token and names another host.
pub(super) const FOREIGN_HOST: &str = "without a token, this port answers only to localhost and 127.0.0.1, and not \
     through a proxy: use one of these names, or send a token";

/// Refuses what another site may have made a browser ask for; sets the headers of the answer.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let refused = refusal(request.method(), authority(&request), request.headers());
    let mut response = match refused {
        None => next.run(request).await,
        Some(why) if is_grpc(request.headers()) => Status::permission_denied(why).into_http(),
        Some(why) => (StatusCode::FORBIDDEN, format!("{why}\n")).into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whether a request speaks gRPC.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The host and port that was asked: HTTP/2 has them in the address, HTTP/1 in a header.
pub(super) fn authority(request: &Request) -> Option<&str> {
    let of_address = request.uri().authority().map(axum::http::uri::Authority::as_str);
    of_address.or_else(|| text(request.headers(), header::HOST.as_str()))
}

/// A header that is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Why a request is refused.
fn refusal(method: &Method, authority: Option<&str>, headers: &HeaderMap) -> Option<&'static str> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let ours = match (text(headers, "sec-fetch-site"), headers.get(header::ORIGIN)) {
        // `same-site` is not enough: other ports of localhost are of the same site.
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.to_str().is_ok_and(|origin| is_origin(origin, authority)),
        // No browser.
        (None, None) => true,
    };
    (!ours).then_some("the request comes from a page of another site")
}

fn is_origin(origin: &str, authority: Option<&str>) -> bool {
    let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some() && host == authority
}

/// Whether `host` or `host:port` can only be this machine.
pub(super) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(method: &Method, host: &str, headers: &[(&'static str, &str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
            .collect();
        refusal(method, Some(host), &headers).is_none()
    }

    #[test]
    fn a_name_that_points_here_is_not_ours() {
        for host in ["localhost:8080", "127.0.0.1", "127.0.0.9:80", "[::1]:8080", "LOCALHOST.", "a.localhost"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["evil.example:8080", "10.0.0.1", "localhost.evil.example", "127.0.0.1.evil.example", "", "["]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn another_site_may_only_read() {
        let here = "127.0.0.1:8080";
        let post = |headers: &[(&'static str, &str)]| asks(&Method::POST, here, headers);
        assert!(post(&[]), "curl and gRPC clients");
        assert!(post(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8080")]));
        assert!(post(&[("origin", "http://127.0.0.1:8080")]), "a browser without Sec-Fetch-Site");
        assert!(!post(&[("sec-fetch-site", "cross-site")]));
        assert!(!post(&[("sec-fetch-site", "same-site")]), "another port of this host");
        assert!(!post(&[("origin", "http://evil.example")]));
        assert!(!post(&[("origin", "http://127.0.0.1:9090")]));
        assert!(!post(&[("origin", "null")]));
        assert!(asks(&Method::GET, here, &[("sec-fetch-site", "cross-site")]), "a link");
    }
}
