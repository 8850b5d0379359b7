//! Releases of helm.

use std::fmt;

use serde_json::Value;

use crate::config::{NAME_RULE, is_name};
use crate::model::labels::label_name;
use crate::model::object::read;
use crate::model::states::ReleaseState as State;

/// One revision of a release, as `helm list` tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    pub name: String,
    pub namespace: String,
    /// From 1 on.
    pub revision: u64,
    pub status: Status,
}

/// The status that helm stores, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Unknown,
    Deployed,
    Uninstalled,
    Superseded,
    Failed,
    Uninstalling,
    PendingInstall,
    PendingUpgrade,
    PendingRollback,
}

const WORDS: [(&str, Status); 9] = [
    ("unknown", Status::Unknown),
    ("deployed", Status::Deployed),
    ("uninstalled", Status::Uninstalled),
    ("superseded", Status::Superseded),
    ("failed", Status::Failed),
    ("uninstalling", Status::Uninstalling),
    ("pending-install", Status::PendingInstall),
    ("pending-upgrade", Status::PendingUpgrade),
    ("pending-rollback", Status::PendingRollback),
];

impl Release {
    /// An entry of `helm list --output json`.
    pub fn from_object(object: &Value) -> Result<Release, Vec<String>> {
        read(object, |f| {
            let name = f.at("name").parsed(|text| match is_name(text) {
                true => Ok(text.to_string()),
                false => Err(format!("\"{text}\" is not a release's name: {NAME_RULE}")),
            });
            let namespace = f.at("namespace").parsed(label_name);
            let revision = f.at("revision").parsed(|text| match text.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("\"{text}\" is not a revision: at least 1 is needed")),
            });
            let status = f.at("status").parsed(Status::parse);
            Some(Release { name: name?, namespace: namespace?, revision: revision?, status: status? })
        })
    }
}

impl Status {
    pub fn parse(text: &str) -> Result<Status, String> {
        crate::model::object::one_of(text, &WORDS)
    }

    /// The state of a release that a status belongs to.
    pub fn state(self) -> State {
        match self {
            Status::Deployed => State::Deployed,
            Status::Uninstalled => State::Uninstalled,
            Status::Superseded => State::Superseded,
            Status::Failed | Status::Unknown => State::Failed,
            Status::Uninstalling => State::Uninstalling,
            Status::PendingInstall => State::Installing,
            Status::PendingUpgrade => State::Upgrading,
            Status::PendingRollback => State::RollingBack,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WORDS.iter().find(|(_, status)| status == self).map_or("", |(word, _)| word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_helm_lists_is_read() {
        let listed = json!({"name": "todo-chatbot", "namespace": "rolling", "revision": "3", "status": "deployed", "chart": "x"});
        let read = Release::from_object(&listed).unwrap();
        assert_eq!((read.revision, read.status.to_string()), (3, "deployed".to_string()));
        assert_eq!((read.name.as_str(), read.namespace.as_str()), ("todo-chatbot", "rolling"));
        assert_eq!(Status::parse("pending-install").unwrap().state(), State::Installing);
    }

    #[test]
    fn illegal_releases_are_refused() {
        assert_eq!(
            Release::from_object(&json!({"name": "A", "namespace": "-", "revision": "0", "status": "gone"}))
                .unwrap_err(),
            [
                "name: \"A\" is not a release's name: 1 to 53 of a-z, 0-9 and -, with no - at an end",
                "namespace: \"-\" is not a name: 1 to 63 of a-z, 0-9 and -, with no - at an end",
                "revision: \"0\" is not a revision: at least 1 is needed",
                "status: \"gone\" is none of unknown, deployed, uninstalled, superseded, failed, uninstalling, pending-install, pending-upgrade, pending-rollback",
            ]
        );
    }
}
