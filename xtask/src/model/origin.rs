//! Which checkout a revision was deployed from, as helm's description of the revision tells it.

const BEGINNING: &str = "deployed from ";

/// The description of a revision that is deployed from the checkout at `root`, whose commit is known unless git is absent.
pub fn describe(root: &str, commit: Option<&str>) -> String {
    match commit {
        Some(commit) => format!("{BEGINNING}{root} at {commit}"),
        None => format!("{BEGINNING}{root}"),
    }
}

/// Where the revision of this description was deployed from, if that is another checkout than the one at `root`.
pub fn another_checkout<'a>(description: &'a str, root: &str) -> Option<&'a str> {
    let from = description.strip_prefix(BEGINNING)?;
    let rest = from.strip_prefix(root);
    match rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(" at ")) {
        true => None,
        false => Some(from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_checkout_is_known_by_its_folder() {
        let here = describe("/home/a/app", Some("8827473-dirty"));
        assert_eq!(here, "deployed from /home/a/app at 8827473-dirty");
        assert_eq!(another_checkout(&here, "/home/a/app"), None);
        assert_eq!(another_checkout(&describe("/home/a/app", None), "/home/a/app"), None);
        assert_eq!(another_checkout(&here, "/home/b/app"), Some("/home/a/app at 8827473-dirty"));
        // A folder whose name begins as this one's.
        assert_eq!(another_checkout("deployed from /home/a/app2", "/home/a/app"), Some("/home/a/app2"));
        assert_eq!(another_checkout("Upgrade complete", "/home/a/app"), None);
        assert_eq!(another_checkout("Rollback to 3", "/home/a/app"), None);
    }
}
