use std::{fmt, num::NonZeroU32, str::FromStr};

use axum::http::{HeaderValue, Uri};
use jsonwebtoken::Algorithm;
use kit::{
    env::{Env, comma_list, whole_number},
    url::BaseUrl,
};
use sqlx::postgres::PgConnectOptions;

#[derive(Clone, Debug)]
pub struct Config {
    pub database: PgConnectOptions,
    pub database_max_connections: u32,
    pub cors_origins: Vec<HeaderValue>,
    pub auth: AuthConfig,
    pub assistant: AssistantConfig,
    pub limits: LimitsConfig,
}

/// How many of each are taken in a minute, by each replica; none where there is no limit.
#[derive(Clone, Debug)]
pub struct LimitsConfig {
    pub passwords_per_account: Option<NonZeroU32>,
    pub passwords_per_address: Option<NonZeroU32>,
    pub sign_ups_per_address: Option<NonZeroU32>,
    pub messages_per_user: Option<NonZeroU32>,
    /// How many proxies in front add to `X-Forwarded-For` what is believed.
    pub trusted_proxies: usize,
}

/// Who answers in conversations; without a provider it is the built-in grammar.
#[derive(Clone, Debug)]
pub struct AssistantConfig {
    pub provider: Option<ProviderConfig>,
}

#[derive(Clone, Debug)]
pub struct ProviderConfig {
    pub name: &'static str,
    pub url: Uri,
    pub key: Secret,
    pub model: String,
    /// What the model works through.
    pub mcp_url: BaseUrl,
}

/// Whose requests these are, and how that is known.
#[derive(Clone, Debug)]
pub struct AuthConfig {
    pub mode: AuthMode,
    /// The `iss` of tokens; a token with another one, or with none, is refused.
    pub issuer: Option<String>,
    pub expiration_days: u16,
}

#[derive(Clone, Debug)]
pub enum AuthMode {
    /// There is one user, who needn't sign in.
    None,
    /// Tokens are signed and checked with the same secret.
    Hs256 { secret: Secret, algorithm: Algorithm },
    /// Tokens are signed with a key made of the secret, and checked with those that are published at the URL.
    Jwks { secret: Secret, url: Uri },
}

/// Never shown, not even by a debugging line.
#[derive(Clone, PartialEq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
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
    let auth = read_auth(env);
    let assistant = read_assistant(env);
    let limits = read_limits(env);
    Some(Config {
        database: database?,
        database_max_connections: database_max_connections?,
        cors_origins: cors_origins?,
        auth: auth?,
        assistant: assistant?,
        limits: limits?,
    })
}

#[derive(Clone, Copy)]
enum Mode {
    None,
    Hs256,
    Jwks,
}

fn read_auth(env: &mut Env) -> Option<AuthConfig> {
    const A_SECRET: &str = "32 or more random characters";
    let mode = env.optional("AUTH_MODE", Mode::None, "none, hs256 or jwks", |value| match value {
        "none" => Ok(Mode::None),
        "hs256" => Ok(Mode::Hs256),
        "jwks" => Ok(Mode::Jwks),
        _ => Err("is not a mode".to_owned()),
    });
    let algorithm = env.optional("JWT_ALGORITHM", Algorithm::HS256, "HS256, HS384 or HS512", |value| match value {
        "HS256" => Ok(Algorithm::HS256),
        "HS384" => Ok(Algorithm::HS384),
        "HS512" => Ok(Algorithm::HS512),
        _ => Err("is not an algorithm for a shared secret".to_owned()),
    });
    let expiration_days = env.optional("JWT_EXPIRATION_DAYS", 7, "days, 1 to 365", |value| whole_number(value, 1, 365));
    let address = |value: &str| web_address(value).map(|_| Some(value.to_owned()));
    let url = env.optional("BETTER_AUTH_URL", None, "http://HOST:PORT", address);
    let issuer = env.optional("BETTER_AUTH_ISSUER", None, "http://HOST:PORT", address);
    // What a mode doesn't use is not looked at.
    let mode = match mode? {
        Mode::None => Some(AuthMode::None),
        Mode::Hs256 => {
            let secret = match env.optional("JWT_SECRET", None, A_SECRET, |value| secret(value).map(Some))? {
                Some(secret) => Some(secret),
                None => env.required("BETTER_AUTH_SECRET", &format!("{A_SECRET}, or set JWT_SECRET"), secret),
            };
            secret.zip(algorithm).map(|(secret, algorithm)| AuthMode::Hs256 { secret, algorithm })
        }
        Mode::Jwks => {
            let secret = env.required("BETTER_AUTH_SECRET", A_SECRET, secret);
            let url = env.required("BETTER_AUTH_JWKS_URL", "http://HOST:PORT/api/auth/jwks", |value| {
                web_address(value).and_then(|uri| match uri.scheme_str() {
                    Some("http") => Ok(uri),
                    _ => Err("doesn't begin with http://".to_owned()),
                })
            });
            secret.zip(url).map(|(secret, url)| AuthMode::Jwks { secret, url })
        }
    };
    algorithm?;
    let (url, issuer) = (url?, issuer?);
    Some(AuthConfig { mode: mode?, issuer: issuer.or(url), expiration_days: expiration_days? })
}

