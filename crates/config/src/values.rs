//! Reads single values, and says what was expected where they are something else.

use std::time::Duration;

use toml::Value;

use oodatcaa_core::{TaskId, text};

/// No duration may be longer, so that no deadline can overflow.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What is there, and what was expected.
pub(super) fn wrong(value: &Value, expected: &str) -> String {
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

/// What stands where a table is expected.
pub(super) fn not_a_table(value: &Value) -> String {
    wrong(value, "a table")
}

/// Text.
pub(super) fn words(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| wrong(value, "text in quotes"))
}

/// A list of texts.
pub(super) fn list(value: &Value) -> Result<Vec<&str>, String> {
    let all: Option<Vec<&str>> = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
    all.ok_or_else(|| wrong(value, "a list of texts, e.g. [\"a\", \"b\"]"))
}

/// A duration, as text or as seconds.
pub(super) fn duration(value: &Value) -> Result<Duration, String> {
    let time = match value {
        Value::String(word) => text::parse_duration(word).map_err(|why| format!("is wrong: {why}"))?,
        Value::Integer(seconds) => u64::try_from(*seconds)
            .map(Duration::from_secs)
            .map_err(|_| wrong(value, "a duration, e.g. \"90s\" or a number of seconds"))?,
        _ => return Err(wrong(value, "a duration, e.g. \"90s\" or a number of seconds")),
    };
    if time > LONGEST { Err(format!("is {}; at most 366d is allowed", text::duration(time))) } else { Ok(time) }
}

/// A whole number, also as text: the environment knows nothing else.
pub(super) fn count(value: &Value) -> Result<u32, String> {
    let number = match value {
        Value::Integer(n) => u32::try_from(*n).ok(),
        Value::String(word) => word.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| wrong(value, "a whole number"))
}

/// Dollars, in millionths.
pub(super) fn money(value: &Value) -> Result<u64, String> {
    let dollars = match value {
        Value::Integer(n) => Some(*n as f64),
        Value::Float(n) => Some(*n),
        Value::String(word) => word.trim().trim_start_matches('$').parse().ok(),
        _ => None,
    };
    let good = dollars.filter(|dollars: &f64| dollars.is_finite() && (0.0..=1e9).contains(dollars));
    good.map(|dollars| (dollars * 1e6).round() as u64).ok_or_else(|| wrong(value, "an amount of dollars, e.g. 2.50"))
}

/// Bytes.
pub(super) fn size(value: &Value) -> Result<u64, String> {
    let expected = "a size, e.g. \"64MiB\" or a number of bytes";
    let read = |word: &str| {
        let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
        let number: u64 = word[..digits].parse().ok()?;
        let unit: u64 = match word[digits..].trim() {
            "" | "B" => 1,
            "kB" => 1_000,
            "KiB" => 1 << 10,
            "MB" => 1_000_000,
            "MiB" => 1 << 20,
            "GB" => 1_000_000_000,
            "GiB" => 1 << 30,
            _ => return None,
        };
        number.checked_mul(unit)
    };
    let bytes = match value {
        Value::Integer(n) => u64::try_from(*n).ok(),
        Value::String(word) => read(word.trim()),
        _ => None,
    };
    bytes.ok_or_else(|| wrong(value, expected))
}

/// A name that becomes part of a file name.
pub(super) fn named(name: &str) -> Result<(), String> {
    TaskId::parse(name).map(drop).map_err(|why| format!("holds the name `{}`, which {why}", text::one_line(name)))
}

/// A name of an agent, or of one of its accounts: `claude@work`.
pub(super) fn agent(name: &str) -> Result<(), String> {
    match name.split_once('@') {
        Some((agent, account)) => named(agent).and_then(|()| named(account)),
        None => named(name),
    }
}

/// A status word.
pub(super) fn status(word: &str) -> Result<(), String> {
    if word.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
        Ok(())
    } else {
        Err(format!("is `{}`; a status word has letters, digits, `_`, `-` and `.`", text::one_line(word)))
    }
}

/// A name of a variable that is not one of ours.
pub(super) fn variable(name: &str) -> Result<(), String> {
    let shown = text::one_line(name);
    let good = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit());
    if !good {
        return Err(format!("holds `{shown}`, which is no name of a variable"));
    }
    if name.starts_with("OODATCAA_") {
        return Err(format!("holds `{shown}`; the names that start with OODATCAA_ are set by the worker"));
    }
    Ok(())
}

/// A name of a variable, or the start of names before a `*`, that an agent may inherit.
pub(super) fn inherited(name: &str) -> Result<(), String> {
    variable(name.strip_suffix('*').unwrap_or(name))
}

/// A path below the workspace.
pub(super) fn below(path: &str) -> Result<(), String> {
    use std::path::{Component, Path};
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if path.is_empty() || !inside || path.contains('\0') {
        return Err(format!("holds `{}`; expected a path below the workspace, without `..`", text::one_line(path)));
    }
    Ok(())
}

/// A template of branch names that gives every task its own.
pub(super) fn branch_template(template: &str) -> Result<(), String> {
    let mut plain = template.to_owned();
    for known in ["{task}", "{slug}", "{kind}"] {
        plain = plain.replace(known, "x");
    }
    let shown = text::one_line(template);
    if !template.contains("{task}") {
        return Err(format!("is `{shown}`; without {{task}} two tasks could get the same branch"));
    }
    let good = plain.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c))
        && !plain.starts_with(['-', '.'])
        && !plain.contains("..")
        && plain.split('/').all(|part| !part.is_empty());
    if good {
        Ok(())
    } else {
        Err(format!("is `{shown}`; expected letters, digits, `-`, `_`, `/` and {{task}}, {{slug}}, {{kind}}"))
    }
}

/// A branch that is there already; empty for the one of the main checkout.
pub(super) fn branch(name: &str) -> Result<(), String> {
    let good = name.chars().all(|c| c.is_alphanumeric() || "._-/+#".contains(c))
        && !name.starts_with(['-', '.', '/'])
        && !name.contains("..");
    if good { Ok(()) } else { Err(format!("is `{}`; expected the name of a branch", text::one_line(name))) }
}

/// Text, or a list of texts, that a program can be given.
pub(super) fn no_nul(value: &Value) -> Result<(), String> {
    let texts = if value.is_array() { list(value)? } else { vec![words(value)?] };
    if texts.iter().any(|word| word.contains('\0')) {
        return Err("holds a NUL character, which no program can be given".into());
    }
    Ok(())
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
