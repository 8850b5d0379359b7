//! The docker client.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;

use crate::model::image::Image;
use crate::run::call::{Call, argv, call};

/// What writes or reads an image of gigabytes takes longer than a question.
const ARCHIVE: Duration = Duration::from_secs(300);

/// A build of one image from a context folder and a Dockerfile outside it.
pub struct Build<'a> {
    pub dockerfile: &'a str,
    pub context: &'a str,
    pub target: Option<&'a str>,
    pub tags: &'a [String],
    /// Build arguments; one without a value has that of the environment, which keeps it out of this argv.
    pub args: Vec<(String, Option<String>)>,
    pub labels: Vec<(String, String)>,
    /// A CA bundle, handed over as the build secret `ca`.
    pub ca: Option<&'a str>,
}

pub fn build(build: &Build) -> Call {
    let (options, context) = (build_options(build), build.context);
    call(argv!("docker build --progress plain {options...} {context}"))
}

/// What of a build is the same whoever carries it out.
pub fn build_options(build: &Build) -> Vec<String> {
    let mut options = Vec::new();
    let mut option = |name: &str, value: String| options.extend([name.to_string(), value]);
    option("--file", build.dockerfile.to_string());
    if let Some(target) = build.target {
        option("--target", target.to_string());
    }
    for tag in build.tags {
        option("--tag", tag.clone());
    }
    for (name, value) in &build.args {
        option("--build-arg", value.as_ref().map_or(name.clone(), |value| format!("{name}={value}")));
    }
    for (name, value) in &build.labels {
        option("--label", format!("{name}={value}"));
    }
    if let Some(ca) = build.ca {
        option("--secret", format!("id=ca,src={ca}"));
    }
    options
}

/// How many lines of a failed build are shown.
const FAILED_LINES: usize = 40;

