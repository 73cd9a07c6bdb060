//! The dialects in which helper scripts and old daemons write a lease.

use chrono::{DateTime, Duration, Local, NaiveDate, NaiveDateTime, TimeZone, Utc};
use serde_json::{Map, Value};

use oodatcaa_core::lease::LONGEST;

/// The members of a lease in any dialect, as far as they can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loose {
    pub(super) task: Option<String>,
    pub(super) owner: Option<String>,
    pub(super) role: Option<String>,
    pub(super) token: Option<u64>,
    /// The end of its TTL; `None` when its times cannot be read.
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) started_at: Option<DateTime<Utc>>,
    pub(super) ttl: Option<std::time::Duration>,
}

impl Loose {
    /// Reads any of the dialects.
    pub(super) fn read(object: &Map<String, Value>) -> Self {
        let text = |keys: &[&str]| {
            keys.iter().find_map(|key| object.get(*key)?.as_str().filter(|text| !text.is_empty()).map(String::from))
        };
        let moment = |keys: &[&str]| keys.iter().find_map(|key| time(object.get(*key)?));
        let start = moment(&["started_at", "acquired", "acquired_at"]);
        let heartbeat = moment(&["heartbeat_at", "last_heartbeat"]);
        let until = match (start.max(heartbeat), ttl(object)) {
            (Some(from), Some(ttl)) => from.checked_add_signed(ttl),
            _ => moment(&["expires_at", "expires"]),
        };
        Self {
            task: text(&["task_id", "task"]),
            owner: text(&["owner", "agent"]),
            role: text(&["role", "agent"]),
            token: object.get("token").and_then(|token| match token {
                Value::String(text) => text.parse().ok(),
                other => other.as_u64(),
            }),
            until,
            started_at: start,
            ttl: ttl(object).and_then(|ttl| ttl.to_std().ok()),
        }
    }
}

/// Reads `ttl_seconds`, or `ttl`, which means minutes up to 240.
fn ttl(object: &Map<String, Value>) -> Option<Duration> {
    let number = |key: &str| match object.get(key)? {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    let seconds = match (number("ttl_seconds"), number("ttl")) {
        (Some(seconds), _) => seconds,
        (None, Some(ttl)) if ttl <= 240.0 => ttl * 60.0,
        (None, Some(ttl)) => ttl,
        (None, None) => return None,
    };
    let longest = LONGEST.num_seconds() as f64;
    seconds.is_finite().then(|| Duration::milliseconds((seconds.clamp(0.0, longest) * 1_000.0) as i64))
}

/// Reads a time: RFC 3339, the same without a zone (then it is local), a bare date, or seconds since 1970.
pub(super) fn time(value: &Value) -> Option<DateTime<Utc>> {
    match value {
        Value::String(text) => {
            let text = text.trim();
            if let Ok(time) = DateTime::parse_from_rfc3339(text) {
                return Some(time.to_utc());
            }
            let naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))?;
            // In the hour that the clock runs through twice, the later reading keeps a lease longer.
            Local.from_local_datetime(&naive).latest().map_or(Some(naive.and_utc()), |time| Some(time.to_utc()))
        }
        Value::Number(seconds) => DateTime::from_timestamp_millis((seconds.as_f64()? * 1_000.0) as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn loose(value: &Value) -> Loose {
        Loose::read(value.as_object().expect("an object"))
    }

    fn at(text: &str) -> Option<DateTime<Utc>> {
        Some(text.parse().expect("a time"))
    }

    #[test]
    fn a_helpers_file_is_read() {
        let lease = loose(&json!({"task_id": "T1", "owner": "me", "started_at": "2026-01-05T09:00:00Z",
            "ttl_seconds": 600, "heartbeat_at": "2026-01-05T09:04:00Z", "token": "3"}));
        assert_eq!(lease.until, at("2026-01-05T09:14:00Z"));
        assert_eq!((lease.task.as_deref(), lease.owner.as_deref(), lease.token), (Some("T1"), Some("me"), Some(3)));
    }

    #[test]
    fn a_small_ttl_means_minutes() {
        let old = |ttl: u32| json!({"agent": "builder", "acquired": "2026-01-05T09:00:00+01:00", "ttl": ttl});
        assert_eq!(loose(&old(90)).until, at("2026-01-05T09:30:00Z"));
        assert_eq!(loose(&old(240)).until, at("2026-01-05T12:00:00Z"));
        assert_eq!(loose(&old(5_400)).until, at("2026-01-05T09:30:00Z"));
        assert_eq!(loose(&old(90)).role.as_deref(), Some("builder"));
    }

    #[test]
    fn times_without_a_zone_are_local() {
        let naive = time(&json!("2026-01-05T09:00:00")).expect("a time");
        let local = Local.with_ymd_and_hms(2026, 1, 5, 9, 0, 0).latest().expect("there is such a time");
        assert_eq!(naive, local);
    }

    #[test]
    fn nonsense_has_no_end() {
        assert_eq!(loose(&json!({"owner": "me", "acquired": "yesterday", "ttl": 5})).until, None);
        assert_eq!(loose(&json!({"owner": "me", "acquired": "2026-01-05T09:00:00Z"})).until, None);
        let ttl = loose(&json!({"acquired": "2026-01-05T09:00:00Z", "ttl": 1e18}));
        assert_eq!(ttl.until, at("2026-01-06T09:00:00Z"), "a day at most");
    }
}
