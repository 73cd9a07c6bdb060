//! The screen, drawn into a buffer from what was read and what was chosen.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Modifier, Style},
    text::{Line, Span},
};
use unicode_width::UnicodeWidthChar as _;

use super::{
    changes::Changes,
    data::Data,
    log::Log,
    sgr,
    state::{Entry, State, View},
};
use crate::cli::{
    cells::{self, seconds_item},
    ui::{Item, Table, Tone, Ui, ascii_fallback},
};
use oodatcaa_core::text::one_line;
use oodatcaa_ops::view::{NeedView, TaskView};

/// Below so many rows the log has no place beside the list.
const LOW: u16 = 12;

/// The things that are drawn.
pub(super) struct Scene<'a> {
    pub(super) ui: &'a Ui,
    /// The terminal speaks no UTF-8.
    pub(super) ascii: bool,
    pub(super) colours: bool,
    pub(super) state: &'a State,
    /// Nothing before the first reading.
    pub(super) data: Option<&'a Data>,
    pub(super) log: &'a Log,
    pub(super) changes: Option<&'a Changes>,
    /// The reason why the project cannot be read.
    pub(super) wrong: Option<&'a str>,
}

/// Draws all of it.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, scene: &Scene<'_>) {
    if area.width == 0 || area.height == 0 {
        return;
    }
    fail::fail_point!("top.draw");
    let mut pen = Pen { buffer, area };
    pen.put(0, &header(scene, area.width.into()), Style::new());
    let foot = area.height.saturating_sub(1);
    let said = area.height.saturating_sub(2);
    if area.height >= 4 {
        body(&mut pen, scene, 1, said);
        pen.put(said, &message(scene), Style::new());
    }
    if area.height >= 2 {
        pen.put(foot, &Tone::Faint.paint(keys(scene)), Style::new());
    }
    if scene.ascii {
        in_ascii(pen.buffer, area);
    }
    if !scene.colours {
        let cells = area.positions();
        for at in cells {
            pen.buffer[at].set_style(Style::new().fg(Color::Reset).bg(Color::Reset));
        }
    }
}

/// Writes lines into the screen, each from the left.
struct Pen<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
}

impl Pen<'_> {
    fn line(&mut self, row: u16, line: &Line<'_>, style: Style) {
        if row < self.area.height {
            let (x, y) = (self.area.x, self.area.y + row);
            self.buffer.set_style(Rect { y, height: 1, ..self.area }, style);
            self.buffer.set_line(x, y, &line.clone().patch_style(style), self.area.width);
        }
    }

    /// Writes a line that we have painted.
    fn put(&mut self, row: u16, painted: &str, style: Style) {
        self.line(row, &sgr::line(painted), style);
    }
}

fn header(scene: &Scene<'_>, width: usize) -> String {
    let Some(data) = scene.data else { return Tone::Strong.paint(" agentctl top") };
    let view = &data.status.view;
    let filter = match scene.state.asked.filter.as_str() {
        "" => String::new(),
        filter => format!(" /{}", one_line(filter)),
    };
    let name = format!(" {} › {}{filter}", one_line(&view.project), scene.state.view.word());
    let mut all = vec![(name, Tone::Strong)];
    if view.inbox > 0 {
        all.push((format!("NEEDS YOU {}", view.inbox), Tone::Warn));
    }
    if view.simulated {
        all.push(("SIMULATED".into(), Tone::Warn));
    }
    if scene.state.read_only {
        all.push(("read-only".into(), Tone::Faint));
    }
    all.push(if scene.state.frozen { ("frozen".into(), Tone::Warn) } else { ("● live".into(), Tone::Good) });
    for role in &view.roles {
        let tone = match role.state {
            "working" => Tone::Busy,
            "paused" => Tone::Warn,
            "idle" => Tone::Good,
            _ => Tone::Faint,
        };
        all.push((format!("{} {}/{}", role.role, role.wip, role.wip_limit), tone));
    }
    let mut taken = 0;
    let mut line = String::new();
    for (words, tone) in all {
        let wide = unicode_width::UnicodeWidthStr::width(words.as_str());
        // What has no room is left out; the name of the project is cut rather than that.
        if taken > 0 && taken + 2 + wide > width {
            continue;
        }
        line.push_str(if taken > 0 { "  " } else { "" });
        taken += wide + if taken > 0 { 2 } else { 0 };
        line.push_str(&tone.paint(&words));
    }
    line
}

