//! The journal's lines, one by one: numbers that follow each other, nothing torn.

use std::io::{BufRead, BufReader, Read as _};

use chrono::{DateTime, Utc};

use super::report::Report;
use oodatcaa_core::text;
use oodatcaa_ops::quoted;
use oodatcaa_sys::files;

/// What one reading found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    events: usize,
    /// The first places where a number does not follow the one before: line, what was expected, what is there.
    gaps: Vec<(usize, u64, u64)>,
    /// Lines that are no events.
    broken: Vec<usize>,
    /// The last line has no end.
    torn: bool,
    last: Option<DateTime<Utc>>,
}

#[derive(serde::Deserialize)]
struct Line {
    seq: u64,
    #[serde(default)]
    time: Option<DateTime<Utc>>,
}

pub(super) fn check(report: &mut Report<'_>) {
    let (root, path) = (report.context.layout.root(), report.context.layout.journal());
    let found = match files::open(root, &path) {
        Ok(Some(file)) => read(BufReader::new(file)).map_err(|error| error.to_string()),
        Ok(None) => return report.good("journal", "no journal yet; the first change starts it"),
        Err(error) => Err(error.why.to_string()),
    };
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            let what = format!("the journal cannot be read: {why}");
            return report.found("journal", what, format!("ls -l {}", quoted(&path)));
        }
    };
    let run = |line: usize| format!("sed -n {line}p {}", quoted(&path));
    if let Some(line) = found.broken.first() {
        let what = format!("lines of the journal are not events: {}, the first is line {line}", found.broken.len());
        report.found("journal_broken", what, run(*line));
    }
    if let Some((line, expected, there)) = found.gaps.first() {
        let places = text::many(found.gaps.len(), "such place");
        let what = format!("event {expected} is expected in line {line}, event {there} is there ({places})");
        report.found("journal_gap", what, run(*line));
    }
    if found.torn {
        report.found("journal_torn", "its last line is not finished", "");
    }
    let now = Utc::now();
    if let Some(ahead) = found.last.and_then(|last| (last - now).to_std().ok()).filter(|ahead| ahead.as_secs() > 60) {
        let what = format!("its last event is {} ahead of this machine's clock", text::duration(ahead));
        report.found("clock.journal", what, "date -u");
    }
    if found.broken.is_empty() && found.gaps.is_empty() && !found.torn {
        report.good("journal", format!("journal: {}, none missing", text::many(found.events, "event")));
    }
}

/// No event is longer.
const LONGEST: u64 = 16 << 20;

fn read(mut lines: impl BufRead) -> std::io::Result<Found> {
    let mut found = Found::default();
    let (mut number, mut before, mut bytes) = (0, None, Vec::new());
    loop {
        bytes.clear();
        if (&mut lines).take(LONGEST).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(found);
        }
        number += 1;
        if bytes.len() as u64 == LONGEST && bytes.last() != Some(&b'\n') {
            // What is no journal may be endless.
            found.broken.push(number);
            return Ok(found);
        }
        if bytes.last() != Some(&b'\n') {
            found.torn = true;
            continue;
        }
        let Ok(line) = serde_json::from_slice::<Line>(&bytes) else {
            found.broken.push(number);
            continue;
        };
        let expected = before.map_or(1, |before: u64| before.saturating_add(1));
        if line.seq != expected {
            found.gaps.push((number, expected, line.seq));
        }
        before = Some(line.seq);
        found.events += 1;
        found.last = line.time.or(found.last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_line_by_line() {
        let whole = read("{\"seq\":1}\n{\"seq\":2,\"time\":\"2026-01-05T09:00:00.000Z\"}\n".as_bytes()).expect("reads");
        assert_eq!((whole.events, whole.torn, whole.gaps.len(), whole.last.is_some()), (2, false, 0, true));
        let bad = read("{\"seq\":1}\n<<<<\n{\"seq\":4}\n{\"seq\":5}\n{\"se".as_bytes()).expect("reads");
        assert_eq!((bad.gaps, bad.broken, bad.torn), (vec![(3, 2, 4)], vec![2], true));
    }
}
