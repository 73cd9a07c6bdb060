//! The end of a file that may be long: an agent's output, a daemon's log.

use std::path::Path;

use super::files;

/// Reads the last `bytes` of a file as UTF-8 as far as it is; empty when it cannot be read. The line that this cuts is
/// left out, unless it is the only one.
pub fn text(root: &Path, path: &Path, bytes: u64) -> String {
    // One more, which tells whether a line begins where the rest does.
    let read = files::read_tail(root, path, bytes + 1).ok().flatten().unwrap_or_default();
    let mut text = String::from_utf8_lossy(&read).into_owned();
    if read.len() as u64 > bytes
        && let Some(cut) = text.find('\n')
    {
        text.drain(..=cut);
    }
    text
}

/// Returns the last `count` lines of a text that fit.
pub fn last(text: &str, count: usize, fits: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().rev().filter(|line| fits(line)).take(count).collect();
    lines.reverse();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_cut_is_left_out() {
        let dir = tempfile::tempdir().expect("a directory");
        let text = |content: &str, bytes| {
            std::fs::write(dir.path().join("log"), content).expect("written");
            text(dir.path(), Path::new("log"), bytes)
        };
        assert_eq!(text("one\ntwo\nthree\n", 8), "three\n");
        assert_eq!(text("one\ntwo\nthree\n", 6), "three\n", "nothing is cut");
        assert_eq!(text("one\ntwo\n", 100), "one\ntwo\n");
        assert!(text("no line feed", 4).ends_with("feed"));
        assert_eq!(super::text(dir.path(), Path::new("none"), 4), "");
    }

    #[test]
    fn the_last_lines_come_in_their_order() {
        assert_eq!(last("a\n\nb\nc\n", 2, |line| !line.is_empty()), ["b", "c"]);
        assert_eq!(last("a\nb", 9, |_| true), ["a", "b"]);
    }
}
