//! The environment of an agent: an allow-list, and the facts of the attempt.
//!
//! Nothing is inherited because it happens to be there, and nothing of ours that could approve
//! something ever reaches an agent.

use std::{
    collections::BTreeMap,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::Assignment;

/// The prefix of the variables that only we set.
pub const OURS: &str = "OODATCAA_";

/// Variables that every program needs.
const BASE: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR"];

/// The directories of programs when nobody says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Returns the whole environment of an attempt's agent (or gate).
///
/// `inherit` names further variables to take over from this process; a trailing `*` stands for
/// any ending (`ANTHROPIC_*`). `set` has the last word on everything but our own names.
pub fn environment(
    assignment: &Assignment,
    inherit: &[String],
    set: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    // Values that are not UTF-8 cannot be handed on as they are; half a value is worse than none.
    let inherited = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    from(inherited, assignment, inherit, set)
}

fn from(
    all: impl Iterator<Item = (String, String)>,
    assignment: &Assignment,
    inherit: &[String],
    set: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let listed =
        |name: &str| BASE.iter().copied().chain(inherit.iter().map(String::as_str)).any(|pattern| names(pattern, name));
    let mut env: BTreeMap<String, String> = all.filter(|(name, _)| listed(name)).collect();
    env.insert("TERM".into(), "dumb".into());
    env.insert("NO_COLOR".into(), "1".into());
    env.extend(set.iter().map(|(name, value)| (name.clone(), value.clone())));
    env.retain(|name, value| !name.starts_with(OURS) && !value.contains('\0'));
    let path = absolute_only(env.get("PATH").map_or("", String::as_str));
    env.insert("PATH".into(), path);

    let path = |path: &Path| path.to_string_lossy().into_owned();
    for (name, value) in [
        ("TASK_ID", assignment.task.id.to_string()),
        ("ROLE", assignment.rule.role.to_string()),
        ("ATTEMPT", assignment.lease.attempt.to_string()),
        ("TOKEN", assignment.lease.token.to_string()),
        ("OWNER", assignment.lease.owner.clone()),
        ("PROJECT", path(&assignment.project)),
        ("WORKSPACE", path(&assignment.workspace)),
        ("RUN_DIR", path(&assignment.run_dir)),
        ("RESULT_FILE", path(&assignment.result_file())),
        ("BRANCH", assignment.task.branch.clone().unwrap_or_default()),
    ] {
        env.insert(format!("{OURS}{name}"), value.replace('\0', "\u{fffd}"));
    }
    env
}

fn names(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        // A bare `*` would be the end of the list.
        Some("") => false,
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

/// Returns the `PATH` that an agent with this `set` is given.
pub fn path(set: &BTreeMap<String, String>) -> String {
    let inherited = std::env::var("PATH").ok();
    absolute_only(set.get("PATH").or(inherited.as_ref()).map_or("", String::as_str))
}

/// Drops what is looked up relative to the working directory: the workspace's content comes from a
/// repository, and must not decide which program `git` is.
fn absolute_only(path: &str) -> String {
    let kept: Vec<&str> = path.split(':').filter(|dir| dir.starts_with('/')).collect();
    if kept.is_empty() { PATH.into() } else { kept.join(":") }
}

/// Variables whose values tell nothing that must not be told; every other one that is handed on may hold a secret,
/// whatever its name.
const HARMLESS: &str = "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TMPDIR TERM COLORTERM NO_COLOR PWD EDITOR VISUAL \
     PAGER CI NODE_ENV RUST_LOG RUST_BACKTRACE JAVA_HOME GIT_AUTHOR_* GIT_COMMITTER_* GIT_TERMINAL_PROMPT XDG_* \
     OODATCAA_* NO_PROXY no_proxy";

/// Returns the values that must not be shown: what the configuration gives, and what it names to be inherited, unless it is
/// known to be harmless, or `named` as a secret all the same. Of an address the password is one by itself.
pub fn secrets(env: &BTreeMap<String, String>, set: &BTreeMap<String, String>, named: &[String]) -> Vec<String> {
    const WORDS: &[&str] = &["KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL", "COOKIE", "AUTH"];
    const PLAIN: &[&str] = &["MODEL", "REGION"];
    let telling = |name: &str| WORDS.iter().any(|word| name.to_ascii_uppercase().contains(word));
    let plain = |name: &str, value: &str| {
        let known = HARMLESS.split(' ').any(|pattern| names(pattern, name));
        // A place is none by itself, nor is a number.
        known || !telling(name) && (value.starts_with('/') || PLAIN.iter().any(|end| name.ends_with(end)))
    };
    // Short values (`1`, `true`) would blank out ordinary words.
    let long = |name: &str, value: &str| value.len() >= if telling(name) { 6 } else { 8 };
    // Of a key of many lines each is a secret: output is looked at by lines.
    let parts = |name: &str, value: &str| -> Vec<String> {
        let words = value.lines().map(str::trim).chain(password(value));
        std::iter::once(value).chain(words).filter(|part| long(name, part)).map(String::from).collect()
    };
    let handed = env.iter().filter(|(name, value)| named.contains(name) || !plain(name, value));
    let mut all: Vec<String> = handed.chain(set).flat_map(|(name, value)| parts(name, value)).collect();
    // A value that is part of another must not spoil it before it is found.
    all.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    all.dedup();
    all
}

/// Returns the password in an address, `scheme://user:password@host`.
fn password(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let host = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (who, _) = rest[..host].rsplit_once('@')?;
    who.split_once(':').map(|(_, password)| password)
}

/// Finds the program that an argv names, as the kernel would with this `PATH` and working directory.
/// Relative and empty entries of `PATH` do not count.
pub fn find_program(argv0: &str, path: &str, cwd: &Path) -> Option<PathBuf> {
    let mut candidates = path.split(':').filter(|dir| dir.starts_with('/')).map(|dir| Path::new(dir).join(argv0));
    match argv0 {
        "" => None,
        _ if argv0.contains('/') => Some(cwd.join(argv0)).filter(|file| is_program(file)),
        _ => candidates.find(|file| is_program(file)),
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::assignment;

    fn env(all: &[(&str, &str)], inherit: &[&str], set: &[(&str, &str)]) -> BTreeMap<String, String> {
        let dir = tempfile::tempdir().expect("a directory");
        let own = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>();
        let inherit: Vec<String> = inherit.iter().map(|&name| name.into()).collect();
        from(own(all).into_iter(), &assignment(dir.path()), &inherit, &own(set).into_iter().collect())
    }

    #[test]
    fn only_what_is_listed_is_inherited() {
        let env = env(
            &[("HOME", "/h"), ("LC_ALL", "C"), ("AWS_SECRET", "s"), ("MY_KEY", "k"), ("MY_OTHER", "o"), ("LCX", "x")],
            &["MY_KEY", "*"],
            &[("EXTRA", "e")],
        );
        let theirs: Vec<&str> = env.keys().map(String::as_str).filter(|name| !name.starts_with(OURS)).collect();
        assert_eq!(theirs, ["EXTRA", "HOME", "LC_ALL", "MY_KEY", "NO_COLOR", "PATH", "TERM"]);
    }

    #[test]
    fn a_star_stands_for_any_ending() {
        let env = env(&[("ANTHROPIC_API_KEY", "k"), ("ANT", "a")], &["ANTHROPIC_*"], &[]);
        assert!(env.contains_key("ANTHROPIC_API_KEY") && !env.contains_key("ANT"));
    }

    #[test]
    fn nothing_that_could_approve_reaches_an_agent() {
        let env = env(
            &[("OODATCAA_TRUST_PROJECT", "1"), ("OODATCAA_HUMAN_TOKEN", "t")],
            &["OODATCAA_TRUST_PROJECT", "OODATCAA_*", "O*"],
            &[("OODATCAA_TRUST_PROJECT", "1"), ("OODATCAA_TASK_ID", "other")],
        );
        let ours: Vec<&str> = env.keys().filter_map(|name| name.strip_prefix(OURS)).collect();
        assert_eq!(
            ours,
            [
                "ATTEMPT",
                "BRANCH",
                "OWNER",
                "PROJECT",
                "RESULT_FILE",
                "ROLE",
                "RUN_DIR",
                "TASK_ID",
                "TOKEN",
                "WORKSPACE"
            ]
        );
        assert_eq!(env["OODATCAA_TASK_ID"], "P001-B03");
        assert_eq!((&*env["OODATCAA_ATTEMPT"], &*env["OODATCAA_TOKEN"], &*env["OODATCAA_BRANCH"]), ("2", "17", ""));
    }

    #[test]
    fn programs_are_never_looked_for_in_the_workspace() {
        assert_eq!(env(&[("PATH", ".:/usr/bin::bin:/bin")], &[], &[])["PATH"], "/usr/bin:/bin");
        assert_eq!(env(&[("PATH", ".")], &[], &[])["PATH"], PATH);
    }

    #[test]
    fn a_program_is_found_as_the_kernel_would() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("tool");
        std::fs::write(&file, "#!/bin/sh\n").expect("written");
        let path = format!("/nonexistent:{}", dir.path().display());
        let find = |name: &str| find_program(name, &path, dir.path());
        assert_eq!(find("tool"), None, "not executable yet");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("changed");
        assert_eq!(find("tool"), Some(file.clone()));
        assert_eq!(find("./tool"), Some(dir.path().join("./tool")));
        assert_eq!(find(""), None);
        assert_eq!(find("other"), None);
        assert_eq!(find_program("tool", ".:", dir.path()), None);
    }

    #[test]
    fn secrets_are_known_by_name_or_by_where_they_come_from() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let set: BTreeMap<String, String> = map(&[("URL", "https://user:pass@host"), ("MODE", "fast")]);
        let mut env: BTreeMap<String, String> = map(&[
            ("API_KEY", "sk-123456789"),
            ("OODATCAA_TOKEN", "123456789"),
            ("GIT_AUTHOR_NAME", "Somebody Else"),
            ("MY_TOKEN", "short"),
        ]);
        env.extend(set.clone());
        assert_eq!(secrets(&env, &set, &[]), ["https://user:pass@host", "sk-123456789"]);
        let listed = map(&[
            ("PGPASSWORD", "hunter2"),
            ("DATABASE_URL", "postgres://app:correct-horse@db/x"),
            ("GITHUB_PAT", "ghp_0123456789"),
            ("NPM_TOKEN", "npm_12"),
            ("MYSTERY", "whatever-it-is"),
            ("HTTPS_PROXY", "http://me:proxy-word@proxy:8080"),
            ("LC_ALL", "de_DE.UTF-8"),
            ("ANTHROPIC_MODEL", "claude-something"),
            ("CARGO_HOME", "/home/me/.cargo"),
            ("DEBUG", "1"),
        ]);
        let hidden = secrets(&listed, &BTreeMap::new(), &[]);
        for value in ["hunter2", "correct-horse", "ghp_0123456789", "npm_12", "whatever-it-is", "proxy-word"] {
            assert!(hidden.iter().any(|secret| secret == value), "{value}: {hidden:?}");
        }
        assert!(hidden.contains(&"postgres://app:correct-horse@db/x".to_owned()), "{hidden:?}");
        for value in ["de_DE.UTF-8", "claude-something", "/home/me/.cargo", "1"] {
            assert!(!hidden.iter().any(|secret| secret == value), "{value}: {hidden:?}");
        }
        let key: BTreeMap<String, String> = map(&[("PEM", "-----BEGIN\nMIIEvQIBADANBg\nshort\n")]);
        let lines = ["-----BEGIN\nMIIEvQIBADANBg\nshort\n", "MIIEvQIBADANBg", "-----BEGIN"];
        assert_eq!(secrets(&BTreeMap::new(), &key, &[]), lines);
    }
}
