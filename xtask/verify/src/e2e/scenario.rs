//! What a scenario is: a promise, its proof, and what nobody else may touch meanwhile.

use std::panic::Location;

use anyhow::Result;

use crate::e2e::world::World;
use crate::lanes::schedule::Takes;

/// A promise with the function that proves it.
#[derive(Clone, Copy)]
pub struct Scenario {
    pub name: &'static str,
    pub prove: fn(&World) -> Result<()>,
    pub takes: Takes,
    /// It makes a cluster of its own, or builds for minutes.
    pub is_weekly: bool,
    /// The line that has it.
    pub place: &'static Location<'static>,
}

impl Scenario {
    /// One that replaces pods and stays within its namespace.
    #[track_caller]
    pub const fn new(name: &'static str, prove: fn(&World) -> Result<()>) -> Scenario {
        Scenario { name, prove, takes: Takes::Room, is_weekly: false, place: Location::caller() }
    }

    pub const fn taking(self, takes: Takes) -> Scenario {
        Scenario { takes, ..self }
    }

    pub const fn weekly(self) -> Scenario {
        Scenario { is_weekly: true, ..self }
    }
}
