//! What looks into many and large files.

use xtask::run::call::{Call, argv, call};

/// Names the files below some places that hold any line of stdin; texts that are looked for get into no argument.
pub fn files_with(places: &[String]) -> Call {
    call(argv!("grep --recursive --text --fixed-strings --files-with-matches --devices skip --file - {places...}"))
}
