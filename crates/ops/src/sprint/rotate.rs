//! Rotation of the logs that people and agents keep in Markdown.
//!
//! The old part of a log goes to the archive, the new part stays. Logs are written at their end or, as agents write
//! `AGENT_LOG.md`, at their beginning: which one it is, the times of the entries say. The archive is written first and
//! durably, then the log is replaced if nobody has written to it meanwhile; nothing is ever in neither of the two.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use chrono::{DateTime, NaiveDateTime, Utc};

use crate::{ErrorKind, Failure, Project, view::RotationView};
use oodatcaa_core::{layout::Layout, text::one_line, time::stamp};
use oodatcaa_sys::files::{self, Kind};

/// No log is longer.
const LONGEST: u64 = 256 << 20;

/// No sprint has more archives of one log.
const MOST: u32 = 999;

/// No project has more archived files, and no more are in the index.
const MOST_LISTED: usize = 10_000;

/// A Markdown log of a sprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Log {
    Agent,
    Sprint,
    Plan,
}

impl Log {
    pub(super) const ALL: [Self; 3] = [Self::Agent, Self::Sprint, Self::Plan];

    /// Returns its name, without the ending.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Agent => "AGENT_LOG",
            Self::Sprint => "SPRINT_LOG",
            Self::Plan => "SPRINT_PLAN",
        }
    }

    /// Returns its first heading.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Agent => "OODATCAA Agent Log",
            Self::Sprint => "Sprint Log",
            Self::Plan => "Sprint Plan",
        }
    }

    /// Returns where it is.
    pub(super) fn path(self, layout: &Layout) -> PathBuf {
        match self {
            Self::Agent => layout.agent_log(),
            Self::Sprint => layout.sprint_log(),
            Self::Plan => layout.sprint_plan(),
        }
    }
}

/// The options of a rotation.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// Only this log, by its name or path.
    pub file: Option<String>,
    /// A log of more lines is rotated.
    pub threshold: usize,
    /// So many lines stay, at least.
    pub keep: usize,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// Returns the archives of a log.
pub(super) fn archives(layout: &Layout, sprint: u64, log: Log) -> Result<impl Iterator<Item = u32>, Failure> {
    let entries = files::list(layout.root(), &layout.sprint_archive(sprint), MOST_LISTED)?.unwrap_or_default();
    let prefix = format!("{}_archive_", log.name());
    Ok(entries
        .into_iter()
        .filter_map(move |entry| entry.name.to_str()?.strip_prefix(&prefix)?.strip_suffix(".md")?.parse().ok()))
}

/// Returns the next free name for an archive of a log.
fn next_archive(layout: &Layout, sprint: u64, log: Log) -> Result<PathBuf, Failure> {
    let last = archives(layout, sprint, log)?.max().unwrap_or_default();
    if last >= MOST {
        let place = layout.sprint_archive(sprint);
        let message = format!("{} holds {MOST} archives of {}", place.display(), log.name());
        return Err(Failure::new(ErrorKind::Failed, message).hint("move some of them away"));
    }
    Ok(layout.sprint_archive(sprint).join(format!("{}_archive_{:03}.md", log.name(), last + 1)))
}

/// Moves a whole log into the archive of a sprint; answers where it is.
pub(super) fn put_aside(layout: &Layout, sprint: u64, log: Log) -> Result<PathBuf, Failure> {
    let to = next_archive(layout, sprint, log)?;
    files::make_dir(layout.root(), &layout.sprint_archive(sprint))?;
    files::rename_new(layout.root(), &log.path(layout), &to)?;
    Ok(to)
}

impl Project {
    /// Rotates the logs that are longer than they should be.
    pub fn rotate_logs(&self, rotation: &Rotation) -> Result<Vec<RotationView>, Failure> {
        if rotation.keep >= rotation.threshold {
            let message = format!("{} lines are to stay, and {} are too many", rotation.keep, rotation.threshold + 1);
            return Err(Failure::new(ErrorKind::Usage, message).hint("keep fewer: --keep-lines"));
        }
        let layout = self.layout()?;
        let sprint = self.read()?.snapshot.queue.sprint.number.unwrap_or_default();
        let is_meant = |name: &str| {
            let wanted = rotation.file.as_deref().map(|file| Path::new(file).file_name().unwrap_or_default());
            wanted.is_none_or(|wanted| wanted.to_string_lossy().trim_end_matches(".md") == name)
        };
        let mut all = Vec::new();
        for log in Log::ALL.into_iter().filter(|log| is_meant(log.name())) {
            all.extend(self.rotate(layout, sprint, log, rotation)?);
        }
        if let Some(file) = rotation.file.as_deref().filter(|_| all.is_empty()) {
            let message = format!("there is no log `{}`", one_line(file));
            return Err(Failure::new(ErrorKind::NotFound, message)
                .hint("see those that there are: agentctl sprint rotate --dry-run"));
        }
        if !rotation.dry_run && all.iter().any(|one| one.archive.is_some()) {
            write_index(layout)?;
        }
        Ok(all)
    }

