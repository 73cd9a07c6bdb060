//! Rows and columns: aligned and cut for a terminal, tab-separated and whole for a pipe.

use std::fmt::Display;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Tone;
use oodatcaa_core::text;

#[derive(Clone, Copy, Debug)]
struct Column {
    heading: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As wide as its widest text.
    Fixed,
    /// The same, and left out where there is no room; the last one goes first.
    Optional,
    /// Free text, wrapped at words.
    Flexible,
}

impl Column {
    fn new(heading: &'static str) -> Self {
        let ends = [('?', Kind::Optional), ('~', Kind::Flexible)];
        let found = ends.into_iter().find_map(|(end, kind)| Some(Self { heading: heading.strip_suffix(end)?, kind }));
        found.unwrap_or(Self { heading, kind: Kind::Fixed })
    }
}

/// One text of a table, made harmless on its way in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    shown: String,
    piped: Option<String>,
    tone: Tone,
}

impl Item {
    /// Returns an item with the same text for people and programs.
    pub(crate) fn new(words: impl Display) -> Self {
        Self { shown: text::one_line(&words.to_string()), piped: None, tone: Tone::Plain }
    }

    /// Returns an item that is empty where there is nothing.
    pub(crate) fn of(words: Option<impl Display>) -> Self {
        words.map_or_else(Self::default, Self::new)
    }

    /// Sets its tone.
    #[must_use]
    pub(crate) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Sets another text for programs: the time instead of how long ago it was.
    #[must_use]
    pub(crate) fn or_piped(mut self, words: impl Display) -> Self {
        self.piped = Some(text::one_line(&words.to_string()));
        self
    }

    /// Returns what a terminal gets, outside of a table.
    pub(crate) fn painted(&self) -> String {
        self.tone.paint(&self.shown)
    }

    /// Returns what a pipe gets.
    pub(crate) fn piped(&self) -> &str {
        self.piped.as_deref().unwrap_or(&self.shown)
    }
}

/// Rows under headings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Item>>,
}

/// Free text is never narrower than this beside other columns; where that is too wide, it stands below them.
const NARROWEST: usize = 20;

/// Lines of one free text; more is cut. `show` and `why` have all of it.
const LINES: usize = 8;

impl Table {
    /// Returns a table without rows, from its headings: `ID | ROLE? | TITLE~`. A narrow terminal does without a column
    /// that ends in `?`; one that ends in `~` is free text, wrapped at words.
    pub(crate) fn new(headings: &'static str) -> Self {
        Self { columns: headings.split(" | ").map(Column::new).collect(), rows: Vec::new() }
    }

    /// Adds a row; it has as many items as there are columns.
    pub(crate) fn row(&mut self, items: impl Into<Vec<Item>>) {
        let items = items.into();
        debug_assert_eq!(items.len(), self.columns.len(), "a row fits its table");
        self.rows.push(items);
    }

