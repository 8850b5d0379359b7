use axum::http::uri::Authority;
use kit::{
    env::{Env, comma_list, read_backend_url},
    url::BaseUrl,
};

#[derive(Clone, Debug)]
pub struct Config {
    pub backend_url: BaseUrl,
    /// Which `Host` headers are answered; none means any.
    pub allowed_hosts: Vec<String>,
}

pub fn read(env: &mut Env) -> Option<Config> {
    let backend_url = read_backend_url(env);
    let allowed_hosts =
        env.optional("MCP_ALLOWED_HOSTS", Vec::new(), "host names with commas between, HOST[:PORT],…", hosts);
    Some(Config { backend_url: backend_url?, allowed_hosts: allowed_hosts? })
}

fn hosts(value: &str) -> Result<Vec<String>, String> {
    let hosts = comma_list(value);
    match hosts.iter().find(|host| host.parse::<Authority>().is_err()) {
        Some(wrong) => Err(format!("holds \"{wrong}\", which is not a host")),
        None => Ok(hosts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let mut env = Env::of_pairs(&[("BACKEND_URL", "https://backend"), ("MCP_ALLOWED_HOSTS", "mcp,http://mcp")]);
        let config = read(&mut env);
        assert_eq!(
            env.finish(config).unwrap_err(),
            [
                "BACKEND_URL doesn't begin with http://; set it to http://HOST:PORT",
                "MCP_ALLOWED_HOSTS holds \"http://mcp\", which is not a host; set it to host names with commas between, \
                 HOST[:PORT],…",
            ]
        );
    }
}
