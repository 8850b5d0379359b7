//! Images: what a Dockerfile will make, and what `docker image inspect` says was made.

use std::fmt;

use serde_json::Value;

use crate::entities::dockerfile::{Dockerfile, command, pairs, words};
use crate::entities::ports::{Port, Protocol};
use crate::entities::reference::Reference;
use xtask::model::object::{Fields, StringMap, read};

/// An image. What its source doesn't tell is empty or None: a Dockerfile has no size, an image no stages.
#[derive(Clone, Debug, PartialEq)]
pub struct DockerImage {
    /// Registry, repository and tag; several where it is tagged several times.
    pub references: Vec<Reference>,
    /// `sha256:…`
    pub id: Option<String>,
    pub bases: Vec<String>,
    /// The names of the stages, or their numbers from 0.
    pub stages: Vec<String>,
    pub exposed: Vec<(Port, Protocol)>,
    /// None: root.
    pub user: Option<User>,
    pub work_dir: Option<String>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub env: StringMap,
    pub labels: StringMap,
    pub health: Option<HealthCheck>,
    pub size_bytes: Option<u64>,
}

/// `NAME`, `UID`, or either with `:GROUP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub user: String,
    pub group: Option<String>,
}

/// The command that asks a container whether it is well.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    pub command: Vec<String>,
}

impl DockerImage {
    /// What the last stage will be, with these build arguments. Errors are reported with their lines.
    pub fn from_dockerfile(text: &str, build_args: &StringMap) -> Result<DockerImage, Vec<String>> {
        let file = Dockerfile::parse(text)?;
        let mut mistakes = Vec::new();
        let mut image = DockerImage::empty();
        image.bases = file.bases(build_args);
        let name = |(index, stage): (usize, &crate::entities::dockerfile::Stage)| {
            stage.name.clone().unwrap_or(index.to_string())
        };
        image.stages = file.stages.iter().enumerate().map(name).collect();
        for instruction in file.made_by(build_args) {
            let mut note = |message: String| mistakes.push(format!("line {}: {message}", instruction.line));
            match instruction.keyword.as_str() {
                "USER" => match User::parse(&instruction.text) {
                    Ok(user) => image.user = Some(user),
                    Err(wrong) => note(wrong),
                },
                "EXPOSE" => {
                    for word in words(&instruction.text) {
                        match exposed(&word) {
                            Ok(ports) => image.exposed.extend(ports),
                            Err(wrong) => note(wrong),
                        }
                    }
                }
                "WORKDIR" => {
                    image.work_dir = Some(under(image.work_dir.as_deref(), &words(&instruction.text).join(" ")))
                }
                "ENTRYPOINT" => {
                    image.entrypoint = command(&instruction.text);
                    // An entry point of its own makes an inherited command void; docker does the same.
                    image.command.clear();
                }
                "CMD" => image.command = command(&instruction.text),
                "ENV" => image.env.extend(pairs(&instruction.text)),
                "LABEL" => image.labels.extend(pairs(&instruction.text)),
                "HEALTHCHECK" => match health_check(&instruction.text) {
                    Ok(health) => image.health = health,
                    Err(wrong) => note(wrong),
                },
                _ => {}
            }
        }
        image.exposed.sort();
        image.exposed.dedup();
        if mistakes.is_empty() { Ok(image) } else { Err(mistakes) }
    }

    /// From `docker image inspect`: its list of one image, or the image itself.
    pub fn from_inspect(message: &Value) -> Result<DockerImage, Vec<String>> {
        let object = message.as_array().and_then(|images| images.first()).unwrap_or(message);
        read(object, |f| {
            let references = f.at("RepoTags").list(|tag| tag.parsed(Reference::parse));
            let id = f.at("Id").text();
            let size_bytes = f.at("Size").integer(0..=u64::MAX);
            let config = f.at("Config");
            let text = |key: &str| config.at(key).value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
            let user = match text("User") {
                Some(user) => User::parse(&user).map(Some).map_err(|wrong| config.at("User").report(wrong)).ok(),
                None => Some(None),
            };
            let exposed = exposed_ports(&config.at("ExposedPorts"));
            let (entrypoint, command) =
                (config.at("Entrypoint").list(Fields::text), config.at("Cmd").list(Fields::text));
            let env = config.at("Env").list(|entry| {
                let text = entry.text()?;
                let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                Some((name.to_string(), value.to_string()))
            });
            let labels = config.at("Labels").texts();
            let test = config.at("Healthcheck").at("Test").list(Fields::text);
            Some(DockerImage {
                references: references?,
                id: Some(id?),
                exposed: exposed?,
                user: user?,
                work_dir: text("WorkingDir"),
                entrypoint: entrypoint?,
                command: command?,
                env: env?.into_iter().collect(),
                labels: labels?,
                health: health_test(&test?),
                size_bytes: Some(size_bytes?),
                ..DockerImage::empty()
            })
        })
    }

    pub fn is_multi_stage(&self) -> bool {
        self.stages.len() > 1
    }

