//! Commands and flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::completions::Shell;
use crate::run::context::DEFAULT_PROFILE;
use crate::stages::setup::Source;

/// Brings the project's services up on a local minikube and checks them.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub options: Options,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 set something up first, 4 deadline, 130 interrupted";

#[derive(Debug, Args)]
pub struct Options {
    /// The profile, k8s/profiles/NAME.toml [default: dev; for lint: all]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// Deploy into this namespace instead of the profile's, on free node ports
    #[arg(long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Work on this cluster of others, [targets.NAME] in xtask.toml [default: the local minikube]
    #[arg(long, global = true, value_name = "NAME")]
    pub target: Option<String>,
    /// Work on a namespace of the branch's own, PROJECT-BRANCH, on free node ports
    #[arg(long, global = true, conflicts_with = "namespace")]
    pub preview: bool,
    /// Agree to changes of this protected target, whose name is typed otherwise
    #[arg(long, global = true, value_name = "TARGET")]
    pub confirm: Option<String>,
    /// Your own helm values, outside git [default: k8s/profiles/NAME.override.yaml]
    #[arg(long = "override", global = true, value_name = "FILE")]
    pub overrides: Option<PathBuf>,
    /// Agree to installing packages, starting a docker daemon, and recreating a broken cluster; CI=true does too
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// Print one JSON event per line on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print only the result and errors
    #[arg(long, short, global = true, conflicts_with_all = ["verbose", "json"])]
    pub quiet: bool,
    /// Print every line of the tools' output
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Print plain lines even on a terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Timeout for rollout progress and for smoke checks, instead of xtask.toml's
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

impl Options {
    pub fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or(DEFAULT_PROFILE)
    }