    /// Returns the rows.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &[Item]> {
        self.rows.iter().map(Vec::as_slice)
    }

    /// Writes it in the letters of a terminal that speaks no UTF-8, before anything is aligned, since a substitute may
    /// be wider.
    pub(super) fn in_ascii(&self) -> Self {
        let mut all = self.clone();
        let items = all.rows.iter_mut().flatten().filter(|item| !item.shown.is_ascii());
        items.for_each(|item| item.shown = super::ascii_fallback(&item.shown));
        all
    }

    /// Tells whether there are no rows.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Renders it for a pipe: no heading, nothing cut.
    pub(crate) fn tabbed(&self) -> String {
        let line = |row: &Vec<Item>| row.iter().map(Item::piped).collect::<Vec<_>>().join("\t") + "\n";
        self.rows.iter().map(line).collect()
    }

    /// Renders it for a terminal of so many columns. Where one line is too short for a row, optional columns go first and free
    /// text is wrapped; where even that is too wide, free text stands below the rest of its row.
    pub(crate) fn aligned(&self, width: usize) -> String {
        let mut columns: Vec<usize> = (0..self.columns.len()).collect();
        let natural = self.natural();
        let gaps = |columns: &[usize]| 2 * columns.len().saturating_sub(1);
        let least = |columns: &[usize]| {
            let narrow = |at: &usize| match self.columns[*at].kind {
                Kind::Flexible => natural[*at].min(NARROWEST),
                Kind::Fixed | Kind::Optional => natural[*at],
            };
            columns.iter().map(narrow).sum::<usize>() + gaps(columns)
        };
        while least(&columns) > width
            && let Some(last) = columns.iter().rposition(|at| self.columns[*at].kind == Kind::Optional)
        {
            columns.remove(last);
        }
        if least(&columns) > width {
            return self.stacked(&columns, width);
        }
        let mut widths: Vec<usize> = columns.iter().map(|at| natural[*at]).collect();
        let mut over = (widths.iter().sum::<usize>() + gaps(&columns)).saturating_sub(width);
        // The widest free text gives first, so that two of them end up alike.
        while over > 0 {
            let flexible = widths.iter_mut().zip(&columns).filter(|(_, at)| self.columns[**at].kind == Kind::Flexible);
            let Some((widest, _)) = flexible.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
            over -= 1;
        }
        let mut all = String::new();
        let headings: Vec<_> = columns.iter().map(|at| (self.columns[*at].heading, Tone::Strong)).collect();
        lines(&mut all, &headings, &widths);
        for row in &self.rows {
            let items: Vec<_> = columns.iter().map(|at| shown(&row[*at])).collect();
            lines(&mut all, &items, &widths);
        }
        all
    }

    /// Renders it for a screen of so many columns on which each row has one line: what is too long is cut, and where even
    /// that is too wide, a free text after the first goes as well. The first line is the headings'.
    pub(crate) fn one_lined(&self, width: usize) -> Vec<String> {
        let mut columns: Vec<usize> = (0..self.columns.len()).collect();
        let natural = self.natural();
        let is = |at: &usize, kind: Kind| self.columns[*at].kind == kind;
        let least = |columns: &[usize]| {
            let narrow = |at: &usize| if is(at, Kind::Flexible) { natural[*at].min(NARROWEST) } else { natural[*at] };
            columns.iter().map(narrow).sum::<usize>() + 2 * columns.len().saturating_sub(1)
        };
        while least(&columns) > width {
            let free = columns.iter().filter(|at| is(at, Kind::Flexible)).count();
            let optional = columns.iter().rposition(|at| is(at, Kind::Optional));
            let spare = || columns.iter().rposition(|at| is(at, Kind::Flexible)).filter(|_| free > 1);
            let Some(last) = optional.or_else(spare) else { break };
            columns.remove(last);
        }
        let mut widths: Vec<usize> = columns.iter().map(|at| natural[*at]).collect();
        let mut over = (widths.iter().sum::<usize>() + 2 * columns.len().saturating_sub(1)).saturating_sub(width);
        while over > 0 {
            let free = widths.iter_mut().zip(&columns).filter(|(width, at)| is(at, Kind::Flexible) && **width > 1);
            let Some((widest, _)) = free.max_by_key(|(width, _)| **width) else { break };
            *widest -= 1;
            over -= 1;
        }
        let line = |items: Vec<(&str, Tone)>| {
            let mut all = String::new();
            for ((words, tone), width) in items.into_iter().zip(&widths) {
                let words = wrap(words, *width, 1).swap_remove(0);
                all.push_str(&tone.paint(&words));
                all.extend(std::iter::repeat_n(' ', width - words.width().min(*width) + 2));
            }
            all
        };
        let headings = columns.iter().map(|at| (self.columns[*at].heading, Tone::Strong)).collect();
        let rows = self.rows.iter().map(|row| columns.iter().map(|at| shown(&row[*at])).collect());
        std::iter::once(headings).chain(rows).map(line).collect()
    }

    /// Renders short items side by side, free text below them, indented.
    fn stacked(&self, columns: &[usize], width: usize) -> String {
        let mut all = String::new();
        for row in &self.rows {
            let (free, short): (Vec<usize>, Vec<usize>) =
                columns.iter().partition(|at| self.columns[**at].kind == Kind::Flexible);
            let mut taken = 0;
            for item in short.iter().map(|at| &row[*at]).filter(|item| !item.shown.is_empty()) {
                let wide = item.shown.width();
                if taken > 0 && taken + 2 + wide > width {
                    all.push_str("\n  ");
                    taken = 2;
                } else if taken > 0 {
                    all.push_str("  ");
                    taken += 2;
                }
                all.push_str(&item.painted());
                taken += wide;
            }
            all.push('\n');
            for item in free.iter().map(|at| &row[*at]).filter(|item| !item.shown.is_empty()) {
                for line in wrap(&item.shown, width.saturating_sub(2).max(1), LINES) {
                    all.push_str("  ");
                    all.push_str(&item.tone.paint(&line));
                    all.push('\n');
                }
            }
        }
        all
    }

    /// Measures each column's widest text.
    fn natural(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.columns.iter().map(|column| column.heading.width()).collect();
        for row in &self.rows {
            for (widest, item) in widths.iter_mut().zip(row) {
                *widest = (*widest).max(item.shown.width().max(1));
            }
        }
        widths
    }
}

