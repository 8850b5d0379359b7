//! What a target is known by, read from its kubeconfig and asked of its cluster, and compared with what `target add` noted.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::config::{Config, yaml};
use crate::model::cluster::Target;
use crate::model::pin;
use crate::model::pin::{Authority, Pin, Way};
use crate::run::call::display;
use crate::run::context::{Folders, expand};
use crate::run::exit::Stop;
use crate::run::process::Spawn;
use crate::tools::kubectl;

/// A target, and where what it is known by is kept.
pub struct Expected {
    name: String,
    target: Target,
    /// The file that `target add` writes.
    pub file: PathBuf,
}

impl Expected {
    /// Of the target that was chosen; None where none was.
    pub fn of(folders: &Folders, root: &Path, config: &Config) -> Option<Expected> {
        let (name, remote) = config.remote()?;
        let kubeconfig = root.join(expand(&remote.kubeconfig)).display().to_string();
        let target = Target { kubeconfig, context: remote.context.clone(), namespace: "kube-system".to_string() };
        Some(Expected { name: name.to_string(), target, file: folders.pin(&config.project, name) })
    }

    /// Refuses a call that names another cluster than the target.
    pub fn check_call(&self, argv: &[String]) -> Result<()> {
        let (kubeconfig, context) = named(argv);
        if (kubeconfig, context) == (self.target.kubeconfig.as_str(), self.target.context.as_str()) {
            let noted = self.need_noted()?;
            let found = Pin { authority: self.authority()?.1, uid: None };
            return self.compare(&noted, &found);
        }
        let message = format!("`{}` does not name the target {}", display(argv), self.name);
        Err(Stop::needs_setup(format!("refusing to change another cluster: {message}")).into())
    }

    /// Refuses a cluster that is another than the one that was noted.
    pub fn check(&self, spawn: &Spawn) -> Result<()> {
        let noted = self.need_noted()?;
        // Who vouches for it is known without asking it.
        self.compare(&noted, &Pin { authority: self.authority()?.1, uid: None })?;
        self.compare(&noted, &self.find(spawn)?)
    }

    /// What the cluster is known by now.
    pub fn find(&self, spawn: &Spawn) -> Result<Pin> {
        let (_, authority) = self.authority()?;
        let uid = match spawn.attempt(kubectl::get_uid(&self.target, "namespace/kube-system"))? {
            Ok(uid) => Some(uid),
            // Whoever has rights to one namespace only can't see this one.
            Err(output) if kubectl::is_forbidden(&output.tail) => None,
            Err(output) => return Err(self.unanswered(&output.tail).into()),
        };
        Ok(Pin { authority, uid })
    }

    /// Where the context leads, and the fingerprint of who vouches for it.
    pub fn authority(&self) -> Result<(Way, String)> {
        let Target { kubeconfig, context, .. } = &self.target;
        let text = fs::read_to_string(kubeconfig).map_err(|error| {
            Stop::needs_setup(format!(
                "the kubeconfig of target {}, {kubeconfig}, cannot be read: {error}\nNext: put it there, or correct targets.{}.kubeconfig",
                self.name, self.name
            ))
        })?;
        let refuse = |why: &str| {
            let message = format!("the target {} can't be trusted: context {context} of {kubeconfig} {why}", self.name);
            Stop::needs_setup(message)
        };
        let found = yaml::objects(&text).map_err(|_| refuse("is in a file that is not valid YAML"))?;
        let way = pin::way(&found.into_iter().next().unwrap_or_default(), context).map_err(|why| refuse(&why))?;
        let pem = match &way.authority {
            Authority::Data(data) => BASE64_STANDARD.decode(data).ok().and_then(|pem| String::from_utf8(pem).ok()),
            Authority::File(file) => {
                let beside = Path::new(kubeconfig).parent().unwrap_or(Path::new("/"));
                fs::read_to_string(beside.join(file)).ok()
            }
        };
        let print = pem.as_deref().and_then(pin::fingerprint);
        let print = print.ok_or_else(|| refuse("names a certificate-authority that can't be read"))?;
        Ok((way, print))
    }

    /// What was noted; None where nothing was.
    pub fn noted(&self) -> Result<Option<Pin>> {
        let text = match fs::read_to_string(&self.file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.file.display())),
        };
        let damaged = || {
            let name = &self.name;
            format!("{} is damaged: cargo xtask target forget {name}, then target add {name}", self.file.display())
        };
        serde_json::from_str(&text).map(Some).with_context(damaged)
    }

    fn need_noted(&self) -> Result<Pin> {
        self.noted()?.ok_or_else(|| {
            let message = format!("nothing is known of target {} on this machine", self.name);
            Stop::needs_setup(format!("{message}\nNext: cargo xtask target add {}", self.name)).into()
        })
    }

    fn compare(&self, noted: &Pin, found: &Pin) -> Result<()> {
        let Some(why) = pin::difference(noted, found) else { return Ok(()) };
        let name = &self.name;
        let message = format!("another cluster answers in place of target {name}: {why}; nothing was changed");
        let next = format!(
            "Next: ask who runs it; if it was made anew, cargo xtask target forget {name}, then target add {name}"
        );
        Err(Stop::needs_setup(format!("{message}\n{next}")).into())
    }

    /// The error for a cluster that did not answer, by what kubectl printed.
    pub fn unanswered(&self, printed: &str) -> Stop {
        let last = printed.lines().last().unwrap_or_default();
        let Expected { name, target, .. } = self;
        let file = &target.kubeconfig;
        let is_refused = ["Unauthorized", "must be logged in", "asked for the client to provide credentials"];
        if is_refused.iter().any(|said| printed.contains(said)) {
            let message = format!("the cluster of target {name} refuses the credentials of context {}", target.context);
            return Stop::needs_setup(format!("{message}: {last}\nNext: renew them in {file}, as with a new token"));
        }
        let is_another = printed.contains("certificate signed by unknown authority") || printed.contains("x509:");
        if is_another {
            let message = format!("the server of target {name} can't prove that it is the one of {file}");
            return Stop::needs_setup(format!("{message}: {last}; nothing was changed\nNext: ask who runs it"));
        }
        let message = format!("the cluster of target {name} does not answer: {last}");
        Stop::failed(format!("{message}\nNext: kubectl --kubeconfig {file} --context {} get nodes", target.context))
    }
}

/// The kubeconfig and the context that a call names.
pub fn named(argv: &[String]) -> (&str, &str) {
    let after = |flag: &str| argv.iter().skip_while(|word| *word != flag).nth(1).map(String::as_str);
    let context = after("--kube-context").or_else(|| after("--context")).unwrap_or_default();
    (after("--kubeconfig").unwrap_or_default(), context)
}
