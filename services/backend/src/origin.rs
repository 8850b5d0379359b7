//! Refuses writes that another site's page makes in the user's browser (cross-site request forgery).
//!
//! A token never comes by itself, as a cookie would, but where there are no accounts a request needs none.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    middleware::Next,
    response::Response,
};

use crate::error::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

pub async fn refuse_other_sites(
    State(allowed): State<Vec<HeaderValue>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS];
    if !reads.contains(request.method()) && !is_own(request.headers(), &allowed) {
        let message = "the page that asks for this is of another site; set CORS_ORIGINS to its origin to let it in";
        return Err(ApiError::Forbidden("other_site", message));
    }
    Ok(next.run(request).await)
}

/// Whether the request is from a page of ours, of an allowed origin, or from no page at all. Browsers set these headers, and
/// no page can change them.
fn is_own(headers: &HeaderMap, allowed: &[HeaderValue]) -> bool {
    let origin = headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| allowed.contains(origin)) {
        return true;
    }
    match (headers.get(FETCH_SITE), origin) {
        // The browser knows best: a proxy may have changed the host.
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let host = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
            let hosts =
                [FORWARDED_HOST, header::HOST].map(|name| headers.get(name).and_then(|host| host.to_str().ok()));
            host.is_some_and(|host| hosts.into_iter().flatten().any(|own| own.eq_ignore_ascii_case(host)))
        }
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_other_origins_are_known_by_their_headers() {
        let allowed = [HeaderValue::from_static("http://page:3000")];
        for (headers, wanted) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://page:3000")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://evil"), ("host", "evil")], false),
            (&[("sec-fetch-site", "same-origin"), ("origin", "http://own"), ("host", "upstream")], true),
            (&[("origin", "http://page:3000")], true),
            (&[("origin", "http://page:3001")], false),
            (&[("origin", "http://own:30080"), ("host", "own:30080")], true),
            (&[("origin", "https://Own"), ("host", "own")], true),
            (&[("origin", "http://own:1"), ("host", "own:2")], false),
            (&[("origin", "http://own"), ("host", "backend:8000"), ("x-forwarded-host", "own")], true),
            (&[("origin", "null"), ("host", "null")], false),
            (&[("origin", "http://evil"), ("host", "own")], false),
        ] {
            let pairs =
                headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            assert_eq!(is_own(&HeaderMap::from_iter(pairs), &allowed), wanted, "{headers:?}");
        }
    }
}
