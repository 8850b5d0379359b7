//! A registry of images with TLS and a password, as a team has one: distribution's own, on this machine, where docker and the
//! node reach it alike. A relay is in front of it, which slows it down when asked.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::e2e::targets::relay::Relay;
use crate::e2e::world::World;
use crate::tools::openssl;
use xtask::run::call::{Call, argv, call};
use xtask::run::poll;
use xtask::run::process::{Background, sudo};
use xtask::stages::{cluster, setup};
use xtask::tools::{ctr, docker};

/// Who may push and pull, and the password as the registry keeps it, by bcrypt. It opens nothing but this test.
const USER: &str = "team";
const PASSWORD: &str = "of-the-test-alone";
const KEPT: &str = "team:$2y$05$abcdefghijklmnopqrstuuMpEej93nAcVpkKMaJjC6aoS3PHiU2cG";
/// Where docker looks for who vouches for a registry, and where containerd does on the node.
const TRUSTED: [&str; 2] = ["/etc/docker/certs.d", "/etc/containerd/certs.d"];

/// The size of the disk of a registry without room.
const ROOM_BYTES: usize = 256 * 1024;

/// It runs, and is trusted by docker and by the nodes, for as long as this lives.
pub struct Registry<'a> {
    world: &'a World,
    program: String,
    folder: PathBuf,
    /// As in `192.168.49.1:5000`.
    pub address: String,
    /// The way to it, at that address.
    pub relay: Relay,
    /// Where it is itself.
    behind: SocketAddr,
    nodes: Vec<String>,
    process: Option<Background>,
}

