//! The end of an attempt's output.

use std::{fs::Metadata, path::PathBuf, time::SystemTime};

use ratatui::text::Line;

use super::{data::Data, sgr};
use oodatcaa_core::{TaskId, Token, layout::Layout};
use oodatcaa_sys::{files, tail};

/// So much of the end of a log is shown.
const BYTES: u64 = 256 << 10;

/// A line is shown up to so many bytes.
const LINE: usize = 4 << 10;

/// The output of one attempt, as far as it has been read.
#[derive(Default)]
pub(super) struct Log {
    /// `TASK/TOKEN`, where there is an attempt.
    pub(super) run: Option<(TaskId, Token)>,
    path: PathBuf,
    stamp: Option<(u64, Option<SystemTime>)>,
    pub(super) lines: Vec<Line<'static>>,
}

impl Log {
    /// Goes to the output of a task's attempt; tells whether there is something new to show.
    pub(super) fn show(&mut self, layout: &Layout, data: &Data, task: Option<&TaskId>) -> bool {
        let found = task.and_then(|task| Some((task.clone(), data.attempt(layout, task)?)));
        let (run, path) = match found {
            Some((task, (token, path))) => (Some((task, token)), path),
            None => (None, PathBuf::new()),
        };
        if run != self.run || path != self.path {
            *self = Self { run, path, ..Self::default() };
            self.refresh(layout);
            return true;
        }
        self.refresh(layout)
    }

    /// Reads what was written since; tells whether there is something new.
    pub(super) fn refresh(&mut self, layout: &Layout) -> bool {
        if self.run.is_none() {
            return false;
        }
        let meta = files::look(layout.root(), &self.path).ok().flatten().filter(Metadata::is_file);
        let stamp = meta.map(|meta| (meta.len(), meta.modified().ok()));
        if stamp == self.stamp {
            return false;
        }
        self.stamp = stamp;
        let text = tail::text(layout.root(), &self.path, BYTES);
        let cut = |line: &str| {
            let end = (0..=LINE.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0);
            sgr::line(&line[..end])
        };
        self.lines = text.lines().map(cut).collect();
        true
    }
}