fn body(pen: &mut Pen<'_>, scene: &Scene<'_>, top: u16, end: u16) {
    let (state, width) = (scene.state, usize::from(pen.area.width));
    if state.view == View::Help {
        let help = include_str!("keys.txt").lines().map(one_line).collect();
        return plain(pen, help, top, end, 0);
    }
    let Some(data) = scene.data else {
        return pen.put(top, scene.wrong.unwrap_or(" reading …"), Style::new());
    };
    let height = end - top;
    let beside = if height >= LOW { height * 11 / 20 } else { height };
    match state.view {
        View::Tasks if state.whole_log => log(pen, scene, top, end),
        View::Tasks => {
            list(pen, scene, tasks, data.tasks.len(), top, top + beside, "no task passes; v shows those that are over");
            if beside < height {
                log(pen, scene, top + beside, end);
            }
        }
        View::Inbox => {
            list(pen, scene, needs, data.needs.len(), top, top + beside, "nothing waits for you");
            if beside < height
                && let Some(need) = state.need(data)
            {
                rule(pen, top + beside, &format!(" {} ", one_line(&need.question.id)));
                plain(pen, details(need, width), top + beside + 1, end, 0);
            }
        }
        View::Diff => {
            let Some(changes) = scene.changes else { return };
            rule(pen, top, &format!(" {} ", Changes::command(&changes.task)));
            let rows = (top + 1..end).zip(changes.lines.iter().skip(state.row()));
            for (row, line) in rows {
                pen.line(row, line, Style::new());
            }
        }
        View::Fleet | View::Help => {
            let mut lines = data.status.table().one_lined(width);
            let workers = data.status.workers(scene.ui);
            if !workers.is_empty() {
                lines.push(String::new());
                lines.extend(workers.one_lined(width));
            }
            lines.extend(data.status.banners().iter().flat_map(|banner| {
                wrap(&sgr::line(banner), width).iter().map(|line| Tone::Warn.paint(&painted(line))).collect::<Vec<_>>()
            }));
            plain(pen, lines, top, end, state.row());
        }
    }
}

/// Draws lines from one of them on.
fn plain(pen: &mut Pen<'_>, lines: Vec<String>, top: u16, end: u16, from: usize) {
    let most = lines.len().saturating_sub(usize::from(end - top));
    for (row, line) in (top..end).zip(lines.into_iter().skip(from.min(most))) {
        pen.put(row, &line, Style::new());
    }
}

