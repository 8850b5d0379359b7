use kit::{
    env::{Env, read_backend_url},
    url::BaseUrl,
};

#[derive(Clone, Debug)]
pub struct Config {
    pub backend_url: BaseUrl,
}

pub fn read(env: &mut Env) -> Option<Config> {
    Some(Config { backend_url: read_backend_url(env)? })
}
