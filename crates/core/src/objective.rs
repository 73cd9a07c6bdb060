//! The objective of a project: what its `OBJECTIVE.md` says must be true in the end.

use crate::text::{cut, one_line};

/// A success criterion, with what its author says below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuccessCriterion {
    /// Its box is ticked.
    pub met: bool,
    /// Its words, on one line.
    pub words: String,
    /// The lines that stand indented below it.
    pub details: Vec<String>,
}

/// The longest criterion, in characters.
const LONGEST: usize = 300;

/// So many details of a criterion are read.
const DETAILS: usize = 20;

/// Reads the success criteria: the boxes of the section that is about them, or all boxes where none is.
pub fn criteria(text: &str) -> Vec<SuccessCriterion> {
    let of_section = boxes(text, true);
    if of_section.is_empty() { boxes(text, false) } else { of_section }
}

fn boxes(text: &str, in_section_only: bool) -> Vec<SuccessCriterion> {
    let (mut found, mut section, mut in_code) = (Vec::<SuccessCriterion>::new(), None, false);
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if in_code {
            continue;
        }
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 {
            let is_about = line.to_lowercase().contains("success criteria");
            section = if is_about { Some(level) } else { section.filter(|above| level > *above) };
            continue;
        }
        if in_section_only && section.is_none() {
            continue;
        }
        let (indent, item) = (line.len() - line.trim_start().len(), line.trim());
        match (tick(item), found.last_mut()) {
            (Some((met, words)), _) if indent < 2 => {
                found.push(SuccessCriterion { met, words: plain(words), details: Vec::new() });
            }
            (_, Some(last)) if indent >= 2 && item.starts_with(['-', '*', '+']) && last.details.len() < DETAILS => {
                last.details.push(plain(tick(item).map_or(&item[1..], |(_, words)| words)));
            }
            _ => {}
        }
    }
    found.retain(|criterion| !criterion.words.is_empty());
    found
}

/// Reads `- [ ] words` and `- [x] words`.
fn tick(item: &str) -> Option<(bool, &str)> {
    let rest = item.strip_prefix(['-', '*', '+'])?.trim_start();
    let open = rest.strip_prefix("[ ]").map(|words| (false, words));
    open.or_else(|| rest.strip_prefix("[x]").or(rest.strip_prefix("[X]")).map(|words| (true, words)))
}

fn plain(words: &str) -> String {
    cut(one_line(words).replace("**", "").trim(), LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boxes_of_the_section_about_success_are_the_criteria() {
        let text = "# Objective\n- [ ] not this\n## Success Criteria (measurable)\nWhat must hold:\n\
                    - [x] **Functional:** it runs\n  - `a` works\n  - [ ] `b` works\n* [ ] **Fast:** p95 < 2 s\n\
                    ```\n- [ ] in code\n```\n### More\n- [X] documented\n## Non-goals\n- [ ] nor this\n";
        let shown: Vec<(bool, String, usize)> =
            criteria(text).into_iter().map(|one| (one.met, one.words, one.details.len())).collect();
        assert_eq!(
            shown,
            [
                (true, "Functional: it runs".into(), 2),
                (false, "Fast: p95 < 2 s".into(), 0),
                (true, "documented".into(), 0)
            ]
        );
    }

    #[test]
    fn without_such_a_section_every_box_counts_and_without_boxes_there_are_none() {
        assert_eq!(criteria("# Goals\n- [ ] one\n- two\n").len(), 1);
        assert_eq!(criteria("# Success criteria\n- one\n- two\n"), []);
        assert_eq!(criteria("- [ ]   \n- [y] odd\n"), []);
    }

    #[test]
    fn hostile_words_stay_one_line_and_short() {
        let text = format!("- [ ] {}\u{1b}[2J", "x".repeat(1_000));
        let words = &criteria(&text)[0].words;
        assert!(words.chars().count() <= LONGEST && !words.contains('\u{1b}'), "{words}");
    }
}