/// What the step that failed printed, from its first error on; without such a step, the last lines. BuildKit's plain lines
/// are `#12 3.456 TEXT`, and that of a failed step ends with `#12 ERROR: ...`.
pub fn failed_step(lines: &[String]) -> Vec<String> {
    let number = lines.iter().rev().find_map(|line| {
        line.strip_prefix('#')?
            .split_once(" ERROR: ")
            .map(|(number, _)| number)
            .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let of_step = |line: &String| {
        let (clock, text) = line.strip_prefix(&format!("#{} ", number?))?.split_once(' ').unwrap_or((line, ""));
        let is_clock = clock.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_clock.then(|| text.to_string())
    };
    let printed: Vec<String> = lines.iter().filter_map(of_step).collect();
    let first = printed.iter().position(|line| line.to_lowercase().starts_with("error"));
    let shown = match (printed.is_empty(), first) {
        (true, _) => &lines[lines.len().saturating_sub(FAILED_LINES)..],
        (false, Some(first)) => &printed[first..],
        (false, None) => &printed[printed.len().saturating_sub(FAILED_LINES)..],
    };
    match shown.len().saturating_sub(FAILED_LINES) {
        0 => shown.to_vec(),
        more => shown[..FAILED_LINES].iter().cloned().chain([format!("... and {more} more lines")]).collect(),
    }
}

/// The daemon's version, architecture and runtime; fails where no daemon answers.
pub fn info() -> Call<Option<Daemon>> {
    let format = "{{.ServerVersion}}|{{.DefaultRuntime}}|{{.CgroupVersion}}|{{.DockerRootDir}}";
    call(argv!("docker info --format {format}")).parse(|text| parse_info(&text))
}

#[derive(Clone, Debug, PartialEq)]
pub struct Daemon {
    pub version: String,
    pub default_runtime: String,
    pub cgroup_version: String,
    pub root: String,
}

/// Reads what `info` printed; None where the daemon didn't answer, which old clients say with exit code 0.
fn parse_info(stdout: &str) -> Option<Daemon> {
    let mut fields = stdout.trim().split('|').map(str::to_string);
    let daemon = Daemon {
        version: fields.next()?,
        default_runtime: fields.next()?,
        cgroup_version: fields.next()?,
        root: fields.next()?,
    };
    (!daemon.version.is_empty()).then_some(daemon)
}

/// The daemon's architecture in Go's words, such as arm64.
pub fn architecture() -> Call {
    let format = "{{.Server.Arch}}";
    call(argv!("docker version --format {format}")).trimmed()
}

/// The name of the context in use, `default` where nothing else was chosen.
pub fn context() -> Call {
    call(argv!("docker context show")).trimmed()
}

/// The client's version, which it tells without a daemon too.
pub fn client_version() -> Call<Option<String>> {
    call(argv!("docker --version")).parse(|text| parse_client_version(&text))
}

/// The version in `Docker version 28.2.2, build e6534b4`.
fn parse_client_version(stdout: &str) -> Option<String> {
    let rest = stdout.trim().strip_prefix("Docker version ")?;
    rest.split(',').next().map(str::to_string)
}

pub fn build_help() -> Call<bool> {
    call(argv!("docker build --help")).parse(|text| has_buildkit(&text))
}

/// Whether a client's `build --help` is BuildKit's: only that has secrets.
fn has_buildkit(help: &str) -> bool {
    help.contains("--secret")
}

/// Whether a registry answers for an image, without pulling it, and does so soon.
pub fn manifest_inspect(image: &str) -> Call {
    call(argv!("docker manifest inspect {image}")).within(Duration::from_secs(8))
}

/// References and IDs of all local images.
pub fn images() -> Call<BTreeMap<String, String>> {
    let format = "{{.Repository}}:{{.Tag}} {{.ID}}";
    call(argv!("docker image ls --no-trunc --format {format}")).parse(|text| parse_images(&text))
}

/// Reference to ID, `sha256:…`, from what `images` printed.
fn parse_images(stdout: &str) -> BTreeMap<String, String> {
    let pairs = stdout.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(reference, id)| (reference.to_string(), id.trim().to_string())).collect()
}

/// An image's size in bytes, as docker counts it.
pub fn size(image: &str) -> Call<u64> {
    let format = "{{.Size}}";
    call(argv!("docker image inspect --format {format} {image}")).try_parse(|text| Ok(text.trim().parse()?))
}

/// The system and the processor that an image is made for.
pub fn platform(image: &str) -> Call {
    let format = "{{.Os}}/{{.Architecture}}";
    call(argv!("docker image inspect --format {format} {image}")).trimmed()
}

/// The digests of an image's layers as tars, from the lowest on.
pub fn layers(image: &str) -> Call<Vec<String>> {
    let format = "{{json .RootFS.Layers}}";
    call(argv!("docker image inspect --format {format} {image}")).try_parse(|text| Ok(serde_json::from_str(&text)?))
}

/// All that docker knows of an image, as a JSON list of one.
pub fn inspect(image: &str) -> Call<Option<serde_json::Value>> {
    call(argv!("docker image inspect {image}")).parse(|text| parse_inspect(&text))
}

/// The one object of what `inspect` printed.
fn parse_inspect(stdout: &str) -> Option<serde_json::Value> {
    let mut list: Vec<serde_json::Value> = serde_json::from_str(stdout).ok()?;
    list.pop()
}

/// All that docker knows of several images, as a JSON list; those that are gone are left out, and fail the call.
pub fn inspect_images(ids: &[String]) -> Call {
    call(argv!("docker image inspect {ids...}"))
}

/// What `inspect_images` printed: names, the label of a project, age and size.
pub fn parse_inspected_images(stdout: &str, label: &str) -> serde_json::Result<Vec<Image>> {
    let list: Vec<serde_json::Value> = serde_json::from_str(stdout)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let image = |parsed: &serde_json::Value| Image {
        id: text(&parsed["Id"]),
        references: parsed["RepoTags"].as_array().into_iter().flatten().map(text).collect(),
        label: parsed["Config"]["Labels"][label].as_str().map(str::to_string),
        created: text(&parsed["Created"]),
        size_bytes: parsed["Size"].as_u64().unwrap_or_default(),
        pinned: false,
    };
    Ok(list.iter().map(image).collect())
}

/// The label by which an image tells which project made it, and as what.
pub fn label(project: &str) -> String {
    format!("{project}.service")
}

/// The label of a container that is there for a check, with the process that it belongs to.
pub fn check_label(project: &str) -> String {
    format!("{project}.check")
}

/// IDs of all containers, running or not.
pub fn containers() -> Call<Vec<String>> {
    call(argv!("docker ps --all --quiet --no-trunc")).lines()
}

/// All that docker knows of several containers, as a JSON list; those that are gone are left out, and fail the call.
pub fn inspect_containers(ids: &[String]) -> Call {
    call(argv!("docker container inspect {ids...}"))
}

/// A container, as far as clean-up needs it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    pub name: String,
    pub image_id: String,
    pub running: bool,
    pub labels: BTreeMap<String, String>,
}

