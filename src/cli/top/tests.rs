//! The screen as it is drawn, at the sizes that people have, and what keys do to it.

use std::{fs, path::Path};

use ratatui::{
    Terminal,
    backend::TestBackend,
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
};
use serde_json::json;
use unicode_width::UnicodeWidthStr as _;

use super::{
    act::Act,
    changes::Changes,
    data::{Asked, Data},
    draw::{Scene, draw},
    log::Log,
    sgr,
    state::{Effect, Entry, State, View},
};
use crate::cli::ui::{Settings, tests::FakeUi};
use oodatcaa_ops::Project;

const SIZES: [(u16, u16); 3] = [(120, 40), (80, 24), (40, 20)];

/// A project in which something of every kind stands.
struct Stage {
    _dir: tempfile::TempDir,
    data: Data,
    log: Log,
    changes: Option<Changes>,
    ascii: bool,
}

impl Stage {
    fn new() -> Self {
        Self::asked(&Asked::default())
    }

    fn asked(asked: &Asked) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let root = dir.path().join("demo-repo");
        let work = root.join(".oodatcaa/work");
        fs::create_dir_all(&work).expect("made");
        let queue = json!({"sprint": "4", "tasks": [
            {"id": "P012", "title": "Keep the lease alive while the laptop sleeps", "status": "ready", "priority": 1},
            {"id": "P013", "title": "Write it down", "status": "ready", "dependencies": ["P012"]},
            {"id": "P014", "title": "A gate that \u{1b}[2J fails", "status": "needs_manual",
             "blocked_reason": "the gate `test` is red: assertion failed at tests/queue.rs:88"},
            {"id": "P015", "title": "日本語の題", "status": "awaiting_test"},
            {"id": "P016", "title": "Done long ago", "status": "done"},
        ]});
        fs::write(work.join("SPRINT_QUEUE.json"), queue.to_string()).expect("written");
        let data = Data::once(Project::new(Some(root)), asked).expect("it can be read");
        let mut log = Log::default();
        log.run = Some((data.tasks[0].id.clone(), oodatcaa_core::Token(3)));
        let lines =
            ["14:03:22 \u{1b}[36mBash\u{1b}[0m cargo test lease", "14:03:41 1 failed: lease::resume_after_suspend"];
        log.lines = lines.iter().map(|line| sgr::line(line)).collect();
        Self { _dir: dir, data, log, changes: None, ascii: false }
    }

    fn draw(&self, state: &State, (width, height): (u16, u16)) -> Vec<String> {
        let fake = FakeUi::new(Settings::default(), None);
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a screen");
        let scene = Scene {
            ui: &fake.ui,
            ascii: self.ascii,
            colours: true,
            state,
            data: Some(&self.data),
            log: &self.log,
            changes: self.changes.as_ref(),
            wrong: None,
        };
        let drawn = terminal.draw(|frame| {
            let area = frame.area();
            draw(frame.buffer_mut(), area, &scene);
        });
        drawn.expect("drawn");
        let buffer = terminal.backend().buffer();
        let row = |y: u16| {
            let (mut line, mut x) = (String::new(), 0);
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                line.push_str(symbol);
                // Behind a wide letter stands a cell that is not drawn.
                x += u16::try_from(symbol.width().max(1)).expect("a letter");
            }
            line.trim_end().to_owned()
        };
        (0..height).map(row).collect()
    }
}

fn press(state: &mut State, data: &Data, keys: &str) -> Effect {
    let mut last = Effect::Nothing;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            c => KeyCode::Char(c),
        };
        last = state.on_key(KeyEvent::new(code, KeyModifiers::NONE), Some(data));
    }
    last
}

/// Holds a screen against the one that is kept; `UPDATE=1` keeps the new one.
fn compare(name: &str, (width, height): (u16, u16), screen: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/cli/top/screens/{name}-{width}x{height}.txt"));
    let text = screen.join("\n") + "\n";
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &text).expect("written");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{}", path.display());
}

