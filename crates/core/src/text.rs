//! Words for people: durations read and written, text from outside made harmless.

use std::time::Duration;

/// Writes a duration in its two greatest units: `850ms`, `42s`, `3m12s`, `2h5m`, `4d1h`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0 if time.is_zero() => "0s".into(),
        0 => format!("{}ms", time.as_millis().max(1)),
        1..60 => format!("{seconds}s"),
        60..3_600 => two(seconds / 60, "m", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds / 60 % 60, "m"),
        _ => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

fn two(great: u64, unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 { format!("{great}{unit}") } else { format!("{great}{unit}{small}{small_unit}") }
}

/// Returns a word as a POSIX shell reads it back: quoted, unless it needs no quotes.
pub fn shell_word(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+@%,:=".contains(c));
    if plain { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Returns an error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        words.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    words
}

/// Reads a duration: `90m`, `1h30m`, `45s`, `500ms`, `2d`, or a bare number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration; write e.g. `45s`, `90m`, `1h30m` or a number of seconds");
    let mut rest = text.trim();
    if let Ok(seconds) = rest.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|&at| at > 0).ok_or_else(wrong)?;
        let count: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" | "min" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            "d" => Duration::from_secs(86_400),
            _ => return Err(wrong()),
        };
        let part = u32::try_from(count).ok().and_then(|count| unit.checked_mul(count)).ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    if total.is_zero() && !text.starts_with('0') { Err(wrong()) } else { Ok(total) }
}

/// Makes text from outside fit for one line of a terminal: control characters (escape sequences with them) become
/// visible, so that a title cannot paint over what stands around it.
pub fn one_line(text: &str) -> String {
    many_lines(text).replace(['\n', '\t'], " ")
}

