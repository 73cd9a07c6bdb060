//! The shapes that answers of many verbs have: a list, facts about one thing, what became of one.

use serde::Serialize;

use super::{Item, Table, Tone, Ui};
use crate::cli::fail::{Done, exit};
use oodatcaa_core::text::one_line;
use oodatcaa_ops::sandbox::UNCONFINED;

impl Ui {
    /// Prints a list: its objects, or a table of them with hints (`foot`) below; where there are none it says `none`.
    pub(crate) fn list<const N: usize>(
        &self,
        views: &[impl Serialize],
        headings: &'static str,
        rows: impl IntoIterator<Item = [Item; N]>,
        none: &str,
        foot: &str,
    ) -> Done {
        if self.json() {
            self.value(&views);
        } else if views.is_empty() {
            self.say(none);
        } else {
            let mut table = Table::new(headings);
            rows.into_iter().for_each(|row| table.row(row));
            self.table(&table);
            self.foot(foot);
        }
        Ok(exit::OK)
    }

    /// Prints facts about one thing, each with its name; those that say nothing are left out.
    pub(crate) fn facts(&self, facts: &[(&str, String)]) {
        for (name, words) in facts.iter().filter(|(_, words)| !words.is_empty()) {
            let words = one_line(words);
            self.line(&match self.pretty() {
                true if words.starts_with(UNCONFINED) => {
                    format!("  {}{}", Tone::Faint.paint(&format!("{name:<14}")), Tone::Bad.paint(&words))
                }
                true => format!("  {}{words}", Tone::Faint.paint(&format!("{name:<14}"))),
                false => format!("{name}\t{words}"),
            });
        }
    }

    /// Prints what became of one thing: an object, its id alone, or its id and words, in a pipe one column each.
    /// Returns false where more words are not wanted.
    pub(crate) fn outcome(&self, view: &impl Serialize, id: &str, words: &str, columns: &[&str]) -> bool {
        if self.json() {
            self.value(view);
            return false;
        }
        self.line(&match (self.quiet(), self.pretty()) {
            (true, _) => id.into(),
            (_, true) => format!("{} {words}", Tone::Strong.paint(id)),
            _ => [&[id], columns].concat().join("\t"),
        });
        true
    }
}
