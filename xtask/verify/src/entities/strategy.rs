//! How a workload replaces its pods.

use std::fmt;

use serde_json::Value;

use xtask::model::object::{Fields, one_of};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Pods go one after another. Of a Deployment; never both zero.
    RollingUpdate { surge: Share, unavailable: Share },
    /// In order, of a StatefulSet.
    Ordered,
    /// All old pods go before the first new one comes.
    Recreate,
    /// A StatefulSet's pods are replaced only when somebody deletes them.
    OnDelete,
}

/// A number of pods, or a share of them: `1`, `25%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Number(u64),
    Percent(u64),
}

impl Share {
    /// Reads 1 or "25%".
    pub fn from_value(value: &Value) -> Result<Share, String> {
        let percent = value.as_str().and_then(|text| text.strip_suffix('%'));
        let digits = percent.filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()));
        match (value.as_u64(), digits.and_then(|text| text.parse().ok())) {
            (Some(number), _) => Ok(Share::Number(number)),
            (_, Some(percent)) => Ok(Share::Percent(percent)),
            _ => Err(format!("{value} is neither a number of pods nor a percentage such as \"25%\"")),
        }
    }

    pub fn is_zero(self) -> bool {
        matches!(self, Share::Number(0) | Share::Percent(0))
    }
}

impl Strategy {
    /// The `strategy` of a Deployment; what is left out is as the API server fills it in.
    pub fn read_deployment(f: &Fields) -> Option<Strategy> {
        let rolling = f
            .at("type")
            .or(true, |kind| kind.parsed(|text| one_of(text, &[("RollingUpdate", true), ("Recreate", false)])))?;
        let shares = f.at("rollingUpdate");
        if !rolling {
            if !shares.is_absent() {
                shares.report("has no place beside Recreate");
                return None;
            }
            return Some(Strategy::Recreate);
        }
        let share = |key| shares.at(key).or(Share::Percent(25), |share| share.take(Share::from_value));
        let (surge, unavailable) = (share("maxSurge"), share("maxUnavailable"));
        let (surge, unavailable) = (surge?, unavailable?);
        Strategy::rolling(surge, unavailable).map_err(|message| shares.report(message)).ok()
    }

    /// The `updateStrategy` of a StatefulSet.
    pub fn read_stateful(f: &Fields) -> Option<Strategy> {
        f.at("type").or(Strategy::Ordered, |kind| {
            kind.parsed(|text| one_of(text, &[("RollingUpdate", Strategy::Ordered), ("OnDelete", Strategy::OnDelete)]))
        })
    }

    pub fn rolling(surge: Share, unavailable: Share) -> Result<Strategy, String> {
        if surge.is_zero() && unavailable.is_zero() {
            return Err("maxSurge and maxUnavailable are both 0: no pod could ever be replaced".to_string());
        }
        if matches!(unavailable, Share::Percent(percent) if percent > 100) {
            return Err(format!("maxUnavailable is {unavailable}, which is more than all"));
        }
        Ok(Strategy::RollingUpdate { surge, unavailable })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Share::Number(number) => number.fmt(f),
            Share::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Strategy::RollingUpdate { surge, unavailable } => {
                write!(f, "RollingUpdate, surge {surge}, unavailable {unavailable}")
            }
            Strategy::Ordered => f.write_str("RollingUpdate in order"),
            Strategy::Recreate => f.write_str("Recreate"),
            Strategy::OnDelete => f.write_str("OnDelete"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xtask::model::object::read;

    fn deployment(value: Value) -> Result<Strategy, Vec<String>> {
        read(&value, Strategy::read_deployment)
    }

    #[test]
    fn the_specs_strategy_is_read() {
        let spec = json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}});
        assert_eq!(
            deployment(spec),
            Ok(Strategy::RollingUpdate { surge: Share::Number(1), unavailable: Share::Number(0) })
        );
        assert_eq!(deployment(json!({})).unwrap().to_string(), "RollingUpdate, surge 25%, unavailable 25%");
        assert_eq!(deployment(json!({"type": "Recreate"})), Ok(Strategy::Recreate));
        assert_eq!(read(&json!({"type": "OnDelete"}), Strategy::read_stateful), Ok(Strategy::OnDelete));
    }

    #[test]
    fn what_replaces_nothing_or_is_no_share_is_refused() {
        for wrong in [
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}),
            json!({"rollingUpdate": {"maxSurge": -1}}),
            json!({"rollingUpdate": {"maxSurge": "1"}}),
            json!({"rollingUpdate": {"maxSurge": "%"}}),
            json!({"rollingUpdate": {"maxUnavailable": "101%"}}),
            json!({"type": "BlueGreen"}),
            json!({"type": "Recreate", "rollingUpdate": {}}),
        ] {
            assert!(deployment(wrong.clone()).is_err(), "{wrong}");
        }
        assert!(read(&json!({"type": "Recreate"}), Strategy::read_stateful).is_err());
    }
}
