//! An agent's output: read as it grows; and its end, made fit for people, the journal and the next prompt.

use std::{
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};

use crate::{Stream, Watcher};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{Outcome, text};
use oodatcaa_sys::{files, tail};

/// Bytes that are read at once.
const CHUNK: u64 = 1 << 20;

/// The two output files of a program at work, as far as they have been read.
#[derive(Debug)]
pub struct Outputs([(Stream, PathBuf, u64); 2]);

impl Outputs {
    /// Begins at the start of both, in an attempt's directory.
    pub fn new(run_dir: &Path) -> Self {
        Self(
            [(Stream::Stdout, "stdout.log"), (Stream::Stderr, "stderr.log")]
                .map(|(of, name)| (of, run_dir.join(name), 0)),
        )
    }

    /// Feeds a watcher with all that the files have grown by; `now` is the time since the program's start.
    pub fn feed(&mut self, watcher: &mut Watcher, now: Duration) {
        for (stream, path, from) in &mut self.0 {
            // A file that cannot be read now is read at the next look, or not at all: nothing rests on it alone.
            let Ok(Some(mut file)) = files::open(Layout::root_of(path), path) else { continue };
            if file.seek(SeekFrom::Start(*from)).is_err() {
                continue;
            }
            let mut bytes = Vec::new();
            while let Ok(read @ 1..) = (&mut file).take(CHUNK).read_to_end(&mut bytes) {
                *from += read as u64;
                watcher.feed(*stream, &bytes, now);
                bytes.clear();
            }
        }
    }
}

/// The part of a file's end that is looked at, in bytes.
const TAIL: u64 = 256 * 1024;

/// The longest single line that is kept, in characters.
const LINE: usize = 400;

/// Returns the end of a file: at most a quarter of a megabyte, read as UTF-8 as far as it is; a line that
/// is cut by that bound is left out. Empty when there is nothing to read.
pub fn tail(path: &Path) -> String {
    tail::text(Layout::root_of(path), path, TAIL)
}

/// Returns the last `count` lines of a file that say something, without control characters and secrets.
pub fn last_lines(path: &Path, count: usize, secrets: &[String]) -> String {
    end_of(&tail(path), count, secrets)
}

/// Returns the same of a text.
pub(crate) fn end_of(raw: &str, count: usize, secrets: &[String]) -> String {
    // Masked first: half a secret would not be found.
    let all = mask(&plain(raw), secrets);
    let kept = tail::last(&all, count, |line| !line.trim().is_empty());
    kept.iter().map(|line| text::cut(line, LINE)).collect::<Vec<_>>().join("\n")
}

/// Takes terminal sequences out whole and makes other control characters visible. A lone carriage
/// return starts its line anew, as on a terminal (progress bars).
pub fn plain(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => match chars.next() {
                Some('[') => {
                    // CSI: parameters, then one final byte.
                    while chars.next().is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
                }
                Some(']') => {
                    // OSC: up to BEL or ST; a line feed ends what was never closed.
                    while let Some(&c) = chars.peek() {
                        if c == '\n' {
                            break;
                        }
                        chars.next();
                        if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                            break;
                        }
                    }
                }
                _ => {}
            },
            '\r' => {
                if chars.peek().is_some_and(|&next| next != '\n') {
                    let line = out.rfind('\n').map_or(0, |at| at + 1);
                    out.truncate(line);
                }
            }
            c => out.push(c),
        }
    }
    text::many_lines(&out)
}

/// The text in place of a value that must not be shown.
const HIDDEN: &str = "***";

/// The shortest part of a secret that is one still.
const PART: usize = 8;

/// Blanks out values that must not be shown, also one that was cut off at the begin or the end of the text, and what
/// stands before the host of an address.
pub fn mask(said: &str, secrets: &[String]) -> String {
    let mut all = secrets.iter().fold(said.to_owned(), |text, secret| text.replace(secret.as_str(), HIDDEN));
    for secret in secrets {
        let ends = |at: &usize| secret.is_char_boundary(*at);
        let end = all.trim_end_matches('…').len();
        if let Some(at) = (PART..secret.len()).rev().filter(ends).find(|at| all[..end].ends_with(&secret[..*at])) {
            all.replace_range(end - at..end, HIDDEN);
        }
        let mut rests = (1..(secret.len() + 1).saturating_sub(PART)).filter(ends);
        if let Some(at) = rests.find(|at| all.starts_with(&secret[*at..])) {
            all.replace_range(..secret.len() - at, HIDDEN);
        }
    }
    text::without_passwords(&all)
}

