//! What reads bytes without a store around it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use oodatcaa_agent::{
    Stream,
    descriptor::{self, Descriptor},
    output, result,
    stream::Reader,
};
use oodatcaa_config::{Config, ConfigError, Origin, Overrides, World};
use oodatcaa_core::layout::Layout;
use oodatcaa_core::{ChangeSet, Member, RunName, TaskEdit, TaskId, Token, Workflow, text};
use oodatcaa_store::file::document::Document;
use serde_json::Value;

use super::{Target, below_tests, kind, shape};

/// The queue file.
pub(super) struct QueueText {
    workflow: Workflow,
    path: PathBuf,
}

/// What differs: where it begins in both, and what stands there in each.
fn difference<'a>(one: &'a str, other: &'a str) -> (usize, &'a str, &'a str) {
    let same = |pairs: &mut dyn Iterator<Item = (u8, u8)>| pairs.take_while(|(a, b)| a == b).count();
    let start = same(&mut one.bytes().zip(other.bytes()));
    let end = same(&mut one.bytes().rev().zip(other.bytes().rev()));
    let end = end.min(one.len() - start).min(other.len() - start);
    let (mut start, mut from_end) = (start, end);
    while !one.is_char_boundary(start) || !other.is_char_boundary(start) {
        start -= 1;
    }
    while !one.is_char_boundary(one.len() - from_end) || !other.is_char_boundary(other.len() - from_end) {
        from_end -= 1;
    }
    (start, &one[start..one.len() - from_end], &other[start..other.len() - from_end])
}

impl QueueText {
    fn set(&self, document: &Document, id: &TaskId, value: &str) -> Option<String> {
        let set = BTreeMap::from([(Member::Branch, Value::from(value))]);
        document.edited(&ChangeSet { edits: vec![TaskEdit { task: id.clone(), set }], ..ChangeSet::none() }).ok()
    }
}

impl Target for QueueText {
    const NAME: &'static str = "queue";
    const WORDS: &'static [&'static [u8]] = &[
        b"\"tasks\":[",
        b"\"id\":\"A\"",
        b"\"status\":\"ready\"",
        b"\"status\":",
        b"\"lease\":\"w@h#7\"",
        b"\"lease\":{\"owner\":\"x\",\"ttl\":30,\"acquired\":\"2026-01-01\"}",
        b"\"branch\":null",
        b"\"branch\":\"x\"",
        b"\"subtasks\":[{\"id\":\"A-1\"}]",
        b"\"dependencies\":[\"A\"]",
        b"\"depends_on\":\"A\"",
        b"\"wip_limits\":{\"builder\":2}",
        b"\"priority\":",
        b"\"attempts\":",
        b"\"not_before\":\"2026-01-01T00:00:00Z\"",
        b"\"metadata\":{\"done_tasks\":1}",
        b"<<<<<<< HEAD\n",
        b">>>>>>> x\n",
    ];

    fn seeds() -> Vec<PathBuf> {
        below_tests("queues")
    }

    fn new() -> Self {
        Self { workflow: Workflow::shipped(), path: "queue.json".into() }
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let document = match Document::from_bytes(&self.path, input.to_vec()) {
            Ok(document) => document,
            Err(wrong) => {
                let lines = input.iter().filter(|byte| **byte == b'\n').count();
                assert!((1..=lines + 1).contains(&wrong.line), "a place outside of the file: {wrong}");
                assert!(wrong.column >= 1 && !wrong.message.is_empty(), "{wrong}");
                return kind((0, shape(&wrong.message)));
            }
        };
        assert_eq!(document.text().as_bytes(), input, "the text is kept as it is");
        let problems = document.problems(&self.workflow);
        let mut refused = 0;
        for task in document.queue().tasks().take(3) {
            let Some(edited) = self.set(&document, &task.id, "feat/fuzz-1") else {
                refused += 1;
                continue;
            };
            let again = Document::parse(&self.path, edited.clone()).expect("what we wrote can be read");
            assert_eq!(again.queue().get(&task.id).and_then(|task| task.branch.as_deref()), Some("feat/fuzz-1"));
            assert_eq!(again.queue().tasks().count(), document.queue().tasks().count());
            for (old, new) in document.queue().tasks().zip(again.queue().tasks()) {
                assert!(old.id != new.id || old.id == task.id || old == new, "{} was not meant", old.id);
            }
            let reread = document.reread(edited.clone()).expect("what we wrote can be read");
            assert_eq!(reread.queue(), again.queue(), "read anew and read on are the same");
            let (at, before, after) = difference(document.text(), &edited);
            match &task.branch {
                // A member that was not there is put in, and that is all.
                None if !document.text()[at..].trim_start().starts_with("null") && !before.contains("null") => {
                    assert!(before.is_empty() || !after.is_empty(), "{before:?} has gone");
                }
                None => {}
                // Put back, the file is what it was, where the name was written as we write names.
                Some(branch) if !document.text().contains('\\') && document.text().is_ascii() => {
                    let back = self.set(&again, &task.id, branch).expect("put back");
                    assert_eq!(back, document.text(), "an edit and its opposite");
                }
                Some(_) => {}
            }
        }
        super::store::is_decided(document.queue(), &self.workflow);
        let mut codes: Vec<_> = problems.iter().map(|problem| format!("{:?}", problem.code)).collect();
        codes.sort();
        codes.dedup();
        codes.truncate(3);
        kind((1, document.queue().tasks().count().min(4), codes, refused))
    }
}

