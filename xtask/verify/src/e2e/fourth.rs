//! A service more is data, a Dockerfile and, for a chart of its own, three lines that include the library chart. The test
//! adds two to a copy of the project: one to the umbrella, one with a chart of its own.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::e2e::world::World;

/// What a contributor would add to xtask.toml for both: the image, and a check of each.
const SERVICES: &str = r#"
[services.hello]
image = "todo-chatbot-hello"
dockerfile = "docker/hello.Dockerfile"
context = "docker/hello"
inputs = ["."]
base = "debian"
port = 8002
probes = { liveness = "/", readiness = "/" }

[services.again]
image = "todo-chatbot-again"
dockerfile = "docker/hello.Dockerfile"
context = "docker/hello"
inputs = ["."]
base = "debian"
port = 8003
probes = { liveness = "/", readiness = "/" }

[[smoke]]
name = "hello answers"
service = "hello"
steps = [{ path = "/", status = 200, contains = "hello" }]

[[smoke]]
name = "hello answers from its own release"
service = "again"
steps = [{ path = "/", status = 200, contains = "hello" }]
"#;

const RELEASE: &str = r#"
[releases.again]
chart = "helm/again"
services = ["again"]
secret = "todo-chatbot-secrets"
needs = ["todo-chatbot"]
"#;

const DOCKERFILE: &str = r#"ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}
ARG PORT=8002
COPY hello.pl /hello.pl
USER 10001:10001
ENV PORT=${PORT}
EXPOSE ${PORT}
CMD ["perl", "/hello.pl"]
"#;

const PROGRAM: &str = r#"use IO::Socket::INET;
$SIG{TERM} = sub { exit 0 };
my $server = IO::Socket::INET->new(LocalPort => $ENV{PORT}, Listen => 16, ReuseAddr => 1) or die $!;
while (1) {
    my $client = $server->accept or next;
    while (my $line = <$client>) { last if $line =~ /^\r?\n$/ }
    print $client "HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\nhello\n";
    close $client;
}
"#;

const CHART: &str = "apiVersion: v2\nname: again\ndescription: Says hello\ntype: application\nversion: 0.1.0\nappVersion: 0.1.0\ndependencies:\n  - name: library\n    version: 0.1.0\n    repository: file://../library\n";
const TEMPLATE: &str = "{{- include \"library.workloads\" (dict \"root\" .) }}\n{{- include \"library.services\" (dict \"root\" .) }}\n{{- include \"library.networkPolicies\" . }}\n";
const VALUES: &str = "image:\n  repository: todo-chatbot-again\n  pullPolicy: Never\nport: 8003\n";

pub fn is_data(world: &World) -> Result<()> {
    let root = world.project("fourth")?;
    append(&root.join("xtask.toml"), SERVICES)?;
    let profile = root.join("k8s/profiles/dev.toml");
    append(&profile, RELEASE)?;
    let known = fs::read_to_string(&profile)?;
    let listed = known.replace("services = [\"postgres\",", "services = [\"hello\", \"postgres\",");
    ensure!(listed != known, "the profile dev lists no services that one could be added to");
    fs::write(&profile, listed)?;
    write(&root.join("docker/hello.Dockerfile"), DOCKERFILE.as_bytes())?;
    write(&root.join("docker/hello/hello.pl"), PROGRAM.as_bytes())?;
    write(&root.join("helm/again/Chart.yaml"), CHART.as_bytes())?;
    write(&root.join("helm/again/values.yaml"), VALUES.as_bytes())?;
    write(&root.join("helm/again/templates/all.yaml"), TEMPLATE.as_bytes())?;

    let output = world.xtask_in(&root, &["up"])?;
    ensure!(output.success, "up failed with two services more\n{}", output.tail);
    let output = world.xtask_in(&root, &["up"])?;
    ensure!(
        output.success && output.tail.contains("nothing to deploy"),
        "a second up changed something\n{}",
        output.tail
    );
    for (kind, name) in
        [("deployment", "hello"), ("deployment", "again"), ("networkpolicy", "again"), ("service", "hello")]
    {
        ensure!(world.objects(&format!("{kind}/{name}"))?.len() == 1, "there is no {kind} {name}");
    }
    let output = world.xtask_in(&root, &["down"])?;
    ensure!(output.success, "down failed with two services more\n{}", output.tail);
    ensure!(world.objects("deployment/again")?.is_empty(), "the release of the service more is still there");
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    Ok(fs::write(path, bytes)?)
}

fn append(path: &Path, text: &str) -> Result<()> {
    let known = fs::read_to_string(path)?;
    Ok(fs::write(path, known + text)?)
}