pub fn parse_inspected_containers(stdout: &str) -> serde_json::Result<Vec<Container>> {
    let list: Vec<serde_json::Value> = serde_json::from_str(stdout)?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_string();
    let container = |parsed: &serde_json::Value| Container {
        name: text(&parsed["Name"]).trim_start_matches('/').to_string(),
        image_id: text(&parsed["Image"]),
        running: parsed["State"]["Running"] == true,
        labels: parsed["Config"]["Labels"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), text(value)))
            .collect(),
    };
    Ok(list.iter().map(container).collect())
}

/// The size of the build cache, as docker writes it; it has no owner labels.
pub fn disk_use() -> Call<Option<String>> {
    let format = "{{.Type}}|{{.Size}}";
    call(argv!("docker system df --format {format}")).parse(|text| parse_build_cache(&text))
}

fn parse_build_cache(stdout: &str) -> Option<String> {
    stdout.lines().find_map(|line| line.strip_prefix("Build Cache|")).map(|size| size.trim().to_string())
}

pub fn prune_build_cache() -> Call {
    call(argv!("docker builder prune --all --force"))
}

/// The programs that a daemon runs containers with, as JSON.
pub fn runtimes() -> Call<Vec<String>> {
    let format = "{{json .Runtimes}}";
    call(argv!("docker info --format {format}")).parse(|text| parse_runtimes(&text))
}

/// The paths in what `runtimes` printed.
fn parse_runtimes(stdout: &str) -> Vec<String> {
    let value: BTreeMap<String, serde_json::Value> = serde_json::from_str(stdout).unwrap_or_default();
    value.values().filter_map(|runtime| runtime["path"].as_str().map(str::to_string)).collect()
}

/// The commands that an image was made by, one to a line, the last first.
pub fn history(image: &str) -> Call<Vec<String>> {
    let format = "{{.CreatedBy}}";
    call(argv!("docker history --no-trunc --format {format} {image}")).lines()
}

/// Runs an image isolated: no network, no capabilities, nothing writable but /tmp, little memory.
pub fn run_alone(name: &str, label: &str, image: &str) -> Call {
    call(argv!(
        "docker run --detach --name {name} --label {label} --network none --cap-drop ALL --security-opt no-new-privileges --sysctl net.ipv4.ip_unprivileged_port_start=0 --read-only --tmpfs /tmp --memory 256m {image}"
    ))
}

/// A container's state, such as `exited 1`.
pub fn container_ending(name: &str) -> Call {
    let format = "{{.State.Status}} {{.State.ExitCode}}";
    call(argv!("docker container inspect --format {format} {name}")).trimmed()
}

/// The last lines of what a container said.
pub fn container_logs(name: &str) -> Call {
    call(argv!("docker logs --tail 20 {name}"))
}

