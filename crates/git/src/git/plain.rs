//! A repository without what its configuration would execute: the same objects and refs by links, and a copy of the
//! configuration that holds only what is on a list.
//!
//! Git reads the copy in place of the original, so it does not matter what somebody writes there meanwhile, nor
//! how many values a key has. What the *user* configured for every repository stays in force.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Git, GitError, listed};
use crate::branch;
use oodatcaa_sys::files::{self, Durable, named};

/// What of a repository is not its configuration, its hooks or its own worktree's.
const LINKED: [&str; 10] =
    ["HEAD", "refs", "reftable", "packed-refs", "objects", "shallow", "logs", "info", "worktrees", "modules"];

/// Copies that nobody has used for so long go.
const OLD: Duration = Duration::from_secs(2 * 86_400);

/// The place where such copies lie.
#[derive(Clone, Debug)]
pub enum Keep {
    /// Below a directory of the user's own, where no agent writes.
    In(PathBuf),
    /// In a temporary directory that goes with the last call.
    Shortly,
}

impl Keep {
    /// Keeps them in the user's own directory for a project, if there is one.
    pub fn of(layout: &oodatcaa_core::layout::Layout) -> Self {
        layout.user_state().map_or(Self::Shortly, |dir| Self::In(dir.join("git")))
    }
}

/// Settings as git lists them: of a key with several values each, and no value where there is none.
pub(crate) type Settings = Vec<(String, Option<String>)>;

/// One such copy.
#[derive(Debug)]
pub(super) struct Plain {
    /// What takes the place of the repository's common directory.
    pub(super) dir: PathBuf,
    /// It is the same for every worktree.
    pub(super) shared: bool,
    /// The words of the repository's own files, also what is not in the copy.
    pub(super) settings: Settings,
    _shortly: Option<tempfile::TempDir>,
}

impl Plain {
    /// Reads the configuration as git sees it at a checkout, and makes the copy.
    pub(super) fn of(own: &Git, common: &Path, bare: bool, keep: &Keep) -> Result<Self, GitError> {
        let entries = own.own_settings()?;
        let is = |name: &str| entries.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
        let conditional = |(key, _): &(String, Option<String>)| key.to_ascii_lowercase().starts_with("includeif.");
        // What `includeIf` takes in may depend on the branch or the directory of one checkout.
        let shared = !is("extensions.worktreeConfig") && !entries.iter().any(conditional);
        let text = render(&entries, common, bare);
        let name = branch::hex(&[common.as_os_str().as_encoded_bytes(), &[0], &text].concat(), 12);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| GitError::Files { doing: "write a plain configuration in", path, source }
        };
        if let Keep::In(place) = keep {
            match make(place, &name, common, &text) {
                Ok(dir) => return Ok(Self { dir, shared, settings: entries, _shortly: None }),
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Err(failed(place)(error)),
                // Whoever may only look at a project can still do that.
                Err(error) => log::debug!("cannot keep a plain configuration in {}: {error}", place.display()),
            }
        }
        let place = std::env::temp_dir();
        let shortly = tempfile::Builder::new().prefix("oodatcaa-git-").tempdir().map_err(failed(&place))?;
        let dir = make(shortly.path(), &name, common, &text).map_err(failed(shortly.path()))?;
        Ok(Self { dir, shared, settings: entries, _shortly: Some(shortly) })
    }
}

/// Makes the copy, or finds it made; its name says what is in it.
fn make(place: &Path, name: &str, common: &Path, text: &[u8]) -> io::Result<PathBuf> {
    let dir = place.join(name);
    if is_whole(&dir, common, text) {
        // So that nobody takes it for old.
        named::touch(&dir)?;
        return Ok(dir);
    }
    // Made beside its place and renamed: others who want the same copy see all of it or nothing.
    files::make_named_dir(place)?;
    sweep(place);
    let new = tempfile::Builder::new().prefix(".new-").tempdir_in(place)?;
    named::write(&new.path().join("config"), text, Durable::No)?;
    for name in LINKED {
        symlink(common.join(name), new.path().join(name))?;
    }
    if named::rename(new.path(), &dir).is_ok() {
        // It has another name by now, and what had that one is not to be removed.
        let _ = new.keep();
    } else if !is_whole(&dir, common, text) {
        let broken = tempfile::Builder::new().prefix(".old-").tempdir_in(place)?;
        named::rename(&dir, &broken.path().join("it"))?;
        named::rename(new.path(), &dir)?;
        let _ = new.keep();
    }
    Ok(dir)
}

fn is_whole(dir: &Path, common: &Path, text: &[u8]) -> bool {
    named::text(dir.join("config")).is_ok_and(|found| found.as_bytes() == text)
        && LINKED.iter().all(|name| fs::read_link(dir.join(name)).is_ok_and(|to| to == common.join(name)))
}

