//! Hours: the times of the week at which new work begins, and at which a used-up quota is tried again.

use chrono::{DateTime, Datelike as _, Duration, NaiveDate, NaiveDateTime, TimeZone as _, Timelike as _, Utc};
use chrono_tz::Tz;

use crate::{schedule, text};

/// The days of a week, from Monday.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The minutes of a day.
const DAY: u32 = 24 * 60;

/// Spans of the week in a time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    spans: Vec<Span>,
    zone: Tz,
    text: String,
}

/// One span, on some days, in minutes from midnight. One that ends before it begins goes on after midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    days: [bool; 7],
    from: u32,
    to: u32,
}

impl Span {
    /// Reads `22:00-06:30`, `mon-fri 20:00-24:00` or `sat,sun 00:00-24:00`; says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown = text::cut(&text::one_line(text), 60);
            format!("is `{shown}`; expected e.g. `22:00-06:00`, `mon-fri 20:00-24:00` or `sat,sun 00:00-24:00`")
        };
        let (days, times) = text.trim().rsplit_once(' ').unwrap_or(("", text.trim()));
        let (from, to) = times.split_once('-').ok_or_else(wrong)?;
        let minute = |time: &str| -> Option<u32> {
            let (hour, minute) = time.split_once(':')?;
            let is_plain = hour.len() <= 2 && minute.len() == 2 && (hour.len() + minute.len()) > 2;
            let plain = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?;
            let (hour, minute): (u32, u32) = (plain(hour)?, plain(minute)?);
            (is_plain && minute < 60 && hour * 60 + minute <= DAY).then_some(hour * 60 + minute)
        };
        let (from, to) = minute(from).zip(minute(to)).ok_or_else(wrong)?;
        if from == to || from == DAY {
            return Err(wrong());
        }
        Ok(Self { days: Self::days(days).ok_or_else(wrong)?, from, to })
    }

    fn days(text: &str) -> Option<[bool; 7]> {
        let day = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name.trim()));
        let mut days = [text.trim().is_empty(); 7];
        for part in text.split(',').filter(|_| !text.trim().is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // `fri-mon` goes round.
            (0..=(last + 7 - first) % 7).for_each(|step| days[(first + step) % 7] = true);
        }
        Some(days)
    }

    fn holds(&self, at: NaiveDateTime) -> bool {
        let (minute, day) = (at.hour() * 60 + at.minute(), at.weekday().num_days_from_monday() as usize);
        match self.from < self.to {
            true => self.days[day] && (self.from..self.to).contains(&minute),
            false => self.days[day] && minute >= self.from || self.days[(day + 6) % 7] && minute < self.to,
        }
    }
}

impl Hours {
    /// Makes hours of spans in a zone; `None` without any, which is always. Says what is wrong, where something is.
    pub fn new(spans: &[String], zone: &str) -> Result<Option<Self>, String> {
        if spans.is_empty() {
            return Ok(None);
        }
        let zone = schedule::zone(zone).ok_or_else(|| format!("names the zone `{zone}`, which is not known"))?;
        let text = format!("{} {zone}", spans.join(", "));
        let spans = spans.iter().map(|span| Span::parse(span)).collect::<Result<_, _>>()?;
        Ok(Some(Self { spans, zone, text }))
    }

    /// Tells whether a moment lies in them.
    pub fn holds(&self, at: DateTime<Utc>) -> bool {
        let local = at.with_timezone(&self.zone).naive_local();
        self.spans.iter().any(|span| span.holds(local))
    }

