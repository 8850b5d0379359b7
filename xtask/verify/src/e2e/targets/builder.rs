//! BuildKit's own daemon beside docker's, as a team has one on another machine: docker reaches it by TCP, with buildx.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::e2e::targets::Team;
use crate::e2e::world::{World, tells};
use xtask::run::call::{Call, argv, call};
use xtask::run::poll;
use xtask::run::process::{Background, sudo};
use xtask::stages::{elsewhere, setup};
use xtask::tools::buildx;

/// The name of the builder.
const BUILDER: &str = "team";
/// Two platforms that one machine can build for and run: the second has the instructions of the processors since 2009.
const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/amd64/v2"];
/// How long buildkitd may take to begin.
const BEGINS: Duration = Duration::from_secs(30);

/// It runs for as long as this lives. What it keeps, some 4 GB, goes with it.
struct BuildKit<'a> {
    world: &'a World,
    process: Option<Background>,
    port: u16,
}

impl BuildKit<'_> {
    fn start<'a>(team: &Team<'a>) -> Result<BuildKit<'a>> {
        let world = team.world;
        let [program] = setup::programs(&world.ctx, ["buildkitd"])?;
        let folder = folder(world);
        fs::create_dir_all(&folder)?;
        let (config, root) = (folder.join("buildkitd.toml"), folder.join("root").display().to_string());
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let (address, authority) = (&team.registry.address, team.registry.authority());
        let trusts = format!("[registry.\"{address}\"]\nca = [\"{authority}\"]\n");
        // Containers run as docker's do, in the network of this machine: what an image is built of comes from where this
        // machine gets it.
        let format = "{{(index .Runtimes .DefaultRuntime).Path}}";
        let runtime = world.run(call(argv!("docker info --format {format}")).trimmed())?;
        let worker = format!(
            "[worker.oci]\nenabled = true\nnetworkMode = \"host\"\nbinary = \"{runtime}\"\n[worker.containerd]\nenabled = false\n"
        );
        fs::write(&config, format!("root = \"{root}\"\n{worker}{trusts}"))?;
        let config = config.display().to_string();
        let at = format!("tcp://127.0.0.1:{port}");
        let serve: Call = call(argv!("{program} --config {config} --addr {at}")).behind(sudo());
        let process = world.ctx.spawn.background(serve, |_| {})?;
        let kit = BuildKit { world, process: Some(process), port };
        let answers = || Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(()));
        poll::until(&world.ctx.spawn.interrupt, BEGINS, answers)?.context("buildkitd does not answer")?;
        Ok(kit)
    }

    /// Has docker know it, by the plugin that docker lacks here.
    fn be_known(&self, team: &Team) -> Result<()> {
        let [program] = setup::programs(&team.world.ctx, ["buildx"])?;
        let plugins = PathBuf::from(team.registry.docker_config()).join("cli-plugins");
        fs::create_dir_all(&plugins)?;
        let plugin = plugins.join("docker-buildx");
        if !plugin.exists() {
            symlink(program, plugin)?;
        }
        let at = format!("tcp://127.0.0.1:{}", self.port);
        let create: Call = call(argv!("docker buildx create --name {BUILDER} --driver remote {at}"));
        team.spawn.run(create)?;
        Ok(())
    }
}

impl Drop for BuildKit<'_> {
    fn drop(&mut self) {
        // Its end is waited for.
        self.process = None;
        let root = folder(self.world).join("root").display().to_string();
        // What can't be removed is used by the next run.
        let _ = self.world.ctx.spawn.uninterrupted().output(call(argv!("rm -rf {root}")).behind(sudo()));
    }
}

fn folder(world: &World) -> PathBuf {
    world.ctx.folders.cache.join("test-buildkit")
}

pub fn builds(world: &World) -> Result<()> {
    let team = Team::new(world)?;
    team.registry.empty()?;
    let file = team.root.join("xtask.toml");
    let platforms = PLATFORMS.join("\", \"");
    let more = format!("builder = \"{BUILDER}\"\nplatforms = [\"{platforms}\"]\n");
    fs::write(&file, format!("{}{more}", fs::read_to_string(&file)?))?;
    let _ = fs::remove_dir_all(PathBuf::from(team.registry.docker_config()).join("buildx"));
    let _ = fs::remove_dir_all(PathBuf::from(team.registry.docker_config()).join("cli-plugins"));
    team.is_refused(1, &["docker has no buildx"])?;
    let mut kit = BuildKit::start(&team)?;
    kit.be_known(&team)?;
    let output = team.up()?;
    tells(&output, &["build and push backend", "by builder team for linux/amd64 and linux/amd64/v2"])?;
    ensure!(!output.tail.contains("build backend"), "docker built as well\n{}", output.tail);
    for image in ["backend", "frontend", "mcp"] {
        has_both(&team, image)?;
    }
    let before = world.fingerprint()?;
    let again = team.up()?;
    ensure!(
        !again.tail.contains("push ") && world.fingerprint()? == before,
        "a second up changed something\n{}",
        again.tail
    );
    // Without its builder the team is where it was.
    team.change("for a builder that is away")?;
    kit.process = None;
    team.is_refused(1, &["builder team does not answer", "docker buildx inspect"])
}

/// The registry has an image under the tag that its pods run, for both platforms.
fn has_both(team: &Team, service: &str) -> Result<()> {
    let pods = team.world.pods()?;
    let images = pods.iter().filter_map(|pod| pod["spec"]["containers"][0]["image"].as_str());
    let image = images.into_iter().find(|image| image.contains(&format!("-{service}:")));
    let image = image.with_context(|| format!("no pod runs {service}"))?;
    let mut spawn = elsewhere::trusting(&team.world.ctx, &team.registry.address)?;
    spawn.env.push(("DOCKER_CONFIG".to_string(), team.registry.docker_config()));
    let pushed = spawn.run(buildx::pushed(BUILDER, image))?;
    ensure!(pushed.lacks(&PLATFORMS.map(str::to_string)).is_empty(), "{image} is for {:?}", pushed.platforms);
    ensure!(image.ends_with(&pushed.digest), "{image} is pinned to another digest than {}", pushed.digest);
    Ok(())
}
