//! What a published data model demands of its profile: `[spec]` of k8s/profiles/NAME.toml. Everything but its number may
//! be left out; what isn't stated isn't checked.

use std::collections::BTreeMap;

use crate::config::reader::Reader;

#[derive(Clone, Debug, Default)]
pub struct Spec {
    /// 0 to 4: the model's place in the table of docs/specs/README.md.
    pub number: u8,
    /// Megabytes of 1,000,000 bytes, all images together.
    pub size_total_mb: Option<u64>,
    pub namespace: Option<String>,
    pub services: BTreeMap<String, SpecService>,
    /// ConfigMap to its keys; a value that is not empty must be the live one.
    pub config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Secret to its keys.
    pub secrets: BTreeMap<String, Vec<String>>,
    /// By chart name.
    pub charts: BTreeMap<String, SpecChart>,
    /// What must be in the database, tables or views.
    pub tables: Vec<String>,
    /// Its words for states: `deployment`, `pod` or `release`, to a state of ours, to the word.
    pub states: BTreeMap<String, BTreeMap<String, String>>,
    pub cluster: Option<SpecCluster>,
    /// What of the model the profile does not have.
    pub deviations: Vec<Deviation>,
}

/// A statement of the model that does not hold, and why.
#[derive(Clone, Debug)]
pub struct Deviation {
    /// The heading of the model's page that states it, as in `image-names`.
    pub heading: String,
    pub says: String,
    pub reason: String,
}

#[derive(Clone, Debug, Default)]
pub struct SpecService {
    pub image: Option<String>,
    pub size_mb: Option<u64>,
    pub port: Option<u16>,
    pub healthcheck: Option<String>,
    pub user_id: Option<u32>,
    pub user_name: Option<String>,
    pub workdir: Option<String>,
    /// The end of what the image runs, as in `nginx -g daemon off;`.
    pub entry: Option<String>,
    /// Build arguments with the values that they have.
    pub args: BTreeMap<String, String>,
    /// Files and folders, as in .dockerignore, that must not be in the image.
    pub excluded: Vec<String>,
    pub deployment: Option<String>,
    /// The label `app` of pods, and so the Service's selector.
    pub app: Option<String>,
    pub replicas: Option<u32>,
    pub replicas_min: Option<u32>,
    pub replicas_max: Option<u32>,
    /// `cpu` and `memory`, as quantities.
    pub requests: BTreeMap<String, String>,
    pub limits: BTreeMap<String, String>,
    pub pull_policy: Option<String>,
    pub liveness: Option<SpecProbe>,
    pub readiness: Option<SpecProbe>,
    pub service: Option<String>,
    /// One of them is the Service's type.
    pub service_types: Vec<String>,
    pub service_port: Option<u16>,
    /// A port's name, or a number in digits.
    pub target_port: Option<String>,
    pub node_port: Option<u16>,
    /// Reachable from outside the cluster; false: only from within.
    pub external: Option<bool>,
    /// The ConfigMap and the Secret that reach the container as environment.
    pub config_map: Option<String>,
    pub secret: Option<String>,
}

/// None is what the data model leaves open.
#[derive(Clone, Debug, Default)]
pub struct SpecProbe {
    pub path: Option<String>,
    pub delay_s: Option<u32>,
    pub period_s: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct SpecChart {
    pub version: Option<String>,
    /// `{tag}` is replaced by the image's tag.
    pub app_version: Option<String>,
    /// Relative to the chart's folder.
    pub files: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct SpecCluster {
    pub cpus: u32,
    pub memory_mb: u64,
    pub drivers: Vec<String>,
    pub addons: Vec<String>,
}

pub fn spec(r: &Reader) -> Spec {
    Spec {
        number: r.integer("number", 0..=4) as u8,
        size_total_mb: r.optional_integer("size_total_mb", 1..=100_000).map(|mb| mb as u64),
        namespace: r.optional("namespace"),
        services: r.tables("services", |_, s| service(s)),
        config_maps: r.maps("config_maps"),
        secrets: r.lists("secrets"),
        charts: r.tables("charts", |_, c| SpecChart {
            version: c.optional("version"),
            app_version: c.optional("app_version"),
            files: c.optional("files").unwrap_or_default(),
        }),
        tables: r.optional("tables").unwrap_or_default(),
        states: r.maps("states"),
        cluster: r.optional_table("cluster", |c| SpecCluster {
            cpus: c.integer("cpus", 1..=256) as u32,
            memory_mb: c.integer("memory_mb", 1..=1_048_576) as u64,
            drivers: c.required("drivers"),
            addons: c.required("addons"),
        }),
        deviations: r.list("deviations", |d| Deviation {
            heading: d.required("heading"),
            says: d.required("says"),
            reason: d.required("reason"),
        }),
    }
}

fn service(r: &Reader) -> SpecService {
    let count = |key| r.optional_integer(key, 0..=1000).map(|count| count as u32);
    let port = |key| r.optional_integer(key, 1..=65535).map(|port| port as u16);
    SpecService {
        image: r.optional("image"),
        size_mb: r.optional_integer("size_mb", 1..=100_000).map(|mb| mb as u64),
        port: port("port"),
        healthcheck: r.optional("healthcheck"),
        user_id: r.optional_integer("user_id", 1..=i64::from(u32::MAX)).map(|id| id as u32),
        user_name: r.optional("user_name"),
        workdir: r.optional("workdir"),
        entry: r.optional("entry"),
        args: r.optional("args").unwrap_or_default(),
        excluded: r.optional("excluded").unwrap_or_default(),
        deployment: r.optional("deployment"),
        app: r.optional("app"),
        replicas: count("replicas"),
        replicas_min: count("replicas_min"),
        replicas_max: count("replicas_max"),
        requests: r.optional("requests").unwrap_or_default(),
        limits: r.optional("limits").unwrap_or_default(),
        pull_policy: r.optional("pull_policy"),
        liveness: r.optional_table("liveness", probe),
        readiness: r.optional_table("readiness", probe),
        service: r.optional("service"),
        service_types: r.optional("service_types").unwrap_or_default(),
        service_port: port("service_port"),
        target_port: r.optional("target_port"),
        node_port: port("node_port"),
        external: r.optional("external"),
        config_map: r.optional("config_map"),
        secret: r.optional("secret"),
    }
}

fn probe(r: &Reader) -> SpecProbe {
    SpecProbe {
        path: r.optional("path"),
        delay_s: r.optional_integer("delay_s", 0..=3600).map(|s| s as u32),
        period_s: r.optional_integer("period_s", 1..=3600).map(|s| s as u32),
    }
}
