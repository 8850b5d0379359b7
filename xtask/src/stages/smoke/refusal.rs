//! Why a check did not pass.

use std::fmt;

/// What was asked, what should have come, and what did.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub asked: String,
    pub wanted: String,
    pub came: String,
}

/// Why a check did not pass.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// No answer, or a proxy without upstream: endpoints may not be ready yet.
    NotYet(Cause),
    /// An answer came, and it is wrong: asking again would hide that.
    Wrong(Cause),
}

impl Cause {
    pub fn new(asked: impl fmt::Display, wanted: impl fmt::Display, came: impl fmt::Display) -> Cause {
        Cause { asked: asked.to_string(), wanted: wanted.to_string(), came: came.to_string() }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} instead of {}", self.asked, self.came.lines().next().unwrap_or_default(), self.wanted)
    }
}