    /// As arguments of another command of this tool, in the same folder: all but how it prints.
    pub fn arguments(&self) -> Vec<String> {
        let pair = |name: &str, value: Option<String>| value.map(|value| [name.to_string(), value]);
        let overrides = self.overrides.as_ref().map(|file| file.display().to_string());
        let timeout = self.timeout.map(|timeout| timeout.as_secs().to_string());
        let pairs = [
            pair("--profile", self.profile.clone()),
            pair("--namespace", self.namespace.clone()),
            pair("--target", self.target.clone()),
            pair("--confirm", self.confirm.clone()),
            pair("--override", overrides),
            pair("--timeout", timeout),
        ];
        let flags = [(self.preview, "--preview"), (self.yes, "--yes")];
        let flags = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_string());
        pairs.into_iter().flatten().flatten().chain(flags).collect()
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build, load, deploy and check what changed; set up what is missing first; print the URL
    Up {
        /// Keep a failed deployment for inspection instead of rolling back
        #[arg(long)]
        no_rollback: bool,
        /// Load this bundle first, as `bundle load` does
        #[arg(long, value_name = "FILE")]
        bundle: Option<PathBuf>,
    },
    /// Run `up`, and again whenever a file changes that it is made of, until Ctrl-C
    Dev {
        /// Serve the page of `ui` meanwhile
        #[arg(long)]
        ui: bool,
    },
    /// Serve a page on 127.0.0.1 with services, logs, runs and buttons for `up` and the checks, until Ctrl-C
    Ui {
        /// The port on 127.0.0.1 [default: a free one]
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
    },
    /// Print what `up` would do, each step with its reason
    Plan,
    /// Uninstall the releases; keep their data
    Down {
        /// Remove the data, the Secrets and the namespace too
        #[arg(long)]
        purge: bool,
        /// Remove the whole cluster, with the data of every namespace
        #[arg(long, conflicts_with = "purge")]
        cluster: bool,
    },
    /// Roll the releases back to an earlier revision and check them
    Rollback {
        /// The revision to roll back to [default: the last one that worked]
        revision: Option<u64>,
        /// Roll back this release only
        #[arg(long, value_name = "NAME")]
        release: Option<String>,
    },
    /// Show releases, workloads, pods, URL, and how the last run ended
    Status,
    /// Show the releases' revisions with their reasons, and the last runs
    History,
    /// Show where the time of a run went, a bar for each step
    Timings {
        /// Which run: 1 is the last one, 2 the one before
        #[arg(default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
        run: usize,
        /// Show each process that the run started, too
        #[arg(long)]
        processes: bool,
        /// Write the bars as a page into this file, which needs nothing but a browser
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Write steps and processes as an OpenTelemetry trace into this file, in OTLP's JSON
        #[arg(long, value_name = "FILE")]
        otlp: Option<PathBuf>,
    },
    /// Check, rotate or export the profile's Secrets; values are never printed
    Secrets {
        #[command(subcommand)]
        command: Secrets,
    },
    /// Print the manifests that helm renders for the profile
    Render,
    /// Print the configuration of the profile
    Config {
        /// Print each value with the file and line that set it, charts' values included
        #[arg(long)]
        explain: bool,
    },
    /// Check the profile against the rules of its data model: configuration, manifests, images
    Validate {
        /// Check what runs in the cluster too
        #[arg(long)]
        live: bool,
        /// List the rules with the sections of docs/specs that state them
        #[arg(long, conflicts_with = "live")]
        rules: bool,
        /// Write what each image is made of into this folder: SERVICE.cdx.json, in CycloneDX's format
        #[arg(long, value_name = "FOLDER", conflicts_with = "rules")]
        sbom: Option<PathBuf>,
    },
    /// Check charts and Dockerfiles with helm, kubeconform, kube-score, pod security and hadolint
    Lint {
        /// Write the generated files first: helm/snapshots and the charts' READMEs
        #[arg(long)]
        update: bool,
    },
    /// Write the profile as files: charts, values, a lock of the images; the registry of a target has charts and images
    Package {
        /// The package's folder
        #[arg(value_name = "FOLDER", default_value = "package")]
        folder: PathBuf,
        /// Write the objects too with which this controller deploys it
        #[arg(long, value_name = "CONTROLLER")]
        gitops: Option<Controller>,
        /// Write nothing; exit 1 where the package is not what the sources make now, with the profile, target and controller
        /// that it was made with
        #[arg(long, conflicts_with = "gitops")]
        check: bool,
    },
    /// Run `minikube tunnel`, which gives LoadBalancer Services their addresses, until Ctrl-C
    Tunnel,
    /// Run the smoke checks against what is deployed
    Smoke,
    /// Print the logs of services, each line with its service and pod
    Logs {
        /// The services [default: all of the profile]
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Follow, over restarts and replaced pods, until Ctrl-C (exit code 0)
        #[arg(long, short)]
        follow: bool,
        /// Print the log of the previous container
        #[arg(long, conflicts_with = "follow")]
        previous: bool,
        /// Print this many of the last lines of each container [default: 100; all with --since]
        #[arg(long, value_name = "LINES")]
        tail: Option<u32>,
        /// Print lines newer than this, such as 90s, 10m or 2h
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        since: Option<String>,
    },
    /// Print the URL of a service and open it in a browser
    Open {
        /// The service [default: the one that `open` in xtask.toml names]
        service: Option<String>,
    },
    /// Forward a port of 127.0.0.1 to a service until Ctrl-C, over restarts and replaced pods
    Forward {
        service: String,
        /// The port on 127.0.0.1 [default: the service's own, or a free one]
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        port: Option<u16>,
        /// A port of the service's newest pod, as 9090 for its metrics [default: that of its Service]
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        to: Option<u16>,
    },
    /// Run a shell, or a command, in a service's container
    Exec {
        service: String,
        /// The command and its arguments, after -- [default: sh]
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Run a shell in a container beside a service's, for images that have none
    Debug {
        service: String,
        /// An image with a shell, which the node has [default: the image of a service that is based on Debian]
        #[arg(long, value_name = "IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
        image: Option<String>,
    },
    /// Run psql in the database's container, as the database's own user
    Psql {
        /// The service [default: the one that the smoke checks ask in SQL]
        #[arg(long)]
        service: Option<String>,
        /// Options of psql, after --, such as --command 'SELECT 1'
        #[arg(last = true)]
        options: Vec<String>,
    },
    /// Dump, restore or seed the database
    Db {
        #[command(subcommand)]
        command: Db,
        /// The service [default: the one that the smoke checks ask in SQL]
        #[arg(long, global = true)]
        service: Option<String>,
    },
    /// List the namespaces of branches, `up --preview`, or remove those whose time is over
    Preview {
        #[command(subcommand)]
        command: PreviewCommand,
    },
    /// Get to know the clusters of others that --target leads to
    Target {
        #[command(subcommand)]
        command: TargetCommand,
    },
    /// Set up tools, base images and the docker daemon
    Bootstrap {
        /// Where to get missing tools and images from [default: whichever answers]
        #[arg(long, value_name = "SOURCE")]
        from: Option<Source>,
        /// Download the releases of all tools and write their checksums into tools.lock
        #[arg(long, conflicts_with = "from")]
        update_lock: bool,
    },
    /// Save what `bootstrap` made into one file, or load it on another machine
    Bundle {
        #[command(subcommand)]
        command: Bundle,
    },
    /// Remove the project's unused images and folders
    Clean {
        /// How many images of each service to keep, the newest
        #[arg(long, value_name = "N", default_value_t = 2)]
        keep: usize,
        /// List what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove everything that these commands created: cluster, data, images, tools; lists it first, and needs --yes
    Uninstall,
    /// List what is needed, whether it was found, and the command that installs it
    Doctor,
    /// Install or remove git's pre-commit hook: formatting, conflict markers, large files
    Hook {
        #[command(subcommand)]
        command: Hook,
    },
    /// Print a script that completes `cargo xtask` in a shell; docs/editor.md says where it goes
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
    /// Print the JSON Schema of xtask.toml and the profiles
    Schema,
    /// Run all tests: formatting, lints, units, charts, services with PostgreSQL, end to end
    Test {
        /// Skip the end-to-end test
        #[arg(long)]
        no_e2e: bool,
        /// Run only what can be affected by files that differ from this commit, or are not tracked [default: main]
        #[arg(long, value_name = "COMMIT", num_args = 0..=1, default_missing_value = "main")]
        changed: Option<String>,
        /// How many end-to-end scenarios run side by side [default: half as many as the node has CPUs]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=16))]
        jobs: Option<u8>,
        /// Write the JUnit report of all checks and scenarios here [default: logs/test.xml in the state folder]
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Run the end-to-end scenarios of every profile, and faults, on the real cluster
    TestE2e {
        /// Keep the namespaces, and the evidence of what passed too
        #[arg(long)]
        keep: bool,
        /// Run the scenarios whose "GROUP: NAME" contains this; may be repeated
        #[arg(long, value_name = "TEXT")]
        only: Vec<String>,
        /// Run the scenarios that make clusters of their own or build for minutes, which are left out otherwise
        #[arg(long)]
        weekly: bool,
        /// How many run side by side [default: half as many as the node has CPUs]
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=16))]
        jobs: Option<u8>,
        /// List the scenarios and run none
        #[arg(long, conflicts_with_all = ["keep", "jobs", "junit"])]
        list: bool,
        /// Write the JUnit report here [default: logs/e2e.xml in the state folder]
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// Use a helm of this major version, built if missing [default: the one that `up` uses]
        #[arg(long, value_name = "MAJOR", value_parser = ["3", "4"])]
        helm: Option<String>,
    },
    /// Measure how long the loop takes, the application's requests, or what more services cost, in a namespace of its own: medians
    Bench {
        /// What is measured
        #[arg(value_name = "WHAT", value_enum, default_value_t = BenchOf::Loop)]
        of: BenchOf,
        /// How often each row is measured
        #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
        runs: u16,
        /// Measure the rows whose name contains this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Print the ratios to the medians of an earlier report
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Write the report here, as JSON
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Write a picture of it here
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// How long to wait for a quiet machine before each row
        #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds)]
        wait: Duration,
        /// Measure other tools at the same work, in turn with this one, and print the ratios: skaffold,tilt,minikube
        #[arg(long, value_name = "TOOL,...", value_delimiter = ',')]
        peer: Vec<Peer>,
    },
}

