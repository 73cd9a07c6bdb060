//! Times of day as programs write them for people: `6:10 PM`, `8pm (UTC)`, `Oct 6 at 10:10pm (Europe/Madrid)`.

use std::path::Path;

use chrono::{DateTime, Datelike as _, Days, FixedOffset, Local, NaiveDate, NaiveTime, TimeDelta, TimeZone, Utc};

use oodatcaa_sys::files;

/// Holds the places in which systems keep what they know of zones.
const ZONES: &str = "/usr/share/zoneinfo";

/// A zone of more bytes than this is none.
const LARGEST_ZONE: u64 = 64 * 1024;

/// Returns the end of the minute in which the clock of the zone that is named, or this machine's, shows the time next, or did
/// a moment ago; of the day that is said, where one is. `None` for what is no time, or in a zone that nobody knows.
pub(super) fn clock(word: &str, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match word.trim().strip_suffix(')').and_then(|word| word.rsplit_once('(')) {
        Some((word, name)) => next(word, now, &FixedOffset::east_opt(offset(name.trim(), now)?)?),
        None => next(word, now, &Local),
    }
}

fn next<Z: TimeZone>(word: &str, now: DateTime<Utc>, zone: &Z) -> Option<DateTime<Utc>> {
    let word = word.replace(',', " ").to_ascii_uppercase();
    let mut parts: Vec<&str> = word.split_whitespace().filter(|part| *part != "AT").collect();
    let mut time = parts.pop()?.to_owned();
    if matches!(time.as_str(), "AM" | "PM") {
        time = format!("{}{time}", parts.pop()?);
    }
    if !time.contains(':') {
        time.insert_str(time.len().checked_sub(2).filter(|at| time.is_char_boundary(*at))?, ":00");
    }
    let time = NaiveTime::parse_from_str(&time, "%I:%M%p").ok()?;
    // The seconds were cut off, so that at the minute's begin the service may still refuse.
    let at = |day: NaiveDate| {
        let begin = day.and_time(time).and_local_timezone(zone.clone()).earliest()?;
        begin.with_timezone(&Utc).checked_add_signed(TimeDelta::minutes(1))
    };
    // A minute that is just over is no time of tomorrow's, or of next year's.
    let recent = now - TimeDelta::hours(1);
    let today = now.with_timezone(zone).date_naive();
    let day_of = |month: &str, day: &str, year: i32| {
        let day = day.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        NaiveDate::parse_from_str(&format!("{month} {day} {year}"), "%b %d %Y").ok()
    };
    match parts.as_slice() {
        [] => (0..=1).find_map(|days| at(today.checked_add_days(Days::new(days))?).filter(|at| *at > recent)),
        [month, day] => {
            (0..=1).find_map(|years| at(day_of(month, day, today.year() + years)?).filter(|at| *at > recent))
        }
        [month, day, year] => at(day_of(month, day, year.parse().ok()?)?),
        _ => None,
    }
}

/// Seconds east of UTC in a zone at a moment.
fn offset(name: &str, now: DateTime<Utc>) -> Option<i32> {
    if matches!(name, "UTC" | "GMT" | "Z") {
        return Some(0);
    }
    let plain = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || "_+-".contains(c));
    if !name.split('/').all(plain) {
        return None;
    }
    let bytes = files::read_named(&Path::new(ZONES).join(name), LARGEST_ZONE).ok()??;
    let first = Table::read(&bytes, 4)?;
    // The second table has the times that do not fit into 32 bits, and is the only one of a short file.
    match bytes.get(4).filter(|version| **version >= b'2') {
        Some(_) => {
            let rest = bytes.get(first.length..)?;
            let table = Table::read(rest, 8)?;
            let changes = rest.get(table.length..).is_some_and(|rule| rule.contains(&b','));
            table.offset(now.timestamp(), changes)
        }
        None => first.offset(now.timestamp(), true),
    }
}

/// One table of a file of a zone (RFC 9636).
struct Table<'a> {
    times: &'a [u8],
    kinds: &'a [u8],
    types: &'a [u8],
    width: usize,
    length: usize,
}