/// Masks every text in a value.
pub(crate) fn mask_json(value: &mut Value, secrets: &[String]) {
    match value {
        Value::String(text) => *text = mask(text, secrets),
        Value::Array(all) => all.iter_mut().for_each(|value| mask_json(value, secrets)),
        Value::Object(members) => mask_members(members, secrets),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn mask_members(members: &mut Map<String, Value>, secrets: &[String]) {
    *members = std::mem::take(members)
        .into_iter()
        .map(|(name, mut value)| {
            mask_json(&mut value, secrets);
            (mask(&name, secrets), value)
        })
        .collect();
}

/// Returns the same for everything that an attempt's outcome says.
pub fn mask_outcome(outcome: Outcome, secrets: &[String]) -> Outcome {
    let masked = |text: String| mask(&text, secrets);
    match outcome {
        Outcome::Done { summary, mut tasks } => {
            tasks.iter_mut().for_each(|task| mask_members(task, secrets));
            Outcome::Done { summary: masked(summary), tasks }
        }
        Outcome::NoChange { summary } => Outcome::NoChange { summary: masked(summary) },
        Outcome::NeedsAdapt { reason } => Outcome::NeedsAdapt { reason: masked(reason) },
        Outcome::Replan { reason } => Outcome::Replan { reason: masked(reason) },
        Outcome::Blocked { reason } => Outcome::Blocked { reason: masked(reason) },
        Outcome::NeedsInput { question } => Outcome::NeedsInput { question: masked(question) },
        Outcome::Conflict { files, reason } => Outcome::Conflict { files, reason: masked(reason) },
        Outcome::Waits { reason } => Outcome::Waits { reason: masked(reason) },
        Outcome::Failed { class, reason, retry_at } => Outcome::Failed { class, reason: masked(reason), retry_at },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_sequences_are_taken_out() {
        let raw = "\u{1b}[31mred\u{1b}[0m \u{1b}]0;title\u{7}plain\r\n10%\r20%\rdone\u{8}\n\u{1b}]0;open\nnext";
        assert_eq!(plain(raw), "red plain\ndone\u{fffd}\n\nnext");
    }

    #[test]
    fn the_last_lines_are_bounded_and_keep_no_secret() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        let mut text = "x".repeat(2_000_000);
        text.push_str("\nfirst\n\nkey=sk-123456789 refused\n");
        text.push_str(&"y".repeat(1_000));
        std::fs::write(&file, text).expect("written");
        let last = last_lines(&file, 3, &["sk-123456789".into()]);
        let lines: Vec<&str> = last.lines().collect();
        assert_eq!(&lines[..2], ["first", "key=*** refused"]);
        assert_eq!(lines[2].chars().count(), LINE);
        assert_eq!(last_lines(&dir.path().join("none"), 3, &[]), "");
    }

    #[test]
    fn a_secret_that_was_cut_off_is_a_secret_still() {
        let secrets = ["sk-0123456789".to_owned()];
        let masked = |text: &str| mask(text, &secrets);
        assert_eq!(masked("use sk-0123456789 now"), "use *** now");
        assert_eq!(masked("use sk-012345"), "use ***");
        assert_eq!(masked("use sk-01234567…"), "use ***…");
        assert_eq!(masked("23456789 was refused"), "*** was refused");
        for plain in ["use sk-0123", "3456789 things", "", "sk-", "…"] {
            assert_eq!(masked(plain), plain);
        }
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        std::fs::write(&file, format!("{}sk-0123456789\n", "x".repeat(LINE - 4))).expect("written");
        assert!(!last_lines(&file, 1, &secrets).contains("sk-"));
    }

    #[test]
    fn everything_that_an_outcome_says_is_masked() {
        let secrets = ["sk-0123456789".to_owned()];
        let task = serde_json::json!({"title": "sk-0123456789", "sk-0123456789": [{"a": "=sk-0123456789"}], "n": 1});
        let task = task.as_object().expect("an object").clone();
        let outcome = Outcome::Done { summary: "sk-0123456789".into(), tasks: vec![task] };
        let Outcome::Done { summary, tasks } = mask_outcome(outcome, &secrets) else { panic!("another outcome") };
        assert_eq!(summary, "***");
        assert_eq!(Value::from(tasks[0].clone()).to_string(), r#"{"title":"***","***":[{"a":"=***"}],"n":1}"#);
    }

    #[test]
    fn output_that_is_not_text_does_no_harm() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        std::fs::write(&file, [0xff, 0xfe, 0x00, b'a', b'\n']).expect("written");
        assert_eq!(last_lines(&file, 1, &[]), "\u{fffd}\u{fffd}\u{fffd}a");
    }
}
