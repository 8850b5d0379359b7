//! `cargo xtask validate | lint | package | test | test-e2e | bench`, which the tool hands over to this program.

mod bench;
mod changed;
mod e2e;
mod entities;
mod facts;
mod lanes;
mod lint;
mod package;
mod report;
mod rules;
mod specs;
mod test;
mod tools;
mod validate;

use std::process::ExitCode;

use anyhow::Result;

use xtask::cli::{Cli, Command};
use xtask::run::context::Project;

fn main() -> ExitCode {
    xtask::run_with(dispatch, |_| true)
}

fn dispatch(project: &Project, cli: &Cli) -> Result<()> {
    match &cli.command {
        Command::Validate { rules: true, .. } => validate::list_rules(project),
        Command::Validate { live, sbom, .. } => validate::run(project, *live, sbom.as_deref()),
        Command::Lint { update } => lint::run(project, cli.options.profile.as_deref(), *update),
        Command::Package { folder, check: true, .. } => package::check(project, folder),
        Command::Package { folder, gitops, .. } => package::write(project, folder, *gitops),
        Command::Test { no_e2e, changed, jobs, junit } => {
            let (changed, jobs, junit) = (changed.as_deref(), jobs.map(usize::from), junit.as_deref());
            test::run(project, &test::Options { with_e2e: !no_e2e, changed, jobs, junit })
        }
        Command::Bench { of, runs, only, against, to, svg, wait, peer } => {
            let (only, against) = (only.as_deref(), against.as_deref());
            let (to, svg) = (to.as_deref(), svg.as_deref());
            let (runs, wait, peers) = (usize::from(*runs), *wait, peer.as_slice());
            bench::run(project, &bench::BenchOptions { of: *of, runs, only, against, to, svg, wait, peers })
        }
        Command::TestE2e { list: true, only, weekly, .. } => e2e::list(project, only, *weekly),
        Command::TestE2e { keep, only, weekly, jobs, junit, helm, .. } => {
            let (junit, helm) = (junit.as_deref(), helm.as_deref());
            let (keep, jobs) = (*keep, jobs.map(usize::from));
            // What is asked for by its name is run whenever it is asked for.
            let weekly = (*weekly || only.is_empty()).then_some(*weekly);
            let wanted = e2e::TestOptions { keep, only, weekly, jobs, junit, helm };
            e2e::run(project, &wanted, &mut Vec::new())
        }
        _ => xtask::dispatch(project, cli),
    }
}