#[test]
fn each_view_at_each_size_is_as_it_is_kept() {
    let stage = Stage::new();
    for (view, name) in [(View::Tasks, "tasks"), (View::Inbox, "inbox"), (View::Fleet, "fleet"), (View::Help, "help")] {
        for size in SIZES {
            let mut state = State::new(false);
            state.view = view;
            let screen = stage.draw(&state, size);
            assert!(screen[0].contains("demo-repo"), "{screen:#?}");
            assert!(!screen.concat().contains('\u{1b}'), "{screen:#?}");
            compare(name, size, &screen);
        }
    }
}

#[test]
fn a_terminal_without_utf_8_gets_ascii_in_the_same_columns() {
    let mut stage = Stage::new();
    let state = State::new(false);
    let full = stage.draw(&state, (80, 24));
    stage.ascii = true;
    let plain = stage.draw(&state, (80, 24));
    assert!(plain.iter().all(|line| line.is_ascii()), "{plain:#?}");
    for (full, plain) in full.iter().zip(&plain) {
        assert_eq!(full.width(), plain.len(), "{full}\n{plain}");
    }
}

#[test]
fn no_size_is_too_small_to_be_drawn() {
    let stage = Stage::new();
    for width in [0, 1, 2, 3, 7, 20, 300] {
        for height in [0, 1, 2, 3, 4, 5, 6, 13, 14, 15, 100] {
            for view in [View::Tasks, View::Inbox, View::Fleet, View::Help] {
                let mut state = State::new(false);
                (state.view, state.scrolled) = (view, usize::MAX);
                stage.draw(&state, (width, height));
                state.whole_log = true;
                stage.draw(&state, (width, height));
            }
        }
    }
}

#[test]
fn the_selected_row_is_always_on_the_screen() {
    let stage = Stage::asked(&Asked { all: true, ..Asked::default() });
    let mut state = State::new(false);
    for task in &stage.data.tasks {
        for size in SIZES {
            let screen = stage.draw(&state, size);
            let marked: Vec<&String> = screen.iter().filter(|line| line.starts_with('▶')).collect();
            assert!(marked.len() == 1 && marked[0].contains(task.id.as_str()), "{screen:#?}");
        }
        press(&mut state, &stage.data, "j");
    }
}

#[test]
fn an_act_shows_its_command_and_is_done_by_a_further_enter_only() {
    let stage = Stage::new();
    let mut state = State::new(false);
    let at = stage.data.tasks.iter().position(|task| task.id.as_str() == "P014").expect("there");
    press(&mut state, &stage.data, &"j".repeat(at));
    assert_eq!(press(&mut state, &stage.data, "r"), Effect::Nothing);
    let retry = Act::Retry { task: "P014".into() };
    assert_eq!(state.entry, Some(Entry::Confirm(retry.clone())));
    let screen = stage.draw(&state, (80, 24));
    assert!(screen[22].contains("agentctl task retry P014") && screen[22].contains("Enter runs it"), "{screen:#?}");
    assert_eq!(press(&mut state, &stage.data, "j"), Effect::Nothing, "another key is no yes");
    assert_eq!(press(&mut state, &stage.data, "\u{1b}"), Effect::Nothing);
    assert_eq!(state.entry, None);
    assert_eq!(press(&mut state, &stage.data, "r\n"), Effect::Do(retry));
    // What runs is stopped with a reason only; nothing runs here.
    press(&mut state, &stage.data, "x");
    assert!(state.message.as_ref().is_some_and(|(good, words)| !good && words.contains("no attempt")));
    press(&mut state, &stage.data, "a");
    assert!(state.message.as_ref().is_some_and(|(good, _)| !good), "nothing asks for a yes");
}

