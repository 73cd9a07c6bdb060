//! Rows and columns: aligned and cut for a terminal, tab-separated and whole for a pipe.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Tone;
use crate::domain::text;

/// A column's heading, and whether its texts may be cut to make the table fit.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    heading: &'static str,
    flexible: bool,
}

impl Column {
    /// A column as wide as its widest text.
    pub const fn new(heading: &'static str) -> Self {
        Self { heading, flexible: false }
    }

    /// A column of free text.
    pub const fn flexible(heading: &'static str) -> Self {
        Self { heading, flexible: true }
    }
}

/// One text of a table, made harmless on its way in.
#[derive(Clone, Debug, Default)]
pub struct Item {
    shown: String,
    piped: Option<String>,
    tone: Tone,
}

impl Item {
    /// The same text for people and programs.
    pub fn new(words: impl AsRef<str>) -> Self {
        Self { shown: text::one_line(words.as_ref()), piped: None, tone: Tone::Plain }
    }

    /// In a tone.
    #[must_use]
    pub fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// With another text for programs: the time instead of how long ago it was.
    #[must_use]
    pub fn or_piped(mut self, words: impl AsRef<str>) -> Self {
        self.piped = Some(text::one_line(words.as_ref()));
        self
    }

    /// What a terminal gets, outside of a table.
    pub fn painted(&self) -> String {
        self.tone.paint(&self.shown)
    }

    /// What a pipe gets.
    pub fn piped(&self) -> &str {
        self.piped.as_deref().unwrap_or(&self.shown)
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Item>>,
}

/// Free text is never cut below this.
const NARROWEST: usize = 12;

impl Table {
    /// A table without rows.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self { columns: columns.into(), rows: Vec::new() }
    }

    /// Adds a row; it has as many items as there are columns.
    pub fn row(&mut self, items: impl Into<Vec<Item>>) {
        let items = items.into();
        debug_assert_eq!(items.len(), self.columns.len(), "a row fits its table");
        self.rows.push(items);
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[Item]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// `true` without rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For a pipe: no heading, nothing cut.
    pub fn tabbed(&self) -> String {
        let mut all = String::new();
        for row in &self.rows {
            for (at, item) in row.iter().enumerate() {
                if at > 0 {
                    all.push('\t');
                }
                all.push_str(item.piped());
            }
            all.push('\n');
        }
        all
    }

    /// For a terminal of so many columns: a heading, free text cut where the line would be too long.
    pub fn aligned(&self, width: usize) -> String {
        let widths = self.widths(width);
        let mut all = String::new();
        let headings = self.columns.iter().map(|column| (column.heading, Tone::Strong));
        line(&mut all, headings, &widths);
        for row in &self.rows {
            let items = row.iter().map(|item| match item.shown.as_str() {
                "" => ("—", Tone::Faint),
                shown => (shown, item.tone),
            });
            line(&mut all, items, &widths);
        }
        all
    }

    fn widths(&self, width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.heading.width()).collect();
        for row in &self.rows {
            for (widest, item) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(item.shown.width().max(1));
            }
        }
        let gaps = 2 * self.columns.len().saturating_sub(1);
        let mut over = (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
        // The widest free text gives first, so that two of them end up alike.
        while over > 0 {
            let flexible = widths.iter_mut().zip(&self.columns).filter(|(_, column)| column.flexible);
            let Some((widest, _)) = flexible.max_by_key(|(width, _)| **width).filter(|(width, _)| **width > NARROWEST)
            else {
                break;
            };
            *widest -= 1;
            over -= 1;
        }
        widths
    }
}

fn line<'a>(all: &mut String, items: impl Iterator<Item = (&'a str, Tone)>, widths: &[usize]) {
    let last = widths.len() - 1;
    for (at, ((item, tone), &width)) in items.zip(widths).enumerate() {
        let (cut, taken) = fit(item, width);
        all.push_str(&tone.paint(&cut));
        if at < last {
            all.extend(std::iter::repeat_n(' ', width - taken + 2));
        }
    }
    all.push('\n');
}

/// The text in at most so many columns, and how many it takes.
fn fit(words: &str, width: usize) -> (String, usize) {
    let full = words.width();
    if full <= width {
        return (words.into(), full);
    }
    let (mut cut, mut taken) = (String::new(), 0);
    for c in words.chars() {
        let wide = c.width().unwrap_or(0);
        if taken + wide + 1 > width {
            break;
        }
        cut.push(c);
        taken += wide;
    }
    cut.push('…');
    (cut, taken + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new([Column::new("ID"), Column::flexible("TITLE"), Column::new("FOR")]);
        table.row([
            Item::new("T1"),
            Item::new("A title that goes on\tand on\u{1b}[2J"),
            Item::new("3m").or_piped("180"),
        ]);
        table.row([Item::new("T22"), Item::new("日本語"), Item::new("")]);
        table
    }

    #[test]
    fn a_pipe_gets_tabs_and_everything() {
        assert_eq!(table().tabbed(), "T1\tA title that goes on and on\u{fffd}[2J\t180\nT22\t日本語\t\n");
    }

    #[test]
    fn a_terminal_gets_aligned_columns_and_cut_texts() {
        let plain = anstream::adapter::strip_str(&table().aligned(24)).to_string();
        assert_eq!(plain, "ID   TITLE           FOR\nT1   A title that …  3m\nT22  日本語          —\n");
    }

    #[test]
    fn a_table_that_fits_is_not_cut() {
        assert!(!table().aligned(200).contains('…'));
    }

    #[test]
    fn a_narrow_terminal_still_shows_something() {
        assert!(table().aligned(5).contains("A title tha…"));
    }
}
