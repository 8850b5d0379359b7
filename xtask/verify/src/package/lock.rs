//! `images.lock.json`: which images and charts a package has, and what they are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::package::chart::Chart;
use xtask::config::Config;

pub const FILE: &str = "images.lock.json";
/// The folder of the lists of what images are made of.
pub const SBOMS: &str = "sbom";
/// What the file holds or means changed: raise the number.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lock {
    pub format: u32,
    pub project: String,
    pub profile: String,
    /// The target whose registry has the images and charts.
    pub target: Option<String>,
    /// The controller whose objects are there.
    pub gitops: Option<String>,
    /// By service.
    pub images: BTreeMap<String, Image>,
    /// By release.
    pub charts: BTreeMap<String, LockedChart>,
    /// The Secrets that must be there, by name: where, and with which keys. A value is in no package.
    pub secrets: BTreeMap<String, LockedSecret>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Image {
    pub repository: String,
    pub tag: String,
    /// The one that the registry has for it, `sha256:…`.
    pub digest: Option<String>,
    /// The digest of its sources, Dockerfile and build arguments.
    pub inputs: String,
    /// The file that lists what it is made of, in CycloneDX's format.
    pub sbom: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockedChart {
    pub chart: String,
    pub version: String,
    pub namespace: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockedSecret {
    pub namespace: String,
    pub keys: Vec<String>,
}

impl Image {
    /// The tag with the digest behind it, as charts take it.
    pub fn pinned(&self) -> String {
        match &self.digest {
            Some(digest) => format!("{}@{digest}", self.tag),
            None => self.tag.clone(),
        }
    }
}

impl Lock {
    /// That of a profile and its target, without images.
    pub fn of(config: &Config) -> Lock {
        let secret = |(name, secret): (&String, &xtask::config::Secret)| {
            let keys = secret.keys().map(str::to_string).collect();
            (name.clone(), LockedSecret { namespace: secret.namespace.clone(), keys })
        };
        Lock {
            format: FORMAT,
            project: config.project.clone(),
            profile: config.profile.clone(),
            target: config.target.clone(),
            gitops: None,
            images: BTreeMap::new(),
            charts: BTreeMap::new(),
            secrets: config.secrets.iter().map(secret).collect(),
        }
    }

    pub fn with_charts(&self, charts: &BTreeMap<String, Chart>, config: &Config) -> Lock {
        let locked = |(release, chart): (&String, &Chart)| {
            let namespace = config.releases[release].namespace.clone();
            let (chart, version) = (chart.name.clone(), chart.version.clone());
            (release.clone(), LockedChart { chart, version, namespace })
        };
        Lock { charts: charts.iter().map(locked).collect(), ..self.clone() }
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a lock is JSON") + "\n"
    }

    pub fn parse(text: &str) -> Result<Lock, String> {
        let lock: Lock = serde_json::from_str(text).map_err(|error| format!("it is no lock of a package: {error}"))?;
        match lock.format {
            FORMAT => Ok(lock),
            other => Err(format!("it has format {other}, and this tool writes and reads {FORMAT}")),
        }
    }

    /// The images whose sources are others by now, by what their sources are: service to digest.
    pub fn changed(&self, inputs: &BTreeMap<String, String>) -> Vec<String> {
        let gone = self.images.keys().filter(|service| !inputs.contains_key(*service));
        let gone = gone.map(|service| format!("image {service}: the profile runs no such service"));
        let other = inputs.iter().filter_map(|(service, now)| match self.images.get(service) {
            None => Some(format!("image {service} is missing")),
            Some(image) if image.inputs != *now => Some(format!("image {service}: its sources changed")),
            Some(_) => None,
        });
        gone.chain(other).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lock() -> Lock {
        let image = Image {
            repository: "r.example.org/todo/web".into(),
            tag: "1-h0".into(),
            digest: Some("sha256:ab".into()),
            inputs: "0af".into(),
            sbom: None,
        };
        Lock {
            format: FORMAT,
            project: "todo".into(),
            profile: "dev".into(),
            target: Some("team".into()),
            gitops: None,
            images: [("web".to_string(), image)].into(),
            charts: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    #[test]
    fn a_lock_is_read_as_it_was_written_and_another_format_is_refused() {
        let text = lock().to_json();
        assert_eq!(Lock::parse(&text).unwrap(), lock());
        let newer = text.replace("\"format\": 1", "\"format\": 2");
        assert_eq!(Lock::parse(&newer).unwrap_err(), "it has format 2, and this tool writes and reads 1");
        assert!(Lock::parse("{}").unwrap_err().starts_with("it is no lock of a package: missing field"));
    }

    #[test]
    fn an_image_is_pinned_where_a_registry_has_it() {
        let image = lock().images["web"].clone();
        assert_eq!(image.pinned(), "1-h0@sha256:ab");
        assert_eq!(Image { digest: None, ..image }.pinned(), "1-h0");
    }

    #[test]
    fn what_differs_is_listed_whole() {
        let kept = lock();
        let now = [("web", "0b0"), ("api", "1")].map(|(a, b)| (a.to_string(), b.to_string()));
        assert_eq!(kept.changed(&now.into()), ["image api is missing", "image web: its sources changed"]);
        assert_eq!(kept.changed(&[("web".to_string(), "0af".to_string())].into()), [""; 0]);
        assert_eq!(kept.changed(&BTreeMap::new()), ["image web: the profile runs no such service"]);
    }
}
