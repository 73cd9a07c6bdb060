//! Names in git: a branch for a task, whatever its title is, and a ref component for its id.
//!
//! Every name is made of letters, digits, `.`, `_`, `-` and `/`; nothing that a person or an agent
//! wrote reaches git as a name before it has been checked here.

use sha2::{Digest as _, Sha256};

use oodatcaa_core::{Task, text};

/// The longest branch name that is made or accepted, in bytes; file systems allow 255 for one part.
const LONGEST: usize = 180;

/// The longest slug of a title.
const SLUG: usize = 40;

/// Tells whether git takes the name for a branch, and nothing else can be meant by it.
pub(crate) fn is_legal(name: &str) -> bool {
    let part =
        |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock") && !part.ends_with('.');
    // Git would take it for a commit.
    let hex = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let character = |c: char| c.is_alphanumeric() || "._-/+#%,=".contains(c);
    !name.is_empty()
        && name.len() <= LONGEST
        && !name.starts_with('-')
        && !name.starts_with("refs/")
        && name != "HEAD"
        && !hex
        && !name.contains("..")
        && name.chars().all(character)
        && name.split('/').all(part)
}

/// Returns the name of a branch for a task, by a template with `{task}`, `{slug}` and `{kind}`.
pub fn name(template: &str, task: &Task) -> String {
    let id = component(task.id.as_str());
    let slug = slug(&task.title, SLUG);
    for slug in [slug.as_str(), ""] {
        // Without the slug where the whole is too long or comes to nothing.
        let filled = template.replace("{task}", &id).replace("{slug}", slug).replace("{kind}", kind(task));
        let parts: Vec<&str> = filled.split('/').map(|part| part.trim_matches(['-', '.', '_'])).collect();
        let name = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        if is_legal(&name) && name.contains(&id) {
            return name;
        }
    }
    // A template of somebody else's that comes to nothing legal.
    format!("oodatcaa/{id}")
}

/// Returns a name beside one that is taken.
pub fn numbered(name: &str, n: usize) -> String {
    let end = format!("-{n}");
    let mut cut = name.len().min(LONGEST - end.len());
    // A cut inside of a character would panic.
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{end}", name[..cut].trim_end_matches(['-', '.', '/', '_']))
}

/// Returns a task's id as one part of a ref. What git does not take is replaced, and a hash keeps it apart.
pub(crate) fn component(id: &str) -> String {
    if !id.contains("..") && !id.ends_with('.') && !id.to_ascii_lowercase().ends_with(".lock") {
        return id.into();
    }
    format!("{}-{}", id.replace('.', "_"), hash8(id.as_bytes()))
}

/// Returns eight hexadecimal digits that stand for something longer.
pub(crate) fn hash8(bytes: &[u8]) -> String {
    hex(bytes, 4)
}

/// Returns as many bytes of a digest, in hexadecimal digits.
pub(crate) fn hex(bytes: &[u8], many: usize) -> String {
    text::hex(&Sha256::digest(bytes)[..many])
}

/// Letters and digits of a title, lower-case, joined by dashes. Only its beginning is looked at.
pub fn slug(title: &str, longest: usize) -> String {
    let mut slug = String::new();
    for c in title.chars().take(400) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'A'..='Z' => slug.push(c.to_ascii_lowercase()),
            _ if slug.ends_with('-') || slug.is_empty() => {}
            _ => slug.push('-'),
        }
        if slug.len() > longest {
            break;
        }
    }
    if slug.len() > longest {
        // Between two words, where there is a place near the end.
        let cut = slug[..=longest].rfind('-').filter(|&at| at >= longest / 2).unwrap_or(longest);
        slug.truncate(cut);
    }
    slug.trim_matches('-').into()
}

fn kind(task: &Task) -> &'static str {
    let kind = task.kind.as_deref().unwrap_or_default().to_ascii_lowercase();
    let starts = |words: &[&str]| words.iter().any(|word| kind.starts_with(word));
    match () {
        () if starts(&["bug", "fix"]) => "fix",
        () if starts(&["doc"]) => "docs",
        () if starts(&["test"]) => "test",
        () if starts(&["chore", "ci", "infra"]) => "chore",
        () if starts(&["refactor"]) => "refactor",
        () => "feat",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::git::Git;
    use oodatcaa_core::{Status, TaskId};

    fn task(id: &str, title: &str) -> Task {
        let mut task = Task::new(TaskId::parse(id).expect("a good id"), Status::READY);
        task.title = title.into();
        task
    }

    #[test]
    fn a_title_becomes_a_slug() {
        let made = |title: &str| name("feat/{task}-{slug}", &task("P1", title));
        assert_eq!(made("Add a parser"), "feat/P1-add-a-parser");
        assert_eq!(made(""), "feat/P1");
        assert_eq!(made("\"; $(touch owned) `x`\n--force"), "feat/P1-touch-owned-x-force");
        assert_eq!(made("日本語"), "feat/P1");
        assert_eq!(made("../../etc/passwd"), "feat/P1-etc-passwd");
        assert_eq!(made(&"word ".repeat(200_000)), "feat/P1-word-word-word-word-word-word-word-word");
        assert_eq!(name("{kind}/{task}", &task("P1", "x")), "feat/P1");
        assert_eq!(name("$(x){task}", &task("P1", "x")), "oodatcaa/P1");
    }

    #[test]
    fn ids_that_git_would_refuse_stay_apart() {
        assert_eq!(component("P001-B03"), "P001-B03");
        assert_eq!(component("A-1.2"), "A-1.2");
        let words = ["a..b", "a.b", "a__b", "a.lock", "a.LOCK", "a.", "a..."].map(component);
        for word in &words {
            assert!(is_legal(word), "{word}");
        }
        let distinct: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
    }

    #[test]
    fn hostile_names_are_refused() {
        for bad in [
            "",
            "-f",
            "--force",
            "a..b",
            "a b",
            "a\nb",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "@{-1}",
            "a/",
            "/a",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.lock/b",
            "a.",
            "HEAD",
            "refs/heads/x",
            "$(x)",
            "a;b",
            "a'b",
            "a\"b",
            "0123456789012345678901234567890123456789",
            &"x".repeat(300),
        ] {
            assert!(!is_legal(bad), "{bad:?}");
        }
        for good in ["feat/x", "main", "feat/P001-step-01-daemon-script", "über/x"] {
            assert!(is_legal(good), "{good:?}");
        }
        assert_eq!(numbered("feat/x", 2), "feat/x-2");
        assert!(is_legal(&numbered(&"y".repeat(180), 12)));
    }

    #[test]
    fn what_is_legal_here_is_legal_for_git() {
        let dir = tempfile::tempdir().expect("a directory");
        let git = Git::looking(dir.path());
        git.run(&["init", "-q"]).expect("a repository");
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(60));
        runner
            .run(&("[A-Za-z0-9._-]{1,20}", "\\PC{0,60}", "[a-z./{}@~-]{0,10}"), |(id, title, template)| {
                let Ok(id) = TaskId::parse(&id) else { return Ok(()) };
                let mut task = task("x", &title);
                task.id = id;
                let made = name(&format!("{template}{{task}}-{{slug}}"), &task);
                prop_assert!(is_legal(&made), "{made}");
                prop_assert!(git.run(&["check-ref-format", "--branch", &made]).is_ok(), "{made}");
                Ok(())
            })
            .expect("every name is legal");
    }
}
