//! The end of an agent's output, made fit for people, the journal and the next prompt.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use crate::domain::text;

/// How much of a file's end is looked at.
const TAIL: u64 = 256 * 1024;

/// The longest single line that is kept, in characters.
const LINE: usize = 400;

/// The end of a file: at most a quarter of a megabyte, read as UTF-8 as far as it is; a line that
/// is cut by that bound is left out. Empty when there is nothing to read.
pub fn tail(path: &Path) -> String {
    read_tail(path).unwrap_or_default()
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(skipped))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if skipped > 0
        && let Some(cut) = text.find('\n')
    {
        text.drain(..=cut);
    }
    Ok(text)
}

/// The last `count` lines that say something, without control characters and secrets.
pub fn last_lines(path: &Path, count: usize, secrets: &[String]) -> String {
    let all = plain(&tail(path));
    let lines: Vec<String> = all.lines().filter(|line| !line.trim().is_empty()).map(Into::into).collect();
    let kept: Vec<String> = lines.iter().skip(lines.len().saturating_sub(count)).map(|l| text::cut(l, LINE)).collect();
    mask(&kept.join("\n"), secrets)
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

/// Blanks out values that must not be shown.
pub fn mask(text: &str, secrets: &[String]) -> String {
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), "***"))
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
    fn output_that_is_not_text_does_no_harm() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        std::fs::write(&file, [0xff, 0xfe, 0x00, b'a', b'\n']).expect("written");
        assert_eq!(last_lines(&file, 1, &[]), "\u{fffd}\u{fffd}\u{fffd}a");
    }
}