pub fn exec(name: &str, command: &[String]) -> Call {
    call(argv!("docker exec {name} {command...}"))
}

/// The time on a node, as the API server writes times.
pub fn node_time(node: &str) -> Call {
    call(argv!("docker exec {node} date --utc +%Y-%m-%dT%H:%M:%SZ")).trimmed()
}

/// The IDs of the images with a label of this value, one to a line, the newest first.
pub fn images_of(label: &str, value: &str) -> Call<Vec<String>> {
    let filter = format!("label={label}={value}");
    call(argv!("docker image ls --no-trunc --quiet --filter {filter}")).lines()
}

/// The value of an image's label; empty where it has none.
pub fn label_of(image: &str, label: &str) -> Call {
    let format = format!("{{{{index .Config.Labels \"{label}\"}}}}");
    call(argv!("docker image inspect --format {format} {image}")).trimmed()
}

pub fn remove_image(image: &str) -> Call {
    call(argv!("docker image rm {image}"))
}

pub fn import(archive: &str, reference: &str, label: &str) -> Call {
    let (command, label) = (r#"CMD ["bash"]"#, format!("LABEL {label}"));
    call(argv!("docker import --change {command} --change {label} {archive} {reference}")).within(ARCHIVE)
}

pub fn save(image: &str) -> Call {
    call(argv!("docker save {image}"))
}

pub fn save_to(image: &str, archive: &str) -> Call {
    call(argv!("docker save --output {archive} {image}")).within(ARCHIVE)
}

/// Writes several images into one archive.
pub fn save_all(images: &[String], archive: &str) -> Call {
    call(argv!("docker save --output {archive} {images...}")).within(ARCHIVE)
}

/// Reads the images of an archive.
pub fn load(archive: &str) -> Call {
    call(argv!("docker load --quiet --input {archive}")).within(ARCHIVE)
}

/// Reads the archive on stdin into the docker of a node.
pub fn load_into(node: &str) -> Call {
    call(argv!("docker exec --interactive {node} docker load --quiet"))
}

/// State of a container, such as `running` or `exited`; fails where there is none of that name.
pub fn container_state(name: &str) -> Call {
    let format = "{{.State.Status}}";
    call(argv!("docker container inspect --format {format} {name}")).trimmed()
}

/// What a container is limited to, in billionths of a CPU and in bytes; 0 is no limit.
pub fn container_limits(name: &str) -> Call<(u64, u64)> {
    let format = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}";
    call(argv!("docker container inspect --format {format} {name}")).try_parse(|text| {
        let (cpus, memory) = text.trim().split_once(' ').context("docker printed no limits")?;
        Ok((cpus.parse()?, memory.parse()?))
    })
}

/// The addresses of a container and what it publishes, as JSON; fails where there is none of that name.
pub fn container_network(name: &str) -> Call<Vec<String>> {
    let format = "{{json .NetworkSettings}}";
    call(argv!("docker container inspect --format {format} {name}")).parse(|text| parse_api_servers(&text))
}

/// Where the API server of a node is reached, by what `container_network` printed: at the node's own address, or at the
/// port that it publishes where that can't be reached.
fn parse_api_servers(stdout: &str) -> Vec<String> {
    const PORT: &str = "8443";
    let parsed: serde_json::Value = serde_json::from_str(stdout).unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_string);
    let own =
        parsed["Networks"].as_object().into_iter().flatten().filter_map(|(_, network)| text(&network["IPAddress"]));
    let published = parsed["Ports"][format!("{PORT}/tcp")].as_array().into_iter().flatten();
    let published = published.filter_map(|one| Some((text(&one["HostIp"])?, text(&one["HostPort"])?)));
    let all = own.map(|address| (address, PORT.to_string())).chain(published);
    all.map(|(address, port)| format!("https://{address}:{port}")).collect()
}