fn shown(item: &Item) -> (&str, Tone) {
    match item.shown.as_str() {
        "" => ("—", Tone::Faint),
        shown => (shown, item.tone),
    }
}

/// Renders a row, each item wrapped in its column.
fn lines(all: &mut String, items: &[(&str, Tone)], widths: &[usize]) {
    let wrapped: Vec<Vec<String>> =
        items.iter().zip(widths).map(|((item, _), width)| wrap(item, *width, LINES)).collect();
    let height = wrapped.iter().map(Vec::len).max().unwrap_or_default();
    for at in 0..height {
        let mut gap = 0;
        for ((lines, (_, tone)), width) in wrapped.iter().zip(items).zip(widths) {
            let line = lines.get(at).map_or("", String::as_str);
            if !line.is_empty() {
                all.extend(std::iter::repeat_n(' ', gap));
                all.push_str(&tone.paint(line));
                gap = 0;
            }
            gap += width - line.width() + 2;
        }
        all.push('\n');
    }
}

/// Breaks a text into lines of at most so many columns, at spaces and, where a word alone is too long, within it;
/// what is too much for `most` lines is cut with an ellipsis.
fn wrap(words: &str, width: usize, most: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    let mut taken = 0;
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        if taken > 0 && taken + 1 + word.width() <= width {
            lines.last_mut().expect("one line").push(' ');
            taken += 1;
        } else if taken > 0 {
            lines.push(String::new());
            taken = 0;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if taken > 0 && taken + wide > width {
                lines.push(String::new());
                taken = 0;
            }
            lines.last_mut().expect("one line").push(c);
            taken += wide;
        }
    }
    if lines.len() > most {
        lines.truncate(most);
        let last = lines.last_mut().expect("one line");
        while last.width() + 1 > width && last.pop().is_some() {}
        last.push('…');
    }
    lines
}

