//! What an agent may do when it asks.
//!
//! An answer is as true as the question: an agent says itself what it is about to do.

use serde_json::{Value, json};

use super::files::Files;

/// The permissions of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Permit {
    /// Reading, and changes of files in the workspace.
    Edits,
    /// Everything.
    All,
    /// Reading.
    Plan,
}

/// Members of a tool's input that name a file.
const PATHS: &[&str] = &["path", "file_path", "filePath", "filepath", "absolute_path", "target_file"];

impl Permit {
    /// Tells whether a tool call may go on; else why not.
    pub(super) fn judge(self, call: &Value, files: &Files) -> Result<(), String> {
        let kind = call.get("kind").and_then(Value::as_str).unwrap_or("other");
        match (self, kind) {
            (Self::All, _) | (_, "read" | "search" | "think") => Ok(()),
            // With `plan` there is one file that may be written, the result's.
            (_, "edit" | "delete" | "move") => {
                let paths = paths(call);
                if paths.is_empty() {
                    return Err("it does not say which file".into());
                }
                paths.into_iter().try_for_each(|path| files.may_write(path))
            }
            (Self::Edits, _) => Err(format!("`{kind}` is not allowed with permissions `edits`")),
            (Self::Plan, _) => Err(format!("`{kind}` is not allowed with permissions `plan`")),
        }
    }

    /// Returns the answer: the option that grants least, or refuses least. Something that is allowed once is
    /// never allowed for good, unless everything is.
    pub(super) fn choose(self, options: &[Value], allowed: bool) -> Option<Value> {
        let wanted: &[&str] = match (allowed, self) {
            (true, Self::All) => &["allow_once", "allow_always"],
            (true, _) => &["allow_once"],
            (false, _) => &["reject_once", "reject_always"],
        };
        let of_kind = |kind: &&str| options.iter().find(|option| option.get("kind").is_some_and(|own| own == kind));
        let id = wanted.iter().find_map(of_kind)?.get("optionId")?;
        Some(json!({"outcome": "selected", "optionId": id}))
    }
}

/// Returns the files that a tool call names.
fn paths(call: &Value) -> Vec<&str> {
    let list = |name: &str| call.get(name).and_then(Value::as_array).into_iter().flatten();
    let places = list("locations").chain(list("content")).filter_map(|place| place.get("path"));
    let input = call.get("rawInput");
    let named = PATHS.iter().filter_map(|name| input?.get(name));
    places.chain(named).filter_map(Value::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(root: &std::path::Path) -> Files {
        Files::new(root, &[root.join("elsewhere/result.json")], true)
    }

    #[test]
    fn edits_are_allowed_in_the_workspace_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("w");
        std::fs::create_dir(&root).expect("made");
        let files = files(&root);
        let judge = |permit: Permit, call: Value| permit.judge(&call, &files).is_ok();
        let edit = |path: &str| json!({"kind": "edit", "locations": [{"path": path}]});
        let inside = root.join("a.txt").display().to_string();
        assert!(judge(Permit::Edits, edit(&inside)));
        assert!(judge(Permit::Edits, edit("b/c.txt")), "relative to the workspace");
        assert!(!judge(Permit::Edits, edit("/etc/passwd")));
        assert!(!judge(Permit::Edits, edit("../x")));
        assert!(!judge(Permit::Edits, json!({"kind": "edit"})), "no file is named");
        let two = json!({"kind": "edit", "locations": [{"path": inside}], "rawInput": {"filePath": "/etc/passwd"}});
        assert!(!judge(Permit::Edits, two));
        assert!(!judge(Permit::Edits, json!({"kind": "execute", "rawInput": {"command": "true"}})));
        assert!(!judge(Permit::Edits, json!({"title": "who knows"})));
        assert!(judge(Permit::Edits, json!({"kind": "read", "locations": [{"path": "/etc/hosts"}]})));
        let plan = Files::new(&root, &[root.join("elsewhere/result.json")], false);
        assert!(Permit::Plan.judge(&edit(&inside), &plan).is_err());
        let result = root.join("elsewhere/result.json").display().to_string();
        assert!(Permit::Plan.judge(&edit(&result), &plan).is_ok());
        assert!(judge(Permit::All, json!({"kind": "execute"})));
    }

    #[test]
    fn the_least_option_is_taken() {
        let option = |id: &str, kind: &str| json!({"optionId": id, "kind": kind, "name": id});
        let all = [option("y", "allow_always"), option("o", "allow_once"), option("n", "reject_once")];
        let id = |permit: Permit, options: &[Value], allowed| {
            permit.choose(options, allowed).map(|outcome| outcome["optionId"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(id(Permit::Edits, &all, true).as_deref(), Some("o"));
        assert_eq!(id(Permit::All, &all[..1], true).as_deref(), Some("y"));
        assert_eq!(id(Permit::Edits, &all[..1], true), None, "once is not for good");
        assert_eq!(id(Permit::Edits, &all, false).as_deref(), Some("n"));
        assert_eq!(id(Permit::Edits, &all[..2], false), None);
    }
}
