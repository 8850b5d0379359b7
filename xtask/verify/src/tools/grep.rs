//! What looks into many and large files.

use xtask::argv;

/// Names the files below some places that hold any line of stdin; texts that are looked for get into no argument.
pub fn files_with(places: &[String]) -> Vec<String> {
    argv!("grep --recursive --text --fixed-strings --files-with-matches --devices skip --file - {places...}")
}

pub fn unzip() -> Vec<String> {
    argv!("gzip --decompress --stdout")
}
