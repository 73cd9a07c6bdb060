//! The reference of all keys in `docs/configuration.md`, made of their declarations.

use std::{fmt::Write as _, fs, path::Path};

use crate::{declare::UntilTrusted, describe::schema, keys::SECTIONS, kind::Kind};

/// Returns the reference of all keys, in Markdown.
fn reference() -> String {
    let mut out = String::new();
    let mut open = "";
    for section in SECTIONS.iter().filter(|section| !section.is_narrower()) {
        if open != section.path {
            let _ = writeln!(out, "\n## `[{}]`\n", section.path.replace('*', "NAME"));
            for line in section.about {
                let _ = writeln!(out, "{}", line.trim());
            }
            if !section.about.is_empty() {
                out.push('\n');
            }
            out.push_str("| key | value | default | before trust | |\n|---|---|---|---|---|\n");
            open = section.path;
        }
        for key in section.keys {
            let name =
                key.path[section.path.len() + 1..].replace('*', if key.path == "adapters.*.*" { "…" } else { "NAME" });
            let old = key.was.map(|old| format!(" Before: `{old}`, still understood.")).unwrap_or_default();
            let default = key.default.map(|value| format!("`{value}`")).unwrap_or_default();
            let before = match key.untrusted {
                UntilTrusted::Ignored => "–",
                UntilTrusted::Smaller | UntilTrusted::Limit => "smaller",
                UntilTrusted::OnlyTrue => "true",
                UntilTrusted::Only(word) => word,
                UntilTrusted::Adds => "more",
            };
            let line = format!("`{name}` | {} | {default} | {before} | {}{old}", noun(key.kind), key.sentence());
            let _ = writeln!(out, "| {line} |");
        }
    }
    out
}

/// Returns what kind of value it is, in a word or two.
fn noun(kind: Kind) -> String {
    match kind {
        Kind::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
        Kind::Duration(_) => "duration".into(),
        Kind::Count(least) => format!("number from {least}"),
        Kind::Size(_) | Kind::MaybeSize(_) => "size".into(),
        Kind::Money => "dollars".into(),
        Kind::Flag => "`true`, `false`".into(),
        Kind::List(_) => "list".into(),
        Kind::Program | Kind::MaybeProgram => "program and arguments".into(),
        Kind::Network => "`all`, `none`, table".into(),
        Kind::Any => "any".into(),
        _ => "text".into(),
    }
}

/// Compares a text of the repository with what the declarations give, and writes it where `UPDATE` is set.
fn is_current(path: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, now).expect("written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == now, "{} is old; write it again: UPDATE=1 cargo test -p oodatcaa-config", path.display());
}

#[test]
fn the_published_schema_is_made_of_the_declarations() {
    is_current("schema/config.schema.json", &schema());
}

#[test]
fn the_reference_in_the_documents_is_made_of_the_declarations() {
    let mark = "<!-- From here on made of the declarations in crates/config/src/keys.rs. -->\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let text = fs::read_to_string(path).expect("the document");
    let (by_hand, _) = text.split_once(mark).expect("the mark");
    is_current("docs/configuration.md", &format!("{by_hand}{mark}{}", reference()));
}
