//! Every sentence that a user can read, in one list: what the sources write as text, and what clap shows of its comments.
//!
//! `make sentences` prints the list, for a reader who goes through it from end to end.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::house;

/// Words of ours that say nothing to others, and riddles that were found in messages once.
const BANNED: &[&str] = &[
    "keeper",
    "business of",
    "goes by",
    "trying on",
    "this one goes with",
    "denied without a word",
    "somebody else's",
    "the 2. time",
    "(s)",
    "please",
    "Please",
    "!!",
];

/// How files beside the sources end that hold text for users.
const TEXTS: &[&str] = &["txt", "jinja"];

/// Calls whose text reaches a user only if there is a bug, or never.
const UNSEEN: &[&str] = &["expect", "panic", "unreachable", "assert", "assert_eq", "debug_assert", "expect_err"];

/// Collects what a file says: each text with its line.
#[derive(Default)]
struct Sentences {
    found: Vec<(usize, String)>,
}

impl Sentences {
    fn file(&mut self, source: &str) {
        self.walk(TokenStream::from_str(source).expect("Rust"), false);
    }

    /// `is_help`: comments in here are what `--help` shows.
    fn walk(&mut self, tokens: TokenStream, is_help: bool) {
        let mut tokens = tokens.into_iter().peekable();
        let (mut is_test, mut is_clap) = (false, false);
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    let is_inner = |next: &TokenTree| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!');
                    tokens.next_if(is_inner);
                    let Some(TokenTree::Group(attribute)) = tokens.next() else { continue };
                    let text = attribute.stream().to_string();
                    is_test |= text.starts_with("cfg") && text.contains("test");
                    is_clap |= text.starts_with("derive") && text.contains("clap");
                    let shown = ["error", "arg", "command", "value"].iter().any(|name| text.starts_with(name));
                    if shown || (is_help && text.starts_with("doc")) {
                        self.walk(attribute.stream(), false);
                    }
                }
                TokenTree::Group(group) => {
                    let is_body = group.delimiter() == Delimiter::Brace;
                    if !(is_body && is_test) {
                        self.walk(group.stream(), is_help || (is_body && is_clap));
                    }
                    if is_body {
                        (is_test, is_clap) = (false, false);
                    }
                }
                TokenTree::Punct(mark) if mark.as_char() == ';' => (is_test, is_clap) = (false, false),
                TokenTree::Ident(name) if UNSEEN.iter().any(|unseen| name == unseen) => {
                    tokens.next_if(|next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'));
                    tokens.next_if(|next| matches!(next, TokenTree::Group(_)));
                }
                TokenTree::Literal(literal) => {
                    let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) else { continue };
                    if is_sentence(&text.value()) {
                        self.found.push((literal.span().start().line, text.value()));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Tells a text for people from a word for programs: it has two words at least, and no shape of code.
fn is_sentence(text: &str) -> bool {
    let words = text.split_whitespace().filter(|word| word.chars().filter(char::is_ascii_alphabetic).count() > 1);
    words.count() > 1
}

/// The files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn every_sentence_for_users_is_listed_and_none_has_a_word_of_ours() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut list = String::new();
    let mut odd = Vec::new();
    let mut all: Vec<(String, usize, String)> = Vec::new();
    let product =
        |below: &str| !below.ends_with("tests.rs") && !below.contains("/tests/") && !below.contains("testkit");
    for (below, _, source) in house::all().into_iter().filter(|(below, ..)| product(below)) {
        let mut sentences = Sentences::default();
        sentences.file(&source);
        all.extend(sentences.found.into_iter().map(|(line, text)| (below.clone(), line, text)));
    }
    let texts = files(&root.join("src/cli"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| TEXTS.iter().any(|known| end == *known)));
    for path in texts {
        let below = path.strip_prefix(root).expect("below the root").display().to_string();
        let text = fs::read_to_string(&path).expect("text");
        let lines = text.lines().enumerate().filter(|(_, line)| is_sentence(line));
        all.extend(lines.map(|(at, line)| (below.clone(), at + 1, line.to_owned())));
    }
    for (below, line, text) in &all {
        let text = text.trim().replace('\n', "⏎");
        list.push_str(&format!("{below}:{line}: {text}\n"));
        if BANNED.iter().any(|word| text.contains(word)) {
            odd.push(format!("{below}:{line}: {text}"));
        }
    }
    fs::write(root.join("target/sentences.txt"), &list).expect("the list");
    print!("{list}");
    assert!(all.len() > 1_000, "{} sentences", all.len());
    assert!(list.contains("src/cli/help/leases.txt:1: A lease is the right to work on one task."), "texts are listed");
    assert!(odd.is_empty(), "{odd:#?}");
}