/// A controller that deploys what a repository says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Controller {
    /// Argo CD: an Application for each release
    Argocd,
    /// Flux: an OCIRepository and a HelmRelease for each release
    Flux,
}

/// What `bench` measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BenchOf {
    /// How long whole commands take
    Loop,
    /// How many requests the application answers, and in which memory
    App,
    /// How `plan` and `up` without a change grow with the number of services
    Scale,
}

/// A tool of others that `bench` can measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// `skaffold run` and `skaffold dev`
    Skaffold,
    /// Not measured, and it says why
    Tilt,
    /// `minikube image load`
    Minikube,
}

impl Command {
    /// Whether the package xtask/verify has it.
    pub fn is_check(&self) -> bool {
        matches!(
            self,
            Command::Validate { .. }
                | Command::Lint { .. }
                | Command::Package { .. }
                | Command::Test { .. }
                | Command::TestE2e { .. }
                | Command::Bench { .. }
        )
    }

    /// Whether it can work on a cluster of others. The rest is of this machine, or of the minikube on it.
    pub fn takes_target(&self) -> bool {
        matches!(
            self,
            Command::Up { bundle: None, .. }
                | Command::Plan
                | Command::Down { cluster: false, .. }
                | Command::Rollback { .. }
                | Command::Status
                | Command::History
                | Command::Timings { .. }
                | Command::Secrets { .. }
                | Command::Render
                | Command::Package { .. }
                | Command::Config { .. }
                | Command::Smoke
                | Command::Logs { .. }
                | Command::Open { .. }
                | Command::Forward { .. }
                | Command::Exec { .. }
                | Command::Psql { .. }
                | Command::Db { .. }
                | Command::Preview { .. }
        )
    }

