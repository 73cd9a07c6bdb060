//! A git that executes nothing of what the repository's own configuration names (reliability S7).
//!
//! The hooks are off already in `workspace::git`. Filters, merge drivers, transports and credential
//! helpers that stand in the repository's own files are turned off here, because whoever works in a
//! worktree can write those; what the user configured for every repository stays.

use std::path::Path;

use super::TrainError;
use crate::{domain::text, workspace::git::Git};

/// Who commits, merges and tags.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Author {
    /// The name.
    pub name: String,
    /// The mail address.
    pub email: String,
}

impl Author {
    /// With characters that git accepts; an empty part gets ours.
    pub(super) fn clean(&self) -> Self {
        let clean = |part: &str, otherwise: &str| {
            let part: String = text::cut(&text::one_line(part), 200).replace(['<', '>', '\u{fffd}'], "");
            let part = part.trim().trim_matches(['.', ',', ':', ';', '"', '\\', '\'']).trim().to_owned();
            if part.is_empty() { otherwise.to_owned() } else { part }
        };
        Self { name: clean(&self.name, "oodatcaa"), email: clean(&self.email, "oodatcaa@localhost") }
    }
}

/// Git in this directory, for this author, with the repository's own programs turned off.
pub(super) fn open(dir: &Path, author: &Author) -> Result<Git, TrainError> {
    let mut git = Git::at(dir).guarded()?;
    let listed = git.bytes(&["config", "--list", "--show-scope", "-z"])?;
    for (key, value) in helpers(&String::from_utf8_lossy(&listed)) {
        git = git.with_setting(&key, &value);
    }
    let Author { name, email } = author.clean();
    Ok(git
        .with_env("GIT_SEQUENCE_EDITOR", "true")
        .with_env("GIT_MERGE_AUTOEDIT", "no")
        .with_env("GIT_AUTHOR_NAME", &name)
        .with_env("GIT_AUTHOR_EMAIL", &email)
        .with_env("GIT_COMMITTER_NAME", &name)
        .with_env("GIT_COMMITTER_EMAIL", &email))
}

/// The credential helpers without those of the repository itself, from a list with scopes; nothing
/// when it has none.
fn helpers(listed: &str) -> Vec<(String, String)> {
    let mut parts = listed.split('\0');
    let mut users = Vec::new();
    let mut own = false;
    while let (Some(scope), Some(entry)) = (parts.next(), parts.next()) {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        if !(key.starts_with("credential.") && key.ends_with(".helper")) {
            continue;
        }
        match scope {
            "local" | "worktree" => own = true,
            // What we have set ourselves is no setting of the user's.
            "command" => {}
            _ => users.push((key.to_owned(), value.to_owned())),
        }
    }
    if own {
        // An empty value forgets all that came before; the user's own are said again.
        users.insert(0, ("credential.helper".into(), String::new()));
        return users;
    }
    Vec::new()
}

/// A task's id as one part of the name of a ref: ids may hold what refs may not.
pub(super) fn ref_word(id: &str) -> String {
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
    fn a_repositorys_own_credential_helper_is_forgotten_and_the_users_stays() {
        let global = "global\0credential.helper\nstore\0";
        assert_eq!(helpers(global), []);
        let both = helpers(&format!("{global}local\0credential.https://x.helper\n!touch owned\0"));
        let both: Vec<String> = both.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(both, ["credential.helper=", "credential.helper=store"]);
    }

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
