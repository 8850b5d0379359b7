//! What the project has left on this machine: observed, judged, removed.

pub mod decide;
pub mod machine;
pub mod observe;