/// The address that this machine has in each network of a container.
pub fn container_gateways(name: &str) -> Call<Vec<String>> {
    let format = r#"{{range .NetworkSettings.Networks}}{{println .Gateway}}{{end}}"#;
    call(argv!("docker container inspect --format {format} {name}")).lines()
}

/// Copies a file out of a container, whether it runs or not.
pub fn copy_out(name: &str, file: &str, to: &str) -> Call {
    call(argv!("docker cp {name}:{file} {to}"))
}

/// Copies a file into a container.
pub fn copy_in(file: &str, name: &str, to: &str) -> Call {
    let to = format!("{name}:{to}");
    call(argv!("docker cp {file} {to}"))
}

/// Writes a line into a file of a container.
pub fn write_line(name: &str, file: &str, line: &str) -> Call {
    let script = r#"echo "$1" >"$0""#;
    call(argv!("docker exec {name} sh -c {script} {file} {line}"))
}

/// By what a container is known: its machine ID, where it has one, and its addresses. Fails where none of that name runs.
pub fn identity(name: &str) -> Call<Vec<String>> {
    const TELL: &str = "cat /etc/machine-id 2>/dev/null; hostname -i";
    call(argv!("docker exec {name} sh -c {TELL}")).parse(|text| text.split_whitespace().map(str::to_string).collect())
}

/// The image that a container was made from; fails where there is none of that name.
pub fn container_image(name: &str) -> Call {
    let format = "{{.Config.Image}}";
    call(argv!("docker container inspect --format {format} {name}")).trimmed()
}

/// The label by which minikube tells which node a container is.
pub const NODE_LABEL: &str = "name.minikube.sigs.k8s.io";

/// Names of the containers that are nodes of a minikube profile, and run.
pub fn nodes(profile: &str) -> Call<Vec<String>> {
    let (filters, format) = (of_profile(profile), "{{.Names}}");
    call(argv!("docker ps {filters...} --format {format}")).lines()
}

/// The states of the containers that are nodes of a minikube profile, such as `running` or `exited`, by their names.
pub fn node_states(profile: &str) -> Call<BTreeMap<String, String>> {
    let (filters, format) = (of_profile(profile), "{{.Names}} {{.State}}");
    call(argv!("docker ps --all {filters...} --format {format}")).lines().parse(|lines| {
        let pairs = lines.iter().filter_map(|line| line.split_once(' '));
        pairs.map(|(name, state)| (name.to_string(), state.to_string())).collect()
    })
}

/// Minikube's label names the node, and only the first is named as the profile.
fn of_profile(profile: &str) -> [String; 4] {
    let filter = || "--filter".to_string();
    [filter(), format!("label={NODE_LABEL}"), filter(), format!("name=^{profile}(-m[0-9]+)?$")]
}

pub fn node_remove_folder(node: &str, path: &str) -> Call {
    call(argv!("docker exec {node} rm --recursive --force --one-file-system {path}"))
}

/// A PostgreSQL for tests, published on a free port of 127.0.0.1; its password comes through the environment by name. It
/// does not wait for the disk: the tests make hundreds of databases, and a slow disk would hold statements up past their
/// deadlines. Whether writes survive a server that is killed is asked on the cluster.
pub fn run_database(name: &str, label: &str, image: &str) -> Call {
    call(argv!(
        "docker run --detach --rm --name {name} --label {label} --publish 127.0.0.1::5432 --env POSTGRES_USER=todo --env POSTGRES_DB=todo --env POSTGRES_PASSWORD {image} -c fsync=off -c full_page_writes=off -c synchronous_commit=off"
    ))
}

/// The address that docker published a container's port at, such as 127.0.0.1:49153.
pub fn published(name: &str, port: u16) -> Call {
    let port = port.to_string();
    call(argv!("docker port {name} {port}")).trimmed()
}

/// Asks the test database through the network, as its first start serves a socket alone.
pub fn database_ready(name: &str) -> Call {
    call(argv!("docker exec {name} pg_isready --quiet --host 127.0.0.1"))
}