fn read_limits(env: &mut Env) -> Option<LimitsConfig> {
    let mut per_minute = |name: &str, default: u32| {
        let wanted = "a number per minute, 1 to 100000, or 0 for no limit";
        env.optional(name, NonZeroU32::new(default), wanted, |value| {
            whole_number(value, 0, 100_000).map(NonZeroU32::new)
        })
    };
    let passwords_per_account = per_minute("LIMIT_PASSWORDS_PER_ACCOUNT", 10);
    // Behind the address translation of a cluster, all users may have one address.
    let passwords_per_address = per_minute("LIMIT_PASSWORDS_PER_ADDRESS", 120);
    let sign_ups_per_address = per_minute("LIMIT_SIGN_UPS_PER_ADDRESS", 120);
    let messages_per_user = per_minute("LIMIT_MESSAGES_PER_USER", 120);
    let trusted_proxies =
        env.optional("TRUSTED_PROXIES", 1, "a number of proxies, 0 to 10", |value| whole_number(value, 0, 10));
    Some(LimitsConfig {
        passwords_per_account: passwords_per_account?,
        passwords_per_address: passwords_per_address?,
        sign_ups_per_address: sign_ups_per_address?,
        messages_per_user: messages_per_user?,
        trusted_proxies: trusted_proxies?,
    })
}

#[derive(Clone, Copy)]
enum Choice {
    None,
    OpenAi,
    Groq,
    ByTheKeys,
}

const MCP_WANTED: &str =
    "http://HOST:PORT of the MCP server, through which a language model works, or LLM_PROVIDER to none";

fn read_assistant(env: &mut Env) -> Option<AssistantConfig> {
    let choice =
        env.optional("LLM_PROVIDER", Choice::ByTheKeys, "openai, groq or none, or nothing", |value| match value {
            "none" => Ok(Choice::None),
            "openai" => Ok(Choice::OpenAi),
            "groq" => Ok(Choice::Groq),
            _ => Err("is not a provider".to_owned()),
        });
    let mut has = |name: &str| env.optional(name, None, "a key of the provider", |value| key(value).map(Some));
    let (groq, openai) = (has("GROQ_API_KEY"), has("OPENAI_API_KEY"));
    let base = env.optional("LLM_BASE_URL", None, "https://HOST/v1", |value| completions(value).map(Some));
    let mut model = |name: &str, default: &str| {
        env.optional(name, default.to_owned(), "the name of a model", |value| Ok(value.to_owned()))
    };
    let groq_model = model("GROQ_MODEL", "meta-llama/llama-4-scout-17b-16e-instruct");
    let openai_model = model("OPENAI_MODEL", "gpt-4o-mini");
    // Without a model nothing is asked of it, but a wrong one is a mistake all the same.
    let mcp = env.optional("MCP_SERVER_URL", None, "http://HOST:PORT", |value| BaseUrl::parse(value).map(Some));
    let (choice, groq, openai, base, mcp) = (choice?, groq?, openai?, base?, mcp?);
    let (name, variable, key, model, url) = match (choice, &groq, &openai) {
        (Choice::None, ..) | (Choice::ByTheKeys, None, None) => return Some(AssistantConfig { provider: None }),
        (Choice::Groq, ..) | (Choice::ByTheKeys, Some(_), _) => {
            ("groq", "GROQ_API_KEY", groq, groq_model, "https://api.groq.com/openai/v1")
        }
        (Choice::OpenAi, ..) | (Choice::ByTheKeys, None, Some(_)) => {
            ("openai", "OPENAI_API_KEY", openai, openai_model, "https://api.openai.com/v1")
        }
    };
    let key = match key {
        Some(key) => Some(key),
        None => env.required(variable, "a key of the provider, or LLM_PROVIDER to none", self::key),
    };
    let mcp_url = match mcp {
        Some(url) => Some(url),
        None => env.required("MCP_SERVER_URL", MCP_WANTED, BaseUrl::parse),
    };
    let url = base.unwrap_or_else(|| completions(url).expect("the default is a URL"));
    Some(AssistantConfig { provider: Some(ProviderConfig { name, url, key: key?, model: model?, mcp_url: mcp_url? }) })
}