    /// Returns the first moment from this one on that lies in them.
    pub fn from(&self, at: DateTime<Utc>) -> DateTime<Utc> {
        if self.holds(at) {
            return at;
        }
        let today = at.with_timezone(&self.zone).date_naive();
        let begins = |date: NaiveDate, span: &Span| {
            let of_day = span.days[date.weekday().num_days_from_monday() as usize];
            let begin = of_day.then(|| date.and_hms_opt(0, 0, 0)).flatten()? + Duration::minutes(span.from.into());
            // A time that the clock leaves out comes when it has been put forward.
            let zoned = (0..=24).find_map(|quarter| {
                self.zone.from_local_datetime(&(begin + Duration::minutes(15 * quarter))).earliest()
            });
            zoned.map(|time| time.with_timezone(&Utc)).filter(|time| *time > at)
        };
        let days = today.iter_days().take(9);
        let all = days.flat_map(|date| self.spans.iter().filter_map(move |span| begins(date, span)));
        all.min().unwrap_or(at)
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns the time at which new work may begin, where it may not now.
pub fn closed(hours: Option<&Hours>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    hours.filter(|hours| !hours.holds(now)).map(|hours| hours.from(now))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(spans: &[&str]) -> Hours {
        let spans: Vec<String> = spans.iter().map(|span| (*span).to_owned()).collect();
        Hours::new(&spans, "Europe/Berlin").expect("hours").expect("some")
    }

    fn at(text: &str) -> DateTime<Utc> {
        format!("{text}:00Z").parse().expect("a time")
    }

    #[test]
    fn work_begins_in_the_spans_of_its_days_also_after_midnight() {
        // 2026-12-01 is a Tuesday; Berlin is an hour ahead of UTC.
        let night = hours(&["mon-fri 22:00-06:00", "sat,sun 00:00-24:00"]);
        for (time, holds) in [
            ("2026-12-01T20:59", false),
            ("2026-12-01T21:00", true),
            ("2026-12-02T04:59", true),
            ("2026-12-02T05:00", false),
            ("2026-12-05T04:59", true),
            ("2026-12-06T22:59", true),
            ("2026-12-06T23:00", false),
        ] {
            assert_eq!(night.holds(at(time)), holds, "{time}");
        }
        assert_eq!(night.from(at("2026-12-01T12:00")), at("2026-12-01T21:00"));
        assert_eq!(night.from(at("2026-12-01T23:00")), at("2026-12-01T23:00"), "it is open");
        assert_eq!(night.from(at("2026-12-06T23:30")), at("2026-12-07T21:00"));
        // The night that leaves 2 to 3 out: what begins at half past 2 begins at 3.
        let early = hours(&["02:30-04:00"]);
        assert_eq!(early.from(at("2026-03-29T00:00")), at("2026-03-29T01:00"));
        assert_eq!(closed(Some(&early), at("2026-12-01T12:00")), Some(at("2026-12-02T01:30")));
        assert_eq!((closed(None, at("2026-12-01T12:00")), closed(Some(&night), at("2026-12-05T12:00"))), (None, None));
    }

    #[test]
    fn a_text_that_is_no_span_is_refused_with_the_form() {
        for text in [
            "",
            "22-06",
            "22:00",
            "22:60-06:00",
            "24:30-06:00",
            "24:00-06:00",
            "06:00-06:00",
            "+1:00-06:00",
            "mun 1:00-2:00",
            "mon-fri",
        ] {
            let said = Span::parse(text).expect_err(text);
            assert!(said.starts_with(&format!("is `{text}`; expected e.g. `22:00-06:00`")), "{said}");
        }
        assert!(Hours::new(&["1:00-2:00".into()], "Europe/Berlim").expect_err("no zone").contains("`Europe/Berlim`"));
        assert_eq!(Hours::new(&[], "UTC"), Ok(None));
    }

    proptest! {
        /// Whatever the spans are: the next opening is open, and nothing before it is.
        #[test]
        fn the_next_opening_is_the_first(
            from in 0..24u32, length in 1..23u32, first in 0..7usize, last in 0..7usize, hour in 0..(24 * 400i64),
        ) {
            let span = format!("{}-{} {from:02}:00-{:02}:00", DAYS[first], DAYS[last], (from + length) % 24);
            let hours = hours(&[&span]);
            let now = at("2026-01-01T00:00") + Duration::hours(hour);
            let next = hours.from(now);
            prop_assert!(hours.holds(next), "{} {} {}", span, now, next);
            let mut before = now;
            while before < next {
                prop_assert!(!hours.holds(before), "{} {} {}", span, before, next);
                before += Duration::minutes(30);
            }
        }
    }
}
