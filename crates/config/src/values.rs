//! Reads single values; where one is something else, says what was expected.

use std::time::Duration;

use toml::Value;

use oodatcaa_core::text;

/// No duration may be longer, so that no deadline can overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// Says what is there, and what was expected.
pub(crate) fn wrong(value: &Value, expected: &str) -> String {
    let found = match value {
        Value::String(word) => format!("`{}`", text::cut(&text::one_line(word), 60)),
        Value::Integer(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(time) => time.to_string(),
        Value::Array(_) => "a list".into(),
        Value::Table(_) => "a table".into(),
    };
    format!("is {found}; expected {expected}")
}

/// Reads text.
pub(crate) fn words(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| wrong(value, "text in quotes"))
}

/// Reads a list of texts.
pub(crate) fn list(value: &Value) -> Result<Vec<&str>, String> {
    let all: Option<Vec<&str>> = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    all.ok_or_else(|| wrong(value, "a list of texts, e.g. [\"a\", \"b\"]"))
}

/// Reads a duration, as text or as seconds.
pub(crate) fn duration(value: &Value) -> Result<Duration, String> {
    let time = match value {
        Value::String(word) => Some(text::parse_duration(word).map_err(|why| format!("is wrong: {why}"))?),
        Value::Integer(seconds) => u64::try_from(*seconds).map(Duration::from_secs).ok(),
        _ => None,
    };
    let time = time.ok_or_else(|| wrong(value, "a duration, e.g. \"90s\" or a number of seconds"))?;
    if time > LONGEST { Err(format!("is {}; at most 366d is allowed", text::duration(time))) } else { Ok(time) }
}

/// Reads a whole number, also as text: the environment knows nothing else.
pub(crate) fn count(value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::Integer(n) => u32::try_from(*n).ok(),
        Value::String(word) => word.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong(value, "a whole number"))
}

/// Reads dollars, in millionths.
pub(crate) fn money(value: &Value) -> Result<u64, String> {
    let dollars = match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        Value::String(word) => word.trim().trim_start_matches('$').parse().ok(),
        _ => None,
    };
    let good = dollars.filter(|dollars: &f64| dollars.is_finite() && (0.0..=1e9).contains(dollars));
    good.map(|dollars| (dollars * 1e6).round() as u64).ok_or_else(|| wrong(value, "an amount of dollars, e.g. 2.50"))
}

/// Units of sizes, in bytes.
const UNITS: [(&str, u64); 8] = [
    ("", 1),
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];

/// Reads a number of bytes.
pub(crate) fn size(value: &Value) -> Result<u64, String> {
    let read = |word: &str| {
        let (digits, unit) = word.split_at(word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len()));
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        digits.parse::<u64>().ok()?.checked_mul(*unit)
    };
    let bytes = match value {
        Value::Integer(n) => u64::try_from(*n).ok(),
        Value::String(word) => read(word.trim()),
        _ => None,
    };
    bytes.ok_or_else(|| wrong(value, "a size, e.g. \"64MiB\" or a number of bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        let read = |text: &str| size(&Value::String(text.into()));
        assert_eq!(read("64MiB"), Ok(64 << 20));
        assert_eq!(read("64 MB"), Ok(64_000_000));
        assert_eq!(read("4096"), Ok(4096));
        for bad in ["", "MiB", "1.5MiB", "64mib", "99999999999999999999", "18446744073709551615GiB"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