/// Draws the part of a list around its selected row, below its headings.
fn list(
    pen: &mut Pen<'_>,
    scene: &Scene<'_>,
    table: fn(&Data, std::ops::Range<usize>) -> Table,
    count: usize,
    top: u16,
    end: u16,
    empty: &str,
) {
    let Some(data) = scene.data else { return };
    if count == 0 {
        return pen.put(top, &Tone::Faint.paint(&format!(" {empty}")), Style::new());
    }
    let room = usize::from(end - top).saturating_sub(1).max(1);
    let selected = scene.state.row().min(count - 1);
    let from = selected.saturating_sub(room - 1);
    let shown = table(data, from..count.min(from + room));
    // A mark beside what is selected, for those who see no other.
    let lines = shown.one_lined(usize::from(pen.area.width).saturating_sub(1));
    for (row, (at, line)) in (top..end).zip(lines.into_iter().enumerate()) {
        let is_selected = at > 0 && from + at - 1 == selected;
        let mark = if is_selected { '▶' } else { ' ' };
        let style = if is_selected { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        pen.put(row, &format!("{mark}{line}"), style);
    }
}

fn tasks(data: &Data, rows: std::ops::Range<usize>) -> Table {
    let mut table = Table::new("ID | TITLE~ | ROLE? | TRY? | FOR? | COST? | WHY~");
    for task in &data.tasks[rows] {
        let sim = if task.simulated { "SIM " } else { "" };
        table.row([
            cells::id_item(task),
            Item::new(format!("{sim}{}", cells::title(&task.title))),
            Item::of(task.role.as_ref()),
            Item::of((task.attempts > 0 || task.lease.is_some()).then(|| task.try_number())),
            seconds_item(task.running_seconds.map(|seconds| seconds as f64)),
            cost(data, task),
            Item::new(&task.why).tone(Tone::Faint),
        ]);
    }
    table
}

fn cost(data: &Data, task: &TaskView) -> Item {
    let spent = data.snapshot.history.task(&task.id).map(|known| known.spent);
    let known = spent.filter(|spent| spent.attempts > spent.unpriced);
    Item::of(known.map(|spent| format!("{:.2}", spent.micros as f64 / 1e6)))
}

fn needs(data: &Data, rows: std::ops::Range<usize>) -> Table {
    let mut table = Table::new("ID | KIND | WHAT~ | NEXT?");
    for need in &data.needs[rows] {
        table.row([
            Item::new(&need.question.id).tone(Tone::Strong),
            Item::new(&need.question.kind).tone(Tone::Warn),
            Item::new(&need.question.question),
            Item::new(&need.next).tone(Tone::Faint),
        ]);
    }
    table
}

fn details(need: &NeedView, width: usize) -> Vec<String> {
    let question = &need.question;
    let mut lines = Vec::new();
    let mut say = |what: &str, words: &str| {
        if !words.is_empty() {
            lines.push(format!("{} {}", Tone::Faint.paint(what), one_line(words)));
        }
    };
    say("what:", &question.question);
    say("title:", question.title.as_deref().unwrap_or_default());
    for (number, option) in question.options.iter().enumerate() {
        say(&format!("({})", number + 1), option);
    }
    say("if nobody answers:", question.default.as_deref().unwrap_or_default());
    say("commit:", question.commit.as_deref().unwrap_or_default());
    say("look at:", &need.look_at.join(", "));
    say("worked:", need.worked.as_deref().unwrap_or_default());
    let tasks: Vec<&str> = need.tasks.iter().map(oodatcaa_core::TaskId::as_str).collect();
    say("tasks:", &tasks.join(", "));
    say("next:", &need.next);
    let wrapped = |line: String| wrap(&sgr::line(&line), width).iter().map(painted).collect::<Vec<_>>();
    lines.into_iter().flat_map(wrapped).collect()
}

/// Writes a line's text, without its colours.
fn painted(line: &Line<'_>) -> String {
    line.spans.iter().map(|span| span.content.as_ref()).collect()
}

fn rule(pen: &mut Pen<'_>, row: u16, words: &str) {
    let width = usize::from(pen.area.width);
    let wide = unicode_width::UnicodeWidthStr::width(words);
    let line = format!("──{words}{}", "─".repeat(width.saturating_sub(wide + 2)));
    pen.put(row, &Tone::Faint.paint(&line), Style::new());
}

fn log(pen: &mut Pen<'_>, scene: &Scene<'_>, top: u16, end: u16) {
    let (state, log) = (scene.state, scene.log);
    let run = match &log.run {
        Some((task, token)) => format!(" {task}/{token} "),
        None => " no attempt yet ".into(),
    };
    let follow = if state.scrolled == 0 { "follow" } else { "f follows" };
    let wraps = if state.wrap { " · wrap" } else { "" };
    rule(pen, top, &format!("{run}── {follow}{wraps} "));
    let (top, width) = (top + 1, usize::from(pen.area.width));
    let height = usize::from(end.saturating_sub(top));
    // No further up than where the first line is the first on the screen.
    let below = state.scrolled.min(log.lines.len().saturating_sub(height));
    let mut rows: Vec<Line<'_>> = Vec::new();
    for line in log.lines[..log.lines.len() - below].iter().rev() {
        if rows.len() >= height {
            break;
        }
        match state.wrap {
            true => rows.extend(wrap(line, width).into_iter().rev()),
            false => rows.push(line.clone()),
        }
    }
    rows.truncate(height);
    for (row, line) in (top..end).zip(rows.iter().rev()) {
        pen.line(row, line, Style::new());
    }
}

/// Breaks a line into lines of at most so many columns.
fn wrap(line: &Line<'_>, width: usize) -> Vec<Line<'static>> {
    let width = width.max(2);
    let (mut all, mut spans, mut taken) = (Vec::new(), Vec::new(), 0);
    for span in &line.spans {
        let mut text = String::new();
        for c in span.content.chars() {
            let wide = c.width().unwrap_or(0);
            if taken + wide > width {
                spans.push(Span::styled(std::mem::take(&mut text), span.style));
                all.push(Line::from(std::mem::take(&mut spans)));
                taken = 0;
            }
            text.push(c);
            taken += wide;
        }
        spans.push(Span::styled(text, span.style));
    }
    all.push(Line::from(spans));
    all
}

/// Says what is typed or asked, else what was said last.
fn message(scene: &Scene<'_>) -> String {
    let state = scene.state;
    match (&state.entry, &state.message, scene.wrong) {
        (Some(Entry::Filter(words)), ..) => format!(" /{}▏", one_line(words)),
        (Some(Entry::Confirm(act)), ..) => {
            format!(" {}   {}", Tone::Strong.paint(&act.command()), Tone::Warn.paint("Enter runs it · Esc does not"))
        }
        (Some(Entry::Words(act, words)), ..) => {
            let command = act.clone().with(&format!("{words} ")).command();
            format!(
                " {}▏  {}",
                Tone::Strong.paint(&command),
                Tone::Warn.paint("type why · Enter runs it · Esc does not")
            )
        }
        (None, Some((good, words)), _) => {
            format!(" {}", (if *good { Tone::Good } else { Tone::Bad }).paint(&one_line(words)))
        }
        (None, None, Some(wrong)) => format!(" {}", Tone::Bad.paint(&one_line(wrong))),
        (None, None, None) => match (state.view, scene.data.and_then(|data| state.task(data))) {
            (View::Tasks, Some(task)) => Tone::Faint.paint(&format!(" agentctl logs {task} -f · agentctl why {task}")),
            _ => String::new(),
        },
    }
}

fn keys(scene: &Scene<'_>) -> &'static str {
    match (scene.state.view, scene.state.read_only) {
        (View::Tasks, true) => " q quit  ? help  Enter log  d diff  / filter  v all  1 2 3 views",
        (View::Tasks, false) => {
            " q quit  ? help  Enter log  d diff  / filter  a approve  r retry  x stop  v all  1 2 3 views  . freeze"
        }
        (View::Inbox, false) => " q quit  ? help  d diff  a approve  R reject  s answer  1 2 3 views",
        (View::Inbox, true) => " q quit  ? help  d diff  1 2 3 views",
        (View::Diff, true) => " q quit  Esc back  j k up and down",
        (View::Diff, false) => " q quit  Esc back  j k up and down  a approve  R reject",
        (View::Fleet, _) => " q quit  ? help  1 2 3 views",
        (View::Help, _) => " q quit  Esc back",
    }
}

/// Writes every cell in the letters of a terminal that speaks no UTF-8; one that has none is a question mark.
fn in_ascii(buffer: &mut Buffer, area: Rect) {
    for at in area.positions() {
        let cell = &mut buffer[at];
        if !cell.symbol().is_ascii() {
            let plain = ascii_fallback(cell.symbol()).chars().next().filter(char::is_ascii).unwrap_or('?');
            cell.set_char(plain);
        }
    }
}
