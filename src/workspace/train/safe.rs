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

/// What is the same for every call of a train.
const ALWAYS: &[(&str, &str)] = &[
    ("rerere.enabled", "false"),
    ("merge.verifySignatures", "false"),
    ("merge.autoStash", "false"),
    ("merge.log", "false"),
    ("commit.status", "false"),
    ("commit.verbose", "false"),
    ("core.warnAmbiguousRefs", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("log.showSignature", "false"),
    ("maintenance.auto", "false"),
    ("tag.forceSignAnnotated", "false"),
    ("push.followTags", "false"),
    ("push.gpgSign", "false"),
    ("push.recurseSubmodules", "no"),
    ("fetch.recurseSubmodules", "no"),
    ("fetch.writeCommitGraph", "false"),
    ("diff.renames", "true"),
];

/// Git in this directory, for this author, with the repository's own programs turned off.
pub(super) fn open(dir: &Path, author: &Author) -> Result<Git, TrainError> {
    let known = Git::at(dir).bytes(&["config", "--list", "--includes", "--show-scope", "-z"])?;
    let mut settings: Vec<(String, String)> =
        ALWAYS.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    settings.extend(overrides(&String::from_utf8_lossy(&known)));
    let Author { name, email } = author.clean();
    let mut git = Git::at(dir)
        .with_env("GIT_SEQUENCE_EDITOR", "true")
        .with_env("GIT_MERGE_AUTOEDIT", "no")
        .with_env("GIT_AUTHOR_NAME", &name)
        .with_env("GIT_AUTHOR_EMAIL", &email)
        .with_env("GIT_COMMITTER_NAME", &name)
        .with_env("GIT_COMMITTER_EMAIL", &email)
        .with_env("GIT_CONFIG_COUNT", &settings.len().to_string());
    for (at, (key, value)) in settings.iter().enumerate() {
        git = git.with_env(&format!("GIT_CONFIG_KEY_{at}"), key).with_env(&format!("GIT_CONFIG_VALUE_{at}"), value);
    }
    Ok(git)
}

/// What must be said against a configuration as `git config --list --show-scope -z` prints it.
fn overrides(listed: &str) -> Vec<(String, String)> {
    let mut parts = listed.split('\0');
    let mut against = Vec::new();
    let mut helpers = Vec::new();
    let mut own_helper = false;
    while let (Some(scope), Some(entry)) = (parts.next(), parts.next()) {
        let (key, value) = entry.split_once('\n').unwrap_or((entry, ""));
        let own = matches!(scope, "local" | "worktree");
        let (section, rest) = key.split_once('.').unwrap_or((key, ""));
        let last = rest.rsplit('.').next().unwrap_or_default();
        if section == "credential" && last == "helper" {
            if own {
                own_helper = true;
            } else {
                helpers.push((key.to_owned(), value.to_owned()));
            }
        }
        if !own {
            continue;
        }
        let name = key.strip_suffix(last).unwrap_or_default();
        match (section, last) {
            ("filter", "clean" | "smudge" | "process") => {
                against.push((key.to_owned(), String::new()));
                against.push((format!("{name}required"), "false".into()));
            }
            // A driver that fails is a conflict; an empty one would keep one side in silence.
            ("merge", "driver") => against.push((key.to_owned(), "false".into())),
            ("core", "sshcommand") => against.push((key.to_owned(), "ssh".into())),
            ("core", "gitproxy") => against.push(("protocol.git.allow".into(), "never".into())),
            ("core", "alternaterefscommand") => against.push((key.to_owned(), "true".into())),
            ("remote", "uploadpack") => against.push((key.to_owned(), "git-upload-pack".into())),
            ("remote", "receivepack") => against.push((key.to_owned(), "git-receive-pack".into())),
            _ => {}
        }
    }
    if own_helper {
        // An empty value forgets all that came before; the user's own are said again.
        against.push(("credential.helper".into(), String::new()));
        against.extend(helpers);
    }
    against
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
    fn programs_of_the_repository_itself_are_turned_off_and_the_users_stay() {
        let listed = "global\0filter.lfs.smudge\ngit-lfs smudge\0global\0credential.helper\nstore\0\
                      local\0filter.Evil.v2.smudge\ntouch owned\0local\0merge.m.driver\ntouch owned\0\
                      local\0credential.helper\n!touch owned\0local\0remote.origin.receivepack\nevil\0";
        let against = overrides(listed);
        let has = |key: &str, value: &str| against.iter().any(|(k, v)| k == key && v == value);
        assert!(has("filter.Evil.v2.smudge", "") && has("filter.Evil.v2.required", "false"), "{against:?}");
        assert!(has("merge.m.driver", "false"));
        assert!(has("remote.origin.receivepack", "git-receive-pack"));
        assert!(!against.iter().any(|(key, _)| key.contains("lfs")));
        let helpers: Vec<_> = against.iter().filter(|(key, _)| key == "credential.helper").collect();
        assert_eq!(helpers.len(), 2, "forgotten, then the user's again");
        assert_eq!(helpers[1].1, "store");
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
