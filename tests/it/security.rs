//! What an enemy could try, with real programs: secrets that leak, a hostile clone, a directory that others own.
//!
//! SECURITY.md names these tests beside what they show; links, terminal escapes, ids and hostile titles have
//! their tests in `bad_input`, `store`, `workspace` and `train`.

use std::{fs, path::Path};

mod canary;
mod clone;
mod confined;
mod verbs;

/// Every regular file below a directory, with its content; links are not followed.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, dir: &Path, into: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let (path, kind) = (entry.path(), entry.file_type().expect("a kind"));
            if kind.is_dir() {
                walk(root, &path, into);
            } else if kind.is_file() {
                let name = path.strip_prefix(root).expect("below it").display().to_string();
                into.push((name, fs::read(&path).expect("readable")));
            }
        }
    }
    let mut all = Vec::new();
    walk(dir, dir, &mut all);
    all
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}