/// What an agent writes, in each of the shipped dialects. The first byte picks the dialect, the second how it is cut.
pub(super) struct StreamBytes(Vec<Arc<Descriptor>>);

impl StreamBytes {
    fn read(descriptor: &Arc<Descriptor>, pieces: &[&[u8]]) -> Reader {
        let mut reader = Reader::new(Arc::clone(descriptor));
        for piece in pieces {
            reader.feed(Stream::Stdout, piece, Duration::ZERO);
        }
        for piece in pieces {
            reader.feed(Stream::Stderr, piece, Duration::ZERO);
        }
        reader.finish(Path::new("/nonexistent"), Duration::ZERO);
        reader
    }
}

impl Target for StreamBytes {
    const NAME: &'static str = "stream";
    const WORDS: &'static [&'static [u8]] = &[
        b"{\"type\":\"",
        b"\"type\":\"result\"",
        b"\"type\":\"assistant\"",
        b"\"type\":\"error\"",
        b"\"session_id\":\"x\"",
        b"\"usage\":{\"input_tokens\":",
        b"\"total_cost_usd\":",
        b"\"is_error\":true",
        b"\"tool_use\"",
        b"rate_limit",
        b"429",
        b"401",
        b"Tokens: 1.2k sent, 56 received.",
        b"\"resets_at\":",
        b"\n{}\n",
    ];

    fn seeds() -> Vec<PathBuf> {
        below_tests("transcripts")
    }

    fn new() -> Self {
        let load = |(name, _): &(&str, &str)| Arc::new(descriptor::load(name, &BTreeMap::new()).expect("ships"));
        Self(descriptor::SHIPPED.iter().map(load).collect())
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let [dialect, cut, rest @ ..] = input else { return 0 };
        // A transcript as it is begins with its own bytes: any dialect must stand it.
        let at = usize::from(*dialect) % self.0.len();
        let descriptor = &self.0[at];
        let rest = if *dialect == b'{' { input } else { rest };
        let whole = Self::read(descriptor, &[rest]);
        let mut pieces = Vec::new();
        let (mut left, mut step) = (rest, u64::from(*cut) | 1);
        while !left.is_empty() {
            step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let most = if cut % 3 == 0 { 3 } else { 97 };
            let (piece, after) = left.split_at((1 + (step >> 33) as usize % most).min(left.len()));
            pieces.push(piece);
            left = after;
        }
        let cut = Self::read(descriptor, &pieces);
        assert_eq!(cut.run(), whole.run(), "{} read in {} pieces", descriptor::SHIPPED[at].0, pieces.len());
        assert!(whole.run().stderr.len() <= 4_096 + 4, "the tail is bounded");
        let seen = &whole.run().observation;
        let terminal = whole.run().terminal;
        let some = (
            seen.session.is_some(),
            seen.model.is_some(),
            seen.usage.tokens_in.is_some(),
            seen.usage.cost_usd.is_some(),
        );
        kind((at, terminal, some, seen.steps.min(3), seen.denials.min(2), seen.last_text.is_some(), seen.ended))
    }
}

