//! Who merges, and what is the same for every call of a merge.

use crate::git::Git;
use oodatcaa_core::text;

/// Who commits, merges and tags.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Author {
    /// Drops characters that git does not accept; an empty part gets ours.
    pub(super) fn clean(&self) -> Self {
        let clean = |part: &str, otherwise: &str| {
            let part: String = text::cut(&text::one_line(part), 200).replace(['<', '>', '\u{fffd}'], "");
            let part = part.trim().trim_matches(['.', ',', ':', ';', '"', '\\', '\'']).trim().to_owned();
            if part.is_empty() { otherwise.to_owned() } else { part }
        };
        Self { name: clean(&self.name, "oodatcaa"), email: clean(&self.email, "oodatcaa@localhost") }
    }
}

/// Returns the same calls for this author.
pub(super) fn dressed(git: Git, author: &Author) -> Git {
    let Author { name, email } = author.clean();
    git.with_env("GIT_SEQUENCE_EDITOR", "true")
        .with_env("GIT_MERGE_AUTOEDIT", "no")
        .with_env("GIT_AUTHOR_NAME", &name)
        .with_env("GIT_AUTHOR_EMAIL", &email)
        .with_env("GIT_COMMITTER_NAME", &name)
        .with_env("GIT_COMMITTER_EMAIL", &email)
}

/// Returns a task's id as one part of the name of a ref: ids may hold what refs may not.
pub(crate) fn ref_word(id: &str) -> String {
    let mut word = String::with_capacity(id.len());
    for (at, c) in id.char_indices() {
        let rest = &id[at + c.len_utf8()..];
        let illegal = c == '.' && (rest.is_empty() || rest.starts_with('.') || rest.eq_ignore_ascii_case("lock"));
        if illegal { word.push_str("%2E") } else { word.push(c) }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_is_a_legal_part_of_a_ref_and_stays_itself() {
        assert_eq!(ref_word("A-1.2"), "A-1.2");
        let words = ["a..b", "a.lock", "a.LOCK", "a.", "a...", "a.b"].map(ref_word);
        for word in &words {
            let legal = !word.contains("..") && !word.ends_with('.') && !word.to_lowercase().ends_with(".lock");
            assert!(legal, "{word}");
        }
        let distinct: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
    }

    #[test]
    fn an_author_is_made_of_what_git_accepts() {
        let author = Author { name: "a\n<b>\x1b".into(), email: " ".into() }.clean();
        assert_eq!(author, Author { name: "a b".into(), email: "oodatcaa@localhost".into() });
    }
}
