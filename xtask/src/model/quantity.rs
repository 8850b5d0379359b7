//! Quantities as Kubernetes writes them: `250m` CPUs, `1Gi` of memory, `1e3`.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;

use serde_json::Value;

/// CPU time, in thousandths of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    millis: u64,
    format: Format,
}

/// Memory or storage, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    bytes: u64,
    format: Format,
}

impl Cpu {
    /// Reads `2`, `0.5`, `500m`; finer than a thousandth is refused, since the API server would round it up.
    pub fn parse(text: &str) -> Result<Cpu, String> {
        let (nanos, format) = parse(text)?;
        match u64::try_from(nanos / 1_000_000) {
            Ok(millis) if nanos % 1_000_000 == 0 => Ok(Cpu { millis, format }),
            Ok(_) => Err(format!("\"{text}\" is finer than a thousandth of a CPU, 1m")),
            Err(_) => Err(format!("\"{text}\" is too much")),
        }
    }

    /// Reads a text or a number, as YAML has them.
    pub fn from_value(value: &Value) -> Result<Cpu, String> {
        Cpu::parse(&written(value)?)
    }

    pub fn millis(self) -> u64 {
        self.millis
    }

    /// As the API server keeps it: `1000m` becomes `1`.
    pub fn canonical(self) -> String {
        canonical(i128::from(self.millis) * 1_000_000, self.format)
    }
}

impl Memory {
    /// Reads `512Mi`, `1Gi`, `0.5Gi`, `128M`, `1e3`, `1024`; parts of a byte (`400m`) are refused.
    pub fn parse(text: &str) -> Result<Memory, String> {
        let (nanos, format) = parse(text)?;
        match u64::try_from(nanos / NANOS) {
            Ok(bytes) if nanos % NANOS == 0 => Ok(Memory { bytes, format }),
            Ok(_) => {
                Err(format!("\"{text}\" is not a whole number of bytes; Mi stands for mebibytes, m for thousandths"))
            }
            Err(_) => Err(format!("\"{text}\" is too much")),
        }
    }

    /// Reads a text or a number, as YAML has them.
    pub fn from_value(value: &Value) -> Result<Memory, String> {
        Memory::parse(&written(value)?)
    }

    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// As the API server keeps it: `1024Mi` becomes `1Gi`, `1000M` becomes `1G`.
    pub fn canonical(self) -> String {
        canonical(i128::from(self.bytes) * NANOS, self.format)
    }
}

/// How a quantity was written: the API server keeps to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// m, k, M, …, or no suffix.
    Decimal,
    /// Ki, Mi, …
    Binary,
    /// e3, E3.
    Exponent,
}

const NANOS: i128 = 1_000_000_000;

const DECIMAL: [(&str, i32); 9] =
    [("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// The amount in billionths, and how it was written.
fn parse(text: &str) -> Result<(i128, Format), String> {
    let wrong = || format!("\"{text}\" is not a quantity such as 500m, 2, 128Mi or 1Gi");
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(wrong());
    }
    let digits: i128 = format!("{whole}{fraction}").parse().map_err(|_| wrong())?;
    let too_much = || format!("\"{text}\" is too much");
    let (scaled, format) = if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        let nanos = digits.checked_mul(NANOS).and_then(|nanos| nanos.checked_mul(1 << bits));
        (shift(nanos.ok_or_else(too_much)?, -(fraction.len() as i32)), Format::Binary)
    } else {
        let (power, format) = match DECIMAL.iter().find(|(name, _)| *name == suffix) {
            Some((_, power)) => (*power, Format::Decimal),
            None if suffix.is_empty() => (0, Format::Decimal),
            None => {
                let power = suffix.strip_prefix(['e', 'E']).and_then(|power| power.parse::<i32>().ok());
                (power.filter(|power| (-27..=27).contains(power)).ok_or_else(wrong)?, Format::Exponent)
            }
        };
        (shift(digits, power + 9 - fraction.len() as i32), format)
    };
    match scaled {
        Some(nanos) => Ok((nanos, format)),
        None => Err(format!("\"{text}\" is too much, or finer than a billionth")),
    }
}

/// `amount` × 10^`power`; None where that is too much, or not whole.
fn shift(amount: i128, power: i32) -> Option<i128> {
    let factor = 10_i128.checked_pow(power.unsigned_abs())?;
    match power >= 0 {
        true => amount.checked_mul(factor),
        false => (amount % factor == 0).then(|| amount / factor),
    }
}

fn canonical(nanos: i128, format: Format) -> String {
    let whole = |unit: i128| (nanos % unit == 0).then(|| nanos / unit);
    if nanos == 0 {
        return "0".to_string();
    }
    // Below 1024, and for parts of a byte, a binary quantity is kept as a decimal one.
    if format == Format::Binary && nanos % NANOS == 0 && nanos >= 1024 * NANOS {
        let found = BINARY.iter().rev().find_map(|(suffix, bits)| Some((whole(NANOS << bits)?, suffix)));
        return found.map_or((nanos / NANOS).to_string(), |(amount, suffix)| format!("{amount}{suffix}"));
    }
    let powers = [18, 15, 12, 9, 6, 3, 0, -3, -6, -9];
    let found = powers.into_iter().find_map(|power| Some((whole(10_i128.pow((power + 9) as u32))?, power)));
    let (amount, power) = found.unwrap_or((nanos, -9));
    match (power, format) {
        (0, _) => amount.to_string(),
        (_, Format::Exponent) => format!("{amount}e{power}"),
        _ => {
            let suffix = DECIMAL.iter().find(|(_, known)| *known == power).map_or("", |(suffix, _)| suffix);
            format!("{amount}{suffix}")
        }
    }
}