/// Lets a paused container go on.
pub fn unpause(name: &str) -> Call {
    call(argv!("docker unpause {name}"))
}

/// Freezes all processes of a container.
pub fn pause(name: &str) -> Call {
    call(argv!("docker pause {name}"))
}

pub fn kill(name: &str) -> Call {
    call(argv!("docker kill {name}"))
}

pub fn remove_container(name: &str) -> Call {
    call(argv!("docker rm --force --volumes {name}"))
}

/// The names of all networks.
pub fn networks() -> Call<Vec<String>> {
    let format = "{{.Name}}";
    call(argv!("docker network ls --format {format}")).lines()
}

/// The names of all volumes.
pub fn volumes() -> Call<Vec<String>> {
    let format = "{{.Name}}";
    call(argv!("docker volume ls --format {format}")).lines()
}

pub fn remove_network(name: &str) -> Call {
    call(argv!("docker network rm {name}"))
}

pub fn remove_volume(name: &str) -> Call {
    call(argv!("docker volume rm {name}"))
}

/// A daemon of our own, its containers run by `runtime` where the machine needs a shim.
pub fn daemon(sudo: &[&str], home: &str, runtime: Option<&str>) -> Call {
    let name = format!("{home}{SHIM}");
    let shim = match runtime {
        Some(path) => {
            vec!["--add-runtime".to_string(), format!("{name}={path}"), "--default-runtime".to_string(), name]
        }
        None => Vec::new(),
    };
    call(argv!("dockerd {shim...}")).behind(sudo)
}

/// How the name ends under which a daemon knows our shim.
const SHIM: &str = "-shim";