fn sweep(place: &Path) {
    for dir in named::directories(place).map(|name| place.join(name)) {
        let age = dir.symlink_metadata().ok().and_then(|meta| meta.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age > OLD) {
            // It is made again when somebody wants it.
            let _ = super::destroy::remove_dir(&dir);
        }
    }
}

/// Returns the settings of the repository's own files, with those that they include, from a list with scopes.
pub(super) fn entries(listed: &str) -> Settings {
    let mut fields = listed.split('\0');
    let mut all = Vec::new();
    while let (Some(scope), Some(entry)) = (fields.next(), fields.next()) {
        if matches!(scope, "local" | "worktree") {
            let (key, value) = entry.split_once('\n').map_or((entry, None), |(key, value)| (key, Some(value.into())));
            all.push((key.to_owned(), value));
        }
    }
    all
}

/// Writes the text of the file, from the settings that are on the list.
fn render(entries: &[(String, Option<String>)], common: &Path, bare: bool) -> Vec<u8> {
    let mut text = listed_of(entries, |_| true);
    // Git guesses it by the name of the directory, and the copy is not called `.git`.
    text.push_str(&line("core", None, "bare", Some(if bare { "true" } else { "false" })));
    // git-lfs would keep its objects beside the configuration, in the copy, which goes when nobody has used it for long.
    text.push_str(&line("lfs", None, "storage", Some(&common.join("lfs").to_string_lossy())));
    text.into_bytes()
}

/// Sections that say where remotes are and how they are reached.
const OF_REMOTES: [&str; 5] = ["branch", "credential", "http", "remote", "url"];

/// Writes the configuration of a repository that stands in for another one: how files become content, and, where its
/// remotes are wanted, those. It may keep its refs in tables where the other does not.
pub(crate) fn for_agent(settings: &[(String, Option<String>)], with_remotes: bool, has_tables: bool) -> String {
    let is_refs = |name: &str| name.eq_ignore_ascii_case("extensions.refStorage");
    let others: Settings = settings.iter().filter(|(name, _)| !is_refs(name)).cloned().collect();
    let mut text = listed_of(&others, |section| with_remotes || !OF_REMOTES.contains(&section));
    if has_tables {
        text.push_str(&line("core", None, "repositoryFormatVersion", Some("1")));
        text.push_str(&line("extensions", None, "refStorage", Some("reftable")));
    }
    text.push_str(&line("core", None, "bare", Some("false")));
    // The project's own hooks lie in the worktree and are the agent's to heed; those that lie elsewhere are not there.
    let hooks = settings.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case("core.hooksPath"));
    let hooks = hooks.and_then(|(_, path)| path.as_deref()).filter(|path| !path.starts_with(['/', '~', '%']));
    if let Some(path) = hooks {
        text.push_str(&line("core", None, "hooksPath", Some(path)));
    }
    text
}

/// Writes the settings that are on the list and in sections that are wanted.
fn listed_of(entries: &[(String, Option<String>)], is_wanted: impl Fn(&str) -> bool) -> String {
    let mut text = String::from("# Made by oodatcaa from the repository's own configuration; it names no program.\n");
    // In their order: of a key with several values the last one counts, or all of them do.
    for (key, value) in entries {
        let Some((section, name)) = key.split_once('.') else { continue };
        let (sub, name) = name.rsplit_once('.').map_or((None, name), |(sub, name)| (Some(sub), name));
        let mut value = value.as_deref();
        let (kind, key) = (section.to_ascii_lowercase(), name.to_ascii_lowercase());
        let kept = match (kind.as_str(), sub) {
            ("filter", Some(sub)) => is_lfs(&key, value.unwrap_or("true")) && (key != "required" || sub == "lfs"),
            ("merge", Some(_)) if key == "driver" => {
                // `false` says conflict; without a command git would merge as it does any text.
                value = Some("false");
                true
            }
            _ => is_kept(&kind, sub, &key),
        };
        if kept && is_wanted(&kind) {
            text.push_str(&line(section, sub, name, value));
        }
    }
    text
}

fn line(section: &str, sub: Option<&str>, name: &str, value: Option<&str>) -> String {
    // A backslash first, else those of the quotes would be doubled.
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let head = match sub {
        Some(sub) => format!("[{section} \"{}\"]", quoted(sub)),
        None => format!("[{section}]"),
    };
    match value {
        Some(value) => {
            let value = quoted(value).replace('\n', "\\n").replace('\t', "\\t");
            format!("{head}\n\t{name} = \"{value}\"\n")
        }
        None => format!("{head}\n\t{name}\n"),
    }
}