/// Breaks a line of ours, painted or not, into lines of at most so many columns where its words allow; what follows is
/// indented by two more than the line itself.
pub(super) fn wrap_line(line: &str, width: usize) -> String {
    let wide = |words: &str| match words.contains('\x1b') {
        true => anstream::adapter::strip_str(words).to_string().width(),
        false => words.width(),
    };
    if wide(line) <= width {
        return line.into();
    }
    let hanging = (line.len() - line.trim_start_matches(' ').len() + 2).min(width / 2);
    let (mut all, mut taken, mut empty) = (String::with_capacity(line.len() + 16), 0, true);
    for (at, word) in line.split(' ').enumerate() {
        let long = wide(word);
        let gap = usize::from(at > 0);
        if !empty && !word.is_empty() && taken + gap + long > width {
            all.truncate(all.trim_end_matches(' ').len());
            all.push('\n');
            all.extend(std::iter::repeat_n(' ', hanging));
            taken = hanging;
        } else if gap > 0 {
            all.push(' ');
            taken += 1;
        }
        all.push_str(word);
        taken += long;
        empty &= word.is_empty();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("ID | TITLE~ | FOR");
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

    fn plain(table: &Table, width: usize) -> String {
        anstream::adapter::strip_str(&table.aligned(width)).to_string()
    }

    #[test]
    fn a_terminal_gets_aligned_columns_and_wrapped_texts() {
        assert_eq!(
            plain(&table(), 33),
            "ID   TITLE                    FOR\nT1   A title that goes on     3m\n     and on\u{fffd}[2J\nT22  日本語                   —\n"
        );
    }

    #[test]
    fn a_table_that_fits_is_not_wrapped() {
        assert_eq!(plain(&table(), 200).lines().count(), 3);
    }

    #[test]
    fn a_narrow_terminal_has_free_text_below_and_loses_no_word() {
        assert_eq!(plain(&table(), 20), "T1  3m\n  A title that goes\n  on and on\u{fffd}[2J\nT22\n  日本語\n");
    }

    #[test]
    fn an_optional_column_goes_before_a_text_is_narrowed_too_far() {
        let mut table = Table::new("ID | ROLE? | WHY~");
        table.row([Item::new("T1"), Item::new("integrator"), Item::new("it waits for somebody who is not there yet")]);
        assert!(plain(&table, 60).contains("ROLE"));
        let narrow = plain(&table, 30);
        assert!(!narrow.contains("ROLE") && narrow.starts_with("ID  WHY\nT1  it waits for somebody"), "{narrow}");
    }

    #[test]
    fn on_a_screen_each_row_has_one_line_of_no_more_than_its_width() {
        let mut table = Table::new("ID | TITLE~ | ROLE? | TRY? | WHY~");
        let words = "it waits for somebody who is not there yet and for many other things";
        table.row([Item::new("T1"), Item::new(words), Item::new("builder"), Item::new("2/3"), Item::new(words)]);
        table.row([Item::new("T22"), Item::new("日本語"), Item::new("integrator"), Item::new(""), Item::new("done")]);
        for width in [10, 20, 30, 40, 60, 80, 120, 300] {
            let lines: Vec<String> =
                table.one_lined(width).iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
            assert_eq!(lines.len(), 3, "{width}");
            assert!(lines.iter().all(|line| line.trim_end().width() <= width.max(8)), "{width}: {lines:?}");
            assert!(lines[1].starts_with("T1 "), "{width}: {lines:?}");
            assert_eq!(lines[0].contains("WHY"), width >= 60, "{width}: {lines:?}");
            assert_eq!(lines[0].contains("ROLE"), width >= 60, "{width}: {lines:?}");
        }
    }

    #[test]
    fn a_line_breaks_between_words_whatever_its_colours() {
        assert_eq!(
            wrap_line("  next: agentctl fleet start builder", 20),
            "  next: agentctl\n    fleet start\n    builder"
        );
        let painted = format!("  {} {}", Tone::Faint.paint("next:"), "agentctl fleet start builder");
        let plain = anstream::adapter::strip_str(&wrap_line(&painted, 20)).to_string();
        assert_eq!(plain, "  next: agentctl\n    fleet start\n    builder");
        assert_eq!(wrap_line("role        builder and more words", 40), "role        builder and more words");
        assert_eq!(
            wrap_line("/a/path/that/is/longer/than/the/line is", 12),
            "/a/path/that/is/longer/than/the/line\n  is"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_none_breaks_a_word_that_fits() {
        let words = "the gate `test` is red: assertion failed at a/very/long/path/that/does/not/fit/all.rs:12 left 1";
        for width in 1..60 {
            let lines = wrap(words, width, 200);
            assert!(lines.iter().all(|line| line.width() <= width.max(1)), "{width}: {lines:?}");
            assert_eq!(lines.concat().replace(' ', ""), words.replace(' ', ""), "{width}");
            if width >= 45 {
                assert!(
                    lines.iter().all(|line| line.split(' ').all(|word| words.split(' ').any(|known| known == word)))
                );
            }
        }
        assert_eq!(wrap("one two three four", 8, 2), ["one two", "three…"]);
        assert_eq!(wrap("", 8, 2), [""]);
    }
}