/// Task ids, as text of any kind.
pub(super) struct Ids(Layout);

impl Target for Ids {
    const NAME: &'static str = "id";
    const WORDS: &'static [&'static [u8]] =
        &[b"P001-B03", b"-", b".", b"_", b"\\", b"con", b"%2e", b"~", b" ", "\u{ff0f}".as_bytes(), "ä".as_bytes()];

    fn new() -> Self {
        Self(Layout::new("/project"))
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let Ok(text) = std::str::from_utf8(input) else { return 0 };
        let id = match TaskId::parse(text) {
            Ok(id) => id,
            Err(why) => return kind(shape(&why.to_string())),
        };
        assert_eq!(id.as_str(), text);
        assert!((1..=TaskId::MAX).contains(&text.len()) && !text.starts_with(['.', '-']), "{text:?}");
        assert!(!text.contains(['/', '\\', '\0', '\n', ' ', '#', ':']) && text.is_ascii(), "{text:?}");
        for (path, parent) in [
            (self.0.lease(&id), self.0.leases()),
            (self.0.task_lock(&id), self.0.locks()),
            (self.0.run(&id, &RunName::of(Token(1))).parent().expect("a task's").to_owned(), self.0.runs()),
        ] {
            assert_eq!(path.parent(), Some(parent.as_path()), "{text:?}");
            assert_eq!(path.components().count(), parent.components().count() + 1, "{text:?}");
        }
        assert_ne!(self.0.task_lock(&id), self.0.queue_lock(), "{text:?} is not the queue's lock");
        kind((1, text.len().min(3)))
    }
}

/// The project's configuration.
pub(super) struct ConfigText {
    dir: tempfile::TempDir,
    world: World,
}

impl Target for ConfigText {
    const NAME: &'static str = "config";
    const WORDS: &'static [&'static [u8]] = &[
        b"[fleet]\n",
        b"[roles.builder]\n",
        b"[roles.qa]\n",
        b"[agents.x]\n",
        b"[gates.x]\n",
        b"[workspace]\n",
        b"[merge]\n",
        b"[budget.day]\n",
        b"[adapters.claude]\n",
        b"agent = \"x\"\n",
        b"kind = \"command\"\n",
        b"kind = \"claude\"\n",
        b"argv = [\"x\"]\n",
        b"timeout = \"10m\"\n",
        b"grace = ",
        b"set = { A = \"env:B\" }\n",
        b"\"\"\"",
        b"'''",
        b"fleet.agent = ",
        b"1979-05-27",
        b"inf",
    ];

    fn new() -> Self {
        let dir = super::store::memory();
        fs::create_dir(dir.path().join(".oodatcaa")).expect("a directory");
        Self { dir, world: World::of([("HOME", "/nonexistent"), ("OODATCAA_TRUST_PROJECT", "1")]) }
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let layout = Layout::new(self.dir.path());
        fs::write(layout.config(), input).expect("written");
        let lines = input.iter().filter(|byte| **byte == b'\n').count() + 1;
        match Config::load_in(&self.world, &layout, &Overrides::default()) {
            Ok(loaded) => {
                assert!(loaded.settings.len() > 20, "the defaults are there");
                kind((1, loaded.warnings.len().min(3), loaded.config.agents.len().min(3)))
            }
            Err(ConfigError::Syntax { line, column, message, .. }) => {
                assert!((1..=lines).contains(&line) && column >= 1, "{line}:{column}: {message}");
                kind((2, shape(&message)))
            }
            Err(ConfigError::Invalid(faults)) => {
                assert!(!faults.is_empty());
                for fault in &faults {
                    match &fault.origin {
                        Origin::File { line, .. } => assert!((1..=lines).contains(line), "{fault}"),
                        other => panic!("it stands in the file, and is said to come from {other}: {fault}"),
                    }
                }
                kind((3, faults.len().min(3), shape(&faults[0].message)))
            }
            Err(other) => kind((4, shape(&other.to_string()))),
        }
    }
}

