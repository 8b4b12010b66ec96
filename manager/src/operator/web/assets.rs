//! Style sheet, script and icon: in the program, at addresses that change with what they contain.

use std::sync::OnceLock;

use axum::extract::{Path, RawQuery};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

/// The charts' colours first, so that the page's own come out on top.
const STYLE: &str = concat!(
    include_str!("../charts/charts.css"),
    "\n",
    include_str!("assets/style.css"),
    "\n",
    include_str!("assets/narrow.css")
);
const SCRIPT: &str = include_str!("assets/app.js");
const ICON: &str = include_str!("assets/icon.svg");

/// Eight digits that change with any of the assets.
fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let mut hash = Sha256::new();
        for asset in [STYLE, SCRIPT, ICON] {
            hash.update(asset);
        }
        let mut digits = image_manager_proto::hex(&hash.finalize());
        digits.truncate(8);
        digits
    })
}

/// Where an asset is.
pub(super) fn address(name: &str) -> String {
    format!("/assets/{name}?v={}", version())
}

/// An asset. One asked for with its version never changes.
pub(super) async fn serve(Path(name): Path<String>, RawQuery(query): RawQuery) -> Response {
    let (kind, content) = match name.as_str() {
        "style.css" => ("text/css; charset=utf-8", STYLE),
        "app.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        _ => return (StatusCode::NOT_FOUND, "no such asset\n").into_response(),
    };
    let current = query.is_some_and(|query| query == format!("v={}", version()));
    let cache = if current { "public, max-age=31536000, immutable" } else { "no-cache" };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], content).into_response()
}