    /// Whether it changes what runs, or data.
    pub fn changes(&self) -> bool {
        matches!(
            self,
            Command::Up { .. }
                | Command::Down { .. }
                | Command::Rollback { .. }
                | Command::Secrets { command: Secrets::Rotate { .. } }
                | Command::Db { command: Db::Restore { .. } | Db::Seed, .. }
                | Command::Preview { command: PreviewCommand::Gc { dry_run: false } }
        )
    }

    /// The name under which a run of it is recorded; None of what only reads.
    pub fn recorded(&self) -> Option<&'static str> {
        match self {
            Command::Up { .. } => Some("up"),
            Command::Down { .. } => Some("down"),
            Command::Rollback { .. } => Some("rollback"),
            Command::Secrets { command: Secrets::Rotate { .. } } => Some("secrets rotate"),
            Command::Db { command: Db::Restore { .. }, .. } => Some("db restore"),
            Command::Db { command: Db::Seed, .. } => Some("db seed"),
            Command::Tunnel => Some("tunnel"),
            Command::Smoke => Some("smoke"),
            Command::Bootstrap { .. } => Some("bootstrap"),
            Command::Bundle { command: Bundle::Load { .. } } => Some("bundle load"),
            Command::Clean { dry_run, .. } => (!dry_run).then_some("clean"),
            Command::Test { .. } => Some("test"),
            Command::TestE2e { .. } => Some("test-e2e"),
            // Its record would go with the folder that it lies in.
            Command::Uninstall
            | Command::Status
            // Each of its runs is recorded as `up`.
            | Command::Dev { .. }
            // So are those of bench.
            | Command::Bench { .. }
            | Command::Ui { .. }
            | Command::History
            | Command::Timings { .. }
            | Command::Secrets { .. }
            | Command::Bundle { .. }
            | Command::Plan
            | Command::Render
            | Command::Config { .. }
            | Command::Validate { .. }
            | Command::Lint { .. }
            | Command::Package { .. }
            | Command::Logs { .. }
            | Command::Open { .. }
            | Command::Forward { .. }
            | Command::Exec { .. }
            | Command::Debug { .. }
            | Command::Psql { .. }
            | Command::Db { .. }
            | Command::Target { .. }
            | Command::Preview { .. }
            | Command::Completions { .. }
            | Command::Schema
            | Command::Hook { .. }
            | Command::Doctor => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Bundle {
    /// Write tools, control plane and base images into a file, which is replaced once the new one is whole
    Save { file: PathBuf },
    /// Verify a file that `bundle save` wrote with this version, and install what is missing here
    Load { file: PathBuf },
}

#[derive(Debug, Subcommand)]
pub enum PreviewCommand {
    /// Each with its branch, and when its time is over
    List,
    /// Remove those whose time is over, with their data, unless a run is at work on them
    Gc {
        /// List what would be removed, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub enum TargetCommand {
    /// Note by what a target's cluster is known, so that another one in its place is refused
    Add { name: String },
    /// Show the targets of xtask.toml, and which of them are known here
    List,
    /// Forget by what a target's cluster was known
    Forget { name: String },
}

#[derive(Debug, Subcommand)]
pub enum Hook {
    /// Install it, or bring the installed one up to date; a hook of your own is not overwritten
    Install,
    /// Remove it
    Remove,
}

#[derive(Debug, Subcommand)]
pub enum Db {
    /// Write what the database holds into a new file, as SQL, readable only by you
    Dump {
        /// The file; it must not exist, and git must ignore it
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Replace all that the database holds by what a dump has, and start the services anew
    Restore { file: PathBuf },
    /// Add what the project's seed has
    Seed,
}

#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Check each key of each Secret, and whether the password opens the database
    Check,
    /// Replace random keys, in the database and its addresses too, and the pods that use them
    Rotate {
        /// The keys [default: all random ones]
        keys: Vec<String>,
    },
    /// Write the values into a new file, readable only by you, in the form of --override
    Export {
        /// The file; it must not exist, and git must ignore it
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
}

/// A number and its unit, as kubectl takes it.
fn time_span(text: &str) -> Result<String, String> {
    let number = text.strip_suffix(['s', 'm', 'h']).and_then(|number| number.parse::<u32>().ok());
    number.map(|_| text.to_string()).ok_or_else(|| "a whole number of s, m or h, such as 10m".to_string())
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("a whole number of seconds, 1 to 86400".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_are_handed_on_as_arguments() {
        let given = [
            "--profile",
            "rolling",
            "--namespace",
            "mine",
            "--target",
            "team",
            "--override",
            "my.yaml",
            "--timeout",
            "30",
            "--yes",
        ];
        let parse = |arguments: &[&str]| Cli::try_parse_from([&["xtask", "status"][..], arguments].concat()).unwrap();
        assert_eq!(parse(&given).options.arguments(), given);
        assert_eq!(parse(&["--json", "--verbose"]).options.arguments(), [""; 0]);
    }

    #[test]
    fn peers_are_listed_with_commas_or_one_by_one() {
        let peers =
            |arguments: &[&str]| match Cli::try_parse_from([&["xtask", "bench"][..], arguments].concat())?.command {
                Command::Bench { peer, .. } => Ok(peer),
                other => panic!("{other:?} is not bench"),
            };
        assert_eq!(peers(&[]).unwrap(), []);
        assert_eq!(peers(&["--peer", "skaffold,tilt"]).unwrap(), [Peer::Skaffold, Peer::Tilt]);
        assert_eq!(peers(&["--peer", "minikube", "--peer=tilt"]).unwrap(), [Peer::Minikube, Peer::Tilt]);
        let refused: clap::Error = peers(&["--peer", "skaffold,garden"]).unwrap_err();
        assert!(refused.to_string().contains("[possible values: skaffold, tilt, minikube]"), "{refused}");
    }

    #[test]
    fn flags_may_follow_the_command() {
        let cli = Cli::try_parse_from(["xtask", "up", "--yes", "--timeout", "30"]).unwrap();
        assert!(cli.options.yes);
        assert_eq!(cli.options.timeout, Some(Duration::from_secs(30)));
        assert!(Cli::try_parse_from(["xtask", "up", "--timeout", "0"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "down", "--purge", "--cluster"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "logs", "backend", "mcp", "-f", "--since", "10m"]).is_ok());
        assert!(Cli::try_parse_from(["xtask", "logs", "--since", "soon"]).is_err());
        assert!(Cli::try_parse_from(["xtask", "logs", "--previous", "--follow"]).is_err());
    }
}