impl<'a> Registry<'a> {
    /// What was pushed before, by another scenario, is in it.
    pub fn start(world: &'a World) -> Result<Registry<'a>> {
        let [program] = setup::programs(&world.ctx, ["registry"])?;
        let folder = world.ctx.folders.cache.join("test-registry");
        fs::create_dir_all(folder.join("docker"))?;
        let nodes = cluster::nodes(&world.ctx)?;
        // The host, as the node sees it.
        let host = world.run(docker::container_gateways(&nodes[0]))?.pop().context("a node has a gateway")?;
        let behind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let relay = Relay::new(&host, behind)?;
        let address = format!("{host}:{}", relay.port);
        let mut registry = Registry { world, program, folder, address, relay, behind, nodes, process: None };
        // Of a run that was killed.
        registry.make_room();
        world.run(openssl::self_signed(&registry.path("key.pem"), &registry.path("ca.crt"), &host))?;
        fs::write(registry.folder.join("users"), format!("{KEPT}\n"))?;
        registry.trust()?;
        registry.log_in(PASSWORD)?;
        registry.serve(false)?;
        Ok(registry)
    }

    /// Starts it anew; one that is read-only takes nothing.
    pub fn serve(&mut self, read_only: bool) -> Result<()> {
        self.stop();
        let config = json!({
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": true}},
            "storage": {
                "filesystem": {"rootdirectory": self.path("blobs")},
                "maintenance": {"readonly": {"enabled": read_only}},
            },
            "http": {
                "addr": self.behind, "secret": "of-the-test",
                "tls": {"certificate": self.path("ca.crt"), "key": self.path("key.pem")},
            },
            "auth": {"htpasswd": {"realm": "test", "path": self.path("users")}},
        });
        // JSON is YAML.
        fs::write(self.folder.join("config.yml"), config.to_string())?;
        let (program, file) = (&self.program, self.path("config.yml"));
        let serve: Call = call(argv!("{program} serve {file}"));
        self.process = Some(self.world.ctx.spawn.background(serve, |_| {})?);
        let answers = || Ok(TcpStream::connect(self.behind).is_ok().then_some(()));
        let began = poll::until(&self.world.ctx.spawn.interrupt, Duration::from_secs(20), answers)?;
        began.with_context(|| format!("the registry does not answer at {}", self.address))
    }

    pub fn stop(&mut self) {
        // Its end is waited for as it is dropped.
        self.process = None;
    }

    /// Starts it anew on a disk that is full. What it had stays on the other disk.
    pub fn serve_full(&mut self) -> Result<()> {
        self.stop();
        let blobs = self.path("blobs");
        fs::create_dir_all(&blobs)?;
        let options = format!("size={ROOM_BYTES},mode=0777");
        self.world.run(call(argv!("mount -t tmpfs -o {options} tmpfs {blobs}")).behind(sudo()))?;
        // A small layer would have room otherwise.
        let filled = fs::write(self.folder.join("blobs/filled"), vec![0; 2 * ROOM_BYTES]);
        ensure!(filled.is_err(), "a disk of {ROOM_BYTES} bytes took twice as many");
        self.serve(false)
    }

    /// Takes that disk away, if there is one. The registry must not run meanwhile.
    pub fn make_room(&self) {
        let blobs = self.path("blobs");
        let _ = self.world.ctx.spawn.uninterrupted().output(call(argv!("umount {blobs}")).behind(sudo()));
    }

    /// Whether something of an image is on its way.
    pub fn is_receiving(&self, image: &str) -> bool {
        fs::read_dir(self.repository(image).join("_uploads")).is_ok_and(|mut entries| entries.next().is_some())
    }

    /// Forgets an image, and no other.
    pub fn forget(&self, image: &str) -> Result<()> {
        Ok(fs::remove_dir_all(self.repository(image))?)
    }

    fn repository(&self, image: &str) -> PathBuf {
        self.folder.join(format!("blobs/docker/registry/v2/repositories/todo/{image}"))
    }

    /// Has docker send this password, as after `docker login`.
    pub fn log_in(&self, password: &str) -> Result<()> {
        let auth = BASE64_STANDARD.encode(format!("{USER}:{password}"));
        let config = json!({"auths": {self.address.as_str(): {"auth": auth}}});
        Ok(fs::write(self.folder.join("docker/config.json"), config.to_string())?)
    }

    pub fn log_in_again(&self) -> Result<()> {
        self.log_in(PASSWORD)
    }

    /// Its own certificate in base64, as a kubeconfig has one.
    pub fn certificate(&self) -> Result<String> {
        Ok(BASE64_STANDARD.encode(fs::read(self.folder.join("ca.crt"))?))
    }

    /// The file of the same.
    pub fn authority(&self) -> String {
        self.path("ca.crt")
    }

    /// The folder of docker's configuration that has the password.
    pub fn docker_config(&self) -> String {
        self.path("docker")
    }

    /// Forgets what was pushed.
    pub fn empty(&self) -> Result<()> {
        match fs::remove_dir_all(self.folder.join("blobs")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Has docker and each node's containerd trust the certificate.
    fn trust(&self) -> Result<()> {
        let (ca, [host_folder, node_folder]) = (self.path("ca.crt"), TRUSTED.map(|folder| self.beside(folder)));
        let on_host = [argv!("mkdir -p {host_folder}"), argv!("cp {ca} {host_folder}/ca.crt")];
        on_host.into_iter().try_for_each(|argv| self.world.run(call(argv).behind(sudo())).map(drop))?;
        let address = &self.address;
        fs::write(
            self.folder.join("hosts.toml"),
            format!("server = \"https://{address}\"\n[host.\"https://{address}\"]\nca = \"{node_folder}/ca.crt\"\n"),
        )?;
        self.nodes.iter().try_for_each(|node| self.teach(node))
    }

    /// Has a node of another cluster trust the certificate too.
    pub fn be_trusted_by(&mut self, node: &str) -> Result<()> {
        self.nodes.push(node.to_string());
        self.teach(node)
    }

    /// Gives the certificate to a node's containerd.
    fn teach(&self, node: &str) -> Result<()> {
        let node_folder = self.beside(TRUSTED[1]);
        let make = ["mkdir".to_string(), "-p".to_string(), node_folder.clone()];
        self.world.run(docker::exec(node, &make))?;
        for file in [self.folder.join("ca.crt"), self.folder.join("hosts.toml")] {
            let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            self.world.run(docker::copy_in(&file.display().to_string(), node, &format!("{node_folder}/{name}")))?;
        }
        Ok(())
    }

    /// Takes the names of what was pulled away, by which the node would report images that were loaded as well. Those of runs
    /// that were killed are among them.
    fn forget_pulled(&self) -> Result<()> {
        let host = self.address.split(':').next().unwrap_or_default();
        for node in &self.nodes {
            let names = self.world.run(ctr::names_of(node, host))?;
            if !names.is_empty() {
                self.world.run(ctr::forget(node, &names))?;
            }
        }
        Ok(())
    }

    fn beside(&self, folder: &str) -> String {
        format!("{folder}/{}", self.address)
    }
}

impl Drop for Registry<'_> {
    fn drop(&mut self) {
        self.stop();
        self.make_room();
        let [host_folder, node_folder] = TRUSTED.map(|folder| self.beside(folder));
        // What can't be removed trusts a certificate whose key is gone.
        let _ = self.world.run(call(argv!("rm -rf {host_folder}")).behind(sudo()));
        for node in &self.nodes {
            let _ = self.world.run(docker::exec(node, &["rm", "-rf", &node_folder].map(str::to_string)));
        }
        let _ = self.forget_pulled();
        let _ = fs::remove_file(self.folder.join("key.pem"));
    }
}

/// For a client that takes them by themselves.
pub fn credentials() -> (&'static str, &'static str) {
    (USER, PASSWORD)
}

/// Nothing of the password may be in what was printed.
pub fn is_secret(printed: &str) -> Result<()> {
    let encoded = BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"));
    ensure!(
        !printed.contains(PASSWORD) && !printed.contains(&encoded),
        "the registry's password was printed\n{printed}"
    );
    Ok(())
}
