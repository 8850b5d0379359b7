//! Commands and flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::stages::setup::Source;

/// Brings the Todo Chatbot up on a minikube of its own, from a bare machine to a checked application.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub options: Options,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 something must be set up first, 4 deadline, 130 interrupted";

#[derive(Debug, Args)]
pub struct Options {
    /// Which of k8s/profiles/NAME.toml is laid over xtask.toml [default: dev; for lint: each]
    #[arg(long, global = true, value_name = "NAME")]
    pub profile: Option<String>,
    /// A namespace other than the profile's; node ports are chosen free then
    #[arg(long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// A file of helm values of your own, outside git, in place of the profile's (k8s/profiles/NAME.override.yaml)
    #[arg(long = "override", global = true, value_name = "FILE")]
    pub overrides: Option<PathBuf>,
    /// Agree to changes of the system (Debian packages, a docker daemon) and to remaking a broken cluster; CI=true does too
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// One JSON event a line, on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Only the result and errors
    #[arg(long, short, global = true, conflicts_with_all = ["verbose", "json"])]
    pub quiet: bool,
    /// Every line that a tool prints
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// Plain lines even on a terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// How long a rollout may stand still, and smoke checks may fail, instead of what xtask.toml says
    #[arg(long, global = true, value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Option<Duration>,
}

