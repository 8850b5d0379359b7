//! Ports, and how a Service maps them.

use std::fmt;

use serde_json::Value;

use xtask::model::object::{Fields, one_of};

/// 1 to 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port(u16);

/// A port that every node opens: 30000 to 32767.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodePort(u16);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

/// A port of a container, by number or by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    Number(Port),
    /// Up to 15 of a-z, 0-9 and single hyphens, with at least one letter.
    Name(String),
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    pub name: Option<String>,
    pub port: Port,
    /// The number of `port` where the manifest says none.
    pub target_port: TargetPort,
    pub protocol: Protocol,
    pub node_port: Option<NodePort>,
}

/// One port of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPort {
    pub name: Option<String>,
    pub port: Port,
    pub protocol: Protocol,
}

impl Port {
    pub fn new(number: u64) -> Result<Port, String> {
        match u16::try_from(number) {
            Ok(port) if port > 0 => Ok(Port(port)),
            _ => Err(format!("{number} is not a port from 1 to 65535")),
        }
    }

    pub fn from_value(value: &Value) -> Result<Port, String> {
        Port::new(value.as_u64().ok_or_else(|| format!("{value} is not a port from 1 to 65535"))?)
    }

    pub fn number(self) -> u16 {
        self.0
    }
}

impl NodePort {
    pub fn new(number: u64) -> Result<NodePort, String> {
        match (30000..=32767).contains(&number) {
            true => Ok(NodePort(number as u16)),
            false => Err(format!("{number} is not a node port from 30000 to 32767")),
        }
    }

    pub fn from_value(value: &Value) -> Result<NodePort, String> {
        NodePort::new(value.as_u64().ok_or_else(|| format!("{value} is not a node port from 30000 to 32767"))?)
    }

    pub fn number(self) -> u16 {
        self.0
    }
}

impl Protocol {
    pub fn parse(text: &str) -> Result<Protocol, String> {
        one_of(text, &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)])
    }
}

impl TargetPort {
    /// Reads a number or a name, of a Service's `targetPort` or a probe's `port`.
    pub fn from_value(value: &Value) -> Result<TargetPort, String> {
        match value {
            Value::String(text) => port_name(text).map(TargetPort::Name),
            _ => Port::from_value(value).map(TargetPort::Number),
        }
    }

    /// The number it stands for among a container's ports; a number stands for itself.
    pub fn resolve(&self, ports: &[ContainerPort]) -> Option<Port> {
        match self {
            TargetPort::Number(port) => Some(*port),
            TargetPort::Name(name) => ports.iter().find(|port| port.name.as_ref() == Some(name)).map(|port| port.port),
        }
    }
}

impl PortMapping {
    pub fn from_fields(f: &Fields) -> Option<PortMapping> {
        let name = f.at("name").maybe(|name| name.parsed(xtask::model::labels::label_name));
        let port = f.at("port").take(Port::from_value);
        let target_port = f.at("targetPort").maybe(|target| target.take(TargetPort::from_value));
        let protocol = f.at("protocol").or(Protocol::Tcp, |protocol| protocol.parsed(Protocol::parse));
        let node_port = f.at("nodePort").maybe(|port| port.take(NodePort::from_value));
        let port = port?;
        Some(PortMapping {
            name: name?,
            port,
            target_port: target_port?.unwrap_or(TargetPort::Number(port)),
            protocol: protocol?,
            node_port: node_port?,
        })
    }
}

impl ContainerPort {
    pub fn from_fields(f: &Fields) -> Option<ContainerPort> {
        let name = f.at("name").maybe(|name| name.parsed(port_name));
        let port = f.at("containerPort").take(Port::from_value);
        let protocol = f.at("protocol").or(Protocol::Tcp, |protocol| protocol.parsed(Protocol::parse));
        Some(ContainerPort { name: name?, port: port?, protocol: protocol? })
    }
}

fn port_name(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let sound = (1..=15).contains(&text.len())
        && text.bytes().all(inner)
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.contains("--");
    match sound {
        true => Ok(text.to_string()),
        false => Err(format!(
            "\"{text}\" is not a port's name: 1 to 15 of a-z, 0-9 and single hyphens within, at least one a letter"
        )),
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NodePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

impl fmt::Display for TargetPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TargetPort::Number(port) => port.fmt(f),
            TargetPort::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xtask::model::object::read;

    #[test]
    fn the_specs_ports_are_ports() {
        for number in [80, 3000, 5432, 8000, 8001, 8080, 1, 65535] {
            assert_eq!(u64::from(Port::new(number).unwrap().number()), number);
        }
        for value in [json!(0), json!(65536), json!(-1), json!(80.5), json!("80"), json!(null)] {
            assert!(Port::from_value(&value).is_err(), "{value}");
        }
        assert!(NodePort::new(30081).is_ok() && NodePort::new(30000).is_ok() && NodePort::new(32767).is_ok());
        assert!(NodePort::new(29999).is_err() && NodePort::new(32768).is_err());
    }

    #[test]
    fn a_mapping_is_read_with_its_defaults() {
        let full = json!({"name": "http", "port": 80, "targetPort": "http", "protocol": "SCTP", "nodePort": 30081});
        let mapping = read(&full, PortMapping::from_fields).unwrap();
        assert_eq!(mapping.target_port.to_string(), "http");
        assert_eq!((mapping.protocol.to_string(), mapping.node_port.unwrap().number()), ("SCTP".to_string(), 30081));
        let short = read(&json!({"port": 8001}), PortMapping::from_fields).unwrap();
        assert_eq!((short.target_port.to_string(), short.protocol), ("8001".to_string(), Protocol::Tcp));
    }

    #[test]
    fn every_mistake_of_a_mapping_is_reported() {
        let wrong = json!({"port": 0, "targetPort": "HTTP", "protocol": "ICMP", "nodePort": 80});
        assert_eq!(
            read(&wrong, PortMapping::from_fields).unwrap_err(),
            [
                "port: 0 is not a port from 1 to 65535",
                "targetPort: \"HTTP\" is not a port's name: 1 to 15 of a-z, 0-9 and single hyphens within, at least one a letter",
                "protocol: \"ICMP\" is none of TCP, UDP, SCTP",
                "nodePort: 80 is not a node port from 30000 to 32767",
            ]
        );
        for name in ["", "123", "-a", "a-", "a--b", "a_b", "abcdefghijklmnop"] {
            assert!(port_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_named_target_is_found_among_the_containers_ports() {
        let ports = [read(&json!({"name": "http", "containerPort": 3000}), ContainerPort::from_fields).unwrap()];
        let resolve = |value| TargetPort::from_value(&value).unwrap().resolve(&ports).map(Port::number);
        assert_eq!(resolve(json!("http")), Some(3000));
        assert_eq!(resolve(json!("metrics")), None);
        assert_eq!(resolve(json!(8000)), Some(8000));
    }
}
