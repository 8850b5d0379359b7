//! The address of another service.

use std::fmt;

use axum::http::{Uri, uri::PathAndQuery};

/// `http://HOST[:PORT]`, to which paths are appended.
#[derive(Clone, Debug, PartialEq)]
pub struct BaseUrl(String);

impl BaseUrl {
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| "is not a URL".to_owned())?;
        if uri.scheme_str() != Some("http") {
            return Err("doesn't begin with http://".to_owned());
        }
        let authority = uri.authority().ok_or("has no host")?;
        if authority.as_str().contains('@') {
            return Err("holds a user, which is not passed on".to_owned());
        }
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return Err("holds a path or a query".to_owned());
        }
        Ok(Self(format!("http://{authority}")))
    }

    /// `path` begins with a slash and is percent-encoded.
    pub fn join(&self, path: &PathAndQuery) -> Uri {
        format!("{}{path}", self.0).parse().expect("a base URL and a valid path make a valid URL")
    }

    pub fn join_static(&self, path: &'static str) -> Uri {
        self.join(&PathAndQuery::from_static(path))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_a_plain_origin() {
        let base = BaseUrl::parse("http://backend:8000/").unwrap();
        assert_eq!(base.to_string(), "http://backend:8000");
        assert_eq!(base.join_static("/api/tasks?limit=1").to_string(), "http://backend:8000/api/tasks?limit=1");
        for wrong in
            ["backend:8000", "https://backend", "http://", "http://b/path", "http://b?x=1", "http://u:p@b", "a b"]
        {
            assert!(BaseUrl::parse(wrong).is_err(), "{wrong}");
        }
    }
}