impl Options {
    pub fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("dev")
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Set up what is missing, build, load, deploy, check; print the URL
    Up {
        /// Leave what failed as it is, for a look at it, in place of going back
        #[arg(long)]
        no_rollback: bool,
    },
    /// What `up` would do, each step with its reason; changes nothing
    Plan,
    /// Uninstall the release and keep its data
    Down {
        /// Remove the data, the Secret and the namespace too
        #[arg(long)]
        purge: bool,
        /// Remove the whole cluster, and with it the data of every namespace
        #[arg(long, conflicts_with = "purge")]
        cluster: bool,
    },
    /// Take the releases back to the revision before, and check what runs then
    Rollback {
        /// Another revision than the last one that worked
        revision: Option<u64>,
        /// One release of several
        #[arg(long, value_name = "NAME")]
        release: Option<String>,
    },
    /// What runs: release, workloads, pods, URL, and how the last run ended
    Status,
    /// The releases' revisions with the reasons for them, and the last runs
    History,
    /// The Secrets of the profile: look at them, change them, keep a copy of them; no value of them is ever shown
    Secrets {
        #[command(subcommand)]
        command: Secrets,
    },
    /// Print the manifests that helm makes of the profile, with the plain version as tag
    Render,
    /// Print the configuration as it is for the profile
    Config {
        /// Each value on a line of its own with the file and the line that say so, charts' values too
        #[arg(long)]
        explain: bool,
    },
    /// Hold the profile to the rules of its data model: configuration, manifests and images
    Validate {
        /// And what runs in the cluster
        #[arg(long)]
        live: bool,
        /// List the rules with the lines of the models that state them
        #[arg(long, conflicts_with = "live")]
        rules: bool,
    },
    /// Check what helm makes of every profile, and the Dockerfiles, with tools and rules that know no seed
    Lint {
        /// Write what is generated first: the manifests that are kept of each profile, and the charts' READMEs
        #[arg(long)]
        update: bool,
    },
    /// Give LoadBalancer Services their addresses for as long as this runs
    Tunnel,
    /// Run the smoke checks against what is deployed, a line for each
    Smoke,
    /// What the containers of services say, each line with its service and pod
    Logs {
        /// Some of the services that the profile runs [default: all]
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
        /// Go on with what comes, over restarts and replaced pods; Ctrl-C ends it, with exit code 0
        #[arg(long, short)]
        follow: bool,
        /// What the container before the present one said
        #[arg(long, conflicts_with = "follow")]
        previous: bool,
        /// The last so many lines of each container [default: 100, with --since all]
        #[arg(long, value_name = "LINES")]
        tail: Option<u32>,
        /// What was said in the last so many seconds, minutes or hours, as in 90s, 10m, 2h
        #[arg(long, value_name = "TIME", value_parser = time_span)]
        since: Option<String>,
    },
    /// Set up tools, images and the docker daemon, and nothing else
    Bootstrap {
        /// Where to get missing tools and images from [default: whichever answers]
        #[arg(long, value_name = "SOURCE")]
        from: Option<Source>,
        /// Download the releases of all tools, and write their checksums into tools.lock
        #[arg(long, conflicts_with = "from")]
        update_lock: bool,
    },
    /// Remove old images and folders of the project's own; what is in use or foreign stays
    Clean {
        /// How many of each image stay, the newest
        #[arg(long, value_name = "N", default_value_t = 2)]
        keep: usize,
        /// Say what would go, and remove nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove all that these commands have made on this machine: cluster, data, images, tools; it needs --yes, and says first
    /// what goes
    Uninstall,
    /// What is needed: found or not, version, and the command that mends it
    Doctor,
    /// Git's pre-commit hook of this project: formatting, conflict markers, large files, in seconds
    Hook {
        #[command(subcommand)]
        command: Hook,
    },
    /// Print a script that completes `cargo xtask` in a shell; docs/editor.md says where it goes
    Completions {
        /// The shell that reads the script
        shell: Shell,
    },
    /// All tests: formatting, lints, units, charts, services against a real PostgreSQL, end to end
    Test {
        /// Leave out the end-to-end test
        #[arg(long)]
        no_e2e: bool,
    },
    /// The end-to-end test: scenarios by name, of every profile, and faults that are made for real
    TestE2e {
        /// Leave the namespaces as they are at the end, and write down what passed too
        #[arg(long)]
        keep: bool,
        /// The scenarios whose "GROUP: NAME" holds this
        #[arg(long, value_name = "TEXT")]
        only: Option<String>,
        /// Name the scenarios and run none
        #[arg(long, conflicts_with_all = ["keep", "junit"])]
        list: bool,
        /// Where the report goes as JUnit XML, in place of the state folder's logs/e2e.xml
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
        /// With a helm of this major version, built if it is not there [default: the one that `up` would take]
        #[arg(long, value_name = "MAJOR", value_parser = ["3", "4"])]
        helm: Option<String>,
    },
}

impl Command {
    /// The name under which a run of it is recorded; None of what only reads.
    pub fn recorded(&self) -> Option<&'static str> {
        match self {
            Command::Up { .. } => Some("up"),
            Command::Down { .. } => Some("down"),
            Command::Rollback { .. } => Some("rollback"),
            Command::Secrets { command: Secrets::Rotate { .. } } => Some("secrets rotate"),
            Command::Tunnel => Some("tunnel"),
            Command::Smoke => Some("smoke"),
            Command::Bootstrap { .. } => Some("bootstrap"),
            Command::Clean { dry_run, .. } => (!dry_run).then_some("clean"),
            Command::Test { .. } => Some("test"),
            Command::TestE2e { .. } => Some("test-e2e"),
            // Its record would go with the folder that it lies in.
            Command::Uninstall
            | Command::Status
            | Command::History
            | Command::Secrets { .. }
            | Command::Plan
            | Command::Render
            | Command::Config { .. }
            | Command::Validate { .. }
            | Command::Lint { .. }
            | Command::Logs { .. }
            | Command::Completions { .. }
            | Command::Hook { .. }
            | Command::Doctor => None,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Hook {
    /// Install it, or bring the installed one up to date; a hook of your own is not overwritten
    Install,
    /// Remove it
    Remove,
}

/// A shell for which `completions` has a script.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Each key of each Secret: there, empty, a placeholder, malformed; and whether the password opens the database
    Check,
    /// Give random keys other values, the database and the addresses with its password too, and replace the pods that take them
    Rotate {
        /// These alone, in place of all that are random
        keys: Vec<String>,
    },
    /// Write the values into a new file that only you can read, in the form that --override takes
    Export {
        /// The file: a new one, and within a repository one that git ignores
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
