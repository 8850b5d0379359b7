//! Python, and what is installed with it.

use crate::run::call::{Call, argv, call};

/// Fails where a part of Python is missing that environments are made with; Debian has it as a package of its own.
pub fn can_make_environments() -> Call {
    call(argv!("python3 -c {IMPORT}"))
}

const IMPORT: &str = "import ensurepip, venv";

/// Makes an environment of its own for Python packages.
pub fn make_environment(folder: &str) -> Call {
    call(argv!("python3 -m venv {folder}"))
}

/// Installs what a list pins by version and digest into an environment: nothing is built, nothing else comes along.
pub fn install(folder: &str, list: &str) -> Call {
    call(argv!(
        "{folder}/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement {list}"
    ))
}