/// Does the same for text of several lines: line feeds and tabs stay.
pub fn many_lines(text: &str) -> String {
    let shown = |c| match c {
        '\r' => ' ',
        c if is_hostile(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// Cleans a line that we have painted ourselves: colours stay, every other control character becomes visible.
pub fn painted(line: &str) -> String {
    let mut safe = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let colour = rest.strip_prefix("\x1b[").and_then(|after| {
            let digits = after.find(|c: char| !c.is_ascii_digit() && c != ';')?;
            after[digits..].starts_with('m').then_some("\x1b[".len() + digits + 1)
        });
        let length = colour.unwrap_or(c.len_utf8());
        match colour.is_none() && is_hostile(c) {
            true => safe.push('\u{fffd}'),
            false => safe.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    safe
}

/// Makes JSON fit for a terminal: what its strings leave bare and a terminal would obey is escaped.
pub fn harmless_json(json: String) -> String {
    if !json.chars().any(is_hostile) {
        return json;
    }
    json.chars().fold(String::with_capacity(json.len()), |mut all, c| {
        match is_hostile(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| all.push_str(&format!("\\u{unit:04x}"))),
            false => all.push(c),
        }
        all
    })
}

/// Recognises control characters other than line feed and tab, what reorders a line for its reader, and what a reader
/// cannot see. Joiners and variation selectors stay: scripts and emoji need them.
fn is_hostile(c: char) -> bool {
    let reorders =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}');
    reorders || is_invisible(c) || (c.is_control() && !matches!(c, '\n' | '\t'))
}

/// Recognises what Unicode lets a reader pass over (Default_Ignorable_Code_Point of Unicode 16), but for joiners and
/// variation selectors: a model reads it and a person does not.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'
            | '\u{2060}'..='\u{2065}'
            | '\u{206a}'..='\u{206f}'
            | '\u{3164}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fff8}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns the names that a word which is none of them may have meant, best first, at most three: those that begin with
/// it or that it begins with, and those with a slip or two in them.
pub fn near<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    // The distance costs the product of both lengths; no name of ours is so long.
    let word: String = word.to_lowercase().chars().take(64).collect();
    let far = |name: &str| match name.to_lowercase() {
        name if name.starts_with(&word) || word.starts_with(&name) => 1,
        name => strsim::osa_distance(&word, &name),
    };
    let limit = (1 + word.chars().count() / 4).min(3);
    let mut near: Vec<_> = names.into_iter().map(|name| (far(name), name)).filter(|(far, _)| *far <= limit).collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Writes a count with its word: `1 task`, `2 tasks`, `2 processes`.
pub fn many(count: usize, what: &str) -> String {
    match what.ends_with('s') {
        _ if count == 1 => format!("1 {what}"),
        true => format!("{count} {what}es"),
        false => format!("{count} {what}s"),
    }
}

/// Writes bytes in hexadecimal digits, two for each.
pub fn hex(bytes: &[u8]) -> String {
    // Not by `format!`: every task of a queue file is asked for such a name at every look.
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}

/// Words that make a line of a failed program's output worth showing, the most telling first.
const TELLING: [&str; 7] = ["assert", "expected", "panicked at", "exception", "error", "fatal", "fail"];

/// Lines that count failures and found none.
const NOT_TELLING: [&str; 4] = ["0 failed", "0 failures", "0 errors", "no error"];

/// Returns the line of a failed program's output that says most of why, else its last one; `None` where there is none.
///
/// Programs print it between much else, and who reads one line sees only how it begins.
pub fn telling(output: &str) -> Option<&str> {
    let lines = || {
        let lines = output.lines().map(|line| line.trim_matches(|c: char| c.is_whitespace() || "=-_".contains(c)));
        lines.filter(|line| !line.is_empty())
    };
    let says = |line: &str, sign: &str| {
        let line = line.to_lowercase();
        line.contains(sign) && !NOT_TELLING.iter().any(|none| line.contains(none))
    };
    let found = TELLING.iter().find_map(|sign| lines().find(|line| says(line, sign)));
    found.or_else(|| lines().next_back())
}

/// Cuts a text to so many characters, with an ellipsis as the last.
pub fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.into();
    }
    let mut short: String = text.chars().take(max.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Returns a text without the names and passwords that stand in addresses.
pub fn without_passwords(said: &str) -> String {
    let mut parts = said.split("://");
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let host = part.find(|c: char| "/'\"<>".contains(c) || c.is_whitespace()).unwrap_or(part.len());
        kept.push_str("://");
        match part[..host].rfind('@') {
            Some(at) => {
                kept.push_str("***");
                kept.push_str(&part[at..]);
            }
            None => kept.push_str(part),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_two_units() {
        let written: Vec<String> =
            [0, 42, 60, 192, 7_500, 86_400, 349_200].map(|s| duration(Duration::from_secs(s))).into();
        assert_eq!(written, ["0s", "42s", "1m", "3m12s", "2h5m", "1d", "4d1h"]);
        assert_eq!(duration(Duration::from_millis(850)), "850ms");
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let read = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(read("90m"), Ok(5_400_000));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("45"), Ok(45_000));
        assert_eq!(read("500ms"), Ok(500));
        assert_eq!(read("0"), Ok(0));
        assert_eq!(read("0s"), Ok(0));
        for bad in ["", "m", "1x", "-3s", "1.5h", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_a_terminal() {
        assert_eq!(one_line("a\x1b[31mb\nc\u{202e}d\u{7}"), "a\u{fffd}[31mb c\u{fffd}d\u{fffd}");
        assert_eq!(many_lines("a\tb\n\x1bc"), "a\tb\n\u{fffd}c");
    }

    #[test]
    fn our_colours_stay_and_nothing_else_does() {
        assert_eq!(painted("\x1b[1;31mred\x1b[0m\tplain\n"), "\x1b[1;31mred\x1b[0m\tplain\n");
        assert_eq!(painted("a\x1b[2J\x07\u{9b}m\u{202e}\x1b["), "a\u{fffd}[2J\u{fffd}\u{fffd}m\u{fffd}\u{fffd}[");
    }

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let value = serde_json::json!({"title": "a\u{9b}2J\u{7f}\u{202e}\x1bü"});
        let shown = harmless_json(value.to_string());
        assert!(!shown.chars().any(is_hostile), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }

    #[test]
    fn near_names_are_offered_and_far_ones_are_not() {
        let ids = ["P001", "P001-B01", "P010", "W777"];
        assert_eq!(near("p001", ids), ["P001", "P001-B01", "P010"]);
        assert_eq!(near("P01", ids), ["P001", "P010"]);
        assert_eq!(near("zzz", ids), Vec::<&str>::new());
        let keys = ["interval", "drain", "grace", "lock_wait"];
        let meant = |word| near(word, keys).first().copied();
        assert_eq!(
            ["intervall", "Interval", "drian", "lockwait"].map(meant),
            ["interval", "interval", "drain", "lock_wait"].map(Some)
        );
        assert_eq!(near("colour", ["interval", "drain"]), Vec::<&str>::new());
        assert_eq!(near("", ["a"]), ["a"]);
        assert_eq!(near("x", []), Vec::<&str>::new());
    }

    #[test]
    fn a_count_agrees_with_its_word() {
        assert_eq!([many(0, "task"), many(1, "task"), many(2, "task")], ["0 tasks", "1 task", "2 tasks"]);
        assert_eq!([many(1, "process"), many(2, "process")], ["1 process", "2 processes"]);
    }

    #[test]
    fn the_line_that_says_why_is_found_between_much_else() {
        let pytest = "==== test session starts ====\ntests/test_a.py ..F [ 1%]\n==== FAILURES ====\n\
                      E       AssertionError: wanted 3, got 4\n==== 1 failed, 40 passed in 0.3s ====\n";
        assert_eq!(telling(pytest), Some("E       AssertionError: wanted 3, got 4"));
        let cargo = "running 2 tests\nthread 'a' panicked at src/a.rs:3:5:\nassertion `left == right` failed\n\
                     test result: FAILED. 1 passed; 1 failed\n";
        assert_eq!(telling(cargo), Some("assertion `left == right` failed"));
        assert_eq!(telling("built, 0 errors\n0 failed\nmake: *** [test] Error 2\n"), Some("make: *** [test] Error 2"));
        assert_eq!(telling("one\n\n  two  \n----\n"), Some("two"));
        assert_eq!(telling(" \n===\n"), None);
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(cut("häuser", 4), "häu…");
        assert_eq!(cut("four", 4), "four");
    }

    #[test]
    fn what_turns_a_line_around_or_cannot_be_seen_becomes_visible() {
        for c in ['\u{61c}', '\u{ad}', '\u{180e}', '\u{200b}', '\u{2064}', '\u{3164}', '\u{e0041}', '\u{e0101}'] {
            assert_eq!(one_line(&format!("a{c}b")), "a\u{fffd}b", "{c:?}");
            let json = harmless_json(format!("\"{c}\""));
            assert!(json.is_ascii(), "{json}");
            assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), c.to_string());
        }
        // A family in one glyph, a heart in colour, a Persian word.
        for whole in ["\u{1f468}\u{200d}\u{1f469}", "\u{2764}\u{fe0f}", "می\u{200c}خواهم"] {
            assert_eq!(one_line(whole), whole);
        }
    }
}
