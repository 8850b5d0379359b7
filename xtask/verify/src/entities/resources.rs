//! What a container asks of its node, and what it may take at most.

use xtask::model::object::Fields;
use xtask::model::quantity::{Cpu, Memory};

/// No request is above its limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    requests: Amounts,
    limits: Amounts,
}

/// None where nothing is said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Amounts {
    pub cpu: Option<Cpu>,
    pub memory: Option<Memory>,
    /// What is written to the node's disk.
    pub ephemeral_storage: Option<Memory>,
}

impl Resources {
    pub fn from_fields(f: &Fields) -> Option<Resources> {
        let (requests, limits) = Resources::parts(f);
        let (requests, limits) = (requests?, limits?);
        let mistakes = above(&requests, &limits);
        for (name, message) in &mistakes {
            f.at("requests").at(name).report(message);
        }
        mistakes.is_empty().then_some(Resources { requests, limits })
    }

    /// As the API server sees it: a limit without a request is a request too.
    pub fn requests(&self) -> Amounts {
        Amounts {
            cpu: self.requests.cpu.or(self.limits.cpu),
            memory: self.requests.memory.or(self.limits.memory),
            ephemeral_storage: self.requests.ephemeral_storage.or(self.limits.ephemeral_storage),
        }
    }

    fn parts(f: &Fields) -> (Option<Amounts>, Option<Amounts>) {
        (Amounts::from_fields(&f.at("requests")), Amounts::from_fields(&f.at("limits")))
    }
}

impl Amounts {
    /// Other resources, such as devices, are passed over.
    pub fn from_fields(f: &Fields) -> Option<Amounts> {
        let cpu = f.at("cpu").maybe(|cpu| cpu.take(Cpu::from_value));
        let memory = f.at("memory").maybe(|memory| memory.take(Memory::from_value));
        let ephemeral_storage = f.at("ephemeral-storage").maybe(|storage| storage.take(Memory::from_value));
        Some(Amounts { cpu: cpu?, memory: memory?, ephemeral_storage: ephemeral_storage? })
    }
}

/// The resources of which more is requested than may be taken.
fn above(requests: &Amounts, limits: &Amounts) -> Vec<(&'static str, String)> {
    fn check<T: PartialOrd + ToString>(
        name: &'static str,
        request: Option<T>,
        limit: Option<T>,
    ) -> Option<(&'static str, String)> {
        let (request, limit) = (request?, limit?);
        let describe = || (name, format!("{} is above the limit, {}", request.to_string(), limit.to_string()));
        (request > limit).then(describe)
    }
    [
        check("cpu", requests.cpu, limits.cpu),
        check("memory", requests.memory, limits.memory),
        check("ephemeral-storage", requests.ephemeral_storage, limits.ephemeral_storage),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xtask::model::object::read;

    fn resources(requests: (&str, &str), limits: (&str, &str)) -> Result<Resources, Vec<String>> {
        let said = json!({
            "requests": {"cpu": requests.0, "memory": requests.1}, "limits": {"cpu": limits.0, "memory": limits.1},
        });
        read(&said, Resources::from_fields)
    }

    #[test]
    fn the_specs_figures_are_read() {
        for (requests, limits) in [
            (("100m", "128Mi"), ("500m", "512Mi")),
            (("200m", "256Mi"), ("1000m", "1Gi")),
            (("250m", "256Mi"), ("500m", "512Mi")),
            (("200m", "256Mi"), ("500m", "512Mi")),
            (("50m", "64Mi"), ("100m", "128Mi")),
            (("100m", "128Mi"), ("200m", "256Mi")),
        ] {
            let read = resources(requests, limits).unwrap();
            assert_eq!(read.requests().cpu, Some(Cpu::parse(requests.0).unwrap()));
            assert_eq!(read.limits.memory, Some(Memory::parse(limits.1).unwrap()));
        }
    }

    #[test]
    fn a_request_above_its_limit_is_refused() {
        assert_eq!(
            resources(("0.6", "1Gi"), ("500m", "1000M")).unwrap_err(),
            ["requests.cpu: 600m is above the limit, 500m", "requests.memory: 1Gi is above the limit, 1G"]
        );
        assert!(resources(("500m", "1Gi"), ("0.5", "1024Mi")).is_ok());
    }

    #[test]
    fn a_limit_alone_is_a_request_and_nonsense_is_reported() {
        let limited = read(&json!({"limits": {"cpu": "1"}}), Resources::from_fields).unwrap();
        assert_eq!(limited.requests().cpu.unwrap().millis(), 1000);
        let wrong = json!({"limits": {"cpu": "x", "memory": "1gb"}});
        assert_eq!(read(&wrong, Resources::from_fields).unwrap_err().len(), 2);
    }
}
