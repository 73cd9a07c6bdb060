//! What a person has chosen on the screen, and what a key does to it. Draws nothing and does nothing.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    act::Act,
    data::{Asked, Data},
};
use oodatcaa_core::TaskId;
use oodatcaa_ops::{TaskState, view::NeedView};

/// A screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum View {
    #[default]
    Tasks,
    Inbox,
    Fleet,
    /// The changes that the work on a task made.
    Diff,
    Help,
}

impl View {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Tasks => "tasks",
            Self::Inbox => "inbox",
            Self::Fleet => "fleet",
            Self::Diff => "diff",
            Self::Help => "help",
        }
    }
}

/// Something that is being typed or asked in the last line but one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Filter(String),
    /// An act that a further Enter does.
    Confirm(Act),
    /// An act that needs words, and those typed so far.
    Words(Act, String),
}

/// The action that a key asks of whoever drives the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Quit,
    Interrupt,
    Suspend,
    Ask(Asked),
    Do(Act),
    /// Show what the work on this task changed.
    Diff(TaskId),
}

/// The person's choices.
#[derive(Debug)]
pub(super) struct State {
    pub(super) view: View,
    pub(super) asked: Asked,
    pub(super) entry: Option<Entry>,
    /// The last message: whether it is good news, and the words.
    pub(super) message: Option<(bool, String)>,
    /// The log takes all of the screen.
    pub(super) whole_log: bool,
    pub(super) wrap: bool,
    /// The number of lines of the log below the screen; 0 follows its end.
    pub(super) scrolled: usize,
    /// The screen keeps what it shows.
    pub(super) frozen: bool,
    pub(super) read_only: bool,
    /// The view that a diff was asked for in.
    back: View,
    /// The number of lines of the diff.
    diff: usize,
    /// The selected rows of tasks, inbox, fleet and diff.
    at: [usize; 4],
}

/// A page of a list or a log.
const PAGE: usize = 10;

/// Nobody types a longer reason.
const TYPED: usize = 2_000;

impl State {
    pub(super) fn new(read_only: bool) -> Self {
        Self {
            view: View::default(),
            asked: Asked::default(),
            entry: None,
            message: None,
            whole_log: false,
            wrap: true,
            scrolled: 0,
            frozen: false,
            read_only,
            back: View::default(),
            diff: 0,
            at: [0; 4],
        }
    }

    fn place(&self) -> usize {
        match self.view {
            View::Tasks | View::Help => 0,
            View::Inbox => 1,
            View::Fleet => 2,
            View::Diff => 3,
        }
    }

    /// Returns the view in which something is selected: below a diff that in which it was asked for.
    fn chosen_in(&self) -> View {
        if self.view == View::Diff { self.back } else { self.view }
    }

    /// Shows a diff of so many lines.
    pub(super) fn show_diff(&mut self, lines: usize) {
        self.back = self.chosen_in();
        (self.view, self.diff, self.at[3], self.message) = (View::Diff, lines, 0, None);
    }

    /// Returns the selected row.
    pub(super) fn row(&self) -> usize {
        self.at[self.place()]
    }

