//! A project of as many services as are asked for, each with an image, a release and a smoke check of its own. No I/O.

/// Of the only port that pods listen on.
const PORT: u16 = 8080;

/// Answers every request with what is in /name.
const PROGRAM: &str = r#"use std::io::{BufRead, BufReader, Write};

fn main() -> std::io::Result<()> {
    let name = std::fs::read_to_string("/name")?;
    let port = std::env::var("PORT").ok().and_then(|text| text.parse().ok()).unwrap_or(8080);
    for mut stream in std::net::TcpListener::bind(("0.0.0.0", port))?.incoming().flatten() {
        stream.set_read_timeout(Some(std::time::Duration::from_secs(1)))?;
        let _ = BufReader::new(&stream).lines().map_while(Result::ok).find(|line| line.is_empty());
        let length = name.len();
        let _ = write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}");
    }
    Ok(())
}
"#;

/// All services share its first stage and the program's layer; the last layer is each one's own.
const DOCKERFILE: &str = r#"ARG BUILDER_IMAGE=rust:1.95-bookworm
FROM ${BUILDER_IMAGE} AS build
WORKDIR /src
COPY main.rs .
RUN rustc --edition 2024 -O -C target-feature=+crt-static -o /server main.rs

FROM scratch
ARG PORT=8080
ARG NAME
ENV PORT=${PORT}
COPY --from=build /server /server
COPY names/${NAME} /name
USER 10001:10001
EXPOSE ${PORT}
STOPSIGNAL SIGKILL
ENTRYPOINT ["/server"]
"#;

const CHART: &str = "apiVersion: v2\nname: service\ndescription: One of many\ntype: application\nversion: 0.1.0\n\
    appVersion: 0.1.0\ndependencies:\n  - name: library\n    version: 0.1.0\n    repository: file://../library\n";
const TEMPLATE: &str = "{{- include \"library.workloads\" (dict \"root\" .) }}\n{{- include \"library.services\" (dict \"root\" .) }}\n\
    {{- include \"library.networkPolicies\" . }}\n";
/// Each is small, and has the time to start beside many others.
const VALUES: &str = "image:\n  pullPolicy: Never\nprogressDeadlineSeconds: 600\nresources:\n  requests:\n    cpu: 1m\n    \
    memory: 4Mi\n    ephemeral-storage: 1Mi\n  limits:\n    cpu: 100m\n    memory: 32Mi\n    ephemeral-storage: 8Mi\n";

/// Which of the checks an `up` without a change asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// That of the first service, through a forwarded port; the others only after a change.
    One,
    /// That of each service, each through a port that is forwarded for it.
    Each,
}

/// What the project is a part of.
pub struct Names<'a> {
    pub project: &'a str,
    /// The home of the cluster and the tools.
    pub home: &'a str,
    pub namespace: &'a str,
}

/// The name of a service, of its release and of its object; in order where numbers are.
fn service(number: usize) -> String {
    format!("s{number:03}")
}

/// The files of a project with `count` services, but for the library chart.
pub fn files(names: &Names, count: usize, asked: Asked) -> Vec<(String, String)> {
    let fixed = [
        ("service/main.rs", PROGRAM),
        ("service/Dockerfile", DOCKERFILE),
        ("helm/service/Chart.yaml", CHART),
        ("helm/service/values.yaml", VALUES),
        ("helm/service/templates/all.yaml", TEMPLATE),
    ];
    let name = |number| (format!("service/names/{}", service(number)), format!("{}\n", service(number)));
    let fixed = fixed.map(|(path, text)| (path.to_string(), text.to_string()));
    fixed
        .into_iter()
        .chain((1..=count).map(name))
        .chain([("xtask.toml".to_string(), config(names, count, asked))])
        .collect()
}

fn config(names: &Names, count: usize, asked: Asked) -> String {
    let Names { project, home, namespace } = names;
    let first = service(1);
    let head = format!(
        "project = \"{project}\"\ntitle = \"Scale\"\nhome = \"{home}\"\nnamespace = \"{namespace}\"\nopen = \"{first}\"\n\n\
         [deadlines]\nhelm_s = 600\nrollout_s = 600\nsmoke_s = 300\n"
    );
    let of_service = |number: usize| {
        let name = service(number);
        let when = if number == 1 || asked == Asked::Each { "always" } else { "changed" };
        format!(
            "\n[services.{name}]\nimage = \"{project}-{name}\"\ndockerfile = \"service/Dockerfile\"\ncontext = \"service\"\n\
             inputs = [\"main.rs\", \"names/{name}\"]\nargs = {{ NAME = \"{name}\" }}\nbase = \"rust\"\nport = {PORT}\n\
             probes = {{ liveness = \"/\", readiness = \"/\" }}\n\n\
             [releases.{name}]\nchart = \"helm/service\"\nservices = [\"{name}\"]\n\n\
             [[smoke]]\nname = \"{name} answers\"\nservice = \"{name}\"\nwhen = \"{when}\"\n\
             steps = [{{ path = \"/\", status = 200, contains = \"{name}\" }}]\n"
        )
    };
    (1..=count).map(of_service).fold(head, |text, one| text + &one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xtask::config::{Config, ConfigFile, When, parse_config};

    const NAMES: Names = Names { project: "many", home: "todo-chatbot", namespace: "many-scale" };

    fn parsed(count: usize, asked: Asked) -> Config {
        let files = files(&NAMES, count, asked);
        let text = &files.iter().find(|(path, _)| path == "xtask.toml").unwrap().1;
        let exists = |path: &std::path::Path| {
            files.iter().any(|(file, _)| std::path::Path::new(file).starts_with(path)) || path.starts_with("k8s/node")
        };
        let file = |file, text| ConfigFile { file, text };
        let parsed = parse_config("dev", file("xtask.toml", text), file("dev.toml", ""), &exists);
        parsed.unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn each_service_has_an_image_a_release_and_a_check() {
        let config = parsed(20, Asked::Each);
        assert_eq!((config.services.len(), config.releases.len(), config.smoke.len()), (20, 20, 20));
        assert_eq!(config.release_waves().len(), 1);
        assert_eq!(config.namespace, "many-scale");
        assert_eq!(config.services["s020"].image, "many-s020");
    }

    #[test]
    fn checks_of_all_or_of_one_are_asked_where_nothing_changed() {
        let always = |asked| parsed(5, asked).smoke.iter().filter(|check| check.when == When::Always).count();
        assert_eq!((always(Asked::One), always(Asked::Each)), (1, 5));
        // Nothing else differs, so that nothing is built or deployed between the two.
        let differ: Vec<String> = files(&NAMES, 5, Asked::One)
            .into_iter()
            .zip(files(&NAMES, 5, Asked::Each))
            .filter(|(one, each)| one != each)
            .map(|((path, _), _)| path)
            .collect();
        assert_eq!(differ, ["xtask.toml"]);
    }
}