    /// Rotates one log; `None` where there is none.
    fn rotate(
        &self,
        layout: &Layout,
        sprint: u64,
        log: Log,
        rotation: &Rotation,
    ) -> Result<Option<RotationView>, Failure> {
        let path = log.path(layout);
        let Some(before) = files::read(layout.root(), &path, LONGEST)? else { return Ok(None) };
        let text = String::from_utf8(before).map_err(|_| {
            Failure::new(ErrorKind::Failed, format!("{} is not UTF-8 text", path.display())).hint("mend it by hand")
        })?;
        let lines = text.lines().count();
        let mut view = RotationView {
            file: self.shown(&path)?,
            lines,
            kept: lines,
            archived: 0,
            archive: None,
            dry_run: rotation.dry_run,
        };
        let Some(Parts { head, old, new }) =
            (lines > rotation.threshold).then(|| split(&text, rotation.keep)).flatten()
        else {
            return Ok(Some(view));
        };
        let archive = next_archive(layout, sprint, log)?;
        let stays = format!("{head}{new}");
        (view.archived, view.kept) = (old.lines().count(), stays.lines().count());
        // Nothing but the old part goes, and nothing of it is lost.
        if view.archived + view.kept != lines || head.len() + old.len() + new.len() != text.len() {
            let message = format!("{} cannot be divided so that every line is in one of the parts", view.file);
            return Err(Failure::new(ErrorKind::Bug, message));
        }
        view.archive = Some(self.shown(&archive)?);
        if rotation.dry_run {
            return Ok(Some(view));
        }
        files::publish(layout.root(), &archive, old.as_bytes(), false)?;
        let written = files::read(layout.root(), &archive, LONGEST)?;
        let now = files::read(layout.root(), &path, LONGEST)?;
        if written.as_deref() != Some(old.as_bytes()) || now.as_deref() != Some(text.as_bytes()) {
            files::remove(layout.root(), &archive)?;
            let message = format!("{} was written to while it was rotated; it is as it was", view.file);
            return Err(Failure::new(ErrorKind::QueueContended, message).hint("do it again: agentctl sprint rotate"));
        }
        files::publish(layout.root(), &path, stays.as_bytes(), true)?;
        tell(layout, &view)?;
        Ok(Some(view))
    }
}

/// The parts of a log.
struct Parts<'a> {
    /// The text before the first entry.
    head: &'a str,
    /// The text that goes to the archive.
    old: &'a str,
    /// The text that stays.
    new: &'a str,
}

/// Divides a log so that at least so many lines stay, entries whole; `None` where nothing would go.
fn split(text: &str, keep: usize) -> Option<Parts<'_>> {
    let starts: Vec<usize> = starts_of_entries(text);
    let first = starts.first().copied().unwrap_or(0);
    let (head, body) = text.split_at(first);
    let newest_first = is_newest_first(body);
    let total = body.lines().count();
    let at_line = |n: usize| body.split_inclusive('\n').take(n).map(str::len).sum::<usize>();
    // At the boundary of an entry, so that none is torn apart; a log without entries is cut at a line.
    let boundary = |wanted: usize, later: bool| {
        let mut bounds = starts.iter().map(|start| start - first);
        let found = if later { bounds.find(|at| *at >= wanted) } else { bounds.rfind(|at| *at <= wanted) };
        found.unwrap_or(wanted)
    };
    let parts = if newest_first {
        let at = boundary(at_line(keep), true);
        Parts { head, new: &body[..at], old: &body[at..] }
    } else {
        let at = boundary(at_line(total.saturating_sub(keep)), false);
        Parts { head, old: &body[..at], new: &body[at..] }
    };
    (!parts.old.is_empty()).then_some(parts)
}

/// Returns where entries begin: headings of the second or third order that are not in a block of code.
pub(super) fn starts_of_entries(text: &str) -> Vec<usize> {
    let (mut starts, mut at, mut in_code) = (Vec::new(), 0, false);
    for line in text.split_inclusive('\n') {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code && (line.starts_with("## ") || line.starts_with("### ")) {
            starts.push(at);
        }
        at += line.len();
    }
    starts
}

/// Tells whether the newest entry stands first: the first time that a heading says is later than the last.
pub(super) fn is_newest_first(body: &str) -> bool {
    let mut times = body.lines().filter(|line| line.starts_with("## ") || line.starts_with("### ")).filter_map(time_in);
    match (times.next(), times.next_back()) {
        (Some(first), Some(last)) => first > last,
        _ => false,
    }
}