    /// Whether it runs as root, or nobody said otherwise.
    pub fn runs_as_root(&self) -> bool {
        self.user.as_ref().is_none_or(User::is_root)
    }

    /// The path that its health check asks: of a URL in the command, else an argument that is a path, else what
    /// HEALTHCHECK_PATH says.
    pub fn health_path(&self) -> Option<String> {
        let health = self.health.as_ref()?;
        health.path().or_else(|| self.env.get("HEALTHCHECK_PATH").filter(|path| !path.is_empty()).cloned())
    }

    fn empty() -> DockerImage {
        DockerImage {
            references: Vec::new(),
            id: None,
            bases: Vec::new(),
            stages: Vec::new(),
            exposed: Vec::new(),
            user: None,
            work_dir: None,
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: StringMap::new(),
            labels: StringMap::new(),
            health: None,
            size_bytes: None,
        }
    }
}

impl User {
    pub fn parse(text: &str) -> Result<User, String> {
        let (user, group) = text.split_once(':').map_or((text, None), |(user, group)| (user, Some(group)));
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let sound = |name: &str| !name.is_empty() && name.bytes().all(inner) && !name.starts_with('-');
        match sound(user) && group.is_none_or(sound) {
            true => Ok(User { user: user.to_string(), group: group.map(str::to_string) }),
            false => Err(format!("\"{text}\" is not a user: NAME or UID, and perhaps :GROUP")),
        }
    }

    /// The number, where it is one.
    pub fn uid(&self) -> Option<u32> {
        self.user.parse().ok()
    }

    pub fn is_root(&self) -> bool {
        self.user == "root" || self.uid() == Some(0)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.user)?;
        self.group.as_ref().map_or(Ok(()), |group| write!(f, ":{group}"))
    }
}

impl HealthCheck {
    /// The path that the command names.
    pub fn path(&self) -> Option<String> {
        let shell = self.command.len() == 3 && self.command[1] == "-c";
        let split = if shell { words(&self.command[2]) } else { self.command.clone() };
        let arguments = split.get(1..).unwrap_or_default();
        let url = arguments.iter().find_map(|word| {
            let behind = word.strip_prefix("http://").or_else(|| word.strip_prefix("https://"))?;
            Some(behind.find('/').map_or("/", |slash| &behind[slash..]).to_string())
        });
        url.or_else(|| arguments.iter().find(|word| word.starts_with('/') && !word.starts_with("/dev/")).cloned())
    }
}