/// Whether a daemon's runtime is our shim, whichever project started the daemon.
pub fn is_shim(runtime: &str) -> bool {
    runtime.ends_with(SHIM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_failed_build_the_error_is_shown_and_nothing_around_it() {
        let read = |text: &str| failed_step(&text.lines().map(str::to_string).collect::<Vec<_>>());
        let cargo = "#9 DONE 0.0s\n#10 [build 6/7] RUN ./build.sh\n#10 sha256:14\n#10 0.7    Compiling mcp v0.1.0\n\
            #10 1.3 error: unclosed delimiter\n#10 1.3  --> mcp/src/main.rs:6:14\n#10 1.4 \n#11 1.5 another step\n\
            #10 ERROR: executor failed running [./build.sh]: exit code: 101\n------\n > [build 6/7] RUN ./build.sh:\n------";
        assert_eq!(read(cargo), ["error: unclosed delimiter", " --> mcp/src/main.rs:6:14", ""]);
        let quiet = "#5 0.1 nothing found\n#5 ERROR: executor failed running [make]: exit code: 2";
        assert_eq!(read(quiet), ["nothing found"]);
        let syntax = "#1 [internal] load build definition\nDockerfile:3: unknown instruction: RNU";
        assert_eq!(read(syntax), syntax.lines().collect::<Vec<_>>());
        let long: String = (0..90).map(|line| format!("#5 0.1 error {line}\n")).collect();
        assert_eq!(read(&format!("{long}#5 ERROR: x")).last().unwrap(), "... and 50 more lines");
    }

    #[test]
    fn an_api_server_is_reached_at_the_node_or_at_the_port_that_it_publishes() {
        let published = r#""Ports":{"22/tcp":[{"HostIp":"127.0.0.1","HostPort":"1"}],"8443/tcp":[{"HostIp":"127.0.0.1","HostPort":"32769"}]}"#;
        let networks = r#""Networks":{"todo":{"IPAddress":"192.168.49.2"},"none":{"IPAddress":""}}"#;
        assert_eq!(
            parse_api_servers(&format!("{{{published},{networks}}}")),
            ["https://192.168.49.2:8443", "https://127.0.0.1:32769"]
        );
        // One that is stopped has neither.
        assert_eq!(parse_api_servers(r#"{"Ports":{},"Networks":{"todo":{"IPAddress":""}}}"#), [""; 0]);
        assert_eq!(parse_api_servers(""), [""; 0]);
    }

    #[test]
    fn a_build_names_everything_it_takes() {
        let tags = ["todo:1".to_string()];
        let call = build(&Build {
            dockerfile: "docker/a.Dockerfile",
            context: "stage/a",
            target: None,
            tags: &tags,
            args: vec![("PORT".into(), Some("8000".into())), ("HTTP_PROXY".into(), None)],
            labels: vec![("todo-chatbot.service".into(), "a".into())],
            ca: Some("/ca.crt"),
        });
        assert_eq!(
            call.text(),
            "docker build --progress plain --file docker/a.Dockerfile --tag todo:1 --build-arg PORT=8000 --build-arg HTTP_PROXY \
             --label todo-chatbot.service=a --secret id=ca,src=/ca.crt stage/a"
        );
    }

    #[test]
    fn the_clients_version_is_read() {
        let message = "Docker version 20.10.24+dfsg1, build 297e128\n";
        assert_eq!(parse_client_version(message), Some("20.10.24+dfsg1".to_string()));
        assert_eq!(parse_client_version("podman 5"), None);
    }

    #[test]
    fn a_client_without_a_daemon_tells_nothing() {
        assert_eq!(parse_info("|||\n"), None);
        assert_eq!(parse_info(""), None);
        let daemon = parse_info("20.10.24|runc|1|/var/lib/docker\n").unwrap();
        assert_eq!((daemon.version.as_str(), daemon.cgroup_version.as_str()), ("20.10.24", "1"));
    }

    #[test]
    fn an_inspected_image_is_one_object() {
        assert_eq!(parse_inspect(r#"[{"Size": 1}]"#).unwrap()["Size"], 1);
        assert_eq!(parse_inspect("[]"), None);
        assert_eq!(parse_inspect("Error"), None);
    }

    #[test]
    fn inspected_images_tell_whose_they_are() {
        let json = r#"[{"Id": "sha256:1", "RepoTags": ["a:1"], "Created": "2026-01-01T00:00:00Z", "Size": 5,
            "Config": {"Labels": {"todo.service": "a", "other.service": "b"}}},
            {"Id": "sha256:2", "RepoTags": null, "Size": 6, "Config": {"Labels": null}}]"#;
        let read = parse_inspected_images(json, &label("todo")).unwrap();
        assert_eq!((read[0].label.as_deref(), read[0].size_bytes, read[0].references.len()), (Some("a"), 5, 1));
        assert_eq!((read[1].label.as_deref(), read[1].references.len()), (None, 0));
        assert!(parse_inspected_images("Error", "a").is_err());
    }

    #[test]
    fn inspected_containers_tell_what_they_run() {
        let json = r#"[{"Name": "/a", "Image": "sha256:1", "State": {"Running": true}, "Config": {"Labels": {"todo.check": "7"}}}]"#;
        let [read] = &parse_inspected_containers(json).unwrap()[..] else { panic!("one container") };
        assert_eq!((read.name.as_str(), read.image_id.as_str(), read.running), ("a", "sha256:1", true));
        assert_eq!(read.labels[&check_label("todo")], "7");
    }

    #[test]
    fn the_build_cache_and_the_runtimes_are_read() {
        assert_eq!(parse_build_cache("Images|1GB\nBuild Cache|2.3GB\n"), Some("2.3GB".to_string()));
        assert_eq!(parse_build_cache(""), None);
        let runtimes = r#"{"runc":{"path":"runc"},"shim":{"path":"/cache/go/shim-1/runc"},"io.containerd.runc.v2":{}}"#;
        assert_eq!(parse_runtimes(runtimes), ["runc", "/cache/go/shim-1/runc"]);
    }
}
