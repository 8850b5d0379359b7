//! Hadolint, which checks Dockerfiles.

use crate::run::call::{Call, argv, call};
use serde::Deserialize;

/// Checks Dockerfiles, whatever hadolint's own configuration files say.
pub fn check(hadolint: &str, dockerfiles: &[String]) -> Call<Vec<Remark>> {
    call(argv!("{hadolint} --config /dev/null --no-fail --format json {dockerfiles...}"))
        .try_parse(|text| Ok(parse(&text)?))
}

/// What it says: the code, the file and the line in it, the message.
pub fn parse(stdout: &str) -> serde_json::Result<Vec<Remark>> {
    serde_json::from_str(stdout)
}

#[derive(Deserialize)]
pub struct Remark {
    pub code: String,
    pub file: String,
    pub line: u64,
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_read() {
        let json = r#"[{"code":"DL3008","column":1,"file":"docker/a.Dockerfile","level":"warning","line":7,"message":"Pin versions"}]"#;
        let [remark] = &parse(json).unwrap()[..] else { panic!("one remark") };
        assert_eq!((remark.code.as_str(), remark.file.as_str(), remark.line), ("DL3008", "docker/a.Dockerfile", 7));
        assert_eq!(remark.message, "Pin versions");
    }
}
