//! What an enemy could try, with real programs: secrets that leak, a hostile clone, a directory that others own.
//!
//! SECURITY.md names these tests beside what they show; links, terminal escapes, ids and hostile titles have
//! their tests in `bad_input`, `store`, `workspace` and `merge`.

use std::{fs, path::Path};

mod canary;
mod clone;
mod confined;
mod deeds;
mod files;
mod hostile;
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

#[test]
fn every_test_that_the_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all: Vec<(String, Vec<u8>)> =
        ["src", "crates", "tests"].iter().flat_map(|dir| files(&root.join(dir))).collect();
    let text = fs::read_to_string(root.join("SECURITY.md")).expect("the document");
    let named: Vec<&str> =
        text.split('`').skip(1).step_by(2).filter(|word| word.contains("::tests::") || is_test(word)).collect();
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let function = format!("fn {}(", name.rsplit("::").next().expect("a name"));
        let there = all.iter().any(|(file, bytes)| {
            let module = name.split("::").find(|part| file.contains(part));
            file.ends_with(".rs") && module.is_some() && holds(bytes, &function)
        });
        assert!(there, "{name}");
    }
}

/// Modules of the integration tests that the document speaks of.
fn is_test(word: &str) -> bool {
    ["security::", "bad_input::", "store::", "merge::", "workspace::", "config::", "adapters::", "fuzz::"]
        .iter()
        .any(|module| word.starts_with(module))
}

fn holds(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}