fn written(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("{other} is not a quantity")),
    }
}

macro_rules! amounts {
    ($($type:ident . $field:ident),*) => {$(
        impl PartialEq for $type {
            fn eq(&self, other: &$type) -> bool {
                self.$field == other.$field
            }
        }
        impl Eq for $type {}
        impl Ord for $type {
            fn cmp(&self, other: &$type) -> Ordering {
                self.$field.cmp(&other.$field)
            }
        }
        impl PartialOrd for $type {
            fn partial_cmp(&self, other: &$type) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.canonical())
            }
        }
        /// The sum is written as its first summand is; more than can be counted stays at the most.
        impl Sum for $type {
            fn sum<I: Iterator<Item = $type>>(summands: I) -> $type {
                let add = |a: $type, b: $type| $type { $field: a.$field.saturating_add(b.$field), ..a };
                summands.reduce(add).unwrap_or($type { $field: 0, format: Format::Decimal })
            }
        }
    )*};
}

amounts!(Cpu.millis, Memory.bytes);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_specs_cpus_are_read() {
        for (text, millis) in [
            ("50m", 50),
            ("100m", 100),
            ("200m", 200),
            ("250m", 250),
            ("500m", 500),
            ("1000m", 1000),
            ("1", 1000),
            ("0.5", 500),
            (".25", 250),
            ("2", 2000),
            ("1e3", 1_000_000),
            ("1E-1", 100),
            ("1k", 1_000_000),
            ("5000u", 5),
        ] {
            assert_eq!(Cpu::parse(text).unwrap().millis(), millis, "{text}");
        }
        assert_eq!(Cpu::from_value(&json!(0.25)).unwrap().millis(), 250);
    }

    #[test]
    fn the_specs_memory_is_read() {
        for (text, bytes) in [
            ("64Mi", 64 << 20),
            ("128Mi", 128 << 20),
            ("256Mi", 256 << 20),
            ("512Mi", 512 << 20),
            ("1Gi", 1 << 30),
            ("0.5Gi", 512 << 20),
            ("200M", 200_000_000),
            ("16Ki", 16384),
            ("1e3", 1000),
            ("12E6", 12_000_000),
            ("1E", 1_000_000_000_000_000_000),
            ("1000m", 1),
            ("24684084Ki", 24684084 << 10),
        ] {
            assert_eq!(Memory::parse(text).unwrap().bytes(), bytes, "{text}");
        }
        assert_eq!(Memory::from_value(&json!(1024)).unwrap().bytes(), 1024);
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", ".", "m", "100 m", "1.2.3", "-1", "+1", "100mi", "1KB", "1ki", "0.5m", "1e", "ten", "1e99"] {
            assert!(Cpu::parse(text).is_err(), "{text}");
        }
        for text in ["400m", "1.5", "1MB", "1 Gi", "1gi", "99999999999E", "0.1Ki"] {
            assert!(Memory::parse(text).is_err(), "{text}");
        }
        assert!(Memory::from_value(&json!(true)).is_err());
    }

    #[test]
    fn the_canonical_form_is_the_api_servers() {
        for (text, kept) in [
            ("1000m", "1"),
            ("1500m", "1500m"),
            ("0.5", "500m"),
            ("2.0", "2"),
            ("1e3", "1e3"),
            ("0", "0"),
            ("1000", "1k"),
        ] {
            assert_eq!(Cpu::parse(text).unwrap().canonical(), kept, "{text}");
        }
        for (text, kept) in [
            ("1024Mi", "1Gi"),
            ("1000Mi", "1000Mi"),
            ("0.5Gi", "512Mi"),
            ("1000M", "1G"),
            ("1048576", "1048576"),
            ("128000", "128k"),
            ("512Mi", "512Mi"),
            ("1000Ki", "1000Ki"),
        ] {
            assert_eq!(Memory::parse(text).unwrap().canonical(), kept, "{text}");
        }
    }

    #[test]
    fn amounts_are_compared_and_summed_however_they_are_written() {
        let cpu = |text| Cpu::parse(text).unwrap();
        assert_eq!(cpu("0.5"), cpu("500m"));
        assert!(cpu("200m") < cpu("1"));
        assert_eq!(["100m", "0.4", "1"].map(cpu).into_iter().sum::<Cpu>().to_string(), "1500m");
        let memory = |text| Memory::parse(text).unwrap();
        assert!(memory("1G") < memory("1Gi"));
        assert_eq!(["512Mi", "0.5Gi"].map(memory).into_iter().sum::<Memory>().to_string(), "1Gi");
        assert_eq!(std::iter::empty::<Memory>().sum::<Memory>().bytes(), 0);
    }
}