fn key(value: &str) -> Result<Secret, String> {
    let is_valid = value.bytes().all(|byte| byte.is_ascii_graphic());
    is_valid.then(|| Secret::new(value)).ok_or("holds what no key does".to_owned())
}

/// Where questions go, given what comes before.
fn completions(base: &str) -> Result<Uri, String> {
    let uri = web_address(base)?;
    if uri.query().is_some() {
        return Err("holds a query".to_owned());
    }
    format!("{}/chat/completions", base.trim_end_matches('/')).parse().map_err(|_| "is not a URL".to_owned())
}

fn secret(value: &str) -> Result<Secret, String> {
    // As long as what the weakest of the algorithms makes of it.
    if value.len() < 32 { Err("is shorter than 32 characters".to_owned()) } else { Ok(Secret::new(value)) }
}

fn web_address(value: &str) -> Result<Uri, String> {
    let uri: Uri = value.parse().map_err(|_| "is not a URL".to_owned())?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(authority)) if !authority.as_str().contains('@') => Ok(uri),
        (Some("http" | "https"), Some(_)) => Err("holds a user, which is not passed on".to_owned()),
        _ => Err("doesn't begin with http:// or https://".to_owned()),
    }
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
    let wrong = || format!("holds \"{text}\", which is not an origin");
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
    fn all_mistakes_are_reported_and_no_password() {
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
                "CORS_ORIGINS holds \"b\", which is not an origin; set it to origins with commas between, \
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

    const URL: (&str, &str) = ("DATABASE_URL", "postgres://todo:secret@postgres/todo");
    const SECRET: &str = "sentinel-0123456789-0123456789-01";

    #[test]
    fn a_mode_asks_for_what_it_needs() {
        let auth = |pairs: &[(&str, &str)]| config(&[&[URL], pairs].concat()).map(|config| config.auth);
        assert!(matches!(auth(&[("JWT_SECRET", "short")]).unwrap().mode, AuthMode::None));

        let hs256 = ("AUTH_MODE", "hs256");
        let own = auth(&[hs256, ("BETTER_AUTH_SECRET", "short"), ("JWT_SECRET", SECRET), ("JWT_ALGORITHM", "HS384")]);
        let wanted = Secret::new(SECRET);
        assert!(
            matches!(own.unwrap().mode, AuthMode::Hs256 { secret, algorithm: Algorithm::HS384 } if secret == wanted)
        );
        let other = auth(&[hs256, ("BETTER_AUTH_SECRET", SECRET), ("JWT_SECRET", "")]).unwrap();
        assert!(matches!(other.mode, AuthMode::Hs256 { algorithm: Algorithm::HS256, .. }));
        assert_eq!(other.expiration_days, 7);
        assert!(auth(&[hs256]).unwrap_err()[0].starts_with("BETTER_AUTH_SECRET is not set; set it to 32"));
        assert_eq!(auth(&[hs256, ("JWT_SECRET", "sentinel")]).unwrap_err().len(), 1);

        let mistakes = auth(&[("AUTH_MODE", "jwks")]).unwrap_err();
        let named: Vec<&str> = mistakes.iter().filter_map(|mistake| mistake.split(' ').next()).collect();
        assert_eq!(named, ["BETTER_AUTH_SECRET", "BETTER_AUTH_JWKS_URL"]);
        let jwks = [
            ("AUTH_MODE", "jwks"),
            ("BETTER_AUTH_SECRET", SECRET),
            ("BETTER_AUTH_JWKS_URL", "http://frontend:3000/api/auth/jwks"),
            ("BETTER_AUTH_URL", "http://backend:8000"),
        ];
        assert_eq!(auth(&jwks).unwrap().issuer.as_deref(), Some("http://backend:8000"));
        let issuer = ("BETTER_AUTH_ISSUER", "http://frontend:3000");
        assert_eq!(auth(&[&jwks[..], &[issuer]].concat()).unwrap().issuer.as_deref(), Some("http://frontend:3000"));
        assert!(!format!("{:?}", auth(&jwks).unwrap()).contains("sentinel"));

        for (name, value) in [
            ("AUTH_MODE", "sentinel"),
            ("JWT_ALGORITHM", "none"),
            ("JWT_ALGORITHM", "RS256"),
            ("JWT_EXPIRATION_DAYS", "0"),
            ("BETTER_AUTH_URL", "sentinel"),
            ("BETTER_AUTH_ISSUER", "ftp://sentinel"),
            ("MCP_SERVER_URL", "sentinel:8001"),
        ] {
            let mistakes = auth(&[(name, value)]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            assert!(mistakes[0].starts_with(name) && !mistakes[0].contains("sentinel"), "{mistakes:?}");
        }
    }

    #[test]
    fn a_provider_is_chosen_by_name_or_by_its_key() {
        let mcp = ("MCP_SERVER_URL", "http://mcp:8001");
        let provider = |pairs: &[(&str, &str)]| {
            config(&[&[URL, mcp], pairs].concat()).map(|config| {
                let provider = config.assistant.provider;
                provider.map(|provider| format!("{} {} {}", provider.name, provider.model, provider.url))
            })
        };
        let (groq, openai) = (("GROQ_API_KEY", "gsk_sentinel"), ("OPENAI_API_KEY", "sk-sentinel"));
        let default_openai = "openai gpt-4o-mini https://api.openai.com/v1/chat/completions";
        for (pairs, wanted) in [
            (&[][..], None),
            (&[("LLM_PROVIDER", ""), ("OPENAI_API_KEY", "")], None),
            (&[("LLM_PROVIDER", "none"), groq, openai], None),
            (&[openai], Some(default_openai)),
            (&[("LLM_PROVIDER", "openai"), groq, openai], Some(default_openai)),
            (&[groq, openai, ("GROQ_MODEL", "m")], Some("groq m https://api.groq.com/openai/v1/chat/completions")),
            (
                &[openai, ("OPENAI_MODEL", "m"), ("LLM_BASE_URL", "http://llm:11434/v1/")],
                Some("openai m http://llm:11434/v1/chat/completions"),
            ),
        ] {
            assert_eq!(provider(pairs).unwrap().as_deref(), wanted, "{pairs:?}");
        }
        assert_eq!(
            provider(&[("LLM_PROVIDER", "groq"), openai]).unwrap_err(),
            ["GROQ_API_KEY is not set; set it to a key of the provider, or LLM_PROVIDER to none"]
        );
        for (name, value) in
            [("LLM_PROVIDER", "sentinel"), ("OPENAI_API_KEY", "sent inel"), ("LLM_BASE_URL", "x?sentinel")]
        {
            let mistakes = provider(&[(name, value)]).unwrap_err();
            assert!(mistakes.len() == 1 && !mistakes[0].contains(value), "{mistakes:?}");
        }
        let shown = format!("{:?}", config(&[URL, mcp, openai]).unwrap());
        assert!(!shown.contains("sentinel"), "{shown}");
    }

    #[test]
    fn a_model_needs_the_mcp_server() {
        let openai = ("OPENAI_API_KEY", "sk-sentinel");
        let wanted = "MCP_SERVER_URL is not set; set it to http://HOST:PORT of the MCP server, through which a language \
                      model works, or LLM_PROVIDER to none";
        assert_eq!(config(&[URL, openai]).unwrap_err(), [wanted]);
        assert_eq!(config(&[URL, ("LLM_PROVIDER", "groq")]).unwrap_err().len(), 2);
        assert!(config(&[URL, openai, ("LLM_PROVIDER", "none")]).is_ok());
        let url = config(&[URL, openai, ("MCP_SERVER_URL", "http://mcp:8001/")]).unwrap().assistant.provider.unwrap();
        assert_eq!(url.mcp_url.to_string(), "http://mcp:8001");
        assert_eq!(config(&[URL, ("MCP_SERVER_URL", "https://mcp")]).unwrap_err().len(), 1);
    }

    #[test]
    fn limits_have_defaults_and_can_be_switched_off() {
        let limits = |pairs: &[(&str, &str)]| config(&[&[URL], pairs].concat()).map(|config| config.limits);
        let default = limits(&[]).unwrap();
        assert_eq!((default.passwords_per_account, default.trusted_proxies), (NonZeroU32::new(10), 1));
        let own = limits(&[("LIMIT_MESSAGES_PER_USER", "0"), ("TRUSTED_PROXIES", "2")]).unwrap();
        assert_eq!(
            (own.messages_per_user, own.sign_ups_per_address, own.trusted_proxies),
            (None, NonZeroU32::new(120), 2)
        );
        for wrong in ["-1", "many", "100001"] {
            let mistakes = limits(&[("LIMIT_SIGN_UPS_PER_ADDRESS", wrong), ("TRUSTED_PROXIES", wrong)]).unwrap_err();
            assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        }
    }

    #[test]
    fn origins_are_made_plain() {
        let url = ("DATABASE_URL", "postgres://todo:secret@postgres/todo");
        let config = config(&[url, ("CORS_ORIGINS", "http://localhost:3000/,https://todo.example")]).unwrap();
        assert_eq!(config.cors_origins, ["http://localhost:3000", "https://todo.example"]);
    }
}