impl<'a> Table<'a> {
    fn read(bytes: &'a [u8], width: usize) -> Option<Self> {
        const HEAD: usize = 44;
        if bytes.get(..4)? != b"TZif" {
            return None;
        }
        let count = |at: usize| {
            let four = bytes.get(20 + at * 4..24 + at * 4)?;
            usize::try_from(u32::from_be_bytes(four.try_into().ok()?)).ok()
        };
        let (uts, stds, leaps, times, types, letters) =
            (count(0)?, count(1)?, count(2)?, count(3)?, count(4)?, count(5)?);
        let kinds_at = HEAD + times * width;
        let types_at = kinds_at + times;
        let end = types_at + types * 6;
        Some(Self {
            times: bytes.get(HEAD..kinds_at)?,
            kinds: bytes.get(kinds_at..types_at)?,
            types: bytes.get(types_at..end)?,
            width,
            length: end + letters + leaps * (width + 4) + stds + uts,
        })
    }

    /// Beyond its last time a rule in words holds, which nobody reads here: where it `changes` with the season,
    /// nothing is known.
    fn offset(&self, now: i64, changes: bool) -> Option<i32> {
        let time = |bytes: &[u8]| match self.width {
            4 => Some(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
            _ => Some(i64::from_be_bytes(bytes.try_into().ok()?)),
        };
        let past = self.times.chunks_exact(self.width).take_while(|at| time(at).is_some_and(|at| at <= now)).count();
        if past == self.kinds.len() && changes {
            return None;
        }
        self.of(past.checked_sub(1).map_or(0, |at| self.kinds[at]))
    }

    fn of(&self, kind: u8) -> Option<i32> {
        let at = usize::from(kind) * 6;
        let seconds = i32::from_be_bytes(self.types.get(at..at + 4)?.try_into().ok()?);
        (seconds.abs() < 86_400).then_some(seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_is_the_next_one() {
        let now = DateTime::from_timestamp(1_767_600_000, 0).expect("a time");
        for word in ["6:10 PM", "12:00AM", "11:59 pm", "1:05 AM"] {
            let at = clock(word, now).expect(word);
            assert!(at > now - TimeDelta::hours(1) && at <= now + TimeDelta::hours(24), "{word}: {at}");
        }
        assert_eq!(clock("18:10", now), None);
    }

    #[test]
    fn the_minute_that_runs_ends_within_a_minute_and_one_that_is_just_over_is_not_tomorrows() {
        let now = DateTime::from_timestamp(1_767_600_030, 0).expect("a time");
        let shown = |at: DateTime<Utc>| at.with_timezone(&Local).format("%-I:%M %p").to_string();
        assert_eq!(clock(&shown(now), now), Some(now + TimeDelta::seconds(30)));
        let before = now - TimeDelta::minutes(1);
        assert_eq!(clock(&shown(before), now), Some(now - TimeDelta::seconds(30)));
    }

    #[test]
    fn a_time_of_another_day_comes_with_its_date() {
        let now = DateTime::from_timestamp(1_767_600_000, 0).expect("a time");
        let at = now + TimeDelta::days(3);
        let (local, ends) = (at.with_timezone(&Local), at + TimeDelta::minutes(1));
        for ordinal in ["st", "nd", "rd", "th"] {
            let word = local.format(&format!("%b %-d{ordinal}, %Y %-I:%M %p")).to_string();
            assert_eq!(clock(&word, now), Some(ends), "{word}");
        }
        assert_eq!(clock("Foo 31st, 2026 1:00 AM", now), None);
    }

    #[test]
    fn a_zone_that_is_named_is_the_one_that_counts() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().expect("a time");
        for (word, at) in [
            ("8pm (UTC)", "2026-11-30T20:01:00Z"),
            ("10:10pm (UTC)", "2026-11-30T22:11:00Z"),
            ("11:30am (UTC)", "2026-11-30T11:31:00Z"),
            ("Dec 6, 8pm (UTC)", "2026-12-06T20:01:00Z"),
            ("Jan 2 at 8:15am (UTC)", "2027-01-02T08:16:00Z"),
        ] {
            assert_eq!(
                clock(word, now).map(|at| at.to_rfc3339()),
                at.parse().ok().map(|at: DateTime<Utc>| at.to_rfc3339()),
                "{word}"
            );
        }
        for word in ["8pm (Nowhere/Atlantis)", "8pm (../../etc/passwd)", "pm (UTC)", "é (UTC)", ""] {
            assert_eq!(clock(word, now), None, "{word}");
        }
        if Path::new(ZONES).join("Asia/Kolkata").exists() {
            assert_eq!(clock("8pm (Asia/Kolkata)", now), "2026-11-30T14:31:00Z".parse().ok());
        }
    }
}