/// Settings that the copy has.
const KEPT: &str = include_str!("kept.txt");

/// Tells whether a setting is on the list; section and name in small letters.
fn is_kept(section: &str, sub: Option<&str>, name: &str) -> bool {
    let is_it = |listed: &str| {
        let Some((of, key)) = listed.split_once('.') else { return false };
        let (below, key) = key.rsplit_once('.').map_or((None, key), |(below, key)| (Some(below), key));
        of == section && below.is_some() == sub.is_some() && (key == "*" || key == name)
    };
    listed(KEPT).any(is_it) && !listed(KEPT).filter_map(|line| line.strip_prefix('!')).any(is_it)
}

/// Tells whether a filter is that of `git-lfs`, which its users set up in each repository.
fn is_lfs(name: &str, value: &str) -> bool {
    let words: Vec<&str> = value.split_whitespace().collect();
    match name {
        "clean" | "smudge" => words == ["git-lfs", name, "--", "%f"],
        "process" => words == ["git-lfs", "filter-process"],
        "required" => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(listed: &[(&str, &str)]) -> String {
        let entries: Vec<_> =
            listed.iter().map(|(key, value)| ((*key).to_owned(), Some((*value).to_owned()))).collect();
        String::from_utf8(render(&entries, Path::new("/r/.git"), false)).expect("text")
    }

    #[test]
    fn nothing_that_names_a_program_is_in_the_copy() {
        for key in [
            "core.sshCommand",
            "core.fsmonitor",
            "core.hooksPath",
            "core.gitProxy",
            "core.askPass",
            "core.pager",
            "core.editor",
            "core.alternateRefsCommand",
            "core.worktree",
            "extensions.worktreeConfig",
            "filter.a=B.clean",
            "filter.x.smudge",
            "filter.lfs.process",
            "diff.external",
            "diff.x.textconv",
            "diff.x.command",
            "difftool.x.cmd",
            "mergetool.x.cmd",
            "remote.origin.uploadpack",
            "remote.origin.receivepack",
            "remote.origin.vcs",
            "uploadpack.packObjectsHook",
            "credential.helper",
            "credential.https://x.helper",
            "gpg.program",
            "gpg.ssh.program",
            "gpg.ssh.defaultKeyCommand",
            "alias.status",
            "sequence.editor",
            "pager.log",
            "submodule.x.update",
            "protocol.ext.allow",
            "include.path",
            "includeIf.onbranch:main.path",
            "lfs.customtransfer.x.path",
            "lfs.extension.x.clean",
            "lfs.standalonetransferagent",
            "web.browser",
            "sendemail.x",
            "trailer.x.command",
            "interactive.diffFilter",
            "somethingnew.program",
        ] {
            let text = kept(&[(key, "touch owned")]);
            assert!(!text.contains("touch owned"), "{key}: {text}");
        }
        assert!(kept(&[("merge.x.driver", "touch owned")]).contains("driver = \"false\""));
    }

    #[test]
    fn what_a_repository_needs_is_in_the_copy_as_git_reads_it() {
        let text = kept(&[
            ("extensions.objectformat", "sha256"),
            ("remote.a.b\"c.url", "https://x/\"y\\z"),
            ("url.ssh://h/.insteadOf", "https://h/"),
            ("filter.lfs.clean", "git-lfs clean -- %f"),
        ]);
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("config"), &text).expect("written");
        let git = Git::looking(dir.path());
        let ask = |key: &str| git.run(&["config", "--file", "config", "--get", key]).expect("it is there");
        assert_eq!(ask("extensions.objectformat"), "sha256");
        assert_eq!(ask("remote.a.b\"c.url"), "https://x/\"y\\z");
        assert_eq!(ask("url.ssh://h/.insteadof"), "https://h/");
        assert_eq!(ask("filter.lfs.clean"), "git-lfs clean -- %f");
        assert_eq!(ask("lfs.storage"), "/r/.git/lfs");
        assert_eq!(ask("core.bare"), "false");
    }

    proptest::proptest! {
        #[test]
        fn any_value_comes_out_as_it_went_in(value in "[ -~\t\n]{0,40}", sub in "[ -~]{1,20}") {
            let text = line("url", Some(&sub), "insteadOf", Some(&value));
            let dir = tempfile::tempdir().expect("a directory");
            fs::write(dir.path().join("config"), text).expect("written");
            let said = Git::looking(dir.path()).bytes(&["config", "--file", "config", "--list", "-z"]).expect("git reads it");
            proptest::prop_assert_eq!(String::from_utf8_lossy(&said), format!("url.{sub}.insteadof\n{value}\0"));
        }
    }
}