/// `8000`, `8000/udp` or `3000-3002`.
fn exposed(text: &str) -> Result<Vec<(Port, Protocol)>, String> {
    let (ports, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = Protocol::parse(&protocol.to_uppercase())?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u64>().map_err(|_| format!("\"{text}\" is not a port"));
    let (first, last) = (Port::new(number(first)?)?, Port::new(number(last)?)?);
    (first.number()..=last.number()).map(|number| Ok((Port::new(number.into())?, protocol))).collect()
}

fn exposed_ports(f: &Fields) -> Option<Vec<(Port, Protocol)>> {
    let mut found = Vec::new();
    for key in f.value.as_object().into_iter().flatten().map(|(key, _)| key) {
        found.extend(exposed(key).map_err(|wrong| f.report(wrong)).ok()?);
    }
    found.sort();
    Some(found)
}

/// What stands after HEALTHCHECK: options and CMD, or NONE.
fn health_check(text: &str) -> Result<Option<HealthCheck>, String> {
    let mut rest = text.trim();
    while rest.starts_with("--") {
        rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
    }
    let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match (word.to_uppercase().as_str(), rest.trim()) {
        ("NONE", "") => Ok(None),
        ("CMD", asked) if !asked.is_empty() => Ok(Some(HealthCheck { command: command(asked) })),
        _ => Err("HEALTHCHECK needs CMD and a command, or NONE".to_string()),
    }
}

/// What inspect has as `Test`.
fn health_test(test: &[String]) -> Option<HealthCheck> {
    match test {
        [kind, rest @ ..] if kind == "CMD" && !rest.is_empty() => Some(HealthCheck { command: rest.to_vec() }),
        [kind, text] if kind == "CMD-SHELL" => Some(HealthCheck { command: command(text) }),
        _ => None,
    }
}

/// A WORKDIR that isn't absolute lies below the one before.
fn under(before: Option<&str>, path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_string(),
        false => format!("{}/{path}", before.unwrap_or("").trim_end_matches('/')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The backend of docs/specs/static.md.
    const BACKEND: &str = "\
FROM python:3.11-slim AS builder
WORKDIR /build
RUN pip install -r requirements.txt

FROM python:3.11-slim
ARG USER_ID=1000
WORKDIR /
WORKDIR app
COPY --from=builder /install /usr/local
USER ${USER_ID}
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=3s CMD curl -f http://localhost:8000/health
CMD [\"uvicorn\", \"main:app\", \"--host\", \"0.0.0.0\", \"--port\", \"8000\"]
";

    fn from(text: &str) -> Result<DockerImage, Vec<String>> {
        DockerImage::from_dockerfile(text, &StringMap::new())
    }

    #[test]
    fn the_specs_dockerfile_tells_its_image() {
        let image = from(BACKEND).unwrap();
        assert_eq!(image.bases, ["python:3.11-slim"]);
        assert_eq!(image.stages, ["builder", "1"]);
        assert_eq!(image.exposed, [(Port::new(8000).unwrap(), Protocol::Tcp)]);
        assert_eq!((image.user.as_ref().unwrap().uid(), image.work_dir.as_deref()), (Some(1000), Some("/app")));
        assert_eq!(image.health_path().as_deref(), Some("/health"));
        assert_eq!(image.command[0], "uvicorn");
        assert!(image.is_multi_stage() && !image.runs_as_root());
    }

    #[test]
    fn this_repositorys_dockerfiles_tell_their_images() {
        for (name, text, port) in [
            ("backend", include_str!("../../../../docker/backend.Dockerfile"), 8000),
            ("frontend", include_str!("../../../../docker/frontend.Dockerfile"), 3000),
            ("mcp", include_str!("../../../../docker/mcp.Dockerfile"), 8001),
            ("postgres", include_str!("../../../../docker/postgres.Dockerfile"), 5432),
        ] {
            let image = from(text).unwrap();
            assert_eq!(image.exposed, [(Port::new(port).unwrap(), Protocol::Tcp)], "{name}");
            assert!(image.is_multi_stage() && !image.runs_as_root() && image.health.is_some(), "{name}");
        }
    }

    #[test]
    fn the_path_of_a_health_check_is_found() {
        for (check, env, path) in [
            ("CMD curl -f http://localhost:8000/health || exit 1", "", Some("/health")),
            ("CMD wget -qO- http://127.0.0.1:3000", "", Some("/")),
            ("CMD [\"/app/backend\", \"healthcheck\", \"/docs\"]", "/other", Some("/docs")),
            ("CMD [\"/app/backend\", \"healthcheck\"]", "/docs", Some("/docs")),
            ("CMD [\"/app/backend\", \"healthcheck\"]", "", None),
            ("NONE", "/docs", None),
        ] {
            let image = from(&format!("FROM a\nENV HEALTHCHECK_PATH={env}\nHEALTHCHECK {check}\n")).unwrap();
            assert_eq!(image.health_path().as_deref(), path, "{check}");
        }
    }

    #[test]
    fn an_inspected_image_is_read() {
        let value = json!([{
            "Id": "sha256:6a12", "RepoTags": ["todo-frontend:latest", "minikube.local/todo-frontend:1.0.0"], "Size": 3508200,
            "Config": {
                "User": "10001:10001", "WorkingDir": "/app", "Entrypoint": ["/app/frontend"], "Cmd": null,
                "ExposedPorts": {"3000/tcp": {}}, "Env": ["PATH=/bin", "PORT=3000", "HEALTHCHECK_PATH=/"],
                "Healthcheck": {"Test": ["CMD", "/app/frontend", "healthcheck"]}, "Labels": {"a": "b"},
            },
        }]);
        let image = DockerImage::from_inspect(&value).unwrap();
        assert_eq!(image.references[1].registry(), Some("minikube.local"));
        assert_eq!((image.size_bytes, image.health_path().as_deref()), (Some(3508200), Some("/")));
        assert_eq!(
            (image.user.as_ref().unwrap().to_string().as_str(), image.env["PORT"].as_str()),
            ("10001:10001", "3000")
        );
        let bare = json!({"Id": "sha256:0", "Size": 0, "RepoTags": [], "Config": {"User": "", "Healthcheck": {"Test": ["NONE"]}}});
        let bare = DockerImage::from_inspect(&bare).unwrap();
        assert!(bare.runs_as_root() && bare.health.is_none());
    }

    #[test]
    fn illegal_images_are_refused_with_their_lines() {
        assert_eq!(
            from("FROM a\nEXPOSE 0 http 1-2/icmp\nUSER a b\nHEALTHCHECK curl\n").unwrap_err(),
            [
                "line 2: 0 is not a port from 1 to 65535",
                "line 2: \"http\" is not a port",
                "line 2: \"ICMP\" is none of TCP, UDP, SCTP",
                "line 3: \"a b\" is not a user: NAME or UID, and perhaps :GROUP",
                "line 4: HEALTHCHECK needs CMD and a command, or NONE",
            ]
        );
        let value = json!({"RepoTags": ["A:1"], "Size": -1, "Config": {"ExposedPorts": {"x/tcp": {}}}});
        assert_eq!(DockerImage::from_inspect(&value).unwrap_err().len(), 4);
    }

    #[test]
    fn root_is_known_by_name_and_number() {
        for (user, root) in [
            ("root", true),
            ("0", true),
            ("0:0", true),
            ("1000", false),
            ("appuser", false),
            ("nextjs", false),
            ("nginx", false),
        ] {
            assert_eq!(User::parse(user).unwrap().is_root(), root, "{user}");
        }
    }
}
