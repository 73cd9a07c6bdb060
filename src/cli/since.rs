//! The beginning of a span of time, as a person types it.

use std::{str::FromStr, time::Duration};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use oodatcaa_core::text::parse_duration;

/// A span that ends now: as long as this, or from that time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    Ago(Duration),
    At(DateTime<Utc>),
}

impl FromStr for Since {
    type Err = String;

    /// Reads `12h`, `2026-11-30`, `2026-11-30T18:00:00Z`.
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(time.to_utc()));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Self::At(day.and_time(NaiveTime::MIN).and_utc()));
        }
        parse_duration(text).map(Self::Ago).map_err(|_| {
            format!("`{text}` is neither a duration nor a time; write e.g. `12h`, `2d`, `2026-11-30` or `2026-11-30T18:00:00Z`")
        })
    }
}

impl Since {
    /// Returns the time; before all times where the span is longer than those.
    pub(super) fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(time) => time,
            Self::Ago(long) => {
                let long = chrono::Duration::from_std(long).ok();
                long.and_then(|long| now.checked_sub_signed(long)).unwrap_or(DateTime::<Utc>::MIN_UTC)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_duration_a_day_or_a_time_and_nothing_else() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        for (text, since) in [
            ("12h", Since::Ago(Duration::from_secs(43_200))),
            ("2026-11-30", Since::At(time("2026-11-30T00:00:00Z"))),
            ("2026-11-30T19:00:00+01:00", Since::At(time("2026-11-30T18:00:00Z"))),
        ] {
            assert_eq!(text.parse(), Ok(since));
        }
        for wrong in ["yesterday", "2026-13-01", "12 parsecs", ""] {
            assert!(wrong.parse::<Since>().is_err_and(|told| told.contains("write e.g.")), "{wrong}");
        }
    }

    #[test]
    fn a_span_longer_than_time_begins_before_all_of_it() {
        let now = "2026-11-30T12:00:00Z".parse().expect("a time");
        assert_eq!(Since::Ago(Duration::from_secs(3_600)).from(now).to_rfc3339(), "2026-11-30T11:00:00+00:00");
        assert_eq!(Since::Ago(Duration::MAX).from(now), DateTime::<Utc>::MIN_UTC);
    }
}