/// An agent's result file.
pub(super) struct ResultText;

/// A secret that stands in some of the corpus.
const SECRET: &str = "sk-fuzz-0123456789";

impl Target for ResultText {
    const NAME: &'static str = "result";
    const WORDS: &'static [&'static [u8]] = &[
        b"\"outcome\":\"done\"",
        b"\"outcome\":\"failed\"",
        b"\"outcome\":\"needs_input\"",
        b"\"summary\":\"",
        b"\"tasks\":[{\"id\":\"X\",\"title\":\"t\"}]",
        b"\"question\":{\"text\":\"q\",\"options\":[\"a\"]}",
        b"\"class\":\"agent_failed\"",
        b"\"retry_at\":\"2026-01-01T00:00:00Z\"",
        b"\"criteria\":[{\"criterion\":1,\"met\":true,\"evidence\":\"e\"}]",
        b"sk-fuzz-0123456789",
        b"sk-fuzz-01",
        b"0123456789",
        b"```json\n",
    ];

    fn new() -> Self {
        Self
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let text = String::from_utf8_lossy(input);
        let said = match result::parse(&text) {
            Ok(said) => said,
            Err(why) => {
                assert!(!why.is_empty());
                return kind((0, shape(&why)));
            }
        };
        let outcome = said.into_outcome();
        assert!(outcome.words().chars().count() <= 4_100, "what it says is bounded");
        assert!(!outcome.words().contains('\u{1b}'), "{outcome:?}");
        let masked = output::mask_outcome(outcome, &[SECRET.into()]);
        assert!(!format!("{masked:?}").contains(SECRET), "{masked:?}");
        kind((1, masked.word(), format!("{masked:?}").contains("***")))
    }
}

/// Whatever an agent says, on its way to a terminal, a log or a prompt.
pub(super) struct Output;

impl Target for Output {
    const NAME: &'static str = "terminal";
    const WORDS: &'static [&'static [u8]] = &[
        b"\x1b[",
        b"\x1b]0;",
        b"\x07",
        b"\x1b\\",
        b"\x1bP",
        b"m",
        b"\r",
        b"\x08",
        b"\xc2\x9b",
        b"\xe2\x80\xae",
        b"sk-fuzz-0123456789",
    ];

    fn new() -> Self {
        Self
    }

    fn run(&mut self, input: &[u8]) -> u64 {
        let raw = String::from_utf8_lossy(input);
        let plain = output::plain(&raw);
        let bad =
            |text: &str, also: &[char]| text.chars().find(|c| (c.is_control() || is_mark(*c)) && !also.contains(c));
        assert_eq!(bad(&plain, &['\n', '\t']), None, "{plain:?}");
        assert_eq!(bad(&text::many_lines(&raw), &['\n', '\t']), None);
        assert_eq!(bad(&text::one_line(&raw), &[]), None);
        assert_eq!(output::plain(&plain), plain, "what is plain stays as it is");
        let masked = output::mask(&plain, &[SECRET.into()]);
        assert!(!masked.contains(SECRET), "{masked:?}");
        kind((plain.len() < raw.len(), plain.contains('\u{fffd}'), plain.lines().count().min(3), masked != plain))
    }
}

/// Marks that turn the direction of text around.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