    /// Returns the selected task.
    pub(super) fn task<'a>(&self, data: &'a Data) -> Option<&'a TaskId> {
        data.tasks.get(self.at[0]).map(|task| &task.id)
    }

    /// Returns the selected need: of the inbox, or what the selected task waits for.
    pub(super) fn need<'a>(&self, data: &'a Data) -> Option<&'a NeedView> {
        match self.chosen_in() {
            View::Inbox => data.needs.get(self.at[1]),
            View::Tasks => data.need_of(self.task(data)?),
            View::Fleet | View::Diff | View::Help => None,
        }
    }

    /// Keeps the same task and the same need selected in what was read anew.
    pub(super) fn stay(&mut self, before: Option<&Data>, now: &Data) {
        if let Some(before) = before {
            let task = before.tasks.get(self.at[0]).map(|task| &task.id);
            let found = task.and_then(|id| now.tasks.iter().position(|task| task.id == *id));
            self.at[0] = found.unwrap_or(self.at[0]);
            let need = before.needs.get(self.at[1]).map(|need| &need.question.id);
            let found = need.and_then(|id| now.needs.iter().position(|need| need.question.id == *id));
            self.at[1] = found.unwrap_or(self.at[1]);
        }
        self.at[0] = self.at[0].min(now.tasks.len().saturating_sub(1));
        self.at[1] = self.at[1].min(now.needs.len().saturating_sub(1));
    }

    /// Takes a key in.
    pub(super) fn on_key(&mut self, key: KeyEvent, data: Option<&Data>) -> Effect {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if control => return Effect::Interrupt,
            KeyCode::Char('z') if control => return Effect::Suspend,
            _ => {}
        }
        if let Some(entry) = self.entry.take() {
            return self.on_entry(entry, key);
        }
        self.message = None;
        let rows = data.map_or(0, |data| match self.view {
            View::Tasks | View::Help => data.tasks.len(),
            View::Inbox => data.needs.len(),
            View::Diff => self.diff,
            View::Fleet => data.status.view.roles.iter().map(|role| 1 + role.processes.len()).sum(),
        });
        let place = self.place();
        let row = &mut self.at[place];
        let last = rows.saturating_sub(1);
        match key.code {
            KeyCode::Char('d') if control => *row = (*row + PAGE).min(last),
            KeyCode::Char('u') if control => *row = row.saturating_sub(PAGE),
            _ if control => {}
            KeyCode::Char('j') | KeyCode::Down => *row = (*row + 1).min(last),
            KeyCode::Char('k') | KeyCode::Up => *row = row.saturating_sub(1),
            KeyCode::Char('g') | KeyCode::Home => *row = 0,
            KeyCode::Char('G') | KeyCode::End => *row = last,
            KeyCode::PageUp | KeyCode::Char('K') => self.scrolled = self.scrolled.saturating_add(PAGE),
            KeyCode::PageDown | KeyCode::Char('J') => self.scrolled = self.scrolled.saturating_sub(PAGE),
            KeyCode::Char('q') => return Effect::Quit,
            KeyCode::Char('1') => self.go(View::Tasks),
            KeyCode::Char('2' | 'i') => self.go(View::Inbox),
            KeyCode::Char('3') => self.go(View::Fleet),
            KeyCode::Char('?') => self.go(View::Help),
            KeyCode::Tab => self.go(match self.view {
                View::Tasks => View::Inbox,
                View::Inbox => View::Fleet,
                View::Fleet | View::Diff | View::Help => View::Tasks,
            }),
            KeyCode::Esc if self.whole_log => self.whole_log = false,
            KeyCode::Esc if self.view == View::Diff => self.go(self.back),
            KeyCode::Esc if self.view != View::Tasks => self.go(View::Tasks),
            KeyCode::Esc if !self.asked.filter.is_empty() => return self.ask(String::new()),
            KeyCode::Enter | KeyCode::Char('l' | 'z') if self.view == View::Tasks => self.whole_log = !self.whole_log,
            KeyCode::Char('f') => self.scrolled = 0,
            KeyCode::Char('w') => self.wrap = !self.wrap,
            KeyCode::Char('.') => self.frozen = !self.frozen,
            KeyCode::Char('/') => {
                self.go(View::Tasks);
                self.entry = Some(Entry::Filter(self.asked.filter.clone()));
            }
            KeyCode::Char('d') => return self.diff_of(data),
            KeyCode::Char('v') => {
                self.asked.all = !self.asked.all;
                return Effect::Ask(self.asked.clone());
            }
            KeyCode::Char(act @ ('a' | 'R' | 's' | 'r' | 'x')) => self.begin(act, data),
            _ => {}
        }
        Effect::Nothing
    }

    fn go(&mut self, view: View) {
        (self.view, self.whole_log) = (view, false);
    }

    fn ask(&mut self, filter: String) -> Effect {
        self.asked.filter = filter;
        self.at[0] = 0;
        Effect::Ask(self.asked.clone())
    }

    /// Asks for the diff of the selected task, or of the one that the selected need is about.
    fn diff_of(&mut self, data: Option<&Data>) -> Effect {
        let task = data.and_then(|data| match self.chosen_in() {
            View::Tasks => self.task(data).cloned(),
            _ => self.need(data)?.question.task.clone(),
        });
        match task {
            Some(task) => return Effect::Diff(task),
            None => self.message = Some((false, "it is about no task".into())),
        }
        Effect::Nothing
    }

    /// Begins an act on what is selected: shows its command, and asks for words or for a yes.
    fn begin(&mut self, key: char, data: Option<&Data>) {
        let Some(data) = data else { return };
        let refuse = |words: &str| Some((false, words.to_owned()));
        if self.read_only {
            self.message = refuse("--read-only: nothing can be changed from here");
            return;
        }
        let task = || self.task(data).filter(|_| self.chosen_in() == View::Tasks).map(ToString::to_string);
        let runs = || data.tasks.get(self.at[0]).is_some_and(|task| task.state == TaskState::Running);
        let need = self.need(data);
        let decides = need.filter(|need| need.question.commit.is_some() || need.question.default.is_some());
        let asks = need.filter(|need| need.question.kind == "question");
        let act = match key {
            'a' | 'R' if need.is_none() => Err("it waits for no yes"),
            'a' | 'R' if decides.is_none() => Err("no yes moves this; what does stands beside it"),
            'a' if asks.is_some() => Err("it is a question: s answers it"),
            'a' => Ok(need.map(Act::approve)),
            'R' => Ok(need.map(|need| Act::Reject { id: need.question.id.clone(), reason: String::new() })),
            's' if asks.is_none() => Err("it asks nothing"),
            's' => Ok(asks.map(|need| Act::Answer { id: need.question.id.clone(), text: String::new() })),
            'x' if !runs() => Err("no attempt runs on it"),
            'x' => Ok(task().map(|task| Act::Stop { task, reason: String::new() })),
            _ => Ok(task().map(|task| Act::Retry { task })),
        };
        match act {
            Err(why) => self.message = refuse(why),
            Ok(None) => self.message = refuse("nothing is selected"),
            Ok(Some(act)) if act.wants_words() => self.entry = Some(Entry::Words(act, String::new())),
            Ok(Some(act)) => self.entry = Some(Entry::Confirm(act)),
        }
    }

    fn on_entry(&mut self, entry: Entry, key: KeyEvent) -> Effect {
        if key.code == KeyCode::Esc {
            self.message = Some((true, "nothing was changed".into()));
            return Effect::Nothing;
        }
        let typed = |mut words: String| {
            match key.code {
                KeyCode::Char('u') if key.modifiers.contains(KeyModifiers::CONTROL) => words.clear(),
                KeyCode::Char(c) if key.modifiers.difference(KeyModifiers::SHIFT).is_empty() && words.len() < TYPED => {
                    words.push(c);
                }
                KeyCode::Backspace => drop(words.pop()),
                _ => {}
            }
            words
        };
        match (entry, key.code == KeyCode::Enter) {
            (Entry::Filter(words), true) => return self.ask(words.trim().to_owned()),
            (Entry::Filter(words), false) => self.entry = Some(Entry::Filter(typed(words))),
            (Entry::Confirm(act), true) => return Effect::Do(act),
            (Entry::Confirm(act), false) => self.entry = Some(Entry::Confirm(act)),
            (Entry::Words(act, words), true) if words.trim().is_empty() => {
                self.message = Some((false, "nothing was typed, and nothing was changed".into()));
                drop(act);
            }
            (Entry::Words(act, words), true) => return Effect::Do(act.with(&words)),
            (Entry::Words(act, words), false) => self.entry = Some(Entry::Words(act, typed(words))),
        }
        Effect::Nothing
    }
}
