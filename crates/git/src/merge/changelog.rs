//! One line in a changelog of the "Keep a Changelog" form, below `## [Unreleased]`; pure text.

use oodatcaa_core::text;

/// The file's name.
pub(super) const FILE: &str = "CHANGELOG.md";

const HEAD: &str = "# Changelog\n\nAll notable changes are kept here, in the form of \
                    [Keep a Changelog](https://keepachangelog.com/en/1.1.0/).\n";

/// Returns the line of a task.
pub(super) fn line(task: &str, title: &str) -> String {
    let title = text::cut(text::one_line(title).trim(), 200);
    if title.is_empty() { format!("- {task}") } else { format!("- {} ({task})", plain(&title)) }
}

/// Escapes a text so that Markdown shows it as it is.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Returns the changelog with the line in it, or `None` when it is there already.
pub(super) fn with(old: Option<&str>, line: &str) -> Option<String> {
    let old = old.filter(|text| !text.trim().is_empty()).unwrap_or(HEAD);
    let feed = if old.contains("\r\n") { "\r\n" } else { "\n" };
    let mut lines: Vec<&str> = old.lines().collect();
    if lines.contains(&line) {
        return None;
    }
    let is_version = |text: &str| text.starts_with("## ");
    let is_unreleased = |text: &&str| {
        is_version(text) && text[3..].trim().trim_start_matches('[').to_lowercase().starts_with("unreleased")
    };
    let head = lines.iter().position(is_unreleased).unwrap_or_else(|| {
        let first = lines.iter().position(|text| is_version(text)).unwrap_or(lines.len());
        add(&mut lines, first, "## [Unreleased]")
    });
    let end = (head + 1..lines.len()).find(|&at| is_version(lines[at])).unwrap_or(lines.len());
    let changed = (head + 1..end).find(|&at| lines[at].trim_end().eq_ignore_ascii_case("### changed"));
    let changed = changed.unwrap_or_else(|| add(&mut lines, end, "### Changed"));
    let is_heading = |&at: &usize| is_version(lines[at]) || lines[at].starts_with("### ");
    let stop = (changed + 1..lines.len()).find(is_heading).unwrap_or(lines.len());
    match last_text(&lines, stop) {
        Some(last) if last > changed => lines.insert(last + 1, line),
        _ => drop(lines.splice(changed + 1..changed + 1, ["", line])),
    }
    Some(lines.join(feed) + feed)
}

/// Adds a heading after the last text before a line, and returns where it is.
fn add<'a>(lines: &mut Vec<&'a str>, before: usize, heading: &'a str) -> usize {
    let at = last_text(lines, before).map_or(0, |last| last + 1);
    lines.splice(at..at, [""].into_iter().filter(|_| at > 0).chain([heading]));
    if at > 0 { at + 1 } else { at }
}

/// Returns the last line before another that is not empty.
fn last_text(lines: &[&str], before: usize) -> Option<usize> {
    (0..before).rev().find(|&at| !lines[at].trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_goes_below_unreleased_and_only_once() {
        let old = "# Changelog\n\n## [Unreleased]\n\n### Added\n\n- x\n\n### Changed\n\n- y\n\n## [1.0.0]\n\n- z\n";
        let new = with(Some(old), "- n (T-1)").expect("a change");
        assert_eq!(new, old.replace("- y\n", "- y\n- n (T-1)\n"));
        assert_eq!(with(Some(&new), "- n (T-1)"), None);
    }

    #[test]
    fn missing_parts_are_made() {
        let made = with(None, "- n").expect("a change");
        assert!(made.ends_with("\n\n## [Unreleased]\n\n### Changed\n\n- n\n"), "{made}");
        let old = "# Changelog\n\n## [Unreleased]\n\n### Fixed\n\n- x\n\n## 1.0\n";
        let new = with(Some(old), "- n").expect("a change");
        assert_eq!(new, "# Changelog\n\n## [Unreleased]\n\n### Fixed\n\n- x\n\n### Changed\n\n- n\n\n## 1.0\n");
        let new = with(Some("# Log\n\n## 1.0\n\n- x\n"), "- n").expect("a change");
        assert_eq!(new, "# Log\n\n## [Unreleased]\n\n### Changed\n\n- n\n\n## 1.0\n\n- x\n");
        let new = with(Some("# L\r\n## Unreleased\r\n"), "- n").expect("a change");
        assert_eq!(new, "# L\r\n## Unreleased\r\n\r\n### Changed\r\n\r\n- n\r\n");
    }

    #[test]
    fn a_title_cannot_become_markup_or_a_second_line() {
        assert_eq!(line("T-1", "a\n## [9.9] `x` <b>"), "- a \\#\\# \\[9.9\\] \\`x\\` \\<b\\> (T-1)");
    }
}