/// Reads the first time in a heading.
fn time_in(heading: &str) -> Option<DateTime<Utc>> {
    let at = heading.char_indices().find(|(at, c)| c.is_ascii_digit() && is_date(&heading[*at..]))?.0;
    let text = &heading[at..];
    let word = text.split([' ', ')', '|', ']']).next()?;
    if let Ok(time) = DateTime::parse_from_rfc3339(word) {
        return Some(time.to_utc());
    }
    let long = text.get(..16).map(|text| text.replace('T', " "));
    let with_time = long.and_then(|text| NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M").ok());
    let day = || NaiveDateTime::parse_from_str(&format!("{} 00:00", text.get(..10)?), "%Y-%m-%d %H:%M").ok();
    with_time.or_else(day).map(|time| time.and_utc())
}

fn is_date(text: &str) -> bool {
    let shape = text.as_bytes();
    shape.len() >= 10
        && shape[4] == b'-'
        && shape[7] == b'-'
        && text.get(..10).is_some_and(|day| chrono::NaiveDate::parse_from_str(day, "%Y-%m-%d").is_ok())
}

/// Adds the row of a rotation to `ROTATION_STATS.md`.
fn tell(layout: &Layout, view: &RotationView) -> Result<(), Failure> {
    let path = layout.rotation_stats();
    if files::look(layout.root(), &path)?.is_none() {
        let head = "# Log Rotation Statistics\n\n## Rotation History\n\n\
                    | Timestamp | File | Lines Before | Lines After | Lines Archived | Archive File |\n\
                    |-----------|------|--------------|-------------|----------------|--------------|\n";
        files::publish(layout.root(), &path, head.as_bytes(), false)?;
    }
    let name = |path: &str| Path::new(path).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let row = format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        stamp(Utc::now()),
        name(&view.file),
        view.lines,
        view.kept,
        view.archived,
        name(view.archive.as_deref().unwrap_or_default())
    );
    let mut file = files::append(layout.root(), &path)?;
    file.write_all(row.as_bytes()).map_err(|error| Failure::io("append to", &path, &error))
}

/// Writes the index of the archive anew, where it says something else; answers what became of it.
pub(super) fn write_index(layout: &Layout) -> Result<&'static str, Failure> {
    let mut rows = Vec::new();
    let (mut all_lines, mut all_bytes) = (0, 0);
    let sprints = files::list(layout.root(), &layout.archive(), MOST_LISTED)?.unwrap_or_default();
    let number = |name: &std::ffi::OsStr| name.to_str()?.strip_prefix("sprint_")?.parse::<u64>().ok();
    let mut sprints: Vec<u64> =
        sprints.iter().filter(|entry| entry.kind == Kind::Directory).filter_map(|entry| number(&entry.name)).collect();
    sprints.sort_unstable();
    for sprint in sprints {
        let place = layout.sprint_archive(sprint);
        for entry in files::list(layout.root(), &place, MOST_LISTED)?.unwrap_or_default() {
            let Some(name) = entry.name.to_str().filter(|_| entry.kind == Kind::File) else { continue };
            if !name.ends_with(".md") && !name.ends_with(".json") || rows.len() >= MOST_LISTED {
                continue;
            }
            let path = place.join(name);
            let Some(meta) = files::look(layout.root(), &path)? else { continue };
            let bytes = files::read(layout.root(), &path, LONGEST)?.unwrap_or_default();
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
            let (file, archive) = match name.trim_end_matches(".md").rsplit_once("_archive_") {
                Some((file, archive)) => (file, archive),
                None => (name, "—"),
            };
            let changed = meta.modified().map(DateTime::<Utc>::from).map(|time| time.format("%Y-%m-%d").to_string());
            (all_lines, all_bytes) = (all_lines + lines, all_bytes + meta.len());
            rows.push(format!(
                "| sprint_{sprint} | {} | {archive} | {} | {lines} | {} | `{}` |\n",
                super::report::plain(file),
                changed.unwrap_or_else(|_| "—".into()),
                meta.len(),
                path.strip_prefix(layout.root()).unwrap_or(&path).display()
            ));
        }
    }
    if rows.is_empty() {
        return Ok("skipped");
    }
    let text = format!(
        "# Archive Index\n\nWhat is archived below `.oodatcaa/work/archive/`; written anew by `agentctl sprint rotate`.\n\n\
         - **Files:** {}\n- **Lines:** {all_lines}\n- **Bytes:** {all_bytes}\n\n\
         | Sprint | File | Archive Number | Changed | Lines | Bytes | Path |\n\
         |--------|------|----------------|---------|-------|-------|------|\n{}",
        rows.len(),
        rows.concat()
    );
    let there = files::read(layout.root(), &layout.archive_index(), LONGEST)?;
    if there.as_deref() == Some(text.as_bytes()) {
        return Ok("there");
    }
    files::publish(layout.root(), &layout.archive_index(), text.as_bytes(), true)?;
    Ok("written")
}