#[test]
fn with_read_only_no_key_does_anything_to_the_project() {
    let stage = Stage::new();
    let mut state = State::new(true);
    for view in [View::Tasks, View::Inbox, View::Fleet] {
        state.view = view;
        for key in ["a\n", "R\nno\n", "s\nyes\n", "r\n", "x\nno\n"] {
            assert!(!matches!(press(&mut state, &stage.data, key), Effect::Do(_)), "{key:?}");
            press(&mut state, &stage.data, "\u{1b}");
        }
    }
}

#[test]
fn a_filter_is_typed_mended_and_taken_off() {
    let stage = Stage::new();
    let mut state = State::new(false);
    let asked = |filter: &str| Effect::Ask(Asked { filter: filter.into(), all: false });
    assert_eq!(press(&mut state, &stage.data, "/is:waitinq\u{8}g\n"), asked("is:waiting"));
    assert_eq!(press(&mut state, &stage.data, "\u{1b}"), asked(""));
    assert_eq!(press(&mut state, &stage.data, "v"), Effect::Ask(Asked { all: true, ..Asked::default() }));
    let found = Stage::asked(&Asked { filter: "status:needs_manual".into(), all: false });
    assert_eq!(found.data.tasks.len(), 1);
}

#[test]
fn what_was_selected_stays_so_when_the_order_changes() {
    let (before, mut after) = (Stage::new(), Stage::new());
    let mut state = State::new(false);
    press(&mut state, &before.data, "j");
    let chosen = state.task(&before.data).expect("a task").clone();
    after.data.tasks.reverse();
    state.stay(Some(&before.data), &after.data);
    assert_eq!(state.task(&after.data), Some(&chosen));
    after.data.tasks.clear();
    state.stay(Some(&before.data), &after.data);
    assert_eq!(state.task(&after.data), None);
}

#[test]
fn a_log_is_wrapped_or_cut_and_followed_from_its_end() {
    let mut stage = Stage::new();
    stage.log.lines = (0..200).map(|n| sgr::line(&format!("line {n} {}", "x".repeat(100)))).collect();
    let mut state = State::new(false);
    state.whole_log = true;
    let screen = stage.draw(&state, (80, 24));
    assert!(screen[21].starts_with('x') && screen[20].starts_with("line 199"), "wrapped: {screen:#?}");
    press(&mut state, &stage.data, "w");
    let screen = stage.draw(&state, (80, 24));
    assert!(screen[21].starts_with("line 199") && screen[2].starts_with("line 180"), "cut: {screen:#?}");
    press(&mut state, &stage.data, "K");
    assert!(stage.draw(&state, (80, 24))[21].starts_with("line 189"));
    press(&mut state, &stage.data, "f");
    assert!(stage.draw(&state, (80, 24))[21].starts_with("line 199"));
}

#[test]
fn a_diff_is_looked_through_and_left_for_where_it_was_asked_for() {
    let mut stage = Stage::new();
    let mut state = State::new(false);
    let task = stage.data.tasks[0].id.clone();
    press(&mut state, &stage.data, "2");
    assert_eq!(press(&mut state, &stage.data, "d"), Effect::Diff(task.clone()), "the one that the need is about");
    let lines = (0..50).map(|n| sgr::line(&format!("+line {n}"))).collect();
    stage.changes = Some(Changes { task, lines });
    state.show_diff(50);
    let screen = stage.draw(&state, (80, 24));
    assert!(screen[1].contains("agentctl run diff P014") && screen[2] == "+line 0", "{screen:#?}");
    press(&mut state, &stage.data, "jjj");
    assert_eq!(stage.draw(&state, (80, 24))[2], "+line 3");
    press(&mut state, &stage.data, "G");
    assert_eq!(stage.draw(&state, (80, 24))[2], "+line 49");
    assert_eq!(state.need(&stage.data).map(|need| need.question.id.as_str()), Some("P014"), "a yes is about the same");
    press(&mut state, &stage.data, "\u{1b}");
    assert_eq!(state.view, View::Inbox);
}
