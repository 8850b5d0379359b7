use std::str::FromStr;

use axum::http::{HeaderValue, Uri};
use kit::env::{Env, comma_list, whole_number};
use sqlx::postgres::PgConnectOptions;

#[derive(Clone, Debug)]
pub struct Config {
    pub database: PgConnectOptions,
    pub database_max_connections: u32,
    pub cors_origins: Vec<HeaderValue>,
}

pub fn read(env: &mut Env) -> Option<Config> {
    let database = env.required("DATABASE_URL", "postgres://USER:PASSWORD@HOST:PORT/NAME", database_url);
    let database_max_connections =
        env.optional("DATABASE_MAX_CONNECTIONS", 10, "a number, 1 to 500", |value| whole_number(value, 1, 500));
    let mut cors_origins =
        env.optional("CORS_ORIGINS", Vec::new(), "origins with commas between, http://HOST:PORT,…", origins);
    for name in ["FRONTEND_ORIGIN", "FRONTEND_URL"] {
        let origin = env.optional(name, None, "an origin, http://HOST:PORT", |value| parse_origin(value).map(Some));
        cors_origins = cors_origins.zip(origin).map(|(mut origins, origin)| {
            origins.extend(origin);
            origins
        });
    }
    Some(Config {
        database: database?,
        database_max_connections: database_max_connections?,
        cors_origins: cors_origins?,
    })
}

fn database_url(value: &str) -> Result<PgConnectOptions, String> {
    if !value.starts_with("postgres://") && !value.starts_with("postgresql://") {
        return Err("doesn't begin with postgres://".to_owned());
    }
    // The parser's own error could hold a part of the password.
    let options = PgConnectOptions::from_str(value).map_err(|_| "is not a database URL".to_owned())?;
    if options.get_database().is_none() {
        return Err("names no database".to_owned());
    }
    Ok(options)
}

fn origins(value: &str) -> Result<Vec<HeaderValue>, String> {
    comma_list(value).iter().map(|origin| parse_origin(origin)).collect()
}

fn parse_origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || format!("holds «{text}», which is not an origin");
    let uri: Uri = text.trim_end_matches('/').parse().map_err(|_| wrong())?;
    let origin = match (uri.scheme_str(), uri.authority(), uri.path()) {
        (Some(scheme @ ("http" | "https")), Some(authority), "" | "/") => format!("{scheme}://{authority}"),
        _ => return Err(wrong()),
    };
    HeaderValue::from_str(&origin).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let mut env = Env::of_pairs(pairs);
        let config = read(&mut env);
        env.finish(config)
    }

    #[test]
    fn a_database_url_is_enough() {
        let config = config(&[("DATABASE_URL", "postgres://todo:secret@postgres:5432/todo")]).unwrap();
        assert_eq!(config.database.get_host(), "postgres");
        assert_eq!(config.database_max_connections, 10);
        assert!(config.cors_origins.is_empty());
    }

    #[test]
    fn all_mistakes_are_told_and_no_password() {
        let mistakes = config(&[
            ("DATABASE_URL", "mysql://todo:sentinel@postgres/todo"),
            ("DATABASE_MAX_CONNECTIONS", "many"),
            ("CORS_ORIGINS", "http://a:1, b"),
        ])
        .unwrap_err();
        assert_eq!(
            mistakes,
            [
                "DATABASE_URL doesn't begin with postgres://; set it to postgres://USER:PASSWORD@HOST:PORT/NAME",
                "DATABASE_MAX_CONNECTIONS is not a whole number in range; set it to a number, 1 to 500",
                "CORS_ORIGINS holds «b», which is not an origin; set it to origins with commas between, \
                 http://HOST:PORT,…",
            ]
        );
        for url in ["postgres://todo:sentinel@postgres", "postgres://todo:sentinel@postgres:port/todo"] {
            let mistakes = config(&[("DATABASE_URL", url)]).unwrap_err();
            assert_eq!(mistakes.len(), 1);
            assert!(!mistakes[0].contains("sentinel"), "{mistakes:?}");
        }
    }

    #[test]
    fn the_frontends_own_origin_is_one_more() {
        let url = ("DATABASE_URL", "postgres://todo:secret@postgres/todo");
        let own = [("FRONTEND_ORIGIN", "http://localhost"), ("FRONTEND_URL", "http://localhost:3000/")];
        let origins = config(&[url, ("CORS_ORIGINS", "http://a:1"), own[0], own[1]]).unwrap().cors_origins;
        assert_eq!(origins, ["http://a:1", "http://localhost", "http://localhost:3000"]);
        let mistakes = config(&[url, ("FRONTEND_URL", "http://a:1,http://b:2"), ("FRONTEND_ORIGIN", "a")]).unwrap_err();
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    }

    #[test]
    fn origins_are_made_plain() {
        let url = ("DATABASE_URL", "postgres://todo:secret@postgres/todo");
        let config = config(&[url, ("CORS_ORIGINS", "http://localhost:3000/,https://todo.example")]).unwrap();
        assert_eq!(config.cors_origins, ["http://localhost:3000", "https://todo.example"]);
    }
}
